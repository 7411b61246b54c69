import { expect, test } from 'vitest';
import { foldRecords } from '../src/fold';

interface Row {
  id: number | string;
  version?: number;
  text?: string;
}

const fold = (rows: Row[], ...messages: [string, unknown][]) =>
  messages.reduce((state, [event, data]) => foldRecords(state, { event, data }), rows);

test('a record is put in its place, a new one at the end', () => {
  const rows = [{ id: 1, text: 'a' }, { id: 2, text: 'b' }];
  expect(fold(rows, ['updated', { id: 1, text: 'A' }], ['created', { id: 3, text: 'c' }])).toEqual([
    { id: 1, text: 'A' },
    { id: 2, text: 'b' },
    { id: 3, text: 'c' },
  ]);
  expect(rows).toEqual([{ id: 1, text: 'a' }, { id: 2, text: 'b' }]);
});

test('the newer version wins, and what is heard twice folds away', () => {
  const rows = [{ id: 1, version: 3, text: 'new' }];
  expect(fold(rows, ['updated', { id: 1, version: 2, text: 'old' }])).toBe(rows);
  expect(fold(rows, ['updated', { id: 1, version: 3, text: 'again' }])).toBe(rows);
  expect(fold(rows, ['updated', { id: 1, version: 4, text: 'newer' }])).toEqual([{ id: 1, version: 4, text: 'newer' }]);
  const messages: [string, unknown][] = [
    ['created', { id: 2, version: 1 }],
    ['updated', { id: 2, version: 2, text: 'x' }],
    ['deleted', { operation: 'delete', id: 1, version: 4 }],
  ];
  expect(fold(rows, ...messages, ...messages)).toEqual(fold(rows, ...messages));
});

test('a change event does what its operation says', () => {
  const rows = [{ id: 1, version: 1, text: 'a' }];
  expect(fold(rows, ['x', { operation: 'update', id: '1', version: 2, data: { id: 1, version: 2, text: 'b' } }])).toEqual([
    { id: 1, version: 2, text: 'b' },
  ]);
  expect(fold(rows, ['x', { operation: 'create', id: 2, data: { text: 'c' } }])).toEqual([...rows, { id: 2, text: 'c' }]);
  expect(fold(rows, ['x', { operation: 'delete', id: 1 }])).toEqual([]);
  expect(fold(rows, ['x', { operation: 'delete', id: 7 }])).toBe(rows);
  expect(fold(rows, ['deleted', { id: 1 }])).toEqual([]);
});

test('a deletion that is older than the record does not take it', () => {
  const rows = [{ id: 1, version: 5 }];
  expect(fold(rows, ['x', { operation: 'delete', id: 1, version: 4 }])).toBe(rows);
  expect(fold(rows, ['x', { operation: 'delete', id: 1, version: 6 }])).toEqual([]);
});

test('an array replaces a list; what is no record is not for a list', () => {
  const rows = [{ id: 1 }];
  expect(fold(rows, ['all', [{ id: 9 }]])).toEqual([{ id: 9 }]);
  for (const data of [0, false, '', null, 'typing', {}, { id: null }]) expect(fold(rows, ['x', data])).toBe(rows);
});

test('a state that is no list is replaced, also by what is falsy (defect 13)', () => {
  for (const data of [0, false, '', null, { id: 1 }, [1]]) {
    expect(foldRecords<unknown>({ visitors: 1 }, { event: 'x', data })).toBe(data);
  }
});
