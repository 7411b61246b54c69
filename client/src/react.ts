'use client';
/**
 * React (18 and later): the connection, channels and live queries as hooks.
 *
 * ```tsx
 * export const { RealtimeProvider, useChannel, useStream } = createHooks<App>(); // typed by the app's channels
 *
 * <RealtimeProvider realtime={realtime}>…</RealtimeProvider>
 *
 * const { data: messages = [], isConnected } = useStream('room:42', { initial: () => fetchMessages(42) });
 * useRevalidate('posts.list', () => router.refresh());
 * ```
 *
 * Callbacks may be written inline: a new function on each render changes no subscription. In StrictMode everything
 * is subscribed to once. On a server the hooks subscribe to nothing and return their first state.
 */

import {
  createContext,
  createElement,
  useContext,
  useEffect,
  useInsertionEffect,
  useMemo,
  useRef,
  useSyncExternalStore,
} from 'react';
import type { ReactElement, ReactNode } from 'react';
import { channelStore, streamStore, UNFOLLOWED, UNSTREAMED } from './channel-store';
import type { ChannelState, StreamOptions, StreamState } from './channel-store';
import { foldRecords } from './fold';
import { canonical, toKey } from './keys';
import { liveQuery } from './live-query';
import type { LiveQueryOptions, LiveQueryState } from './live-query';
import { NOBODY } from './presence';
import type {
  AnySchema,
  ChannelHandlers,
  ChannelOf,
  ChannelOptions,
  Key,
  KeyLike,
  Message,
  Presence,
  PresenceState,
  Realtime,
  Schema,
  Stale,
  Status,
  Store,
  Typing,
  Typist,
} from './types';

export { foldRecords };
export type { ChannelState, LiveQueryOptions, LiveQueryState, StreamOptions, StreamState };

const Context = createContext<Realtime | undefined>(undefined);

const IDLE: Status = { state: 'idle' };
const NO_TYPISTS: readonly Typist[] = [];
const NO_QUERY: LiveQueryState<never> = { data: undefined, error: undefined, isLoading: false, isFetching: false };

/** What was rendered last; for callbacks that must not be a reason to subscribe anew. */
function useLatest<T>(value: T): { readonly current: T } {
  const ref = useRef(value);
  // Not in render, which may be thrown away. No layout effect: it warns on a server in React 18.
  useInsertionEffect(() => {
    ref.current = value;
  });
  return ref;
}

const never = () => () => {};

/** The state of a store, or of none. The server renders what the first render in the browser will. */
function useStore<T>(store: Store<T> | null, none: T): T {
  const read = store ? store.getSnapshot : () => none;
  return useSyncExternalStore(store ? store.subscribe : never, read, read);
}

/** Gives the connection to the hooks below it. It neither opens nor closes it. */
export function RealtimeProvider<S extends Schema>(props: {
  readonly realtime: Realtime<S>;
  readonly children?: ReactNode;
}): ReactElement {
  return createElement(Context.Provider, { value: props.realtime as unknown as Realtime }, props.children);
}

/** The connection of the nearest `RealtimeProvider`. */
export function useRealtime<S extends Schema = AnySchema>(): Realtime<S> {
  const realtime = useContext(Context);
  if (!realtime) throw new Error('there is no <RealtimeProvider> around this component');
  return realtime as unknown as Realtime<S>;
}

/** Where the connection stands: for a badge. `idle` on a server and while the page hydrates. */
export function useRealtimeStatus(): Status {
  const { status } = useRealtime();
  return useSyncExternalStore(status.subscribe, status.getSnapshot, () => IDLE);
}

/** Calls back when `key`, or a prefix of it, became stale. `null`: not now. */
export function useRevalidate(key: KeyLike | null, onStale: (stale: Stale) => void): void {
  const realtime = useRealtime();
  const latest = useLatest({ key, onStale });
  const text = key && canonical(toKey(key));
  useEffect(() => {
    const { key } = latest.current;
    return key === null ? undefined : realtime.onRevalidate(key, stale => latest.current.onStale(stale));
    // The text stands for the key, which may be a new array each time.
  }, [realtime, text, latest]);
}

/**
 * Follows a channel while the component is mounted; `null`: none. `isConnected` once the server has acknowledged it.
 * A change of `since` alone subscribes to nothing anew.
 */
export function useChannel<S extends Schema = AnySchema, C extends ChannelOf<S> = ChannelOf<S>>(
  name: C | null,
  handlers: ChannelHandlers<Message<S, C>> | ((message: Message<S, C>) => void),
  options?: ChannelOptions,
): ChannelState {
  const realtime = useRealtime<S>();
  const latest = useLatest(typeof handlers === 'function' ? { onMessage: handlers } : handlers);
  const store = useMemo(
    () => (name === null ? null : channelStore<S, C>(realtime, name, () => latest.current, options)),
    [realtime, name, latest],
  );
  return useStore(store, UNFOLLOWED);
}

/**
 * What a channel has said so far, folded: by default records by `id` and `version` into the array that `initial` is or
 * loads, and without `initial` the last payload. `null`: no channel. See {@link StreamOptions}.
 */
export function useStream<T, S extends Schema = AnySchema, C extends ChannelOf<S> = ChannelOf<S>>(
  name: C | null,
  options: StreamOptions<T, Message<S, C>> = {},
): StreamState<T> {
  const realtime = useRealtime<S>();
  const latest = useLatest(options);
  const store = useMemo(
    () => (name === null ? null : streamStore<T, S, C>(realtime, name, firstThen(options, () => latest.current))),
    [realtime, name, latest],
  );
  return useStore<StreamState<T>>(store, UNSTREAMED);
}

/** The options of this render, before they are the latest. */
function firstThen<T>(first: T, then: () => T): () => T {
  let get = () => {
    get = then;
    return first;
  };
  return () => get();
}

/**
 * A query that is read anew whenever it became stale, uncached; for apps without TanStack Query or SWR. `null`: none.
 * What `fetcher` closes over belongs into `key`.
 */
export function useLiveQuery<T>(
  key: KeyLike | null,
  fetcher: (key: Key) => T | Promise<T>,
  options?: LiveQueryOptions<T>,
): LiveQueryState<T> & { readonly refetch: () => Promise<void> } {
  const realtime = useRealtime();
  const latest = useLatest(fetcher);
  const text = key && canonical(toKey(key));
  const query = useMemo(
    () => (key === null ? null : liveQuery<T>(realtime, key, segments => latest.current(segments), options)),
    [realtime, text, latest],
  );
  const state = useStore<LiveQueryState<T>>(query, NO_QUERY);
  return useMemo(() => ({ ...state, refetch: query?.refetch ?? nothing }), [state, query]);
}

/** What all components share has a state already when a part of the page hydrates late. The server had none. */
function useShared<T>(store: Store<T> | null, none: T): T {
  return useSyncExternalStore(store?.subscribe ?? never, store?.getSnapshot ?? (() => none), () => none);
}

/**
 * Who is present in a channel; oneself too, while the component is mounted, where one is signed in. `null`: none.
 * `update(meta)` tells the others something about oneself, once `ready`.
 */
export function usePresence<Info = unknown, Meta = unknown>(
  name: string | null,
): PresenceState<Info, Meta> & Pick<Presence<Info, Meta>, 'update'> {
  const realtime = useRealtime();
  const presence = useMemo(() => (name === null ? null : realtime.presence<Info, Meta>(name)), [realtime, name]);
  const state = useShared(presence, NOBODY as PresenceState<Info, Meta>);
  return useMemo(() => ({ ...state, update: presence?.update ?? nothing }), [state, presence]);
}

/** Who is typing, by the name of the channel that says it (`room:1:typing`), and to say so oneself. `null`: none. */
export function useTyping(
  name: string | null,
): { readonly typists: readonly Typist[] } & Pick<Typing, 'start' | 'stop'> {
  const realtime = useRealtime();
  const typing = useMemo(() => (name === null ? null : realtime.typing(name)), [realtime, name]);
  const typists = useShared(typing, NO_TYPISTS);
  return useMemo(() => ({ typists, start: typing?.start ?? ignore, stop: typing?.stop ?? ignore }), [typists, typing]);
}

const ignore = () => {};
const nothing = async () => {};

/** The hooks of an app whose channels are typed by `S`. */
export interface Hooks<S extends Schema> {
  readonly RealtimeProvider: (props: {
    readonly realtime: Realtime<S>;
    readonly children?: ReactNode;
  }) => ReactElement;
  readonly useRealtime: () => Realtime<S>;
  readonly useRealtimeStatus: typeof useRealtimeStatus;
  readonly useRevalidate: typeof useRevalidate;
  readonly useChannel: <C extends ChannelOf<S>>(
    name: C | null,
    handlers: ChannelHandlers<Message<S, C>> | ((message: Message<S, C>) => void),
    options?: ChannelOptions,
  ) => ChannelState;
  readonly useStream: <C extends ChannelOf<S>, T = unknown>(
    name: C | null,
    options?: StreamOptions<T, Message<S, C>>,
  ) => StreamState<T>;
  readonly useLiveQuery: typeof useLiveQuery;
  readonly usePresence: typeof usePresence;
  readonly useTyping: typeof useTyping;
}

/** The hooks above, typed by the app's channels; they are the same functions, and share one provider. */
export const createHooks = <S extends Schema = AnySchema>(): Hooks<S> =>
  ({
    RealtimeProvider,
    useRealtime,
    useRealtimeStatus,
    useRevalidate,
    useChannel,
    useStream,
    useLiveQuery,
    usePresence,
    useTyping,
  }) as unknown as Hooks<S>;
