/**
 * Query keys, compared as the server compares them: as JSON, by whole segments.
 *
 * ```ts
 * concerns(['posts'], ['posts', 'list', { page: 1 }]); // true
 * concerns(['posts', 'list'], ['posts', 'listArchived']); // false: no prefix of a segment
 * concerns([], ['anything']); // true: [] is everything
 * toKey('posts.list'); // ['posts', 'list']
 * ```
 */

import type { Key, KeyLike } from './types';

/** The segments of a key: a string is its dotted form, an array stays as it is. */
export const toKey = (key: KeyLike): Key => (typeof key === 'string' ? key.split('.') : key);

// A bigint is written as its digits, where JSON.stringify would throw: an id beyond 2^53 still has a canonical form.
const plain = (_: string, value: unknown): unknown =>
  typeof value === 'bigint'
    ? String(value)
    : value && typeof value === 'object' && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value;

/**
 * The canonical text of a key or a segment: its JSON, members of objects sorted, undefined members left out. Equal
 * texts are equal keys. What JSON cannot say is `null`, as it is inside of an array.
 */
export const canonical = (value: unknown): string => JSON.stringify(value, plain) ?? 'null';

// Equal primitives are most of what is compared, and need no text.
const same = (a: unknown, b: unknown): boolean => a === b || canonical(a) === canonical(b);

/**
 * Whether what `stale` names includes `query`: `stale` is `query`, or a prefix of it by whole segments. A key that has
 * no JSON (a cycle) is concerned by `[]` alone.
 */
export const concerns = (stale: Key, query: Key): boolean => {
  try {
    return stale.length <= query.length && stale.every((segment, i) => same(segment, query[i]));
  } catch {
    return false;
  }
};
