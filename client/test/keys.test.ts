import { expect, test } from 'vitest';
import { canonical, concerns, toKey } from '../src/keys';

test('a string is its dotted form, an array stays as it is', () => {
  expect(toKey('posts.list')).toEqual(['posts', 'list']);
  expect(toKey('posts')).toEqual(['posts']);
  expect(toKey(['posts.list', 7])).toEqual(['posts.list', 7]);
});

test('a key concerns what begins with it, by whole segments (defect 11)', () => {
  expect(concerns(['posts', 'list'], ['posts', 'list'])).toBe(true);
  expect(concerns(['posts'], ['posts', 'list', { page: 1 }])).toBe(true);
  expect(concerns(['posts', 'list'], ['posts', 'listArchived'])).toBe(false);
  expect(concerns(['posts.list'], ['posts', 'list'])).toBe(false);
  expect(concerns(['posts', 'list'], ['posts'])).toBe(false);
  expect(concerns(['list'], ['posts', 'list'])).toBe(false);
});

test('the empty key concerns everything', () => {
  expect(concerns([], [])).toBe(true);
  expect(concerns([], ['anything', { at: 'all' }])).toBe(true);
});

test('parameters are compared as JSON, whatever the order of their members (B18)', () => {
  expect(concerns(['posts', { b: 1, a: 2 }], ['posts', { a: 2, b: 1 }])).toBe(true);
  expect(concerns(['posts', { a: { d: [1], c: 2 } }], ['posts', { a: { c: 2, d: [1] } }, 'more'])).toBe(true);
  expect(concerns(['posts', { id: 1 }], ['posts', { id: 2 }])).toBe(false);
  expect(concerns(['posts', { id: 1 }], ['posts', { id: 1, page: 1 }])).toBe(false);
  expect(concerns(['posts', { id: 1 }], ['posts', { id: 1, page: undefined }])).toBe(true);
  expect(concerns(['posts', 7], ['posts', '7'])).toBe(false);
  expect(concerns(['posts', null], ['posts', 'null'])).toBe(false);
  expect(concerns(['posts', [1, 2]], ['posts', [2, 1]])).toBe(false);
  expect(concerns(['day', '2026-01-02T00:00:00.000Z'], ['day', new Date('2026-01-02T00:00:00Z')])).toBe(true);
});

test('a key that JSON cannot say throws nothing, and is concerned by what concerns everything', () => {
  const cycle: { self?: unknown } = {};
  cycle.self = cycle;
  expect(concerns(['posts'], [cycle])).toBe(false);
  expect(concerns([], [cycle])).toBe(true);
  expect(concerns(['posts', 'x'], ['posts', 10n])).toBe(false);
});

test('equal keys have one text, different keys different ones', () => {
  expect(canonical(['posts', { b: 1, a: undefined }])).toBe('["posts",{"b":1}]');
  expect(canonical(['posts', { b: 1, a: 2 }])).toBe(canonical(['posts', { a: 2, b: 1 }]));
  expect(canonical(undefined)).toBe('null');
  expect(canonical('a","b')).not.toBe(canonical(['a', 'b']));
});
