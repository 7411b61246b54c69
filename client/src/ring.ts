/** The last keys and gaps of the stream, for a tab that comes with a cursor of its own: a new page, or one that slept. */

import { compare } from './cursor';
import type { Gap, Revalidated, Said } from './protocol';

export type Frame = (Revalidated | Said | Gap) & { cursor?: string | undefined };

export interface Entry {
  readonly frame: Frame;
  readonly chars: number;
  /** The cursor when it came, and a cursor at or after all it says; none yet where none is known. */
  readonly after: string | undefined;
  at: string | undefined;
}

const RING = 256;
const RING_CHARS = 1_000_000;

export const createRing = () => {
  let entries: Entry[] = [];
  let chars = 0;
  /** What it holds is complete above it. */
  let floor: string | undefined;
  return {
    entries: (): readonly Entry[] => entries,
    covers: (since: string | undefined) => compare(since, floor) >= 0,
    add(entry: Entry) {
      entries.push(entry);
      chars += entry.chars;
    },
    /** The stream goes on from here: it is complete since the first of these, or what was left out of it last. */
    from(cursor: string | undefined) {
      floor ??= cursor;
      while ((entries.length > RING || chars > RING_CHARS) && entries[0]?.at) {
        const oldest = entries.shift()!;
        chars -= oldest.chars;
        if (compare(oldest.at, floor) > 0) floor = oldest.at;
      }
    },
    /**
     * A batch ends, or another begins. Its keys come first, and may be younger than the messages after them: only now
     * the cursor is one at or after them.
     */
    whole(cursor: string | undefined) {
      for (const entry of entries) if (entry.after !== cursor) entry.at ??= cursor;
    },
    clear() {
      entries = [];
      chars = 0;
      floor = undefined;
    },
  };
};
