/**
 * The one connection of a browser, and the tabs that hear through it. It runs in the SharedWorker, or in the page
 * itself where nothing is shared.
 *
 * It keeps a cursor: all up to it was handed to the tabs. Its stream follows what all tabs together follow; when that
 * changes, another stream is opened at the cursor and takes the first one's place with its `hello` (PROTOCOL R12), so
 * that nothing is missed. What both brought of a channel is handed on once: each tab has a place of its own in each
 * channel, which only ever rises. A ring of the last keys serves a tab that comes with a cursor of its own: a new page,
 * or one that slept.
 */

import { compare } from './cursor';
import { foldPresence, type Present } from './presence-fold';
import { PRESENCE, type Config, type Follow, type ToRelay, type ToTab } from './protocol';
import { createQuestions, type Asked, type Question } from './questions';
import { createRing, type Entry, type Frame } from './ring';
import { openStream, type End, type Hello, type Stream } from './stream';
import type { Status } from './types';

/** What a tab has of a channel, or of the keys. */
interface Followed {
  /** It has everything up to here, of a channel the last message; and needs what comes after. */
  since: string | undefined;
  /** It hears what the stream brings. Till then it waits for a stream that follows the channel. */
  live: boolean;
  /** With it, it was too much: it is not asked for again before something else is let go. */
  refused?: boolean;
}

interface Tab extends Asked {
  follows: Map<string, Followed>;
  /** It may be of another user than the stream: it waits for one that was opened after it came. */
  stranger?: boolean;
}

/** Changes within this time are one. */
const GATHER_MS = 50;
/** A stream that stood so long was no failure. */
const STOOD_MS = 5_000;
/** Till the first byte: the server answers at once. */
const CONNECT_MS = 10_000;
const HUSH_MS = 3_000;

/** `lingerMs`: how long the stream outlives the last tab, so that a page that loads another keeps it. */
export const createRelay = (lingerMs: number) => {
  const tabs = new Set<Tab>();
  let config: Config;
  let status: Status = { state: 'connecting' };

  /** The stream that is heard, and the one that will take its place, or is the first. */
  let current: Stream | undefined;
  let next: Stream | undefined;
  /** What the newest attempt asked for, and where it began. */
  let asked: string[] | undefined;
  let from: string | undefined;
  let session = '';
  let opening = 0;
  let openedAt = 0;
  let attemptedAt = 0;
  let patience = CONNECT_MS;
  /** The next attempt differs from the one before also with the same channels. */
  let anew = false;

  let cursor: string | undefined;
  const ring = createRing();

  /** Who is present, by what a tab follows to hear it; as the stream says, or the one before, until this one did. */
  const present = new Map<string, Present | undefined>();
  /** Of which this stream did: its changes are of its own list. */
  const snapshots = new Set<string>();

  let failures = 0;
  let maxAttempts: number | undefined;
  let unauthorized = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  /** The server named the time. */
  let imposed = false;
  let gathering: ReturnType<typeof setTimeout> | undefined;
  let leaving: ReturnType<typeof setTimeout> | undefined;
  /** Of attempts, so that one that was overtaken is known. */
  let turns = 0;
  const questions = createQuestions();
  /** Another tab each time: one of them may sleep. */
  const ask = (what: Question) => questions.ask([...tabs][failures % tabs.size], what);

  const each = (message: ToTab) => tabs.forEach((tab) => tab.post(message));

  const become = (state: Status['state'], reason?: string, retryAt?: number) => {
    status = { state, reason, retryAt };
    each({ t: 'status', status });
  };

  // --- What is asked for -----------------------------------------------------------------------------------

  const all = (which: (followed: Followed) => unknown) => [
    ...new Set([...tabs].flatMap(({ follows }) => [...follows.keys()].filter((name) => name && which(follows.get(name)!)))),
  ];
  const wanted = () => all(({ refused }) => !refused).sort();

  /** Where the next stream begins: low enough for all who wait, if it can be told what they all have already. */
  const start = () => {
    let lowest = cursor;
    for (const tab of tabs) {
      for (const { since, live } of tab.follows.values()) {
        if (live || !since) continue;
        if (!lowest || (compare(since, lowest) < 0 && (!cursor || ring.covers(since)))) lowest = since;
      }
    }
    return lowest;
  };

  /** After a change of what is wanted: opens, switches or lets go, once for all changes of a moment. */
  const gather = () => {
    gathering ??= setTimeout(() => {
      gathering = undefined;
      sync();
    }, GATHER_MS);
  };

  const sync = () => {
    if (!tabs.size || status.state === 'closed') return;
    if (next || opening || (timer && (imposed || !current))) return;
    // After a strange cursor its gap says where the stream is.
    if (current && !cursor) return;
    if (anew || wanted().join() !== asked?.join()) attempt();
    // A tab that wants keys alone needs no other stream.
    else if (current) keysAlone();
  };

  /** What the open stream brings already: keys, and of channels what comes from now on. */
  const keysAlone = (open: string[] = []) =>
    settle((name) => !name || open.includes(name), (since, name) => !name && ring.covers(since), cursor, 0, ring.entries());

  // --- Attempts --------------------------------------------------------------------------------------------

  const attempt = async () => {
    clearTimeout(timer);
    timer = undefined;
    anew = imposed = false;
    attemptedAt = Date.now();
    asked = wanted();
    if (!current) become('connecting');
    const turn = (opening = ++turns);
    let headers: HeadersInit = {};
    try {
      if (config.headers) headers = await ask('headers');
    } catch {
      if (turn === opening) {
        opening = 0;
        failed({ reason: 'headers' });
      }
      return;
    }
    if (turn !== opening) return;
    opening = 0;
    from = start();
    const here = [...tabs];

    const query = new URLSearchParams();
    const there = asked.filter(isPresence).map(bare);
    const names = asked.filter((name) => !isPresence(name));
    if (names[0]) query.set('channels', names.join());
    if (there[0]) query.set('presence', there.join());
    if (current) query.set('replaces', session);
    const init: RequestInit = {
      headers: {
        ...headers,
        accept: 'text/event-stream',
        'x-revalidate-client': __VERSION__,
        ...(from && { 'last-event-id': from }),
      },
      credentials: config.credentials,
    };
    const stream: Stream = openStream(`${config.url}/events?${query}`, init, patience, {
      event(name, data, id, size) {
        if (name === 'hello') {
          if (stream !== current) for (const tab of here) tab.stranger = false;
          hello(stream, data, id);
        } else if (stream === current) frame(name, data, id, size);
      },
      cursor(id) {
        if (stream !== current) return;
        advance(id);
        ring.whole(cursor);
        for (const tab of tabs) if (isLive(tab, '')) tab.post({ t: 'cursor', cursor });
      },
      end: (how) => ended(stream, how),
    });
    next = stream;
  };

  const ended = (stream: Stream, how: End) => {
    if (stream === next) next = undefined;
    else if (stream === current) {
      current = undefined;
      if (Date.now() - openedAt > STOOD_MS) failures = 0;
      // The one that was to take its place still may.
      if (next || opening) return become('connecting', how.reason);
    }
    failed(how);
  };

  const failed = ({ reason, status: code = 0, retry, jitter }: End) => {
    if (code === 401 && config.unauthorized && !unauthorized) {
      unauthorized = true;
      const turn = (opening = ++turns);
      const then = (go: unknown) => {
        if (turn !== opening) return;
        opening = 0;
        if (go === false) stop('unauthorized');
        else attempt();
      };
      ask('unauthorized').then(then, (refused) => {
        if (refused || turn !== opening) return then(false);
        // That tab sleeps: another is asked at the next 401.
        opening = 0;
        unauthorized = false;
        failed({ reason: 'unauthorized' });
      });
      return;
    }
    // What the same request would be told again: 204, and most of 4xx.
    if (code === 204 || (code >= 400 && code < 500 && ![408, 425, 429].includes(code))) {
      // That goes on which is open (R12): unless these are the cookies of somebody else, who may not have it at all.
      if (current && (!config.anonymous || [400, 414, 431].includes(code))) return refused(reason);
      return stop(code === 401 ? 'unauthorized' : reason);
    }
    const step = Math.min(config.max, config.initial * 2 ** failures);
    // A `bye` is no failure: the server says when to come back.
    imposed = retry !== undefined;
    if (!imposed || jitter) failures++;
    if (failures >= (config.maxAttempts ?? maxAttempts ?? Infinity)) return stop(reason);
    // The network that went silent may have more connections that the browser takes for good: leave them soon.
    patience = reason === 'silence' && patience > HUSH_MS ? HUSH_MS : CONNECT_MS;
    const offline = globalThis.navigator?.onLine === false;
    const least = imposed && !jitter ? retry! : (retry ?? 0) + Math.random() * step;
    const delay = Math.ceil(Math.max(least, offline ? config.max : 0));
    clearTimeout(timer);
    timer = setTimeout(attempt, delay);
    if (!current) become(offline ? 'paused' : 'waiting', reason, Date.now() + delay);
  };

  const refused = (code: string) => {
    const open = all(({ live }) => live);
    keysAlone(open);
    const excess = all(({ live }) => !live).filter((name) => !open.includes(name));
    deny(excess.map((channel) => ({ channel, code })), true);
    asked = wanted();
    // Strangers are heard by no stream yet.
    if (excess[0] && [...tabs].some(({ stranger }) => stranger)) {
      anew = true;
      gather();
    }
  };

  /** There is room again for what was too much. */
  const release = () => tabs.forEach(({ follows }) => follows.forEach((followed) => delete followed.refused));

  /** Gives up. */
  const stop = (reason: string) => {
    halt();
    become('closed', reason);
  };

  /** They wait for a stream that follows them, and have no claim to what is said till then. */
  const deny = (denied: Hello['denied'], refused?: boolean) => {
    if (!denied.length) return;
    for (const { channel } of denied) {
      for (const { follows } of tabs) {
        const followed = follows.get(channel);
        if (followed) follows.set(channel, { since: undefined, live: false, ...(refused && { refused }) });
      }
    }
    each({ t: 'denied', denied });
  };

  const halt = () => {
    clearTimeout(timer);
    timer = undefined;
    opening = 0;
    next?.close();
    current?.close();
    next = current = undefined;
    present.clear();
  };

  // --- What the stream says --------------------------------------------------------------------------------

  const hello = (stream: Stream, said: Hello, id: string | undefined) => {
    const live = said.live ? 'open' : 'degraded';
    if (stream === current) return become(live);
    current?.close();
    current = stream;
    next = undefined;
    session = said.session;
    maxAttempts = said.maxAttempts;
    unauthorized = false;
    openedAt = Date.now();
    const before = cursor;
    if (said.resumed) {
      cursor = from;
      ring.from(from);
    } else {
      ring.clear();
      cursor = id;
      ring.from(id);
      for (const { follows } of tabs) for (const followed of follows.values()) if (followed.live) followed.since = id;
      // After a strange cursor, the server's own gap follows.
      const gap: ToTab = { t: 'gap', reason: 'fresh', spreadMs: said.spreadMs, cursor };
      if (!from) for (const tab of tabs) if (isLive(tab, '')) tab.post(gap);
    }
    become(live);
    // Of one name the channel may be open, and who is present in it not: of a `join` that was refused.
    const open = new Set([...said.channels, ...(said.presence ?? []).map((name) => PRESENCE + name)]);
    const denied = asked!.flatMap((channel) => {
      const code = !open.has(channel) && said.denied.find((one) => one.channel === bare(channel))?.code;
      return code ? { channel, code } : [];
    });
    const follows = (name: string) => !name || (asked!.includes(name) && !denied.some(({ channel }) => channel === name));
    for (const name of present.keys()) if (!follows(name)) present.delete(name);
    snapshots.clear();
    // A tab that came while this was asked for, with a place before it: the next stream, or the ring, has what it lacks.
    const late = (since: string | undefined) => said.resumed && compare(since, from) < 0 && ring.covers(since);
    settle(
      (name, since) => follows(name) && !late(since),
      (since) => said.resumed && compare(since, from) >= 0,
      before ?? id,
      said.spreadMs,
    );
    deny(denied);
    gather();
  };

  /** Those who waited are live: with all that they lack, if `has` holds for what they have. */
  const settle = (
    follows: (name: string, since: string | undefined) => boolean,
    has: (since: string | undefined, name: string) => boolean,
    now: string | undefined,
    spreadMs: number,
    kept: readonly Entry[] = [],
  ) => {
    for (const tab of tabs) {
      if (tab.stranger) continue;
      const opened: [string, boolean][] = [];
      for (const [name, followed] of tab.follows) {
        if (followed.live || !follows(name, followed.since)) continue;
        const resumed = has(followed.since, name);
        // What it lacks is in what is kept, or will come on a stream that begins low enough.
        if (!resumed) followed.since = now;
        else for (const { frame, at } of kept) if (!(compare(at, followed.since) <= 0)) tab.post(frame);
        followed.live = true;
        opened.push([name, resumed]);
      }
      // Of who is present it is told before it has heard the rest.
      if (opened[0]) tab.post({ t: 'open', opened, now, spreadMs, cursor: isLive(tab, '') ? cursor : undefined });
      for (const [channel] of opened) {
        const data = present.get(channel);
        if (data) tab.post({ t: 'message', channel, event: 'presence', data, id: undefined });
      }
    }
  };

  const frame = (name: string, data: never, id: string | undefined, size: number) => {
    const said = { t: name, ...(data as object), id } as Frame;
    // What a later server may say.
    if (!/^(revalidate|message|gap)$/.test(name)) return id && advance(id);
    if (name !== 'message') {
      ring.whole(cursor);
      ring.add({ frame: said, chars: size, after: cursor, at: id });
    }
    if (id) advance(id);
    if (said.t !== 'message' || !/^presence(_update)?$/.test(said.event)) said.cursor = cursor;
    else {
      said.channel = PRESENCE + said.channel;
      if (said.event === 'presence') snapshots.add(said.channel);
      if (!snapshots.has(said.channel)) return;
      present.set(said.channel, foldPresence(present.get(said.channel), said.event, said.data));
    }
    for (const tab of tabs) if (hears(tab, said)) tab.post(said);
  };

  const hears = ({ follows }: Tab, frame: Frame) => {
    const followed = follows.get(frame.t === 'message' ? frame.channel : '');
    if (!followed?.live) return false;
    if (frame.t !== 'message' || !frame.id) return true;
    // It came with it, or the stream before brought it.
    if (compare(frame.id, followed.since) <= 0) return false;
    followed.since = frame.id;
    return true;
  };

  const isLive = (tab: Tab, name: string) => tab.follows.get(name)?.live;

  const advance = (id: string) => {
    if (!cursor) gather();
    cursor = id;
    ring.from(id);
  };

  // --- Tabs ------------------------------------------------------------------------------------------------

  const follow = (tab: Tab, follows: Follow[]) => {
    const names = new Set(follows.map(([name]) => name));
    for (const name of tab.follows.keys()) {
      if (names.has(name)) continue;
      tab.follows.delete(name);
      release();
    }
    for (const [name, since] of follows) {
      if (tab.follows.has(name)) continue;
      tab.follows.set(name, { since, live: false });
      // Also one that another tab follows: the server may have a value for who comes, or refuse by now.
      if (name && !(isPresence(name) && (present.has(name) || next || opening))) anew = true;
    }
    if (current) settle((name) => present.has(name), () => false, cursor, 0);
    gather();
  };

  const leave = (tab: Tab) => {
    tabs.delete(tab);
    tab.gone?.();
    release();
    gather();
    if (tabs.size) return;
    clearTimeout(leaving);
    const close = () => {
      if (tabs.size) return;
      halt();
      clearTimeout(gathering);
      gathering = asked = cursor = undefined;
      ring.clear();
      failures = 0;
      unauthorized = false;
      status = { state: 'connecting' };
    };
    if (lingerMs) leaving = setTimeout(close, lingerMs);
    else close();
  };

  const wake = (why: 'online' | 'visible' | 'connect') => {
    current?.check();
    next?.check();
    if (why === 'connect') reopen();
    const soon = why === 'visible' && Date.now() - attemptedAt < config.initial;
    if (timer && (why === 'connect' || !(imposed || soon))) attempt();
    // The network that it stood on may be gone.
    else if (why === 'online' && current) anew = true;
    gather();
  };

  /** Also what was given up. */
  const reopen = () => {
    unauthorized = false;
    failures = 0;
    if (status.state !== 'closed') return;
    anew = true;
    become('connecting');
  };

  /** A tab: what it says goes in, what it is told comes out through `post`. */
  return (post: (message: ToTab) => void) => {
    const tab: Tab = { post, follows: new Map() };
    return (message: ToRelay) => {
      if (message.t === 'join') {
        config = message.config;
        tabs.add(tab);
        tab.follows.clear();
        tab.stranger = config.anonymous;
        anew ||= config.anonymous;
        post({ t: 'joined', n: message.n });
        if (status.state === 'closed') reopen();
        else post({ t: 'status', status });
        follow(tab, message.follows);
      } else if (message.t === 'want') follow(tab, message.follows);
      else if (message.t === 'leave') leave(tab);
      else if (message.t === 'wake') wake(message.why);
      else if (message.t === 'reply') questions.answer(message);
    };
  };
};

const isPresence = (name: string) => name.startsWith(PRESENCE);
const bare = (name: string) => (isPresence(name) ? name.slice(1) : name);
