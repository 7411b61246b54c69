'use client';
/**
 * SWR 2: what the server says is stale is revalidated.
 *
 * ```tsx
 * const realtime = createRealtime();
 * const live = bindSWR(realtime, { key: { '/api/posts': 'posts.list' } });
 *
 * <SWRConfig value={{ use: [live] }}>…</SWRConfig>
 *
 * useSWR(['posts', 'list', { page: 1 }], fetcher); // revalidated on "posts.list", "posts", …
 * useSWR('/api/posts', fetcher); // the same, by `key` above
 * ```
 *
 * It is a middleware, so it works with any cache provider and needs nothing of SWR but its documented interface. A
 * key that became stale owes a read that begins after the news:
 *
 * - shown and idle: it is read at once; `dedupingInterval` does not count;
 * - being read: that read is shown, and one more follows it, however much news came meanwhile. (`mutate(key)` throws
 *   away the answer under way, so that news every 60 ms on a request of 100 ms never gets through);
 * - not shown: it is read when it is, also where `revalidateIfStale` is off;
 * - the page is hidden, or `isPaused`: read when that is over, also where `revalidateOnFocus` is off;
 * - under an optimistic `mutate`: read when that has settled.
 *
 * Errors are retried by SWR. With `shouldRetryOnError: false` the key is read again when the stream opens the next
 * time or the page is seen.
 */

import { useEffect, useLayoutEffect } from 'react';
import { unstable_serialize as serialize, useSWRConfig } from 'swr';
import type { Key as SWRKey, Middleware, SWRConfiguration, SWRResponse } from 'swr';
import { unstable_serialize as serializeInfinite } from 'swr/infinite';
import { toKey } from './keys';
import { bookOf } from './swr-book';
import type { Shown } from './swr-book';
import type { KeyLike, Realtime } from './types';

/** Options of {@link bindSWR}. */
export interface BindSWROptions {
  /**
   * The server's name for a key of SWR; `null` for one that the server never changes. Or a table of names for keys
   * that are strings. Default: an array as it is, and of a string its dotted form.
   */
  readonly key?: ((key: unknown) => KeyLike | null) | Readonly<Record<string, KeyLike>>;
}

const byDefault = (key: unknown): KeyLike => (Array.isArray(key) || typeof key === 'string' ? key : [key]);

// As SWR does it: no layout effect on a server, where React 18 would warn.
const useCommit = typeof window === 'undefined' ? useEffect : useLayoutEffect;

const attempt = <T>(make: () => T): T | undefined => {
  try {
    return make();
  } catch {
    return undefined; // a function key whose dependencies are not there yet
  }
};

/** The middleware that revalidates what became stale, for `<SWRConfig value={{ use: [ … ] }}>`. */
export function bindSWR(
  realtime: Pick<Realtime, 'onRevalidate' | 'status'>,
  { key: named = byDefault }: BindSWROptions = {},
): Middleware {
  const keyOf = (key: unknown) => {
    const name =
      typeof named === 'function'
        ? named(key)
        : (typeof key === 'string' && Object.hasOwn(named, key) && named[key]) || byDefault(key);
    return name === null ? null : toKey(name);
  };

  const middleware =
    (useSWRNext: (key: SWRKey, fetcher: unknown, config: SWRConfiguration) => SWRResponse) =>
    (key: SWRKey, fetcher: ((...args: unknown[]) => unknown) | null, config: SWRConfiguration) => {
      const { cache, mutate } = useSWRConfig();
      const book = bookOf(realtime, cache, mutate);
      // `useSWRInfinite` comes here with its `getKey`, and is known by what it returns.
      const plainId = attempt(() => serialize(key)) ?? '';
      const pagesId =
        (typeof key === 'function' && attempt(() => serializeInfinite(key as Parameters<typeof serializeInfinite>[0]))) ||
        '';
      let response: (SWRResponse & { setSize?: unknown }) | undefined;
      const idOf = () => (response && 'setSize' in response ? pagesId : plainId);

      // Before SWR's own effect, which may read: what has been stale for longer is paid by that.
      useCommit(() => {
        const id = idOf();
        // `useSWRMutation` and `useSWRSubscription` come here too, and have nothing to read.
        if (!id || typeof response?.mutate !== 'function') return;
        const { mutate: read } = response;
        const infinite = id === pagesId;
        const shown: Shown = {
          infinite,
          keys: () => {
            if (!infinite) return [typeof key === 'function' ? attempt(key as () => unknown) : key];
            const pages: unknown[] = cache.get(id)?.data ?? [null];
            const getKey = key as unknown as (page: number, before: unknown) => unknown;
            return pages.map((_, page) => attempt(() => getKey(page, page ? pages[page - 1] : null)));
          },
          read: () => void read().catch(() => {}),
          ready: () => (config.isVisible?.() ?? true) && !config.isPaused?.(),
        };
        return book.show(id, shown, keyOf);
      });

      const watched =
        fetcher &&
        ((...args: unknown[]) => {
          // A mutation or a subscription has a second argument; it is no read.
          if (args.length !== 1) return fetcher(...args);
          const ended = book.began(serialize(args[0] as SWRKey), idOf());
          try {
            const answer = fetcher(...args);
            Promise.resolve(answer).then(() => ended(true), () => ended(false));
            return answer;
          } catch (error) {
            ended(false);
            throw error;
          }
        });

      response = useSWRNext(key, watched, {
        ...config,
        onSuccess: (data, id, own) => {
          // Not that of `useSWRMutation`.
          if (typeof response?.mutate === 'function') book.arrived(id);
          config.onSuccess?.(data, id, own);
        },
      });
      return response;
    };
  return middleware as unknown as Middleware;
}
