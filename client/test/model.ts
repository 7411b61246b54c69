/**
 * A server as the protocol says it is, over a network that does what it likes: a log with little room, sessions that
 * are places in it, and bytes of which some arrive.
 */

const HEARTBEAT_MS = 1_000;

export interface Choose {
  below(n: number): number;
  is(probability: number): boolean;
  of<T>(list: readonly T[]): T;
}

/** Mulberry32. */
export const random = (seed: number): Choose => {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return {
    below: (n) => Math.floor(next() * n),
    is: (probability) => next() < probability,
    of: (list) => list[Math.floor(next() * list.length)]!,
  };
};

interface Entry {
  offset: number;
  channel?: string;
  key?: string;
}

interface Session {
  relay: string;
  channels: string[];
  /** Where it is present. */
  presence: string[];
  at: number;
  /** Due before anything else. */
  gap: string | undefined;
  /** Bytes on their way. */
  pipe: string;
  body: ReadableStreamDefaultController<Uint8Array> | undefined;
  open: boolean;
  silent: boolean;
  beatAt: number;
  respond: () => void;
  fail: (error: unknown) => void;
}

/** `history`: messages that are kept of a channel, and changes of keys. */
export const modelServer = (choose: Choose, history: number, onStreams: (relay: string, open: number) => void) => {
  let life = 0;
  let tip = 0;
  let log: Entry[] = [];
  let floors = new Map<string, number>();
  /** Who is present without a page of ours, and who was told to be there, with their metadata. */
  let others = new Map<string, Map<string, number>>();
  let announced = new Map<string, Map<string, number>>();
  const sessions = new Set<Session>();
  let trouble = true;
  const encoder = new TextEncoder();
  const epoch = () => `e${life}`;
  const id = (offset: number) => `${epoch()}-${offset.toString(16)}`;

  const append = (entry: Omit<Entry, 'offset'>) => {
    const offset = ++tip;
    log.push({ offset, ...entry });
    const name = entry.channel ?? '';
    const kept = log.filter((one) => (one.channel ?? '') === name);
    if (kept.length > history) {
      floors.set(name, kept[0]!.offset);
      log = log.filter((one) => one !== kept[0]);
    }
    return offset;
  };

  const present = (channel: string) => {
    const all = new Map(others.get(channel));
    for (const { relay, presence, open } of sessions) if (open && presence.includes(channel)) all.set(relay, 0);
    return all;
  };
  const users = (all: Map<string, number>) => [...all].sort().map(([userId, meta]) => ({ userId, meta }));
  const presenceEvent = (channel: string, name: string, data: unknown) => event('message', { channel, event: name, data });
  /** Tells who looks what changed of who is present. */
  const announce = (channels: string[]) => {
    for (const channel of channels) {
      const before = announced.get(channel) ?? new Map<string, number>();
      const now = present(channel);
      announced.set(channel, now);
      const joined = users(now).filter(({ userId }) => !before.has(userId));
      const updated = users(now).filter(({ userId, meta }) => before.has(userId) && before.get(userId) !== meta);
      const left = [...before.keys()].filter((userId) => !now.has(userId));
      if (!joined.length && !updated.length && !left.length) continue;
      for (const session of sessions) {
        if (session.presence.includes(channel)) {
          session.pipe += presenceEvent(channel, 'presence_update', { joined, updated, left, count: now.size });
        }
      }
    }
  };

  const open = (relay: string) => [...sessions].filter((one) => one.relay === relay && one.open).length;
  const close = (session: Session, error: unknown) => {
    if (!session.open) return;
    session.open = false;
    session.fail(error);
    session.body?.error(error);
    sessions.delete(session);
    announce(session.presence);
  };
  const event = (name: string, data: unknown, id?: string) =>
    `${id ? `id: ${id}\n` : ''}event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;

  /** What the session lacks, or some of it: keys first, then messages in order, then the cursor. */
  const read = (session: Session) => {
    const { channels } = session;
    if (session.at < tip || session.gap) {
      const due = log.filter(({ offset, channel }) => offset > session.at && (channel === undefined || channels.includes(channel)));
      const messages = due.filter(({ channel }) => channel !== undefined);
      const some = choose.is(0.3) ? messages.slice(0, 1 + choose.below(3)) : messages;
      const to = some.length < messages.length ? some.at(-1)!.offset : tip;
      const keys = [...new Set(due.filter(({ key, offset }) => key !== undefined && offset <= to).map(({ key }) => key))];
      const lost = channels.filter((name) => (floors.get(name) ?? 0) > session.at);
      const all = session.gap ?? ((floors.get('') ?? 0) > session.at ? 'evicted' : undefined);
      if (all) session.pipe += `event: gap\ndata: ${JSON.stringify({ reason: all, spreadMs: 0 })}\n${session.gap ? `id: ${id(session.at)}\n` : ''}\n`;
      if (lost.length) session.pipe += event('gap', { reason: 'evicted', channels: lost, spreadMs: 0 });
      session.gap = undefined;
      if (keys.length) session.pipe += event('revalidate', { keys: keys.map((key) => [key]), spreadMs: 0 });
      for (const { channel, offset } of some) session.pipe += event('message', { channel, event: 'said', data: offset }, id(offset));
      session.at = to;
      session.pipe += `: ${id(to)}\nid: ${id(to)}\n\n`;
    } else if (Date.now() - session.beatAt > HEARTBEAT_MS) session.pipe += `: ${id(session.at)}\nid: ${id(session.at)}\n\n`;
    else return;
    session.beatAt = Date.now();
  };

  /** Some of what is in the pipe arrives; or none any more. */
  const deliver = (session: Session) => {
    if (session.silent || !session.open) return;
    const cut = trouble && choose.is(0.03);
    const part = cut || (trouble && choose.is(0.5)) ? choose.below(session.pipe.length + 1) : session.pipe.length;
    session.respond();
    session.body!.enqueue(encoder.encode(session.pipe.slice(0, part)));
    session.pipe = session.pipe.slice(part);
    if (cut) close(session, new TypeError('network error'));
    else if (trouble && choose.is(0.01)) session.silent = true;
  };

  return {
    tip: () => tip,
    life: () => life,
    cursor: () => id(tip),
    say: (channel: string) => append({ channel }),
    change: (key: string) => append({ key }),
    /** Somebody else comes, goes, or says something else. */
    move(channel: string) {
      const there = others.get(channel) ?? new Map<string, number>();
      others.set(channel, there);
      const userId = `u${choose.below(5)}`;
      if (there.has(userId) && choose.is(0.5)) there.delete(userId);
      else there.set(userId, choose.below(3));
      announce([channel]);
    },
    present: (channel: string) => users(present(channel)),
    /** The messages of a channel after a place, whether they are kept or not. */
    restart() {
      life++;
      tip = choose.below(50);
      log = [];
      floors = new Map();
      others = new Map();
      announced = new Map();
      for (const session of sessions) close(session, new TypeError('network error'));
    },
    open,
    mend: () => void (trouble = false),
    step() {
      for (const session of sessions) {
        read(session);
        deliver(session);
      }
    },
    fetch(input: string, init: RequestInit): Promise<Response> {
      const headers = new Headers(init.headers);
      const url = new URL(input);
      const relay = url.pathname.split('/')[1]!;
      return new Promise((resolve, reject) => {
        const session: Session = {
          relay,
          channels: (url.searchParams.get('channels') ?? '').split(',').filter(Boolean),
          presence: (url.searchParams.get('presence') ?? '').split(',').filter(Boolean),
          at: tip,
          gap: undefined,
          pipe: '',
          body: undefined,
          open: true,
          silent: trouble && choose.is(0.03),
          beatAt: Date.now(),
          respond() {
            if (session.body) return;
            const body = new ReadableStream<Uint8Array>({ start: (controller) => void (session.body = controller) });
            resolve(new Response(body, { headers: { 'content-type': 'text/event-stream' } }));
          },
          fail: reject,
        };
        init.signal!.addEventListener('abort', () => close(session, new DOMException('aborted', 'AbortError')));
        if (trouble && choose.is(0.1)) {
          if (choose.is(0.5)) reject(new TypeError('fetch failed'));
          else resolve(new Response(null, { status: 503 }));
          return;
        }
        sessions.add(session);
        onStreams(relay, open(relay));
        const cursor = headers.get('last-event-id');
        const [of, hex] = (cursor ?? '').split('-');
        const known = of === epoch() && parseInt(hex!, 16) <= tip;
        if (cursor && known) session.at = parseInt(hex!, 16);
        else if (cursor) session.gap = 'unknown';
        session.pipe =
          'retry: 1000\n' +
          event(
            'hello',
            {
              session: `s${Math.random()}`,
              resumed: !!cursor && known,
              live: true,
              heartbeatMs: HEARTBEAT_MS,
              spreadMs: 0,
              channels: session.channels,
              ...(session.presence.length && { presence: session.presence }),
              denied: [],
            },
            cursor && !known ? undefined : id(session.at),
          );
        // It is there itself. What it hears before the snapshot is in the snapshot.
        announce(session.presence);
        for (const channel of session.presence) {
          const there = users(present(channel));
          session.pipe += presenceEvent(channel, 'presence', { users: there, count: there.length });
        }
      });
    },
  };
};
