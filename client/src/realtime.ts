/** A page's end of the connection: who wants to hear what, and what the page holds already. */

import { compare } from './cursor';
import { createFetch } from './fetch';
import { concerns, toKey } from './keys';
import { openLink, type Link } from './link';
import type { Config, Follow, ToTab } from './protocol';
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
} from './types';

/** How long what nobody listens to any more is kept: React's StrictMode and page changes come back at once. */
const LINGER_MS = 1_000;
/** A request is followed by what it is for within this time. */
const HELD_MS = 10_000;
/** How long the first stream waits for the page's first requests, to begin at their cursors. */
const FIRST_MS = 2_000;

interface Followed {
  handlers: Set<ChannelHandlers<any>>;
  /** What the page has of it; of no interest once it is open. */
  since: string | undefined;
  /** Whether somebody said so: then what follows is all that the page lacks. */
  known: boolean;
  open: boolean;
  connected?: { resumed: boolean };
  denied?: { code: string };
  lingers?: ReturnType<typeof setTimeout>;
}

/** A connection to the hub mounted at `url`. It opens when something is asked for, and not before. */
export const createRealtime = <S extends Schema = AnySchema>(options: RealtimeOptions = {}): Realtime<S> => {
  const { headers, identity, share = !headers || identity !== undefined, debug, onUnauthorized } = options;
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
  /** Not while the page is frozen, or in the browser's back-forward cache. */
  let awake = true;
  /** All up to it came, or was told to be missing; none yet. */
  let cursor = options.cursor;
  let live = false;
  let scheduled: ReturnType<typeof setTimeout> | undefined;
  let letGo: ReturnType<typeof setTimeout> | undefined;
  let firstSince = 0;

  // --- What the page holds -----------------------------------------------------------------------------------

  const held = { cursor: undefined as string | undefined, at: 0 };

  const hold = (other: string, early: boolean) => {
    const now = Date.now();
    if (live && now - held.at > HELD_MS) held.cursor = undefined;
    // Of two without an order the older: the server will say that it is none of its own.
    if (!held.cursor || compare(other, held.cursor) < 0) held.cursor = other;
    held.at = now;
    // It was on its way when the stream began, and may have been read before.
    if (early && live && !(compare(other, start) >= 0)) stale([[]], 0, false, 'fresh');
  };
  let start: string | undefined;

  const requests = createFetch(mount, () => !live, hold, () => scheduled && change());

  const holds = () => {
    if (!live) return lower(held.cursor, cursor);
    return Date.now() - held.at < HELD_MS ? lower(held.cursor, cursor) : cursor;
  };

  // --- To the relay ------------------------------------------------------------------------------------------

  const config = (): Config => ({
    url: mount,
    credentials: options.credentials ?? 'same-origin',
    headers: !!headers,
    unauthorized: !!onUnauthorized,
    initial: backoff?.initial ?? 1_000,
    max: backoff?.max ?? 30_000,
    maxAttempts: backoff?.maxAttempts,
    anonymous: identity === undefined,
  });

  const follows = (): Follow[] => [
    ['', live ? cursor : holds()],
    ...[...channels].map(([name, { open, since }]): Follow => [name, open ? cursor : since]),
  ];

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
    if (!enabled || !awake || !wanted()) return leave();
    link ??= openLink(
      share ? { url: `${mount}/${__WORKER__}`, name: `tower-revalidate ${__VERSION__} ${identity ?? ''} ${mount}` } : undefined,
      receive,
      () => joined && ((joined = false), tell()),
    );
    if (joined) link.send({ t: 'want', follows: follows() });
    else {
      joined = true;
      link.send({ t: 'join', config: config(), follows: follows() });
    }
  };

  const leave = () => {
    if (!joined) return;
    joined = false;
    for (const followed of channels.values()) {
      if (followed.open) followed.since = cursor;
      followed.open = false;
    }
    link!.send({ t: 'leave' });
    if (status.state !== 'closed') become({ state: awake ? 'idle' : 'paused' });
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
    if (!joined) return;
    if (message.t !== 'status') log(message.t, message);
    if ('cursor' in message && message.cursor) cursor = message.cursor;
    if (message.t === 'status') become(message.status);
    else if (message.t === 'revalidate') {
      const { keys, origin, spreadMs } = message;
      const own = requests.made(origin);
      if (own !== 'skip') stale(keys, spreadMs, !!own);
    } else if (message.t === 'message') {
      const { t, cursor, ...said } = message;
      toEach(said.channel, 'onMessage', said as Message);
    } else if (message.t === 'gap') gap(message.reason, message.spreadMs, message.channels);
    else if (message.t === 'open') {
      for (const [name, resumed] of message.opened) opened(name, resumed, message.spreadMs);
    } else if (message.t === 'denied') {
      for (const { channel, code } of message.denied) {
        const followed = channels.get(channel);
        if (!followed || followed.denied?.code === code) continue;
        followed.since = undefined;
        followed.open = false;
        followed.denied = { code };
        toEach(channel, 'onError', followed.denied);
      }
    }
  };

  const opened = (name: string, resumed: boolean, spreadMs: number) => {
    if (!name) {
      const again = live;
      live = true;
      if (!again) start = cursor;
      if (!resumed) stale([[]], spreadMs, false, again ? 'missed' : 'fresh');
      return;
    }
    const followed = channels.get(name);
    if (!followed) return;
    const again = followed.connected;
    followed.open = true;
    delete followed.denied;
    if (!again) {
      followed.connected = { resumed: resumed && followed.known };
      toEach(name, 'onConnect', followed.connected);
    } else if (!resumed) gap('missed', spreadMs, [name]);
  };

  const answer = async (n: number, what: 'headers' | 'unauthorized') => {
    try {
      const value = what === 'headers' ? Object.fromEntries(new Headers(await headers?.())) : await onUnauthorized?.();
      link!.send({ t: 'reply', n, value: what === 'headers' ? value : value !== false });
    } catch (error) {
      log(what, error);
      link!.send({ t: 'reply', n, error: true });
    }
  };

  // --- To the app --------------------------------------------------------------------------------------------

  /** Waits for its part of a spread, and is told together. */
  const late = { keys: new Map<string, Key>(), gap: undefined as string | undefined, channels: new Map<string, string>() };
  let spreading: ReturnType<typeof setTimeout> | undefined;

  const stale = (which: readonly Key[], spreadMs: number, own: boolean, why?: string) => {
    if (own || !(spreadMs || why)) return notify({ keys: which, own });
    for (const key of which) late.keys.set(JSON.stringify(key), key);
    late.gap ??= why;
    spread(spreadMs);
  };

  const gap = (reason: string, spreadMs: number, names?: string[]) => {
    if (!names) stale([[]], spreadMs, false, reason);
    for (const name of names ?? channels.keys()) late.channels.set(name, reason);
    spread(spreadMs);
  };

  const spread = (spreadMs: number) => {
    spreading ??= setTimeout(() => {
      spreading = undefined;
      const { gap } = late;
      const stale = { keys: gap ? [[]] : [...late.keys.values()], own: false, ...(gap && { gap }) };
      const missed = [...late.channels];
      late.keys.clear();
      late.channels.clear();
      late.gap = undefined;
      if (stale.keys.length) notify(stale);
      for (const [name, reason] of missed) toEach(name, 'onGap', { reason });
    }, Math.random() * spreadMs);
  };

  const notify = (stale: Stale) => {
    for (const { key, listener } of [...keys]) {
      if (!key || stale.keys.some((other) => concerns(other, key))) guard(() => listener(stale));
    }
  };

  const toEach = (name: string, what: keyof ChannelHandlers<any>, said: any) => {
    for (const handlers of [...(channels.get(name)?.handlers ?? [])]) guard(() => handlers[what]?.(said));
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
  const wake = (why: 'online' | 'visible' | 'connect') => {
    if (!joined) return;
    link!.check();
    link!.send({ t: 'wake', why });
  };

  let listening = false;
  const listen = () => {
    if (listening || typeof document === 'undefined') return;
    listening = true;
    addEventListener('pagehide', sleep);
    addEventListener('pageshow', rise);
    addEventListener('online', () => wake('online'));
    document.addEventListener('freeze', sleep);
    document.addEventListener('resume', rise);
    document.addEventListener('visibilitychange', () => document.hidden || wake('visible'));
    setInterval(() => joined && link!.check(), 30_000);
  };

  /** Somebody began or ceased to listen. */
  const listened = () => {
    listen();
    clearTimeout(letGo);
    firstSince ||= Date.now();
    if (wanted()) change();
    else letGo = setTimeout(change, LINGER_MS);
  };

  const channel = (name: string, given: ChannelHandlers<any> | ((said: any) => void), { since }: ChannelOptions = {}) => {
    // A set of its own for each subscriber, also when two of them give the same.
    const handlers = typeof given === 'function' ? { onMessage: given } : { ...given };
    let followed = channels.get(name);
    if (!followed) {
      const recent = live ? (Date.now() - held.at < HELD_MS ? held.cursor : undefined) : lower(held.cursor, cursor);
      const known = since ?? recent;
      followed = { handlers: new Set(), since: lower(known, cursor), known: !!known, open: false };
      channels.set(name, followed);
      listened();
    } else {
      const { connected, denied } = followed;
      if (connected || denied) {
        queueMicrotask(() => {
          if (!followed!.handlers.has(handlers)) return;
          if (denied) guard(() => handlers.onError?.(denied));
          else guard(() => handlers.onConnect?.({ resumed: false }));
        });
      }
    }
    clearTimeout(followed.lingers);
    followed.handlers.add(handlers);
    return once(() => {
      followed.handlers.delete(handlers);
      if (followed.handlers.size) return;
      followed.lingers = setTimeout(() => {
        channels.delete(name);
        listened();
      }, LINGER_MS);
    });
  };

  const changes = <T>(name: string, listener: (change: DataChangeEvent<T>) => void) =>
    channel(name, (said) => said.event === 'data_change' && listener(said.data));

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
    status: {
      subscribe(watcher) {
        const own = () => watcher();
        watchers.add(own);
        return () => watchers.delete(own);
      },
      getSnapshot: () => status,
    },
    connect() {
      enabled = true;
      if (status.state === 'closed' && !joined) become({ state: 'idle' });
      tell();
      wake('connect');
    },
    disconnect() {
      enabled = false;
      clearTimeout(scheduled);
      scheduled = undefined;
      leave();
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

/** One listener's error is not the others'. */
const guard = (call: () => void) => {
  try {
    call();
  } catch (error) {
    setTimeout(() => {
      throw error;
    });
  }
};
