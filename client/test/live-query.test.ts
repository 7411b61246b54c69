// @vitest-environment jsdom
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { liveQuery } from '../src/live-query';
import type { LiveQueryOptions } from '../src/live-query';
import { fake } from './fake';
import type { Fake } from './fake';
import { origin, quiet, setHidden, until } from './origin';
import type { Origin } from './origin';

let server: Fake;
const stops: (() => void)[] = [];

beforeEach(() => {
  server = fake();
});

afterEach(() => {
  stops.splice(0).forEach(stop => stop());
  setHidden(false);
  vi.restoreAllMocks();
});

function watch<T>(from: Origin<T>, options?: LiveQueryOptions<T>) {
  const query = liveQuery(server.realtime, 'posts.list', from.read, options);
  const seen: unknown[] = [];
  const stop = query.subscribe(() => seen.push(query.getSnapshot().data));
  stops.push(stop);
  return { query, stop, seen, now: () => query.getSnapshot() };
}

async function watched<T>(from: Origin<T>, options?: LiveQueryOptions<T>) {
  const watching = watch(from, options);
  from.answer();
  await until(() => expect(watching.now().data).toEqual(from.value));
  return watching;
}

test('it is read when it is first watched, and again when it became stale (B4)', async () => {
  const posts = origin(1);
  const query = liveQuery(server.realtime, ['posts', 'list'], posts.read);
  expect(query.getSnapshot()).toEqual({ data: undefined, error: undefined, isLoading: true, isFetching: false });
  expect([posts.reads.length, server.listeners()]).toEqual([0, 0]);
  const { now } = watch(posts);
  expect(now()).toEqual({ data: undefined, error: undefined, isLoading: true, isFetching: true });
  posts.answer();
  await until(() => expect(now()).toEqual({ data: 1, error: undefined, isLoading: false, isFetching: false }));
  posts.value = 2;
  server.stale('posts.listArchived', 'users');
  expect(posts.reads).toHaveLength(1);
  server.stale('posts');
  expect(now()).toEqual({ data: 1, error: undefined, isLoading: false, isFetching: true });
  posts.answer();
  await until(() => expect(now().data).toBe(2));
});

test('a snapshot is the same object until it changes', async () => {
  const { now } = await watched(origin(1));
  expect(now()).toBe(now());
});

test('news during a read asks for one more, however much came', async () => {
  const posts = origin('old');
  const { now, seen } = watch(posts);
  posts.value = 'new';
  server.stale('posts');
  server.gap();
  expect(posts.reads).toHaveLength(1);
  posts.answer();
  await until(() => expect(posts.reads).toHaveLength(2));
  expect(seen).toContain('old');
  posts.answer();
  await until(() => expect(now().data).toBe('new'));
  await quiet();
  expect(posts.reads).toHaveLength(2);
});

test('a read that fails is tried again by itself, with full jitter, and what was there stays', async () => {
  const uniform = vi.spyOn(Math, 'random').mockReturnValue(0.5);
  const waits = vi.spyOn(globalThis, 'setTimeout');
  const asked = () => waits.mock.calls.map(([, ms]) => ms).filter(ms => ms !== undefined && ms > 5);
  const posts = origin(1);
  const { now } = await watched(posts, { backoff: { initial: 20, max: 100 } });
  posts.value = 2;
  server.stale('posts');
  const error = new Error('down');
  for (let tried = 2; tried < 6; tried++) {
    await until(() => expect(posts.reads).toHaveLength(tried));
    posts.fail(error);
    await until(() => expect(now()).toEqual({ data: 1, error, isLoading: false, isFetching: false }));
  }
  await until(() => expect(posts.reads).toHaveLength(6));
  expect(uniform).toHaveBeenCalledTimes(4);
  expect(asked()).toEqual([10, 20, 40, 50]);
  posts.answer();
  await until(() => expect(now()).toEqual({ data: 2, error: undefined, isLoading: false, isFetching: false }));
  await quiet();
  expect(posts.reads).toHaveLength(6);
});

test('a fetcher that throws at once fails like any other', async () => {
  const query = liveQuery(server.realtime, 'posts', () => {
    throw new Error('no');
  });
  stops.push(query.subscribe(() => {}));
  await until(() => expect(query.getSnapshot().error).toEqual(new Error('no')));
});

test('a hidden page reads when it is seen, once', async () => {
  const posts = origin(1);
  const { now } = await watched(posts);
  setHidden(true);
  posts.value = 2;
  server.stale('posts');
  server.stale('posts');
  await quiet();
  expect(posts.reads).toHaveLength(1);
  setHidden(false);
  expect(posts.reads).toHaveLength(2);
  posts.answer();
  await until(() => expect(now().data).toBe(2));
  setHidden(true);
  setHidden(false);
  expect(posts.reads).toHaveLength(2);
});

test('`refetch` reads now, and resolves when a read that began after it has settled', async () => {
  const posts = origin(1);
  const { query, now } = watch(posts);
  setHidden(true);
  let done = false;
  const refetched = query.refetch().then(() => (done = true));
  expect(posts.reads).toHaveLength(1);
  posts.value = 2;
  posts.answer();
  await until(() => expect(posts.reads).toHaveLength(2));
  expect(done).toBe(false);
  posts.answer();
  await refetched;
  expect(now().data).toBe(2);
  const failing = query.refetch();
  posts.fail();
  await failing;
  expect(now().error).toEqual(new Error('origin'));
});

test('data of the page is shown, and not read again before it became stale', async () => {
  const posts = origin(2);
  const { now } = watch(posts, { initialData: 1 });
  expect(now()).toEqual({ data: 1, error: undefined, isLoading: false, isFetching: false });
  expect(posts.reads).toHaveLength(0);
  server.gap('fresh');
  posts.answer();
  await until(() => expect(now().data).toBe(2));

  const users = origin(2);
  const again = watch(users, { initialData: 1 });
  again.stop();
  await quiet();
  stops.push(again.query.subscribe(() => {}));
  expect(users.reads).toHaveLength(1); // nobody listened for a while
});

test('when the last watcher is gone nothing is heard, read or tried any more; a new one reads anew', async () => {
  const posts = origin(1);
  const { query, stop, now } = await watched(posts, { backoff: { initial: 1, max: 1 } });
  const another = query.subscribe(() => {});
  stop();
  stop();
  await quiet();
  expect(server.listeners()).toBe(1);
  server.stale('posts');
  posts.value = 2;
  another();
  await until(() => expect(server.listeners()).toBe(0));
  posts.fail();
  await quiet();
  expect(now()).toEqual({ data: 1, error: undefined, isLoading: false, isFetching: false });
  expect(posts.reads).toHaveLength(2);
  stops.push(query.subscribe(() => {}));
  expect(posts.reads).toHaveLength(3);
  posts.answer();
  await until(() => expect(now().data).toBe(2));
});
