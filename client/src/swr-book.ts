/**
 * What one cache of SWR owes, by serialized key. Of each key that became stale it knows whether a read that begins
 * after the news is still `owed`, is being made (`reading`), or came back with an error (`failed`).
 */

import type { useSWRConfig } from 'swr';
import { unstable_serialize as serialize } from 'swr';
import { concerns } from './keys';
import type { Key, Realtime, Unsubscribe } from './types';

type Source = Pick<Realtime, 'onRevalidate' | 'status'>;
type Config = ReturnType<typeof useSWRConfig>;
type KeyOf = (key: unknown) => Key | null;

/** A hook that is mounted. */
export interface Shown {
  readonly infinite: boolean;
  /** The keys, of SWR, that it shows: one, or one a page. */
  readonly keys: () => unknown[];
  /** Revalidates, throwing away what is under way. */
  readonly read: () => void;
  /** Whether it may read now. */
  readonly ready: () => boolean;
}

/** See {@link bookOf}. */
export interface Book {
  /** A hook shows `id`, as of now with these functions. */
  readonly show: (id: string, hook: Shown, keyOf: KeyOf) => Unsubscribe;
  /** A read of `id` began, for a hook that shows `shownId`: the same, or pages. Call what is returned when it ends. */
  readonly began: (id: string, shownId: string) => (isOk: boolean) => void;
  /** SWR has put an answer into the cache. */
  readonly arrived: (id: string) => void;
}

const books = new WeakMap<Source, WeakMap<object, Book>>();

/** The book of a cache; the same one however often the middleware is made. */
export function bookOf(realtime: Source, cache: Config['cache'], mutate: Config['mutate']): Book {
  let byCache = books.get(realtime);
  if (!byCache) books.set(realtime, (byCache = new WeakMap()));
  let book = byCache.get(cache);
  if (!book) byCache.set(cache, (book = createBook(realtime, cache, mutate)));
  return book;
}

function createBook(realtime: Source, cache: Config['cache'], mutate: Config['mutate']): Book {
  const debts = new Map<string, 'owed' | 'reading' | 'failed'>();
  const shown = new Map<string, Set<Shown>>();
  const running = new Map<string, number>();
  const waits = new Map<string, { delay: number; timer: ReturnType<typeof setTimeout> }>();
  let keyOf: KeyOf;
  let close: Unsubscribe | undefined;
  let closing: ReturnType<typeof setTimeout> | undefined;
  let wasOpen = false;

  const isBusy = (id: string) => {
    const state = cache.get(id) as { isValidating?: boolean; _c?: unknown } | undefined;
    // `_c` is what an optimistic update will fall back to. A read would be thrown away.
    return !!running.get(id) || !!state?.isValidating || state?._c !== undefined;
  };

  /** For what is not told: the end of an optimistic update, or of a read that was preloaded. */
  const later = (id: string) => {
    const last = waits.get(id);
    clearTimeout(last?.timer);
    const delay = Math.min(1000, (last?.delay ?? 10) * 2);
    waits.set(id, { delay, timer: setTimeout(pay, delay, id) });
  };

  const clear = (id: string) => {
    debts.delete(id);
    clearTimeout(waits.get(id)?.timer);
    waits.delete(id);
  };

  const pay = (id: string) => {
    if (debts.get(id) !== 'owed') return;
    const hook = [...(shown.get(id) ?? [])].find(hook => hook.ready());
    if (!hook || running.get(id)) return;
    if (isBusy(id)) return later(id);
    // Of pages, only this reads all.
    if (hook.infinite) debts.set(id, 'reading');
    hook.read();
    if (hook.infinite && !running.get(id)) debts.set(id, 'owed');
  };

  const arrived = (id: string) => {
    if (!running.get(id) && debts.get(id) === 'reading') clear(id);
  };

  const settle = (id: string) => {
    const debt = debts.get(id);
    if (!debt || running.get(id)) return;
    if (debt === 'owed') return pay(id);
    if (debt === 'failed') return;
    if (cache.get(id)?.error !== undefined) debts.set(id, 'failed');
    else {
      // It did not arrive: it overlapped with a mutation, or failed while SWR was paused. SWR does not tell of that
      // where the hook shows another key by then, or is paused.
      debts.set(id, 'owed');
      later(id);
    }
  };

  const tryAll = () => {
    // After SWR's own handler: its read will do.
    setTimeout(() => {
      for (const [id, debt] of [...debts]) {
        if (debt === 'failed') debts.set(id, 'owed');
        pay(id);
      }
    });
  };

  /** Everything in the cache whose key `isStale`; asks SWR, which knows the keys, and keeps it from doing more. */
  const oweCached = (isStale: (key: unknown) => boolean) =>
    void mutate(key => {
      if (key && isStale(key)) debts.set(serialize(key), 'owed');
      return false;
    });

  const open = () => {
    // Nobody listened for a while, so nothing in the cache is known to be fresh.
    if (wasOpen) oweCached(() => true);
    wasOpen = true;
    const offStale = realtime.onRevalidate(({ keys }) => {
      const isStale = (key: unknown) => {
        const name = key ? keyOf(key) : null;
        return name !== null && keys.some(stale => concerns(stale, name));
      };
      oweCached(isStale);
      for (const [id, hooks] of shown) {
        if ([...hooks].some(hook => hook.keys().some(isStale))) debts.set(id, 'owed');
        pay(id);
      }
    });
    const isOpen = () => /^(open|degraded)$/.test(realtime.status.getSnapshot().state);
    let was = isOpen();
    const offStatus = realtime.status.subscribe(() => {
      const now = isOpen();
      if (now && !was) tryAll();
      was = now;
    });
    const onSeen = () => document.visibilityState !== 'hidden' && tryAll();
    document.addEventListener('visibilitychange', onSeen);
    window.addEventListener('focus', onSeen);
    close = () => {
      offStale();
      offStatus();
      document.removeEventListener('visibilitychange', onSeen);
      window.removeEventListener('focus', onSeen);
      [...debts.keys()].forEach(clear);
      close = undefined;
    };
  };

  return {
    show: (id, hook, names) => {
      keyOf = names;
      clearTimeout(closing);
      if (!close) open();
      const hooks = shown.get(id) ?? new Set();
      shown.set(id, hooks.add(hook));
      // Pages that became stale while they were not shown.
      if (hook.infinite && !debts.has(id) && hook.keys().some(key => key && debts.get(serialize(key as string)) === 'owed'))
        debts.set(id, 'owed');
      // After SWR's own effect.
      if (debts.get(id) === 'owed') queueMicrotask(() => pay(id));
      return () => {
        hooks.delete(hook);
        if (!hooks.size && shown.get(id) === hooks) shown.delete(id);
        // StrictMode, and a change of page, mount the next at once.
        if (!shown.size) {
          clearTimeout(closing);
          closing = setTimeout(() => shown.size || close?.());
        }
      };
    },
    began: (id, shownId) => {
      const ids = [...new Set([id, shownId])];
      for (const one of ids) {
        running.set(one, (running.get(one) ?? 0) + 1);
        const debt = debts.get(one);
        // A page that is read alone, as by `setSize`, says nothing of the other pages.
        if (debt === 'failed' || (debt === 'owed' && one === id)) debts.set(one, 'reading');
      }
      return isOk => {
        for (const one of ids) {
          const left = (running.get(one) ?? 1) - 1;
          if (left) running.set(one, left);
          else running.delete(one);
        }
        // A page goes into the cache whatever becomes of the list.
        if (isOk && id !== shownId) arrived(id);
        // SWR writes its answer now; with pages the next one may begin.
        setTimeout(() => ids.forEach(settle));
      };
    },
    arrived,
  };
}
