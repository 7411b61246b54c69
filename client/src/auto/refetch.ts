/** Reading again, so that nothing stale stays: one at a time, once more after what came in between, until it works. */

import type { Realtime, Unsubscribe } from '../types';
import type { Gate } from './gate';

/** Reads again soon. */
export type Refetch = (() => void) & {
  /** No more. What runs is left to its end. */
  readonly stop: Unsubscribe;
};

/** A failure that trying again does not mend: it is told once, and the next news are waited for. */
export class Final extends Error {}

/**
 * Runs `read` whenever it is asked to, never twice at once: what was asked for during a run is one more run after
 * it, and the first is not aborted, for a stream of news would then abort all. A run that throws is tried again after
 * uniform(0, min(30 s, 1 s × 2ⁿ)), or when the connection opens again.
 */
export function refetching(realtime: Pick<Realtime, 'status'>, gate: Gate, read: () => unknown): Refetch {
  let wanted = false;
  let running = false;
  let stopped = false;

  const run = async () => {
    for (let failures = 0; wanted && !stopped; ) {
      await new Promise<void>(gate);
      if (stopped) break;
      wanted = false;
      try {
        await read();
        failures = 0;
      } catch (error) {
        if (error instanceof Final) {
          console.warn(error.message);
          continue;
        }
        wanted = true;
        await later(realtime, Math.random() * Math.min(30_000, 1_000 * 2 ** failures++));
      }
    }
    // Not in a `finally` of the caller, which comes later: what is asked for in between would be forgotten.
    running = false;
  };

  const refetch = () => {
    wanted = true;
    if (running) return;
    running = true;
    void run();
  };
  return Object.assign(refetch, { stop: () => void (stopped = true) });
}

/** Waits, at the most until the connection opens. */
function later({ status }: Pick<Realtime, 'status'>, ms: number): Promise<void> {
  return new Promise((resolve) => {
    let before = status.getSnapshot().state;
    const done = () => {
      clearTimeout(timer);
      unsubscribe();
      resolve();
    };
    const timer = setTimeout(done, ms);
    const unsubscribe = status.subscribe(() => {
      const { state } = status.getSnapshot();
      if (state === 'open' && before !== 'open') done();
      before = state;
    });
  });
}
