/** What a browser tells a page of its own life. */

import type { ToRelay } from './protocol';

export type Wake = Extract<ToRelay, { t: 'wake' }>['why'];

/** How often the worker is looked after. */
const CHECK_MS = 30_000;

/** `sleep` and `rise`: frozen, or in the browser's back-forward cache, or on its way out; and back. */
export const pageLife = (on: { sleep(): void; rise(): void; wake(why: Wake): void; check(): void }) => {
  let life: AbortController | undefined;
  return {
    begin() {
      if (life || typeof document === 'undefined') return;
      life = new AbortController();
      const { signal } = life;
      const when = (target: EventTarget, name: string, then: () => void) =>
        target.addEventListener(name, then, { signal });
      when(globalThis, 'pagehide', on.sleep);
      when(globalThis, 'pageshow', on.rise);
      when(globalThis, 'online', () => on.wake('online'));
      when(document, 'freeze', on.sleep);
      when(document, 'resume', on.rise);
      when(document, 'visibilitychange', () => document.hidden || on.wake('visible'));
      const timer = setInterval(on.check, CHECK_MS);
      signal.onabort = () => clearInterval(timer);
    },
    end() {
      life?.abort();
      life = undefined;
    },
  };
};
