import type { Key, KeyLike } from './types';
export const toKey = (key: KeyLike): Key => (typeof key === 'string' ? key.split('.') : key);
const sorted = (_: string, value: unknown) =>
  value && typeof value === 'object' && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
    : value;
export const canonical = (segment: unknown): string => JSON.stringify([segment], sorted);
export const concerns = (stale: Key, query: Key): boolean =>
  stale.length <= query.length && stale.every((segment, i) => canonical(segment) === canonical(query[i]));
