/** What scripts of a page without a framework keep fresh. */

import type { KeyLike, Realtime, Unsubscribe } from '../types';
import type { Gate } from './gate';
import { refetching } from './refetch';

/** Calls `read` now, also while nobody sees the page, and again whenever `key` became stale. */
export function live(
  realtime: Pick<Realtime, 'onRevalidate' | 'status'>,
  gate: Gate,
  key: KeyLike,
  read: () => unknown,
): Unsubscribe {
  let first = true;
  const refetch = refetching(
    realtime,
    (then) => {
      if (!first) return gate(then);
      first = false;
      then();
    },
    read,
  );
  const unsubscribe = realtime.onRevalidate(key, refetch);
  refetch();
  return () => {
    unsubscribe();
    refetch.stop();
  };
}
