/** The public vocabulary. The words are those of the Rust crate's documentation. */

/** What JSON can say. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

/** A query key: segments. A key concerns every query whose own key begins with it, by whole segments; `[]` all. */
export type Key = readonly unknown[];

/** A key, or its dotted form: `'posts.list'` is `['posts', 'list']`. */
export type KeyLike = Key | string;

/** Undoes a subscription. Calling it twice does nothing. */
export type Unsubscribe = () => void;

/** A value that can be watched, in the shape that React's `useSyncExternalStore` takes. */
export interface Store<T> {
  /** Calls `listener` after each change. */
  readonly subscribe: (listener: () => void) => Unsubscribe;
  /** The value now; the same object until it changes. */
  readonly getSnapshot: () => T;
}

/** Where the connection stands. */
export interface Status {
  /**
   * - `idle`: nobody has asked for anything yet, or `enabled` is false.
   * - `connecting`: a stream is being opened.
   * - `open`: live.
   * - `degraded`: open, but the server itself does not hear all news at the moment (`live: false`).
   * - `waiting`: between two attempts; see `retryAt`.
   * - `paused`: the browser is offline; goes on by itself.
   * - `closed`: given up (see `reason`), or `disconnect()`. Only `connect()` opens it again, or another page.
   */
  readonly state: 'idle' | 'connecting' | 'open' | 'degraded' | 'waiting' | 'paused' | 'closed';
  /** Why, where there is a reason: `http 403`, `silence`, `unauthorized`, a reason of the server's `bye` … */
  readonly reason?: string | undefined;
  /** When the next attempt is due, in ms since the epoch; in `waiting`. */
  readonly retryAt?: number | undefined;
}

/** Keys that became stale. */
export interface Stale {
  /** `[[]]`: everything. */
  readonly keys: readonly Key[];
  /** True when a request that this page made with `realtime.fetch` or `realtime.emit` changed them. */
  readonly own: boolean;
  /**
   * Set when it is not known what changed, and everything may be stale: the server's reason (`evicted`, `unknown`,
   * `ahead`, `grant`, `epoch`), or `fresh`: the stream begins after data of this page was fetched.
   */
  readonly gap?: string;
}

/**
 * What is said on the app's channels: from a channel's name to its events, from an event's name to its data.
 *
 * ```ts
 * interface App {
 *   announcements: { announcement: { text: string } };
 *   [room: `room:${string}`]: { new_message: { text: string; sender: string } };
 * }
 * const realtime = createRealtime<App>();
 * ```
 */
export type Schema = object;

/** The names of a schema's channels. */
export type ChannelOf<S extends Schema> = keyof S & string;

type Events<S extends Schema, C extends string> = C extends keyof S ? S[C] : never;

/** A message on a channel; of a schema, the union of what that channel says. */
export type Message<S extends Schema = AnySchema, C extends string = string> = {
  [E in keyof Events<S, C> & string]: {
    readonly channel: C;
    readonly event: E;
    /** As it was published, also `0`, `false`, `""` and `null`. */
    readonly data: Events<S, C>[E];
    /** Its cursor; equal for the same message only. */
    readonly id?: string;
  };
}[keyof Events<S, C> & string];

/** Every channel, any event, any data. */
export interface AnySchema {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  [channel: string]: { [event: string]: any };
}

/** What a subscriber of a channel hears. */
export interface ChannelHandlers<M> {
  /** A message, in order. */
  onMessage?(message: M): void;
  /**
   * The server has acknowledged the subscription; once a subscription. `resumed` is true when everything after the
   * cursor that the page held, or after `since`, follows. Otherwise what was fetched before may lack messages.
   */
  onConnect?(opened: { readonly resumed: boolean }): void;
  /** Messages were missed, and cannot be had again: refetch what they are folded into. */
  onGap?(gap: { readonly reason: string }): void;
  /** The server does not let this user follow the channel (`accessdenied`), or it is no name (`malformed`). */
  onError?(denied: { readonly code: string }): void;
}

/** Options of a subscription. */
export interface ChannelOptions {
  /**
   * The cursor of the data that the messages are folded into: the `X-Revalidate-Cursor` of its response, or
   * `hub.cursor()` of the server. What was published since is delivered.
   */
  since?: string | undefined;
}

/** A record that was created, updated or deleted; what `record` and `resource` deliver. */
export interface DataChangeEvent<T = unknown> {
  readonly operation: 'create' | 'update' | 'delete';
  readonly id: string | number;
  /** Absent when it was deleted. */
  readonly data?: T;
  /** Rises with each change of the record, where the server says it. */
  readonly version?: number;
}

/** Somebody who is present in a channel: a user, with however many tabs. */
export interface PresenceUser<Info = unknown, Meta = unknown> {
  readonly userId: string;
  /** What the server tells of the user. */
  readonly info?: Info;
  /** What the user said with `update`. */
  readonly meta?: Meta;
}

/** Who is present in a channel. */
export interface PresenceState<Info = unknown, Meta = unknown> {
  /** Sorted by `userId`, with oneself; in a channel of more than 200, by default, some of them. */
  readonly users: readonly PresenceUser<Info, Meta>[];
  /** How many there are. */
  readonly count: number;
  /** There are more than `users`. */
  readonly more: boolean;
  /** The server has said who is there. It stays while the connection is lost for a while, and `users` with it. */
  readonly ready: boolean;
  /** The server does not let this user in: `accessdenied`, `malformed`, or what the app refused with. */
  readonly denied: { readonly code: string } | undefined;
}

/** Who is present in a channel; its watchers are present themselves, where they are signed in. */
export interface Presence<Info = unknown, Meta = unknown> extends Store<PresenceState<Info, Meta>> {
  /**
   * Tells the others `meta` about oneself, in place of what was told before; `null`: nothing. Not before `ready`: who is
   * not present is refused with the code `notpresent`.
   */
  readonly update: (meta: Meta | null) => Promise<void>;
}

/** Somebody who is typing. */
export interface Typist {
  readonly userId: string;
  readonly userName: string;
}

/** Who is typing in a channel, without oneself. */
export interface Typing extends Store<readonly Typist[]> {
  /** Oneself is: to be called at each keystroke, of which one in 2 s is sent. Ends 4 s after the last. */
  readonly start: () => void;
  /** Oneself is not any more: what was typed is sent, or gone. */
  readonly stop: () => void;
}

/** What `realtime.fetch` takes beside the platform's own. */
export interface RealtimeRequestInit extends RequestInit {
  /** Do not tell this page's callbacks what this very request made stale: the page shows it already. */
  skipOwn?: boolean;
}

/** How attempts follow each other. Each waits uniform(0, min(`max`, `initial` × 2ⁿ)): "full jitter". */
export interface Backoff {
  /** In ms; default 1 000. */
  initial?: number;
  /** In ms; default 30 000. */
  max?: number;
  /** Failures in a row after which it gives up; default: never, or what the server says in `hello`. */
  maxAttempts?: number;
}

/** Options of `createRealtime`. */
export interface RealtimeOptions {
  /**
   * Where the service is mounted. Default: the directory of `client.js` where the crate serves it, else `/realtime`.
   */
  url?: string | URL | undefined;
  /** Headers for the stream and for `emit`, asked for before every attempt: `{ authorization: … }`. Never in the URL. */
  headers?: (() => HeadersInit | Promise<HeadersInit>) | undefined;
  /**
   * The server answered 401. Refresh the credentials, within 10 s; the stream, or what was emitted, is tried once more,
   * unless this returns `false` or throws. Without it, or at a second 401, the connection is closed. Where the user has
   * to sign in again, return `false`, and call `connect()` afterwards.
   */
  onUnauthorized?: (() => unknown) | undefined;
  /**
   * One connection for all tabs of this browser, in a SharedWorker. Default: true, unless `headers` is given without
   * `identity`: then it is not known whether two tabs are the same user.
   */
  share?: boolean | undefined;
  /**
   * Whose connection it is: the user's id. Tabs of different identities never share. With cookies it may be left out;
   * each new tab then has the shared stream opened anew, with the cookies of now.
   */
  identity?: string | undefined;
  /** How attempts follow each other; `false`: the first failure closes the connection. */
  backoff?: Backoff | false | undefined;
  /** False: nothing is requested until `connect()`. Default true. */
  enabled?: boolean | undefined;
  /** True: log to the console; or a function that takes what would be logged. */
  debug?: boolean | ((...what: unknown[]) => void) | undefined;
  /**
   * The cursor of a page that the server rendered: `hub.cursor()`, taken before its queries. Empty: it shows data of an
   * unknown age, so that the first stream counts as a gap, whatever `fetch` brought.
   */
  cursor?: string | undefined;
  /** Of the stream and of `emit`; default `same-origin`. `include` for a mount of another origin with cookies. */
  credentials?: RequestCredentials | undefined;
}

/** The connection, of `createRealtime`. Its functions need no `this`. */
export interface Realtime<S extends Schema = AnySchema> {
  /**
   * Calls back when `key`, or a prefix of it by whole segments, became stale, and whenever everything may have; with
   * no key, at every revalidation. Not before the random part of the server's `spreadMs` has passed.
   */
  readonly onRevalidate: {
    (key: KeyLike, listener: (stale: Stale) => void): Unsubscribe;
    (listener: (stale: Stale) => void): Unsubscribe;
  };

  /** Follows a channel. Subscribers of one channel share it; it is let go a second after the last one left. */
  readonly channel: <C extends ChannelOf<S>>(
    name: C,
    handlers: ChannelHandlers<Message<S, C>> | ((message: Message<S, C>) => void),
    options?: ChannelOptions,
  ) => Unsubscribe;

  /** Follows the changes of one record: the channel `record:{resource}:{id}`. */
  readonly record: <T = unknown>(
    resource: string,
    id: string | number,
    listener: (change: DataChangeEvent<T>) => void,
  ) => Unsubscribe;

  /** Follows the changes of all records of a resource: the channel `resource:{name}`. */
  readonly resource: <T = unknown>(name: string, listener: (change: DataChangeEvent<T>) => void) => Unsubscribe;

  /**
   * Sends an event to the server's handler for the channel: a request of its own, which waits for no stream. Resolves
   * with the handler's answer; rejects with an `EmitError`: its `status`, `code` and `message` are the server's.
   */
  readonly emit: <T = unknown>(channel: string, event: string, data?: unknown) => Promise<T>;

  /**
   * Who is present in a channel. Whoever watches it is, until a second after the last watcher of the page left; the
   * server lets a user go some seconds after the last page did. It does not follow the channel.
   */
  readonly presence: <Info = unknown, Meta = unknown>(name: string) => Presence<Info, Meta>;

  /** Who is typing, by the name of the channel that says it: `room:1:typing`. It is followed while it is watched. */
  readonly typing: (name: string) => Typing;

  /** Calls the callbacks of this page as if the server had said that `key` is stale. */
  readonly invalidate: (key: KeyLike) => void;

  /**
   * The platform's `fetch`, for the app's own requests: it remembers the cursor of what the page holds, so that the
   * stream begins there, and marks what changes data, so that callbacks learn `own`. To other origins it is `fetch`.
   */
  readonly fetch: (input: RequestInfo | URL, init?: RealtimeRequestInit) => Promise<Response>;

  /** Where the connection stands. */
  readonly status: Store<Status>;

  /** Opens the connection after `enabled: false`, `disconnect()`, or when it was given up. */
  readonly connect: () => void;

  /** Closes the connection for good, until `connect()`. Subscriptions stay. */
  readonly disconnect: () => void;
}
