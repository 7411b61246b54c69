/**
 * A `Realtime` whose server is the test: it says what became stale, acknowledges subscriptions and sends messages.
 * What it does is what the public type promises, and no more: bindings that lean on anything else break here.
 */

import { concerns, toKey } from '../src/keys';
import { lazyStore, type LazyStore } from '../src/lazy-store';
import { NOBODY } from '../src/presence';
import type {
  AnySchema, ChannelHandlers, Key, KeyLike, PresenceState, Realtime, Schema, Stale, Status, Typist,
} from '../src/types';

// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Heard = ChannelHandlers<any>;

/** One subscription of a channel, as the server sees it. */
export interface Subscriber {
  readonly name: string;
  readonly since: string | undefined;
  readonly handlers: Heard;
}

export interface Fake<S extends Schema = AnySchema> {
  readonly realtime: Realtime<S>;
  /** The server says that these keys are stale. */
  stale(...keys: KeyLike[]): void;
  /** It is not known what changed. */
  gap(reason?: string): void;
  /** How many listen for what becomes stale. */
  listeners(): number;
  /** Who follows a channel, or any. */
  followers(name?: string): Subscriber[];
  /** How often a channel was subscribed to in all. */
  subscribed(): number;
  /** The server acknowledges, denies, loses, or publishes on a channel. */
  connect(name: string, resumed: boolean): void;
  deny(name: string, code: string): void;
  lose(name: string, reason?: string): void;
  publish(name: string, event: string, data: unknown): void;
  setStatus(status: Status): void;
  /** Who is present in a channel, or typing. */
  present(name: string, state: Partial<PresenceState>): void;
  type(name: string, typists: readonly Typist[]): void;
  /** Whose presence or typing is watched. */
  watched(): string[];
  /** What the page said of itself: `['update', name, meta]`, `['start', name]`, `['stop', name]`. */
  readonly told: unknown[][];
}

export function fake<S extends Schema = AnySchema>(): Fake<S> {
  const stale = new Set<{ key: Key | undefined; listener: (stale: Stale) => void }>();
  const channels = new Set<Subscriber>();
  const watchers = new Set<() => void>();
  let status: Status = { state: 'open' };
  let subscribed = 0;
  let offset = 0;

  const present = new Map<string, LazyStore<PresenceState>>();
  const typing = new Map<string, LazyStore<readonly Typist[]>>();
  const told: unknown[][] = [];
  const of = <T>(stores: Map<string, LazyStore<T>>, name: string, initial: T) => {
    const store = stores.get(name) ?? lazyStore(initial, () => () => {});
    stores.set(name, store);
    return store;
  };

  const add = <T>(set: Set<T>, entry: T) => {
    set.add(entry);
    return () => void set.delete(entry);
  };
  const say = (what: Stale) => {
    for (const { key, listener } of [...stale]) {
      if (!key || what.keys.some(named => concerns(named, key))) listener(what);
    }
  };
  const followers = (name?: string) => [...channels].filter(one => name === undefined || one.name === name);

  const realtime = {
    onRevalidate: (key: KeyLike | ((stale: Stale) => void), listener?: (stale: Stale) => void) =>
      typeof key === 'function'
        ? add(stale, { key: undefined, listener: key })
        : add(stale, { key: toKey(key), listener: listener! }),
    channel: (name: string, handlers: Heard | Heard['onMessage'], options?: { since?: string | undefined }) => {
      subscribed++;
      return add(channels, {
        name,
        since: options?.since,
        handlers: typeof handlers === 'function' ? { onMessage: handlers } : handlers!,
      });
    },
    record: () => () => {},
    resource: () => () => {},
    invalidate: (key: KeyLike) => say({ keys: [toKey(key)], own: true }),
    fetch: (input: RequestInfo | URL, init?: RequestInit) => fetch(input, init),
    status: { subscribe: (listener: () => void) => add(watchers, listener), getSnapshot: () => status },
    presence: (name: string) => ({
      ...of(present, name, NOBODY),
      update: async (meta: unknown) => void told.push(['update', name, meta]),
    }),
    typing: (name: string) => ({
      ...of(typing, name, []),
      start: () => void told.push(['start', name]),
      stop: () => void told.push(['stop', name]),
    }),
    connect: () => {},
    disconnect: () => {},
  };

  return {
    realtime: realtime as unknown as Realtime<S>,
    stale: (...keys) => say({ keys: keys.map(toKey), own: false }),
    gap: (reason = 'evicted') => say({ keys: [[]], own: false, gap: reason }),
    listeners: () => stale.size,
    followers,
    subscribed: () => subscribed,
    connect: (name, resumed) => followers(name).forEach(one => one.handlers.onConnect?.({ resumed })),
    deny: (name, code) => followers(name).forEach(one => one.handlers.onError?.({ code })),
    lose: (name, reason = 'evicted') => followers(name).forEach(one => one.handlers.onGap?.({ reason })),
    publish: (name, event, data) => {
      const message = { channel: name, event, data, id: `e-${(offset++).toString(16)}` };
      followers(name).forEach(one => one.handlers.onMessage?.(message));
    },
    setStatus: now => {
      status = now;
      [...watchers].forEach(watcher => watcher());
    },
    present: (name, state) => of(present, name, NOBODY).set({ ...NOBODY, ready: true, ...state }),
    type: (name, typists) => of(typing, name, []).set(typists),
    watched: () => [...present, ...typing].flatMap(([name, store]) => (store.isWatched() ? [name] : [])),
    told,
  };
}
