/**
 * TanStack Query (v5, any framework): what the server says is stale is refetched.
 *
 * ```ts
 * const queryClient = new QueryClient();
 * const realtime = createRealtime();
 * const unbind = bindQueryClient(realtime, queryClient); // once, where the client is made
 *
 * useQuery({ queryKey: ['posts', 'list', { page: 1 }], queryFn }); // refetched on "posts.list", "posts", …
 * ```
 *
 * A stale key concerns every query whose `queryKey` begins with it, by whole segments. Each such query owes a read
 * that begins after the news:
 *
 * - shown and idle: it is read at once, whatever its `staleTime`;
 * - being read, also for the first time: that goes on undisturbed, no signal aborts, and one more read follows it,
 *   however much news came meanwhile. (`invalidateQueries` cancels instead, so that news every 60 ms on a query of
 *   100 ms never gets through; with `cancelRefetch: false`, and during a first fetch, it forgets);
 * - not shown, or not enabled: it is marked stale, and read once it is;
 * - the page is hidden: marked stale, and read when it is seen, also where `refetchOnWindowFocus` is off;
 * - under an optimistic update: read once that has settled.
 *
 * `retry` is the query's own. A query whose read failed stays invalidated, and is read again when the stream opens
 * the next time or the page is seen. Queries with `staleTime: 'static'` are left alone, as TanStack does.
 */

import { focusManager, notifyManager, onlineManager } from '@tanstack/query-core';
import type { Mutation, Query, QueryClient } from '@tanstack/query-core';
import { concerns, toKey } from './keys';
import type { KeyLike, Realtime, Stale, Unsubscribe } from './types';

/** Options of {@link bindQueryClient}. */
export interface BindQueryClientOptions {
  /**
   * The server's name for a query, where that is not its `queryKey`; `null` for one that the server never changes.
   * Default: the `queryKey` as it is. A string in it is one segment, also `'posts.list'`.
   */
  readonly key?: (query: Query) => KeyLike | null;
}

/**
 * What a query owes: `owed` a read that begins after the news; `reading` one that is under way and will do; `failed`
 * one that came back with an error, and waits for a better time.
 */
type Debt = 'owed' | 'reading' | 'failed';

/**
 * Refetches the queries of `queryClient` that become stale, until the returned function is called. Bind a client
 * once; in React in a `useEffect`, or at the top of the module that makes it.
 */
export function bindQueryClient(
  realtime: Pick<Realtime, 'onRevalidate' | 'status'>,
  queryClient: QueryClient,
  options: BindQueryClientOptions = {},
): Unsubscribe {
  const queries = queryClient.getQueryCache();
  const mutations = queryClient.getMutationCache();
  const debts = new Map<Query, Debt>();
  const keyOf = options.key ?? (query => query.queryKey);

  const pay = (query: Query) => {
    // `isStatic` is not in the first releases of v5.
    if (debts.get(query) !== 'owed' || query.state.fetchStatus !== 'idle' || query.isStatic?.()) return;
    query.invalidate();
    if (!query.isActive() || !focusManager.isFocused() || optimistic.holds(query)) return;
    // The cache reports this fetch (below), as it does one that the app or TanStack starts: any of them will do.
    query.fetch().catch(() => {});
  };

  // What TanStack does by itself at the same occasion goes first (a refetch on focus, on mount, in `onSettled`; the
  // next mutation of a scope), and it must not be inside of one of its dispatches: so a task later.
  let soon: ReturnType<typeof setTimeout> | undefined;
  const paySoon = () => {
    soon ??= setTimeout(() => {
      soon = undefined;
      [...debts.keys()].forEach(pay);
    });
  };
  const tryAgain = (query: Query) => {
    if (debts.get(query) === 'failed') debts.set(query, 'owed');
  };
  const tryAllAgain = () => {
    [...debts.keys()].forEach(tryAgain);
    paySoon();
  };

  const optimistic = watchOptimistic(mutations, paySoon);

  const offStale = realtime.onRevalidate(({ keys }: Stale) =>
    notifyManager.batch(() => {
      for (const query of queries.getAll()) {
        const key = keyOf(query);
        if (key === null || !keys.some(stale => concerns(stale, toKey(key)))) continue;
        debts.set(query, 'owed');
        pay(query);
      }
    }),
  );

  const offQueries = queries.subscribe(event => {
    const query = event.query as Query;
    if (event.type === 'updated' && event.action.type === 'success' && event.action.manual) optimistic.wrote(query);
    const debt = debts.get(query);
    if (!debt) return;
    if (event.type === 'removed') debts.delete(query);
    // A component came, or was enabled.
    else if (event.type === 'observerAdded' || event.type === 'observerOptionsUpdated') {
      if (event.type === 'observerAdded') tryAgain(query);
      paySoon();
    } else if (event.type === 'updated') {
      const { action } = event;
      // One more page of an infinite query says nothing of the others.
      if (action.type === 'fetch') debts.set(query, action.meta?.fetchMore ? 'owed' : 'reading');
      else if (action.type === 'success' && action.manual) {
        // `setQueryData` took the mark away, but what is written into old data is no read.
        if (debt !== 'reading') query.invalidate();
        paySoon();
      } else if (action.type === 'success' && debt === 'reading') debts.delete(query);
      else if (action.type === 'success') paySoon();
      else if (action.type === 'error') {
        // In older releases of v5 a fetch that is cancelled ends in this action as well, with the state of before.
        if (debt === 'reading') debts.set(query, query.state.error === action.error ? 'failed' : 'owed');
        else paySoon();
      }
      // Cancelled: who did that has a reason, so the next occasion will do.
      else if (action.type === 'setState' && query.state.fetchStatus === 'idle' && debt === 'reading') {
        debts.set(query, 'owed');
      }
    }
  });

  const offFocus = focusManager.subscribe(() => {
    if (focusManager.isFocused()) tryAllAgain();
  });
  const offOnline = onlineManager.subscribe(paySoon);
  let open = isOpen(realtime);
  const offStatus = realtime.status.subscribe(() => {
    const was = open;
    open = isOpen(realtime);
    if (open && !was) tryAllAgain();
  });

  return () => {
    [offStale, offQueries, offFocus, offOnline, offStatus, optimistic.unsubscribe].forEach(off => off());
    clearTimeout(soon);
    debts.clear();
  };
}

const isOpen = ({ status }: Pick<Realtime, 'status'>) => /^(open|degraded)$/.test(status.getSnapshot().state);

/**
 * Knows which queries an optimistic update is about: while `onMutate` runs, which may be about to write, all; then
 * those that were written by hand since the mutation began. Where `onMutate` returns nothing its end is not seen, and
 * where the mutation was there before (restored from storage) what it wrote is not known: then all, until it settles.
 */
function watchOptimistic(mutations: ReturnType<QueryClient['getMutationCache']>, changed: () => void) {
  let clock = 0;
  const begun = new WeakMap<Mutation, number>();
  const written = new WeakMap<Query, number>();

  const unsubscribe = mutations.subscribe(event => {
    if (!event.mutation) return;
    const { mutation } = event;
    if (event.type === 'added' && mutation.state.status === 'idle') begun.set(mutation, ++clock);
    if (event.type === 'removed' || event.type === 'updated') changed();
  });

  const holds = (query: Query) =>
    mutations.getAll().some(mutation => {
      const { context, isPaused, status } = mutation.state;
      if (status !== 'pending' || !(mutation.options.onMutate || context !== undefined)) return false;
      // Paused, and the browser is online: nothing but its own resume would end the wait, perhaps nobody resumes it.
      if (isPaused && onlineManager.isOnline()) return false;
      const since = begun.get(mutation);
      return context === undefined || since === undefined || (written.get(query) ?? 0) > since;
    });

  return { holds, unsubscribe, wrote: (query: Query) => void written.set(query, ++clock) };
}
