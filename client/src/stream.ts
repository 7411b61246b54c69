/**
 * One request for a stream, from its first byte to its end. It does not come back: the relay does that.
 *
 * The watchdog goes by bytes, and by the wall clock: timers stand still while a machine sleeps.
 */

import { createParser } from 'eventsource-parser';
import { retryAfter } from './retry-after';

/** What `hello` says; see docs/wire.md of the crate. */
export interface Hello {
  session: string;
  resumed: boolean;
  live: boolean;
  heartbeatMs: number;
  spreadMs: number;
  maxAttempts?: number;
  channels: string[];
  /** Of the channels whose presence was asked for, those where it is heard. */
  presence?: string[];
  denied: { channel: string; code: string }[];
}

/** How a stream ended. */
export interface End {
  reason: string;
  /** Of a response that is no stream. */
  status?: number;
  /** How long the server asks to stay away, in ms, and whether it left the jitter to us. */
  retry?: number | undefined;
  jitter?: boolean;
}

export interface StreamEvents {
  /** An event: its name, its JSON, its id, and how much it was. */
  event(name: string, data: never, id: string | undefined, chars: number): void;
  /** The cursor alone. */
  cursor(id: string): void;
  /** Once, and nothing after it. */
  end(how: End): void;
}

export interface Stream {
  /** Ends it without a word. */
  close(): void;
  /** Looks whether it was silent for too long. */
  check(): void;
}

const CURSOR = /^[0-9a-z]{1,16}-[0-9a-f]{1,16}$/;

/** `patience`: how long it may be silent before `hello`, in ms. */
export const openStream = (url: string, init: RequestInit, patience: number, on: StreamEvents): Stream => {
  const abort = new AbortController();
  let last = Date.now();
  let silence = patience;
  let retry: number | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let done = false;

  const close = () => {
    done = true;
    clearTimeout(timer);
    abort.abort();
  };
  const end = (how: End) => {
    if (done) return;
    close();
    on.end(how);
  };
  const check = () => {
    clearTimeout(timer);
    const left = last + silence - Date.now();
    if (done) return;
    if (left <= 0) end({ reason: 'silence' });
    else timer = setTimeout(check, Math.min(left, 5_000));
  };
  check();

  const parser = createParser({
    onEvent({ id, event, data }) {
      if (done) return;
      const read = JSON.parse(data);
      if (event === 'hello') {
        silence = 2.5 * (read.heartbeatMs || 15_000);
        check();
      }
      if (event === 'bye') end({ reason: read.reason, retry: retry || 1_000 });
      else on.event(event ?? '', read as never, id, data.length);
    },
    // The heartbeat says its cursor twice. The comment is what any parser reports; a server that may not acknowledge
    // anything sends an empty one, and a proxy its own.
    onComment: (id) => done || !CURSOR.test(id) || on.cursor(id),
    onRetry: (ms) => (retry = ms),
  });

  const read = async () => {
    const response = await fetch(url, { ...init, signal: abort.signal, cache: 'no-store' });
    const { status, headers } = response;
    if (status !== 200) return end({ reason: `http ${status}`, status, retry: retryAfter(headers), jitter: true });
    // A page that signs in, or a single-page app that answers everything.
    if (!/^text\/event-stream\s*(;|$)/i.test(headers.get('content-type') ?? '')) return end({ reason: 'not a stream' });
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done: over, value } = await reader.read();
      if (done) return;
      if (over) return end({ reason: 'cut' });
      last = Date.now();
      parser.feed(value);
    }
  };
  read().catch(({ message }: Error) => end({ reason: message }));

  return { close, check };
};
