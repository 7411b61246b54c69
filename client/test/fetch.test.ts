// @vitest-environment jsdom
import { beforeEach, expect, test, vi } from 'vitest';
import { answer, follow, listen, newest, open, page, requests, wait } from './stage';

const HERE = 'http://app.test';
let seen: Request[];
/** What the routes of the app answer, by path: the cursor, and when. */
let cursors: Record<string, string>;
let slow: Map<string, () => void>;

beforeEach(() => {
  vi.stubGlobal('location', new URL('http://app.test/'));
  seen = [];
  cursors = {};
  slow = new Map();
  answer(async (request) => {
    seen.push(request);
    const path = new URL(request.url).pathname;
    if (path.startsWith('/slow')) await new Promise<void>((resolve) => slow.set(path, resolve));
    if (path.startsWith('/broken')) throw new TypeError('fetch failed');
    const cursor = cursors[path];
    return new Response('{}', cursor ? { headers: { 'x-revalidate-cursor': cursor } } : {});
  });
});

const id = (request: Request | undefined) => request?.headers.get('x-revalidate-id') ?? null;

test('what changes data has an id of its own, 32 lower-case hex digits; what reads has none', async () => {
  const realtime = page({ url: `${HERE}/realtime` });
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) await realtime.fetch(`${HERE}/posts`, { method });
  const ids = seen.map(id);
  for (const one of ids) expect(one).toMatch(/^[0-9a-f]{32}$/);
  expect(new Set(ids).size).toBe(4);
  await realtime.fetch(`${HERE}/posts`);
  await realtime.fetch(new Request(`${HERE}/posts`, { method: 'HEAD' }));
  expect(seen.slice(4).map(id)).toEqual([null, null]);
});

test('zeros at the front are digits too', async () => {
  vi.spyOn(crypto, 'getRandomValues').mockImplementation((array) => array);
  await page().fetch(`${HERE}/posts`, { method: 'POST' });
  expect(id(seen[0])).toBe('0'.repeat(32));
});

test('ids are had where the origin is not secure', async () => {
  vi.stubGlobal('crypto', { getRandomValues: crypto.getRandomValues.bind(crypto) });
  await page().fetch(`${HERE}/posts`, { method: 'POST' });
  expect(id(seen[0])).toMatch(/^[0-9a-f]{32}$/);
});

test('it is the platform’s fetch: input, body and headers are the caller’s', async () => {
  const realtime = page();
  await realtime.fetch(new Request(`${HERE}/posts`, { method: 'POST', body: '{"a":1}', headers: { 'x-mine': 'yes' } }));
  await realtime.fetch(new URL(`${HERE}/posts`), { method: 'PUT', body: 'text', skipOwn: true });
  expect(seen[0]!.headers.get('x-mine')).toBe('yes');
  expect(await seen[0]!.text()).toBe('{"a":1}');
  expect([seen[1]!.method, await seen[1]!.text()]).toEqual(['PUT', 'text']);
  await expect(realtime.fetch(`${HERE}/broken`)).rejects.toThrow('fetch failed');
});

test('of other origins it knows nothing, and tells them nothing', async () => {
  cursors['/posts'] = 'e-3';
  const realtime = page();
  await realtime.fetch('http://other.test/posts', { method: 'POST' });
  await realtime.fetch('http://other.test/posts');
  expect(seen.map(id)).toEqual([null, null]);
  listen(realtime);
  expect((await newest()).cursor).toBe(null);
});

test('the mount’s origin is one’s own, where it is another than the page’s', async () => {
  vi.stubGlobal('location', new URL('http://page.test/'));
  const realtime = page();
  for (const origin of [HERE, 'http://page.test', 'http://other.test']) await realtime.fetch(`${origin}/posts`, { method: 'POST' });
  expect(seen.map((request) => !!id(request))).toEqual([true, true, false]);
});

test('a callback learns that the page itself changed it; others’ and a gap are not own', async () => {
  const { realtime, heard, stream } = await open();
  await realtime.fetch(`${HERE}/posts`, { method: 'POST' });
  const origin = id(seen[0])!;
  await stream.revalidate([['posts']], { origin, spreadMs: 10_000 });
  // Not delayed: the page waits for its own.
  expect(heard).toEqual([{ keys: [['posts']], own: true }]);
  await stream.revalidate([['posts']], { origin: '0123456789abcdef0123456789abcdef' });
  await stream.revalidate([['posts']]);
  expect(heard.slice(1)).toEqual([{ keys: [['posts']], own: false }, { keys: [['posts']], own: false }]);
  await stream.gap('evicted', { id: 'e-9' });
  await wait(1);
  expect(heard.at(-1)).toEqual({ keys: [[]], own: false, gap: 'evicted' });
});

test('with skipOwn the callbacks are not told of that very request, and of all others they are', async () => {
  const { realtime, heard, stream } = await open();
  await realtime.fetch(`${HERE}/posts`, { method: 'POST', skipOwn: true });
  await realtime.fetch(`${HERE}/posts`, { method: 'POST' });
  await stream.revalidate([['posts']], { origin: id(seen[0])! });
  expect(heard).toEqual([]);
  await stream.revalidate([['posts']], { origin: id(seen[1])! });
  expect(heard).toEqual([{ keys: [['posts']], own: true }]);
  // Merged with another's: the server names no origin, and it is told.
  await stream.revalidate([['posts']]);
  expect(heard).toHaveLength(2);
});

test('its news may come before its answer', async () => {
  const { realtime, heard, stream } = await open();
  const posting = realtime.fetch(`${HERE}/slow`, { method: 'POST' });
  await wait(1);
  await stream.revalidate([['posts']], { origin: id(seen[0])! });
  expect(heard).toEqual([{ keys: [['posts']], own: true }]);
  slow.get('/slow')!();
  await posting;
});

test('the stream begins at the oldest cursor of what the page holds (R8)', async () => {
  Object.assign(cursors, { '/a': 'e-1f', '/b': 'e-9', '/c': 'e-a0' });
  const realtime = page();
  for (const path of Object.keys(cursors)) await realtime.fetch(`${HERE}${path}`);
  await realtime.fetch(`${HERE}/without`);
  const heard = listen(realtime);
  const stream = await newest();
  expect(stream.cursor).toBe('e-9');
  await stream.hello();
  await wait(1_000);
  expect(heard).toEqual([]);
});

test('… and of the page that the server rendered (R8)', async () => {
  cursors['/a'] = 'e-1f';
  const realtime = page({ cursor: 'e-2' });
  await realtime.fetch(`${HERE}/a`);
  listen(realtime);
  expect((await newest()).cursor).toBe('e-2');
});

test('what the server rendered and nobody knows how old is a gap, whatever was fetched (R8)', async () => {
  cursors['/a'] = 'e-1f';
  const realtime = page({ cursor: '' });
  await realtime.fetch(`${HERE}/a`);
  const heard = listen(realtime);
  const stream = await newest();
  expect(stream.cursor).toBeNull();
  await stream.hello();
  await wait(1);
  expect(heard).toEqual([{ keys: [[]], own: false, gap: 'fresh' }]);
});

test('it waits for the first requests of the page, which began before it (R8)', async () => {
  cursors['/slow'] = 'e-5';
  const realtime = page();
  listen(realtime);
  const reading = realtime.fetch(`${HERE}/slow`);
  await wait(1_500);
  expect(requests()).toHaveLength(0);
  slow.get('/slow')!();
  await reading;
  expect((await newest()).cursor).toBe('e-5');
});

test('but not for ever: one that ends after hello with an older cursor is a gap (R8)', async () => {
  Object.assign(cursors, { '/slow/a': 'e-5', '/slow/b': 'e-c' });
  const realtime = page();
  const heard = listen(realtime);
  const first = realtime.fetch(`${HERE}/slow/a`);
  const second = realtime.fetch(`${HERE}/slow/b`);
  await wait(2_200);
  expect(requests()).toHaveLength(1);
  await requests()[0]!.hello({ id: 'e-a' });
  await wait(1);
  heard.length = 0;
  slow.get('/slow/b')!();
  await second;
  await wait(1);
  expect(heard).toEqual([]);
  slow.get('/slow/a')!();
  await first;
  await wait(1);
  expect(heard).toEqual([{ keys: [[]], own: false, gap: 'fresh' }]);
});

test('… also where it ends between the request for the stream and its hello (R8)', async () => {
  Object.assign(cursors, { '/slow': 'e-5', '/a': 'e-9' });
  const realtime = page();
  await realtime.fetch(`${HERE}/a`);
  const heard = listen(realtime);
  const reading = realtime.fetch(`${HERE}/slow`);
  await wait(2_200);
  expect(requests()[0]!.cursor).toBe('e-9');
  slow.get('/slow')!();
  await reading;
  await requests()[0]!.hello();
  await wait(1);
  expect(heard).toEqual([{ keys: [[]], own: false, gap: 'fresh' }]);
});

test('a request that begins when the stream is open is no gap', async () => {
  cursors['/a'] = 'e-0';
  const { realtime, heard, stream } = await open({}, { id: 'e-7' });
  await realtime.fetch(`${HERE}/a`);
  await stream.cursorAt('e-9');
  await wait(1);
  expect(heard).toEqual([]);
});

test('a first request that fails holds nothing up', async () => {
  const realtime = page();
  listen(realtime);
  const reading = expect(realtime.fetch(`${HERE}/broken`)).rejects.toThrow();
  await reading;
  await newest();
  expect(requests()).toHaveLength(1);
});

test('a channel begins where the data is from that was fetched for it just before', async () => {
  cursors['/a'] = 'e-4';
  const { realtime, stream } = await open();
  await stream.cursorAt('e-3');
  await realtime.fetch(`${HERE}/a`);
  await stream.cursorAt('e-8');
  const a = follow(realtime, 'a');
  const next = await newest();
  expect(next.cursor).toBe('e-4');
  await next.hello();
  await next.message('e-5', 'a', 5);
  expect(a.heard).toEqual([['open', true], 5]);
});

test('… not where that was long ago', async () => {
  cursors['/a'] = 'e-4';
  const { realtime, stream } = await open();
  await realtime.fetch(`${HERE}/a`);
  await stream.cursorAt('e-8');
  await wait(10_001);
  const a = follow(realtime, 'a');
  const next = await newest();
  expect(next.cursor).toBe('e-8');
  await next.hello();
  expect(a.heard).toEqual([['open', false]]);
});
