/**
 * A query that stays true, for pages without a library that has them. Nothing is cached.
 *
 * ```ts
 * const posts = liveQuery(realtime, 'posts.list', async () => (await realtime.fetch('/posts')).json());
 * const stop = posts.subscribe(() => {
 *   const { data, error, isLoading } = posts.getSnapshot();
 *   show(isLoading ? 'loading …' : error ? String(error) : data);
 * });
 * ```
 *
 * It is read when the first watcher comes, and whenever `key`, or a prefix of it, became stale: at once; after the
 * read under way, once, however much news came meanwhile; when the page is seen, if it is hidden. A read that fails is
 * tried again after a jittered pause, until one does not.
 */

import { toKey } from './keys';
import { lazyStore } from './lazy-store';
import { createReader } from './reader';
import type { Backoff, Key, KeyLike, Realtime, Store } from './types';

/** What a live query shows. */
export interface LiveQueryState<T> {
  /** The last answer; stays while the next is fetched, and when that fails. */
  readonly data: T | undefined;
  /** What the last read failed with; undefined when it did not. */
  readonly error: unknown;
  /** Nothing was answered yet: neither data nor an error. */
  readonly isLoading: boolean;
  /** A read is under way. */
  readonly isFetching: boolean;
}

/** Options of {@link liveQuery}. */
export interface LiveQueryOptions<T> {
  /** Data of a page that the server rendered. It is not read again before it became stale. */
  readonly initialData?: T | undefined;
  /** How tries follow each other after an error. */
  readonly backoff?: Pick<Backoff, 'initial' | 'max'> | undefined;
}

/** A live query, in the shape that React's `useSyncExternalStore` takes. */
export interface LiveQuery<T> extends Store<LiveQueryState<T>> {
  /** Reads now; resolves when a read that began after this call has settled, also with an error. */
  readonly refetch: () => Promise<void>;
}

/** Makes a live query of `key`. Nothing happens before the first `subscribe`, and nothing after the last one left. */
export function liveQuery<T>(
  realtime: Pick<Realtime, 'onRevalidate'>,
  key: KeyLike,
  fetcher: (key: Key) => T | Promise<T>,
  { initialData, backoff }: LiveQueryOptions<T> = {},
): LiveQuery<T> {
  const segments = toKey(key);
  // What was not listened for may be stale.
  let isFresh = initialData !== undefined;

  const store = lazyStore<LiveQueryState<T>>(
    { data: initialData, error: undefined, isLoading: !isFresh, isFetching: false },
    () => {
      const off = realtime.onRevalidate(segments, reader.demand);
      if (!isFresh) void reader.now();
      isFresh = false;
      return () => {
        off();
        reader.stop();
        update({ isFetching: false });
      };
    },
  );
  const update = (changed: Partial<LiveQueryState<T>>) => store.set({ ...store.getSnapshot(), ...changed });
  const reader = createReader(
    () => fetcher(segments),
    {
      onStart: () => update({ isFetching: true }),
      onData: data => store.set({ data, error: undefined, isLoading: false, isFetching: false }),
      onError: error => update({ error, isLoading: false, isFetching: false }),
    },
    backoff,
  );
  return { subscribe: store.subscribe, getSnapshot: store.getSnapshot, refetch: reader.now };
}
