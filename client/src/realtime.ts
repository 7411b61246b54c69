/** A page's end of the connection: who wants to hear what, and what the page holds already. */

import { createCredentials } from './credentials';
import { compare } from './cursor';
import { createEmit } from './emit';
import { createFetch } from './fetch';
import { guard } from './guard';
import { concerns, toKey } from './keys';
import { openLink, type Link } from './link';
import { pageLife, type Wake } from './page-life';
import { createPresence } from './presence';
import { PRESENCE, type Config, type Follow, type ToTab } from './protocol';
import { createSpread } from './spread';
import { createTyping } from './typing';
import type {
  AnySchema,
  ChannelHandlers,
  ChannelOptions,
  DataChangeEvent,
  Key,
  KeyLike,
  Message,
  Realtime,
  RealtimeOptions,
  Schema,
  Stale,
  Status,
  Store,
} from './types';

/** How long what nobody listens to any more is kept: React's StrictMode and page changes come back at once. */
const LINGER_MS = 1_000;
/** A request is followed by what it is for within this time. */
const HELD_MS = 10_000;
/** How long the first stream waits for the page's first requests, to begin at their cursors. */
const FIRST_MS = 2_000;

interface Subscriber {
  /** The cursor of what it has, if it said so. */
  since: string | undefined;
  /** It heard `onConnect`, and no denial since. */
  told?: boolean;
}

interface Followed {
  handlers: Map<ChannelHandlers<any>, Subscriber>;
  /** From where on it is asked for; then its last message. */
  since: string | undefined;
  /** What the page held when it was asked for. */
  held?: string | undefined;
  asked?: boolean;
  open?: boolean;
  /** Messages after `since` are missing, and those who were there were told. */
  lost?: boolean;
  denied?: { code: string };
  lingers?: ReturnType<typeof setTimeout>;
}

/** A connection to the hub mounted at `url`. It opens when something is asked for, and not before. */
export const createRealtime = <S extends Schema = AnySchema>(options: RealtimeOptions = {}): Realtime<S> => {
  // An empty one is nobody's, as of a page that knows no user.
  const { headers, identity, share = !headers || !!identity, debug, onUnauthorized } = options;
  const mode = options.credentials ?? 'same-origin';
  const backoff = options.backoff === false ? { maxAttempts: 0 } : options.backoff;
  const mount = new URL(options.url ?? mounted(), globalThis.location?.href ?? 'http://localhost').href.replace(/\/+$/, '');
  const log = (...what: unknown[]) =>
    typeof debug === 'function' ? debug(...what) : debug && console.debug('[realtime]', ...what);

  const keys = new Set<{ key: Key | undefined; listener: (stale: Stale) => void }>();
  const channels = new Map<string, Followed>();
  const watchers = new Set<() => void>();

  let enabled = options.enabled ?? true;
  let status: Status = { state: 'idle' };
  let link: Link | undefined;
  let joined = false;
  /** The newest join, and the one that was answered last. */
  let joins = 0;
  let admitted = 0;
  /** Not while the page is frozen, or in the browser's back-forward cache. */
  let awake = true;
  /** All up to it came, or was told to be missing; none yet. */
  let cursor = options.cursor;
  let live = false;
  /** Where what it hears begins. */
  let start: string | undefined;
  let scheduled: ReturnType<typeof setTimeout> | undefined;
  let letGo: ReturnType<typeof setTimeout> | undefined;
  let firstSince = 0;

  // --- What the page holds -----------------------------------------------------------------------------------

  let oldest: string | undefined;
  let fetchedAt = 0;

  const hold = (other: string, early: boolean) => {
    if (!held()) oldest = undefined;
    fetchedAt = Date.now();
    // Of two without an order the older: the server will say that it is none of its own.
    if (!oldest || compare(other, oldest) < 0) oldest = other;
    // It was on its way when the stream began, and may have been read before.
    if (early && live && !(compare(other, start) >= 0)) stale([[]], 0, false, 'fresh');
  };

  const requests = createFetch(mount, () => !live, hold, () => scheduled && change());
  const credentials = createCredentials(options, log);

  /** The cursor of what the page has just fetched; of all that it holds, before it hears anything. */
  const held = () => {
    if (live) return Date.now() - fetchedAt < HELD_MS ? oldest : undefined;
    // Some of it is older than anybody knows.
    return cursor === '' ? undefined : lower(oldest, cursor);
  };

  // --- To the relay ------------------------------------------------------------------------------------------

  const config = (): Config => ({
    url: mount,
    credentials: mode,
    headers: !!headers,
    unauthorized: !!onUnauthorized,
    initial: backoff?.initial ?? 1_000,
    max: backoff?.max ?? 30_000,
    maxAttempts: backoff?.maxAttempts,
    anonymous: !identity,
  });

  const follows = (): Follow[] => [
    ['', live ? cursor : joined ? start : (start = held())],
    ...[...channels].map(([name, followed]): Follow => {
      if (!followed.asked) {
        followed.asked = true;
        followed.held = held();
        const has = [...followed.handlers.values()].reduce((least, { since }) => lower(least, since), followed.held);
        followed.since = has ?? followed.since;
      }
      return [name, name.startsWith(PRESENCE) ? undefined : place(followed)];
    }),
  ];

  /** What it has: all up to the cursor, and what came above it, before a stream that began lower took the place. */
  const place = ({ open, since }: Followed) => (open && !(compare(since, cursor) > 0) ? cursor : since);

  /** Something changed: join, say what is wanted now, or leave. Once for all that changes in a moment. */
  const change = () => {
    clearTimeout(scheduled);
    scheduled = setTimeout(() => {
      if (!joined && requests.inFlight() && Date.now() - firstSince < FIRST_MS) return change();
      scheduled = undefined;
      tell();
    }, joined ? 0 : 10);
  };

  const wanted = () => keys.size > 0 || channels.size > 0;

  const tell = () => {
    if (!enabled || !awake || !wanted() || (!joined && status.state === 'closed')) return leave();
    link ??= openLink(
      share ? { url: `${mount}/${__WORKER__}`, name: `tower-revalidate ${__VERSION__} ${identity ?? ''} ${mount}` } : undefined,
      receive,
      () => joined && ((joined = false), tell()),
    );
    const wants = { follows: follows() };
    link.send(joined ? { t: 'want', ...wants } : { t: 'join', n: ++joins, config: config(), ...wants });
    joined = true;
  };

  const leave = () => {
    if (!joined) return;
    joined = false;
    for (const followed of channels.values()) {
      followed.since = place(followed);
      followed.open = false;
    }
    link!.send({ t: 'leave' });
    // A page that comes back from the cache is as good as a new one.
    if (!awake || status.state !== 'closed') become({ state: awake ? 'idle' : 'paused' });
  };

  const become = (next: Status) => {
    if (JSON.stringify(next) === JSON.stringify(status)) return;
    log('status', next);
    status = next;
    watchers.forEach((watcher) => guard(watcher));
  };

  // --- From the relay ----------------------------------------------------------------------------------------

  const receive = (message: ToTab) => {
    if (message.t === 'ask') return answer(message.n, message.what);
    if (message.t === 'joined') admitted = message.n;
    // What was on its way while this page had left: some of it was missed, and all is told anew.
    if (!joined || admitted !== joins) return;
    if (message.t !== 'status') log(message.t, message);
    // What comes before the first `open` is of what the page lacks; till then it holds what it held.
    if ((live || message.t === 'open') && 'cursor' in message && message.cursor) cursor = message.cursor;
    if (message.t === 'status') become(message.status);
    else if (message.t === 'revalidate') {
      const { keys, origin, spreadMs } = message;
      const own = requests.made(origin);
      if (own !== 'skip') stale(keys, spreadMs, !!own);
    } else if (message.t === 'message') {
      const { t, cursor, ...said } = message;
      const followed = channels.get(said.channel);
      // Not open: for a subscription before this one, and still on its way.
      if (!followed?.open) return;
      if (said.id) Object.assign(followed, { since: said.id, lost: false });
      toEach(said.channel, 'onMessage', said as Message);
    } else if (message.t === 'gap') gap(message.reason, message.spreadMs, message.channels);
    else if (message.t === 'open') {
      for (const [name, resumed] of message.opened) opened(name, resumed, message);
    } else if (message.t === 'denied') {
      for (const { channel, code } of message.denied) {
        const followed = channels.get(channel);
        if (!followed || followed.denied?.code === code) continue;
        followed.since = followed.held = undefined;
        followed.open = false;
        followed.denied = { code };
        for (const subscriber of followed.handlers.values()) subscriber.told = false;
        toEach(channel, 'onError', followed.denied);
      }
    }
  };

  const opened = (name: string, resumed: boolean, { now, spreadMs }: { now: string | undefined; spreadMs: number }) => {
    if (!name) {
      const again = live;
      live = true;
      if (!resumed) start = cursor;
      // Or something was fetched meanwhile that is older than where it begins.
      if (!resumed || compare(oldest, start) < 0) stale([[]], spreadMs, false, again ? 'missed' : 'fresh');
      return;
    }
    const followed = channels.get(name);
    if (!followed) return;
    const { handlers, since, held } = followed;
    followed.open = true;
    delete followed.denied;
    if (!resumed) followed.since = now;
    let again = false;
    for (const [{ onConnect }, subscriber] of [...handlers]) {
      again ||= !!subscriber.told;
      if (subscriber.told) continue;
      subscriber.told = true;
      guard(() => onConnect?.({ resumed: resumed && compare(subscriber.since ?? held, since) >= 0 }));
    }
    if (again && !resumed) gap('missed', spreadMs, [name]);
  };

  const answer = async (n: number, what: 'headers' | 'unauthorized') => {
    try {
      link!.send({ t: 'reply', n, value: await (what === 'headers' ? credentials.headers() : credentials.renew()) });
    } catch (error) {
      log(what, error);
      link!.send({ t: 'reply', n, error: true });
    }
  };

  // --- To the app --------------------------------------------------------------------------------------------

  const spread = createSpread(
    (stale) => notify(stale),
    (name, reason) => toEach(name, 'onGap', { reason }),
  );

  const stale = (which: readonly Key[], spreadMs: number, own: boolean, why?: string) => {
    if (own || !(spreadMs || why)) return notify({ keys: which, own });
    spread.stale(which, spreadMs, why);
  };

  const gap = (reason: string, spreadMs: number, names?: string[]) => {
    if (!names) stale([[]], spreadMs, false, reason);
    const lost = names ?? [...channels.keys()];
    for (const name of lost) Object.assign(channels.get(name) ?? {}, { lost: true });
    spread.missed(lost, reason, spreadMs);
  };

  const notify = (stale: Stale) => {
    for (const { key, listener } of [...keys]) {
      if (!key || stale.keys.some((other) => concerns(other, key))) guard(() => listener(stale));
    }
  };

  const toEach = (name: string, what: keyof ChannelHandlers<any>, said: any) => {
    for (const [handlers] of [...(channels.get(name)?.handlers ?? [])]) guard(() => handlers[what]?.(said));
  };

  // --- The page's own life -----------------------------------------------------------------------------------

  const sleep = () => {
    awake = false;
    leave();
  };
  const rise = () => {
    if (awake) return;
    awake = true;
    tell();
  };
  const wake = (why: Wake) => {
    if (!joined) return;
    link!.check();
    link!.send({ t: 'wake', why });
  };

  const life = pageLife({ sleep, rise, wake, check: () => joined && link!.check() });

  /** Somebody began or ceased to listen. */
  const listened = () => {
    if (enabled) life.begin();
    clearTimeout(letGo);
    firstSince ||= Date.now();
    if (wanted()) change();
    else letGo = setTimeout(change, LINGER_MS);
  };

  const channel = (
    name: string,
    given: ChannelHandlers<any> | ((said: any) => void),
    { since }: ChannelOptions = {},
    lingerMs = LINGER_MS,
  ) => {
    // A set of its own for each subscriber, also when two of them give the same.
    const handlers = typeof given === 'function' ? { onMessage: given } : { ...given };
    const subscriber: Subscriber = { since };
    let followed = channels.get(name)!;
    if (!followed) {
      // What is said from now on is heard in any case.
      followed = { handlers: new Map(), since: cursor };
      channels.set(name, followed);
      listened();
    } else if (followed.open || followed.denied) {
      // It comes late: what was said before it was told to others.
      queueMicrotask(() => {
        if (!followed.handlers.has(handlers) || subscriber.told) return;
        if (followed.denied) return guard(() => handlers.onError?.(followed.denied!));
        subscriber.told = true;
        guard(() => handlers.onConnect?.({ resumed: !followed.lost && compare(since, followed.since) >= 0 }));
      });
    }
    clearTimeout(followed.lingers);
    followed.handlers.set(handlers, subscriber);
    return once(() => {
      followed.handlers.delete(handlers);
      if (followed.handlers.size) return;
      const letGo = () => {
        channels.delete(name);
        // At once: whoever follows it in the next moment is a new one, and waits for a word of the relay.
        if (joined) tell();
        else change();
      };
      if (lingerMs) followed.lingers = setTimeout(letGo, lingerMs);
      else letGo();
    });
  };

  const changes = <T>(name: string, listener: (change: DataChangeEvent<T>) => void) =>
    channel(name, (said) => said.event === 'data_change' && listener(said.data));

  /** For what lingers itself: ends at once with its undoing, so that who follows again is told all anew. */
  const follow = (name: string, handlers: ChannelHandlers<any>) => channel(name, handlers, {}, 0);
  const emit = createEmit((init) => requests.fetch(`${mount}/emit`, { ...init, credentials: mode }), credentials);
  const watched: Store<Status> = {
    subscribe(watcher) {
      const own = () => watcher();
      watchers.add(own);
      return () => watchers.delete(own);
    },
    getSnapshot: () => status,
  };

  return {
    onRevalidate(one: KeyLike | ((stale: Stale) => void), other?: (stale: Stale) => void) {
      const entry = typeof one === 'function' ? { key: undefined, listener: one } : { key: toKey(one), listener: other! };
      keys.add(entry);
      listened();
      return once(() => {
        keys.delete(entry);
        listened();
      });
    },
    channel: channel as Realtime<S>['channel'],
    record: (resource, id, listener) => changes(`record:${resource}:${id}`, listener),
    resource: (name, listener) => changes(`resource:${name}`, listener),
    invalidate: (key) => notify({ keys: [toKey(key)], own: true }),
    fetch: requests.fetch,
    emit: (name, event, data) => emit(name, event, data),
    presence: createPresence((name, heard) => follow(PRESENCE + name, heard), watched, emit, LINGER_MS),
    typing: createTyping(follow, emit, LINGER_MS, log),
    status: watched,
    connect() {
      enabled = true;
      life.begin();
      if (status.state === 'closed' && !joined) become({ state: 'idle' });
      tell();
      wake('connect');
    },
    disconnect() {
      enabled = false;
      clearTimeout(scheduled);
      scheduled = undefined;
      leave();
      life.end();
      awake = true;
      become({ state: 'closed', reason: 'disconnect' });
    },
  };
};

/** The directory of this very file where the crate serves it; a bundle has another name. */
const mounted = () => /^https?:.*(?=\/client\.js(\?|$))/.exec(import.meta.url)?.[0] ?? '/realtime';

/** The lower of two, where there are two in an order; the first where they have none. */
const lower = (one: string | undefined, other: string | undefined) =>
  one && other ? (compare(other, one) < 0 ? other : one) : (one ?? other);

const once = (undo: () => void) => {
  let done = false;
  return () => {
    if (!done) undo();
    done = true;
  };
};
