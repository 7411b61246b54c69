/** A value that is worked for only while somebody watches it. */

import { guard } from './guard';
import type { Store, Unsubscribe } from './types';

export interface LazyStore<T> extends Store<T> {
  readonly set: (value: T) => void;
  /** Whether anybody watches. */
  readonly isWatched: () => boolean;
}

/**
 * Calls `start` for the first watcher and what it returned after the last one. That goes a task late, or `lingerMs`:
 * StrictMode takes every watcher away and brings it back at once, and must not cost a subscription and a read.
 */
export function lazyStore<T>(initial: T, start: () => Unsubscribe, lingerMs = 0): LazyStore<T> {
  const listeners = new Set<{ listener: () => void }>();
  let value = initial;
  let stop: Unsubscribe | undefined;
  let leaving: ReturnType<typeof setTimeout> | undefined;
  return {
    subscribe: listener => {
      const entry = { listener };
      listeners.add(entry);
      clearTimeout(leaving);
      stop ??= start();
      return () => {
        if (!listeners.delete(entry) || listeners.size) return;
        leaving = setTimeout(() => {
          stop?.();
          stop = undefined;
        }, lingerMs);
      };
    },
    getSnapshot: () => value,
    set: next => {
      value = next;
      [...listeners].forEach(({ listener }) => guard(listener));
    },
    isWatched: () => listeners.size > 0,
  };
}
