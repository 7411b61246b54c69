/** Channels as stores, without a framework: whether one is followed, and what is folded out of it. */

import { foldRecords } from './fold';
import { lazyStore } from './lazy-store';
import { createReader } from './reader';
import type { AnySchema, ChannelHandlers, ChannelOf, ChannelOptions, Message, Realtime, Schema, Store } from './types';

/** How it stands with a channel. */
export interface ChannelState {
  /** The server has acknowledged the subscription, and the stream is open. */
  readonly isConnected: boolean;
  /** The server does not let this user follow the channel (`accessdenied`), or it is no name (`malformed`). */
  readonly denied: { readonly code: string } | undefined;
}

/** {@link ChannelState} of no channel. */
export const UNFOLLOWED: ChannelState = { isConnected: false, denied: undefined };

/** Follows a channel while the store is watched. `handlers` is asked at each call, and not called once nobody watches. */
export function channelStore<S extends Schema, C extends ChannelOf<S>>(
  realtime: Realtime<S>,
  name: C,
  handlers: () => ChannelHandlers<Message<S, C>>,
  options: ChannelOptions = {},
): Store<ChannelState> {
  const store = lazyStore(UNFOLLOWED, () => {
    let isAcknowledged = false;
    let denied: ChannelState['denied'];
    const update = () => {
      const isConnected = isAcknowledged && /^(open|degraded)$/.test(realtime.status.getSnapshot().state);
      const now = store.getSnapshot();
      if (now.isConnected !== isConnected || now.denied !== denied) store.set({ isConnected, denied });
    };
    const told = (tell: (to: ChannelHandlers<Message<S, C>>) => void) => {
      if (store.isWatched()) tell(handlers());
    };
    const offs = [
      realtime.status.subscribe(update),
      realtime.channel(
        name,
        {
          onMessage: message => told(to => to.onMessage?.(message)),
          onConnect: opened => {
            isAcknowledged = true;
            denied = undefined;
            update();
            told(to => to.onConnect?.(opened));
          },
          onGap: gap => told(to => to.onGap?.(gap)),
          onError: refusal => {
            isAcknowledged = false;
            denied = refusal;
            update();
            told(to => to.onError?.(refusal));
          },
        },
        options,
      ),
    ];
    return () => {
      offs.forEach(off => off());
      store.set(UNFOLLOWED);
    };
  });
  return store;
}

/** What a stream shows. */
export interface StreamState<T> extends ChannelState {
  /** What was loaded and everything heard since; undefined before. */
  readonly data: T | undefined;
  /** What the last load failed with. It is tried again by itself. */
  readonly error: unknown;
  /** `initial` was not loaded yet. */
  readonly isLoading: boolean;
  /** Messages were missed, and `data` may lack them: until it was loaded anew, or for good where it cannot be. */
  readonly isStale: boolean;
}

/** Options of a stream. */
export interface StreamOptions<T, M> {
  /**
   * What the messages are folded into, or a function that loads it. It is called once the server has acknowledged the
   * subscription, so that nothing falls between the two, and again whenever messages were missed. Without it the
   * state is the last payload.
   */
  readonly initial?: T | (() => T | Promise<T>) | undefined;
  /**
   * The state after a message. At the border of `initial` a message may be heard that `initial` holds already, so it
   * must not matter. Default: records by `id` and `version` into an array; else the payload is the new state.
   */
  readonly reduce?: ((state: T, message: M) => T) | undefined;
  /** The cursor of `initial`, where that is a value: see `ChannelOptions.since`. */
  readonly since?: string | undefined;
}

/** {@link StreamState} of no channel. */
export const UNSTREAMED: StreamState<never> = {
  ...UNFOLLOWED,
  data: undefined,
  error: undefined,
  isLoading: false,
  isStale: false,
};

/** How long, in ms, the server may take to acknowledge before `initial` is loaded without it. */
const PATIENCE = 1_000;

const latest = <T>(_: T, { data }: { readonly data: unknown }) => data as T;

/** Folds a channel while the store is watched. `options` is asked for `initial` and `reduce` at each call. */
export function streamStore<T, S extends Schema = AnySchema, C extends ChannelOf<S> = ChannelOf<S>>(
  realtime: Realtime<S>,
  name: C,
  options: () => StreamOptions<T, Message<S, C>>,
): Store<StreamState<T>> {
  const { initial: first, since } = options();
  const isLoaded = typeof first === 'function';
  let hasData = false;
  // What came while the load was under way, which may or may not hold it.
  let meanwhile: Message<S, C>[] | undefined;

  const reduce = (state: T, message: Message<S, C>): T => {
    const { initial, reduce = initial === undefined ? latest : foldRecords } = options();
    return reduce(state, message as Message<S, C> & { event: string; data: unknown });
  };

  const store = lazyStore<StreamState<T>>(
    { ...UNSTREAMED, data: isLoaded ? undefined : (first as T | undefined), isLoading: isLoaded },
    () => {
      hasData = false;
      let patience: ReturnType<typeof setTimeout> | undefined;
      const load = () => {
        clearTimeout(patience);
        if (isLoaded) void (hasData ? reader.demand() : reader.now());
        update({ isStale: isLoaded ? hasData : first !== undefined });
      };
      const channel = channelStore<S, C>(
        realtime,
        name,
        () => ({
          onMessage: message => {
            meanwhile?.push(message);
            if (!isLoaded || hasData) update({ data: reduce(store.getSnapshot().data as T, message) });
          },
          onConnect: ({ resumed }) => {
            if (!resumed || (isLoaded && !hasData)) load();
          },
          onGap: load,
          onError: () => {
            clearTimeout(patience);
            update({ isLoading: false });
          },
        }),
        { since },
      );
      // First: a channel that others follow already may be acknowledged at once.
      if (isLoaded) patience = setTimeout(() => void reader.now(), PATIENCE);
      const off = channel.subscribe(() => update(channel.getSnapshot()));
      return () => {
        off();
        clearTimeout(patience);
        reader.stop();
        meanwhile = undefined;
        update(UNFOLLOWED);
      };
    },
  );
  const update = (changed: Partial<StreamState<T>>) => store.set({ ...store.getSnapshot(), ...changed });

  const reader = createReader<T>(() => (options().initial as () => T | Promise<T>)(), {
    onStart: () => {
      meanwhile = [];
    },
    onData: loaded => {
      const data = (meanwhile ?? []).reduce(reduce, loaded);
      hasData = true;
      meanwhile = undefined;
      update({ data, error: undefined, isLoading: false, isStale: false });
    },
    onError: error => {
      meanwhile = undefined;
      update({ error, isLoading: false });
    },
  });
  return store;
}
