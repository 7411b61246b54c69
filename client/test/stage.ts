/**
 * A browser and a server for the core: time that the test moves, and a `fetch` whose requests for a stream the test
 * answers, byte by byte if it wants to.
 */

import { afterEach, beforeEach, expect, vi } from 'vitest';
import { createRealtime } from '../src/realtime';
import type { Realtime, RealtimeOptions, Schema, Stale } from '../src/types';
import { allStarted } from './shared-worker';

/** A request for a stream, as the server sees it. */
export interface Asked {
  readonly url: URL;
  readonly headers: Headers;
  readonly credentials: RequestCredentials | undefined;
  /** When, in ms since the test began. */
  readonly at: number;
  /** The client let go of it. */
  readonly aborted: boolean;
  /** Of its query, sorted. */
  readonly channels: string[];
  /** The same, of whose presence it asks for. */
  readonly presence: string[];
  readonly cursor: string | null;
  /** Answers with anything. */
  answer(status: number, headers?: Record<string, string>, body?: string): Promise<void>;
  /** The network fails before there is an answer. */
  refuse(): Promise<void>;
  /** Answers with a stream, and says these bytes on it, as they are. */
  write(bytes: string): Promise<void>;
  hello(said?: Partial<Hello>): Promise<void>;
  revalidate(keys: unknown[][], more?: { id?: string; origin?: string; spreadMs?: number }): Promise<void>;
  message(id: string | undefined, channel: string, data: unknown, event?: string): Promise<void>;
  /** A snapshot of who is present. */
  present(channel: string, users: readonly unknown[], count?: number): Promise<void>;
  /** What changed of it. */
  moved(channel: string, changes: { joined?: unknown[]; left?: string[]; updated?: unknown[]; count: number }): Promise<void>;
  gap(reason: string, more?: { id?: string; channels?: string[]; spreadMs?: number }): Promise<void>;
  /** The heartbeat. */
  cursorAt(id: string): Promise<void>;
  bye(reason: string): Promise<void>;
  /** The response ends. */
  end(): Promise<void>;
  /** The connection breaks. */
  cut(): Promise<void>;
}

interface Hello {
  /** Null: none. */
  id: string | null;
  session: string;
  resumed: boolean;
  live: boolean;
  heartbeatMs: number;
  spreadMs: number;
  maxAttempts: number;
  channels: string[];
  denied: { channel: string; code: string }[];
  retry: number;
}

export const MOUNT = 'http://app.test/realtime';

let began = 0;
let asked: Asked[] = [];
let answers: ((request: Request) => Response | Promise<Response>) | undefined;
let opened: Realtime<any>[] = [];

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date'] });
  began = Date.now();
  asked = [];
  answers = undefined;
  opened = [];
  vi.stubGlobal('fetch', (input: RequestInfo | URL, init?: RequestInit) => {
    if (typeof input === 'string' && input.startsWith(`${MOUNT}/events`)) return stream(input, init!);
    const request = new Request(input, init);
    if (!answers) throw new Error(`nobody answers ${request.url}`);
    return Promise.resolve(answers(request));
  });
});

afterEach(async () => {
  opened.forEach((realtime) => realtime.disconnect());
  await flush();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

const names = (url: URL, what: string) => (url.searchParams.get(what) ?? '').split(',').filter(Boolean);

const stream = (input: string, init: RequestInit): Promise<Response> => {
  const url = new URL(input);
  const headers = new Headers(init.headers);
  let settle: { resolve: (response: Response) => void; reject: (error: unknown) => void };
  let body: ReadableStreamDefaultController<Uint8Array> | undefined;
  let aborted = false;
  const response = new Promise<Response>((resolve, reject) => (settle = { resolve, reject }));
  init.signal?.addEventListener('abort', () => {
    aborted = true;
    const error = new DOMException('aborted', 'AbortError');
    settle.reject(error);
    body?.error(error);
    body = undefined;
  });
  const open = () => {
    if (body || aborted) return body;
    const readable = new ReadableStream<Uint8Array>({ start: (controller) => void (body = controller) });
    settle.resolve(new Response(readable, { headers: { 'content-type': 'text/event-stream' } }));
    return body;
  };
  const write = async (bytes: string) => {
    open()?.enqueue(new TextEncoder().encode(bytes));
    await flush();
  };
  const event = (name: string, data: unknown, id: string | undefined) =>
    write(`${id ? `id: ${id}\n` : ''}event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
  asked.push({
    url,
    headers,
    credentials: init.credentials,
    at: Date.now() - began,
    get aborted() {
      return aborted;
    },
    channels: names(url, 'channels').sort(),
    presence: names(url, 'presence').sort(),
    cursor: headers.get('last-event-id'),
    async answer(status, headers, body) {
      settle.resolve(new Response(body ?? null, { status, ...(headers && { headers }) }));
      await flush();
    },
    async refuse() {
      settle.reject(new TypeError('fetch failed'));
      await flush();
    },
    write,
    async hello({ id = headers.get('last-event-id') ?? 'e-0', retry = 2_000, denied = [], ...said } = {}) {
      const resumed = said.resumed ?? headers.has('last-event-id');
      const open = (name: string) => !denied.some(({ channel }) => channel === name);
      const presence = names(url, 'presence');
      const data = {
        session: `s${asked.length}`,
        resumed,
        live: true,
        heartbeatMs: 15_000,
        spreadMs: 0,
        channels: names(url, 'channels').filter(open),
        ...(presence.length && { presence: presence.filter(open) }),
        denied,
        ...said,
      };
      await write(`retry: ${retry}\n${id ? `id: ${id}\n` : ''}event: hello\ndata: ${JSON.stringify(data)}\n\n`);
    },
    revalidate: (keys, { id, ...more } = {}) => event('revalidate', { keys, spreadMs: 0, ...more }, id),
    message: (id, channel, data, name = 'said') => event('message', { channel, event: name, data }, id),
    present: (channel, users, count = users.length) =>
      event('message', { channel, event: 'presence', data: { users, count, ...(count > users.length && { more: true }) } }, undefined),
    moved: (channel, data) => event('message', { channel, event: 'presence_update', data }, undefined),
    gap: (reason, { id, ...more } = {}) =>
      // Its id comes after its data, in the same frame.
      write(`event: gap\ndata: ${JSON.stringify({ reason, spreadMs: 0, ...more })}\n${id ? `id: ${id}\n` : ''}\n`),
    cursorAt: (id) => write(`: ${id}\nid: ${id}\n\n`),
    bye: (reason) => event('bye', { reason }, undefined),
    async end() {
      open()?.close();
      body = undefined;
      await flush();
    },
    async cut() {
      open()?.error(new TypeError('network error'));
      body = undefined;
      await flush();
    },
  });
  return response;
};

/** The app's own routes, which `realtime.fetch` asks. */
export const answer = (how: typeof answers) => void (answers = how);

/** A connection of a page; unshared, unless the test says so. */
export const page = <S extends Schema = Record<string, Record<string, any>>>(options: RealtimeOptions = {}) => {
  const realtime = createRealtime<S>({ url: MOUNT, share: false, ...options });
  opened.push(realtime);
  return realtime;
};

/** All that is due now has happened: promises, streams, and the start of workers, which may be asked for meanwhile. */
export const flush = async () => {
  for (let turn = 0; turn < 12; turn++) {
    await allStarted();
    await new Promise((done) => setImmediate(done));
  }
};

/** Time goes by. */
export const wait = async (ms: number) => {
  // What a page imports for itself is there at once.
  await import('../src/worker');
  await flush();
  await vi.advanceTimersByTimeAsync(ms);
  await flush();
};

/** The requests for a stream up to now. */
export const requests = () => asked;

/** The newest request for a stream, after what is gathered was asked for. */
export const newest = async (): Promise<Asked> => {
  await wait(11);
  await wait(51);
  expect(asked.length).toBeGreaterThan(0);
  return asked.at(-1)!;
};

/** What a page heard, in order. */
export const listen = (realtime: Realtime<any>, key?: string | unknown[]) => {
  const heard: Stale[] = [];
  const listener = (stale: Stale) => void heard.push(stale);
  if (key === undefined) realtime.onRevalidate(listener);
  else realtime.onRevalidate(key, listener);
  return heard;
};

/** What a page heard of a channel, in order: data as it is, the rest as `[what, …]`. */
export const follow = (realtime: Realtime<any>, name: string, options?: { since?: string }) => {
  const heard: unknown[] = [];
  const leave = realtime.channel(
    name,
    {
      onMessage: (message: any) => void heard.push(message.data),
      onConnect: ({ resumed }) => void heard.push(['open', resumed]),
      onGap: ({ reason }) => void heard.push(['gap', reason]),
      onError: ({ code }) => void heard.push(['denied', code]),
    },
    options,
  );
  return { heard, leave };
};

/** The states that a page went through. */
export const states = (realtime: Realtime<any>) => {
  const seen = [realtime.status.getSnapshot().state];
  realtime.status.subscribe(() => void seen.push(realtime.status.getSnapshot().state));
  return seen;
};

/** A page whose stream is open, with nothing else on it. */
export const open = async (options: RealtimeOptions = {}, said: Partial<Hello> = {}) => {
  const realtime = page(options);
  const heard = listen(realtime);
  const stream = await newest();
  await stream.hello(said);
  await wait(0);
  heard.length = 0;
  return { realtime, heard, stream };
};
