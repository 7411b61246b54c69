/** Many pages must not refetch at once: what became stale waits for its part of a spread, and is told together. */

import type { Key, Stale } from './types';

export const createSpread = (notify: (stale: Stale) => void, missed: (name: string, reason: string) => void) => {
  const keys = new Map<string, Key>();
  const channels = new Map<string, string>();
  let gap: string | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const within = (spreadMs: number) => {
    timer ??= setTimeout(() => {
      timer = undefined;
      const stale = { keys: gap ? [[]] : [...keys.values()], own: false, ...(gap && { gap }) };
      const lost = [...channels];
      keys.clear();
      channels.clear();
      gap = undefined;
      if (stale.keys.length) notify(stale);
      for (const [name, reason] of lost) missed(name, reason);
    }, Math.random() * spreadMs);
  };

  return {
    /** `why`: of what is told to be missing, in place of which keys. */
    stale(which: readonly Key[], spreadMs: number, why: string | undefined) {
      for (const key of which) keys.set(JSON.stringify(key), key);
      gap ??= why;
      within(spreadMs);
    },
    missed(names: readonly string[], reason: string, spreadMs: number) {
      for (const name of names) channels.set(name, reason);
      within(spreadMs);
    },
  };
};
