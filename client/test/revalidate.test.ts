import { expect, test, vi } from 'vitest';
import { listen, newest, open, page, requests, wait } from './stage';

const random = (value: number) => vi.spyOn(Math, 'random').mockReturnValue(value);

test('a listener hears of its key and of what it begins with, by whole segments (B3, defect 11)', async () => {
  const { realtime, heard: all, stream } = await open();
  const list = listen(realtime, 'posts.list');
  const page2 = listen(realtime, ['posts', 'list', { page: 2, of: 'x' }]);
  const archived = listen(realtime, 'posts.listArchived');
  const news = [
    [['posts', 'list']],
    [['posts']],
    [['posts', 'list', { of: 'x', page: 2 }]],
    [['posts', 'listArchived']],
    [['posts', 'lis']],
    [['users'], ['posts', 'list', { page: 3 }], ['posts', 'list']],
    [[]],
  ];
  for (const keys of news) await stream.revalidate(keys);
  const of = (...which: number[]) => which.map((index) => ({ keys: news[index], own: false }));
  expect(all).toEqual(of(0, 1, 2, 3, 4, 5, 6));
  expect(list).toEqual(of(0, 1, 5, 6));
  expect(page2).toEqual(of(0, 1, 2, 5, 6));
  expect(archived).toEqual(of(1, 3, 6));
});

test('who no longer listens hears nothing, and undoing twice does not undo another', async () => {
  const { realtime, stream } = await open();
  const listener = vi.fn();
  const first = realtime.onRevalidate('posts', listener);
  realtime.onRevalidate('posts', listener);
  first();
  first();
  await stream.revalidate([['posts']]);
  expect(listener).toHaveBeenCalledTimes(1);
});

test('the error of one listener is not the others’', async () => {
  const { realtime, stream } = await open();
  const thrown = vi.fn();
  process.once('uncaughtException', thrown);
  realtime.onRevalidate(() => {
    throw new Error('of the app');
  });
  const heard = listen(realtime);
  await stream.revalidate([['posts']]);
  expect(heard).toHaveLength(1);
  expect(stream.aborted).toBe(false);
  // It is not swallowed either.
  await expect(wait(1)).rejects.toThrow('of the app');
  process.removeListener('uncaughtException', thrown);
});

test('invalidate calls the page’s own callbacks, as if it were the server', async () => {
  const { realtime, heard, stream } = await open();
  const posts = listen(realtime, 'posts.list');
  const users = listen(realtime, 'users');
  realtime.invalidate('posts');
  realtime.invalidate(['users', 7]);
  expect(posts).toEqual([{ keys: [['posts']], own: true }]);
  expect(users).toEqual([]);
  expect(heard).toHaveLength(2);
  expect(stream.aborted).toBe(false);
  expect(requests()).toHaveLength(1);
});

test('a spread waits for a random part of it, is merged, and what comes meanwhile is told with it', async () => {
  random(0.5);
  const { heard, stream } = await open();
  await stream.revalidate([['posts']], { spreadMs: 2_000 });
  await wait(900);
  await stream.revalidate([['posts'], ['users']], { spreadMs: 2_000 });
  await wait(99);
  expect(heard).toEqual([]);
  await wait(1);
  expect(heard).toEqual([{ keys: [['posts'], ['users']], own: false }]);
  await wait(10_000);
  expect(heard).toHaveLength(1);
});

test.each([[0.001, 2], [0.25, 500], [0.999, 1_998]])('the part is uniform: of 2 s at %d it is %d ms', async (value, expected) => {
  random(value);
  const { heard, stream } = await open();
  await stream.revalidate([['posts']], { spreadMs: 2_000 });
  await wait(expected - 1);
  expect(heard).toHaveLength(0);
  await wait(2);
  expect(heard).toHaveLength(1);
});

test('without a spread it is told at once', async () => {
  const { heard, stream } = await open();
  await stream.revalidate([['posts']]);
  expect(heard).toHaveLength(1);
});

test('a gap is everything, with its reason, and takes what waited with it', async () => {
  random(0.5);
  const { realtime, heard, stream } = await open();
  const posts = listen(realtime, 'posts');
  await stream.revalidate([['users']], { spreadMs: 2_000 });
  await stream.gap('evicted', { id: 'e-9', spreadMs: 2_000 });
  await wait(1_000);
  expect(heard).toEqual([{ keys: [[]], own: false, gap: 'evicted' }]);
  expect(posts).toEqual(heard);
});

test('a gap of channels is none of keys', async () => {
  const { heard, stream } = await open();
  await stream.gap('evicted', { channels: ['news'] });
  await wait(1_000);
  expect(heard).toEqual([]);
});

test('a stream that begins without a cursor is a gap for what was fetched before (R8)', async () => {
  random(0.5);
  const realtime = page();
  const heard = listen(realtime);
  await (await newest()).hello({ spreadMs: 1_000 });
  await wait(499);
  expect(heard).toEqual([]);
  await wait(1);
  expect(heard).toEqual([{ keys: [[]], own: false, gap: 'fresh' }]);
});

test('one that comes back where it was is none', async () => {
  random(0);
  const { heard, stream } = await open();
  await stream.revalidate([['posts']], { id: 'e-7' });
  await stream.cut();
  await wait(1);
  expect(requests()[1]!.cursor).toBe('e-7');
  await requests()[1]!.hello();
  await wait(1_000);
  expect(heard).toHaveLength(1);
});

test('a cursor is what was said up to it: of keys that came without an id it waits', async () => {
  random(0);
  const { heard, stream } = await open();
  await stream.cursorAt('e-3');
  await stream.revalidate([['posts']]);
  await stream.cut();
  await wait(1);
  expect(requests()[1]!.cursor).toBe('e-3');
  await requests()[1]!.hello();
  await requests()[1]!.revalidate([['posts']], { id: 'e-5' });
  // Twice is no harm, never would be.
  expect(heard).toHaveLength(2);
});

test('half of an event is none, and moves no cursor', async () => {
  random(0);
  const { heard, stream } = await open();
  await stream.write('id: e-8\nevent: revalidate\ndata: {"keys":[["posts"]],"spreadMs":0}\n');
  await stream.write(': e-9');
  await stream.end();
  expect(heard).toEqual([]);
  await wait(1);
  expect(requests()[1]!.cursor).toBe('e-0');
});

test('a comment that is no cursor moves none: a server that lags, a proxy', async () => {
  random(0);
  const { stream } = await open();
  await stream.cursorAt('e-4');
  await stream.write(':\n\n');
  await stream.write(': ping\n\n');
  await stream.cut();
  await wait(1);
  expect(requests()[1]!.cursor).toBe('e-4');
});

test('events that a later server may say are passed over, and their ids count', async () => {
  random(0);
  const { heard, stream } = await open();
  await stream.write('id: e-8\nevent: weather\ndata: {"keys":[["posts"]]}\n\n');
  await stream.cut();
  await wait(1);
  expect(requests()[1]!.cursor).toBe('e-8');
  expect(heard).toEqual([]);
});

test('after another life of the server its gap is told once, and its cursor is gone on with', async () => {
  random(0);
  const { heard, stream } = await open();
  await stream.cursorAt('e-4');
  await stream.cut();
  await wait(1);
  await requests()[1]!.hello({ resumed: false, id: null });
  await requests()[1]!.gap('unknown', { id: 'f-2' });
  await wait(1);
  expect(heard).toEqual([{ keys: [[]], own: false, gap: 'unknown' }]);
  await requests()[1]!.cut();
  await wait(1);
  expect(requests()[2]!.cursor).toBe('f-2');
});

test('cut between a strange hello and its gap, the gap is not lost', async () => {
  random(0);
  const { heard, stream } = await open();
  await stream.cursorAt('e-4');
  await stream.cut();
  await wait(1);
  await requests()[1]!.hello({ resumed: false, id: null });
  await requests()[1]!.cut();
  await wait(1);
  await requests()[2]!.hello({ resumed: false, id: 'f-2' });
  await wait(1);
  expect(heard).toEqual([{ keys: [[]], own: false, gap: expect.any(String) }]);
});

test('StrictMode, or the next page: who listens again within a second keeps the stream (linger)', async () => {
  const realtime = page();
  const first = realtime.onRevalidate(() => {});
  const stream = await newest();
  await stream.hello();
  first();
  await wait(999);
  const second = realtime.onRevalidate(() => {});
  await wait(5_000);
  expect(stream.aborted).toBe(false);
  second();
  await wait(1_001);
  expect(stream.aborted).toBe(true);
  expect(requests()).toHaveLength(1);
  expect(realtime.status.getSnapshot()).toEqual({ state: 'idle' });
});

test('who listens again after that has what came meanwhile', async () => {
  const realtime = page();
  const leave = realtime.onRevalidate(() => {});
  const stream = await newest();
  await stream.hello();
  await stream.cursorAt('e-6');
  leave();
  await wait(1_100);
  const heard = listen(realtime, 'posts');
  const again = await newest();
  expect(again.cursor).toBe('e-6');
  await again.hello();
  await again.revalidate([['posts']], { id: 'e-9' });
  await wait(1);
  expect(heard).toEqual([{ keys: [['posts']], own: false }]);
});
