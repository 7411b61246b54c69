import { vi } from 'vitest';

/** A server that answers when the test says so, and with what was true when it was asked: the worst that is allowed. */

export interface Read<T> {
  /** What it will answer. */
  readonly value: T;
  /** Of the library's fetch, where it gave one. */
  readonly signal: AbortSignal | undefined;
  readonly settled: boolean;
  answer(): void;
  fail(error?: Error): void;
}

export interface Origin<T> {
  /** What is true now. */
  value: T;
  /** All that was ever asked. */
  readonly reads: Read<T>[];
  /** Those not answered yet. */
  readonly open: Read<T>[];
  /** A fetcher. */
  readonly read: (context?: unknown) => Promise<T>;
  /** Answers the newest read. */
  answer(): void;
  /** The newest read fails. */
  fail(error?: Error): void;
}

export function origin<T>(value: T): Origin<T> {
  const reads: Read<T>[] = [];
  const newest = () => {
    const read = reads.at(-1);
    if (!read || read.settled) throw new Error('nobody asks');
    return read;
  };
  const self: Origin<T> = {
    value,
    reads,
    get open() {
      return reads.filter(read => !read.settled);
    },
    read: context =>
      new Promise<T>((resolve, reject) => {
        const answered = self.value;
        let settled = false;
        // Reading it is what makes TanStack abort at all.
        const signal = (context as { signal?: AbortSignal } | undefined)?.signal;
        reads.push({
          value: answered,
          signal,
          get settled() {
            return settled;
          },
          answer: () => ((settled = true), resolve(answered)),
          fail: (error = new Error('origin')) => ((settled = true), reject(error)),
        });
      }),
    answer: () => newest().answer(),
    fail: error => newest().fail(error),
  };
  return self;
}

/** Hides the page or shows it, as a browser does. */
export function setHidden(hidden: boolean): void {
  Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => (hidden ? 'hidden' : 'visible') });
  Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event('visibilitychange', { bubbles: true }));
  if (!hidden) window.dispatchEvent(new Event('focus'));
}

/** Everything that is due by now has happened: no microtask and no zero timer is left. For "nothing more comes". */
export async function quiet(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise(done => setTimeout(done));
}

/** Waits until `check` throws no more. */
export const until = (check: () => void): Promise<void> => vi.waitFor(check, { interval: 5, timeout: 60_000 });
