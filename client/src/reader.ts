/**
 * Reads until the last read began after the last demand for one. A read is never aborted: a demand during it asks for
 * one more afterwards. News is heard once, so a read that fails is tried again until one does not.
 */

import type { Backoff } from './types';

export interface ReaderEvents<T> {
  onStart?(): void;
  onData(data: T): void;
  onError(error: unknown): void;
}

export interface Reader {
  /** Read, as soon as the page is seen. */
  readonly demand: () => void;
  /** Read now, hidden or not; resolves when a read that began after this call has settled. */
  readonly now: () => Promise<void>;
  /** Ends it: what is under way is not heard of any more. */
  readonly stop: () => void;
}

const isHidden = () => typeof document !== 'undefined' && document.visibilityState === 'hidden';

export function createReader<T>(
  read: () => T | Promise<T>,
  events: ReaderEvents<T>,
  { initial = 1_000, max = 30_000 }: Pick<Backoff, 'initial' | 'max'> = {},
): Reader {
  let life = 0;
  let running = false;
  let owed = false;
  let failures = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let asking: (() => void)[] = [];

  const onSeen = () => {
    if (owed && !isHidden()) run();
  };
  const calm = () => {
    clearTimeout(timer);
    if (typeof document !== 'undefined') document.removeEventListener('visibilitychange', onSeen);
  };

  const run = () => {
    if (running) return;
    calm();
    running = true;
    owed = false;
    const mine = life;
    const answered = asking;
    asking = [];
    const settle = (tell: () => void) => {
      if (mine !== life) return;
      running = false;
      tell();
      answered.forEach(resolve => resolve());
      if (mine !== life) return;
      if (asking.length) run();
      // Full jitter, so that the clients of a server that comes back do not come back together.
      else if (failures) timer = setTimeout(demand, Math.random() * Math.min(max, initial * 2 ** (failures - 1)));
      else if (owed) demand();
    };
    events.onStart?.();
    // A fetcher that throws at once fails like any other.
    new Promise<T>(resolve => resolve(read())).then(
      data =>
        settle(() => {
          failures = 0;
          try {
            events.onData(data);
          } catch (error) {
            events.onError(error);
          }
        }),
      error =>
        settle(() => {
          failures++;
          events.onError(error);
        }),
    );
  };

  const demand = () => {
    owed = true;
    if (running) return;
    if (!isHidden()) return run();
    calm();
    document.addEventListener('visibilitychange', onSeen);
  };

  return {
    demand,
    now: () =>
      new Promise(resolve => {
        asking.push(resolve);
        run();
      }),
    stop: () => {
      life++;
      calm();
      running = owed = false;
      failures = 0;
      asking.splice(0).forEach(resolve => resolve());
    },
  };
}
