/** Stores by name, which all who ask for the name share. */

import { lazyStore, type LazyStore } from './lazy-store';
import type { Store, Unsubscribe } from './types';

/** Of one name one is kept, from its first watcher until `lingerMs` after its last. */
export const sharedStores = <T>(
  initial: T,
  lingerMs: number,
  start: (name: string, store: LazyStore<T>) => Unsubscribe,
) => {
  const stores = new Map<string, LazyStore<T>>();
  const watched = (name: string) => {
    const known = stores.get(name);
    if (known) return known;
    const store = lazyStore<T>(
      initial,
      () => {
        const stop = start(name, store);
        return () => {
          stores.delete(name);
          stop();
        };
      },
      lingerMs,
    );
    stores.set(name, store);
    return store;
  };
  return (name: string): Store<T> => ({
    subscribe: (listener) => watched(name).subscribe(listener),
    getSnapshot: () => stores.get(name)?.getSnapshot() ?? initial,
  });
};
