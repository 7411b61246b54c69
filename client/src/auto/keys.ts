/** What an attribute says of keys, and whether a stale key concerns it. */

import { concerns } from '../keys';
import type { Key } from '../types';

/** Whether a key that became stale concerns what was asked for. */
export type Concern = (stale: Key) => boolean;

/**
 * The key `posts.detail.7`, as attributes can say it. An attribute is text, so that its `7` means the number as well
 * as the string: one fetch too many harms nobody, one too few does.
 */
const named = (name: string): Concern => (stale) => {
  const text = stale.map((segment) => (typeof segment === 'string' ? segment : JSON.stringify(segment))).join('.');
  return stale.length === 0 || name === text || name.startsWith(`${text}.`);
};

/**
 * Of `data-revalidate`: names with blanks or commas between, `posts.list users.me`; or JSON, where a segment is more
 * than a word: `["posts", {"page": 2}]` is one key, `[["posts"], ["users", "me"]]` are two. Empty: whatever became
 * stale.
 */
export function ofRevalidate(value: string): Concern {
  const text = value.trim();
  if (text === '') return () => true;
  if (!text.startsWith('[')) return anyOf(text.split(/[\s,]+/).filter(Boolean).map(named));
  try {
    const json = JSON.parse(text) as unknown[];
    const keys = json.length > 0 && json.every(Array.isArray) ? (json as Key[]) : [json];
    return anyOf(keys.map((key) => (stale: Key) => concerns(stale, key)));
  } catch {
    console.warn(`data-revalidate is neither names nor JSON: ${value}`);
    return () => true;
  }
}

/**
 * Of an event `rt:posts.list`, without the `rt:`. What the attributes of htmx cannot hold, a blank, a comma or a
 * bracket, is percent-encoded there.
 */
export function ofEvent(name: string): Concern {
  try {
    return named(decodeURIComponent(name));
  } catch {
    return named(name);
  }
}

const anyOf = (concerned: readonly Concern[]): Concern => (stale) => concerned.some((one) => one(stale));
