/**
 * Folds what a channel says into a list of records, so that it does not matter whether something is heard twice.
 *
 * ```ts
 * foldRecords([{ id: 1, version: 2 }], { event: 'updated', data: { id: 1, version: 3 } }); // version 3
 * foldRecords([{ id: 1, version: 3 }], { event: 'updated', data: { id: 1, version: 3 } }); // as it was
 * foldRecords([{ id: 1 }], { event: 'deleted', data: { operation: 'delete', id: 1 } }); // []
 * ```
 */

import type { DataChangeEvent } from './types';

interface Row {
  readonly id: string | number;
  readonly version?: number;
}

const isRow = (value: unknown): value is Row =>
  !!value && typeof value === 'object' && /^(string|number)$/.test(typeof (value as Partial<Row>).id);

// An id in a channel's name is text, in the record it may be a number.
const isSame = (a: unknown, b: Row) => isRow(a) && String(a.id) === String(b.id);

/**
 * A record goes into the place of the one with its `id`, or to the end; not if it is older than that one, or the same,
 * by `version`. A `DataChangeEvent` does so with its `data`, and takes the record out where it says `delete`, as does an
 * event of the name `delete` or `deleted`. Any other payload is the new state, unless the state is a list: then an
 * array replaces it, and the rest is not for it.
 */
export function foldRecords<T>(state: T, message: { readonly event: string; readonly data: unknown }): T {
  const { data } = message;
  if (!Array.isArray(state) || Array.isArray(data)) return data as T;
  if (!isRow(data)) return state;
  const { operation, data: record } = data as Row & Partial<DataChangeEvent>;
  const at = state.findIndex(row => isSame(row, data));
  const held = at < 0 ? undefined : (state[at] as Row).version;
  const row = operation && record && typeof record === 'object' ? ({ id: data.id, ...record } as Row) : data;
  const version = data.version ?? row.version;
  const isDelete = operation ? operation === 'delete' : /^deleted?$/.test(message.event);
  if (held !== undefined && version !== undefined && (isDelete ? version < held : version <= held)) return state;
  if (isDelete) return (at < 0 ? state : state.filter((_, i) => i !== at)) as T;
  return (at < 0 ? [...state, row] : state.map((old, i) => (i === at ? row : old))) as T;
}
