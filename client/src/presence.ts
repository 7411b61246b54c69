/** Who is present in a channel: as one joins it, for as long as somebody watches. */

import type { Emit } from './emit';
import { foldPresence } from './presence-fold';
import { sharedStores } from './shared-store';
import type { ChannelHandlers, PresenceState, Realtime, Status, Store, Unsubscribe } from './types';

/** {@link PresenceState} of no channel. */
export const NOBODY: PresenceState = { users: [], count: 0, more: false, ready: false, denied: undefined };

export const createPresence = (
  follow: (name: string, handlers: ChannelHandlers<any>) => Unsubscribe,
  status: Store<Status>,
  emit: Emit,
  lingerMs: number,
): Realtime['presence'] => {
  const stores = sharedStores(NOBODY, lingerMs, (name, store) => {
    // A new stream begins with a snapshot, and most often with one of what is known.
    const become = (next: PresenceState) => {
      if (JSON.stringify(next) !== JSON.stringify(store.getSnapshot())) store.set(next);
    };
    const offs = [
      status.subscribe(() => {
        if (status.getSnapshot().state === 'closed') become({ ...NOBODY, denied: store.getSnapshot().denied });
      }),
      follow(name, {
        onMessage({ event, data }) {
          const known = store.getSnapshot();
          const now = foldPresence(known.ready ? known : undefined, event, data);
          if (now) become({ ...now, more: now.count > now.users.length, ready: true, denied: undefined });
        },
        onError: (denied) => become({ ...NOBODY, denied }),
      }),
    ];
    return () => offs.forEach((off) => off());
  });
  return (name: string): any => ({
    ...stores(name),
    update: async (meta: unknown) => void (await emit(name, 'presence_update', meta)),
  });
};
