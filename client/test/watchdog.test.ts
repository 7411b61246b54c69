// @vitest-environment jsdom
import { beforeEach, expect, test, vi } from 'vitest';
import { follow, listen, newest, open, page, requests, wait } from './stage';

const random = (value: number) => vi.spyOn(Math, 'random').mockReturnValue(value);
const ALMOST_1 = 1 - Number.EPSILON;
let online = true;
let hidden = false;

beforeEach(() => {
  online = true;
  hidden = false;
  vi.spyOn(navigator, 'onLine', 'get').mockImplementation(() => online);
  vi.spyOn(document, 'hidden', 'get').mockImplementation(() => hidden);
});

const show = () => {
  hidden = false;
  document.dispatchEvent(new Event('visibilitychange'));
};
const goOnline = (is: boolean) => {
  online = is;
  window.dispatchEvent(new Event(is ? 'online' : 'offline'));
};

test('silence for 2.5 heartbeats is a dead connection, and any bytes are none', async () => {
  random(0);
  const { realtime, stream } = await open({}, { heartbeatMs: 8_000 });
  for (let beat = 0; beat < 5; beat++) {
    await wait(19_000);
    expect(stream.aborted).toBe(false);
    // Half a comment: no event, but a sign of life.
    await stream.write(': e');
  }
  await wait(19_999);
  expect(stream.aborted).toBe(false);
  const seen: unknown[] = [];
  realtime.status.subscribe(() => seen.push(realtime.status.getSnapshot()));
  await wait(1);
  expect(stream.aborted).toBe(true);
  expect(seen[0]).toMatchObject({ state: 'waiting', reason: 'silence' });
  await wait(1);
  expect(requests()).toHaveLength(2);
});

test('also where the heartbeat is quick', async () => {
  const { stream } = await open({}, { heartbeatMs: 1_000 });
  await wait(2_500);
  expect(stream.aborted).toBe(true);
});

test('a server that accepts and says nothing is left', async () => {
  random(0);
  const realtime = page();
  listen(realtime);
  const stream = await newest();
  await wait(9_900);
  expect(stream.aborted).toBe(false);
  await wait(100);
  expect(stream.aborted).toBe(true);
  expect(requests()).toHaveLength(2);
});

test('after a sleep, in which timers stood still, the first look finds the silence', async () => {
  random(ALMOST_1);
  const { realtime, stream } = await open();
  vi.setSystemTime(Date.now() + 3_600_000);
  await wait(5_000);
  expect(stream.aborted).toBe(true);
  expect(realtime.status.getSnapshot()).toMatchObject({ state: 'waiting', reason: 'silence' });
});

test('… at once, where the page is looked at', async () => {
  random(ALMOST_1);
  const { stream } = await open();
  vi.setSystemTime(Date.now() + 3_600_000);
  show();
  await wait(0);
  expect(stream.aborted).toBe(true);
  expect(requests()).toHaveLength(2);
});

test('offline it waits as long as it may, and tells so; online it tries at once', async () => {
  random(0);
  const { realtime, stream } = await open();
  goOnline(false);
  await stream.cut();
  expect(realtime.status.getSnapshot()).toEqual({
    state: 'paused',
    reason: 'network error',
    retryAt: Date.now() + 30_000,
  });
  await wait(29_000);
  expect(requests()).toHaveLength(1);
  goOnline(true);
  await wait(0);
  expect(requests()).toHaveLength(2);
});

test('online again though the stream seems open: another takes its place, for it may hang on the old network', async () => {
  const { heard, stream } = await open();
  await stream.cursorAt('e-4');
  goOnline(false);
  goOnline(true);
  const next = await newest();
  expect(requests()).toHaveLength(2);
  expect(next.cursor).toBe('e-4');
  expect(next.url.searchParams.get('replaces')).toBe('s1');
  expect(stream.aborted).toBe(false);
  await next.hello();
  expect(stream.aborted).toBe(true);
  expect(heard).toEqual([]);
});

test('who looks at the page does not wait', async () => {
  random(ALMOST_1);
  const { stream } = await open();
  hidden = true;
  await stream.cut();
  await wait(1_000);
  await requests()[1]!.refuse();
  await wait(1_500);
  expect(requests()).toHaveLength(2);
  show();
  await wait(0);
  expect(requests()).toHaveLength(3);
});

test('but who flips between tabs does not hammer the server', async () => {
  random(ALMOST_1);
  const { stream } = await open();
  await stream.cut();
  await wait(1_000);
  await requests()[1]!.refuse();
  await wait(500);
  for (let flip = 0; flip < 20; flip++) show();
  await wait(0);
  expect(requests()).toHaveLength(2);
});

test('neither is what the server put off hastened, nor what was given up begun again', async () => {
  random(0);
  const { stream, realtime } = await open();
  await stream.cut();
  await wait(0);
  await requests()[1]!.answer(503, { 'retry-after': '30' });
  const look = async () => {
    await wait(2_000);
    show();
    goOnline(true);
    await wait(60);
  };
  await look();
  expect(requests()).toHaveLength(2);
  await wait(28_000);
  await requests()[2]!.answer(403);
  await look();
  expect(requests()).toHaveLength(3);
  expect(realtime.status.getSnapshot()).toEqual({ state: 'closed', reason: 'http 403' });
});

const pass = (target: EventTarget, name: string) => target.dispatchEvent(new Event(name));

test.each([
  ['pagehide', 'pageshow', () => window],
  ['freeze', 'resume', () => document],
] as const)('at %s the stream is let go, at %s what was missed is asked for', async (away, back, target) => {
  const { realtime, heard, stream } = await open();
  const { heard: news } = follow(realtime, 'news');
  const followed = await newest();
  await followed.hello();
  await followed.message('e-3', 'news', 'one');
  await followed.cursorAt('e-4');
  pass(target(), away);
  await wait(0);
  expect([stream, followed].map(({ aborted }) => aborted)).toEqual([true, true]);
  expect(realtime.status.getSnapshot().state).toBe('paused');
  await wait(600_000);
  expect(requests()).toHaveLength(2);
  pass(target(), back);
  const again = await newest();
  expect(requests()).toHaveLength(3);
  expect([again.cursor, again.channels]).toEqual(['e-4', ['news']]);
  await again.hello();
  await again.revalidate([['posts']]);
  await again.message('e-6', 'news', 'two');
  await wait(0);
  expect(heard).toEqual([{ keys: [['posts']], own: false }]);
  // One acknowledgement a subscription.
  expect(news).toEqual([['open', false], 'one', 'two']);
});

test('what cannot be had any more when the page is back is told as a gap', async () => {
  const { realtime, heard } = await open();
  const { heard: news } = follow(realtime, 'news');
  const followed = await newest();
  await followed.hello();
  await followed.cursorAt('e-4');
  pass(window, 'pagehide');
  await wait(0);
  pass(window, 'pageshow');
  const again = await newest();
  await again.hello({ resumed: false, id: null });
  await again.gap('unknown', { id: 'f-9' });
  await wait(0);
  expect(news).toEqual([['open', false], ['gap', expect.any(String)]]);
  expect(heard).toEqual([{ keys: [[]], own: false, gap: expect.any(String) }]);
});

test('the pageshow of a page that was never away does nothing', async () => {
  await open();
  pass(window, 'pageshow');
  await wait(1_000);
  expect(requests()).toHaveLength(1);
});

test('a page that is away does not open because somebody listens', async () => {
  const { realtime } = await open();
  pass(window, 'pagehide');
  follow(realtime, 'news');
  await wait(60_000);
  expect(requests()).toHaveLength(1);
  pass(window, 'pageshow');
  expect((await newest()).channels).toEqual(['news']);
});

test('disconnected, it does not come back with the page', async () => {
  const { realtime } = await open();
  realtime.disconnect();
  pass(window, 'pagehide');
  pass(window, 'pageshow');
  goOnline(true);
  show();
  await wait(60_000);
  expect(requests()).toHaveLength(1);
});

test('a page that comes back from the cache tries what was given up, as a new one does', async () => {
  const { stream, realtime } = await open();
  random(0);
  await stream.cut();
  await wait(1);
  await requests()[1]!.answer(403);
  expect(realtime.status.getSnapshot().state).toBe('closed');
  pass(window, 'pagehide');
  await wait(60_000);
  expect(requests()).toHaveLength(2);
  pass(window, 'pageshow');
  await newest();
  expect(requests()).toHaveLength(3);
});
