import { expect, test, vi } from 'vitest';
import { follow, listen, newest, open, page, requests, states, wait } from './stage';

const random = (value: number) => vi.spyOn(Math, 'random').mockReturnValue(value);
const ALMOST_1 = 1 - Number.EPSILON;
/** Longer than any wait. */
const LONG = 120_000;

test.each([204, 400, 403, 404, 410])('a %i stops it: the same request would be told the same', async (status) => {
  const realtime = page();
  listen(realtime);
  await (await newest()).answer(status);
  expect(realtime.status.getSnapshot()).toEqual({ state: 'closed', reason: `http ${status}` });
  await wait(LONG);
  expect(requests()).toHaveLength(1);
});

test('what was given up is opened by connect alone, not by one who listens', async () => {
  const realtime = page();
  listen(realtime);
  await (await newest()).answer(403);
  follow(realtime, 'news');
  listen(realtime);
  await wait(LONG);
  expect(requests()).toHaveLength(1);
  realtime.connect();
  const again = await newest();
  expect(requests()).toHaveLength(2);
  expect(again.channels).toEqual(['news']);
  await again.hello();
  expect(realtime.status.getSnapshot()).toEqual({ state: 'open' });
});

test.each([408, 425, 429, 500, 502, 503, 504])('a %i is tried again', async (status) => {
  random(ALMOST_1);
  const realtime = page();
  listen(realtime);
  await (await newest()).answer(status);
  expect(realtime.status.getSnapshot()).toEqual({
    state: 'waiting',
    reason: `http ${status}`,
    retryAt: Date.now() + 1_000,
  });
  await wait(1_000);
  expect(requests()).toHaveLength(2);
});

test.each([429, 503])('a %i with Retry-After in seconds waits so long, and some more', async (status) => {
  for (const [jitter, expected] of [[0, 7_000], [ALMOST_1, 8_000]] as const) {
    random(jitter);
    const realtime = page();
    listen(realtime);
    const asked = await newest();
    await asked.answer(status, { 'retry-after': '7' });
    expect(realtime.status.getSnapshot().retryAt! - Date.now()).toBe(expected);
    const before = requests().length;
    await wait(expected - 1);
    expect(requests()).toHaveLength(before);
    await wait(1);
    expect(requests()).toHaveLength(before + 1);
    realtime.disconnect();
  }
});

test.each([429, 503])('a %i with Retry-After as a date, too', async (status) => {
  random(0.5);
  vi.setSystemTime('2026-01-01T00:00:00Z');
  const realtime = page();
  listen(realtime);
  const asked = await newest();
  await asked.answer(status, { 'retry-after': 'Thu, 01 Jan 2026 00:01:00 GMT' });
  expect(realtime.status.getSnapshot().retryAt).toBe(Date.parse('2026-01-01T00:01:00.500Z'));
});

test.each(['soon', '-5', 'Thu, 01 Jan 1970 00:00:00 GMT'])('Retry-After: %s says nothing', async (value) => {
  random(ALMOST_1);
  const realtime = page();
  listen(realtime);
  await (await newest()).answer(503, { 'retry-after': value });
  expect(realtime.status.getSnapshot().retryAt! - Date.now()).toBe(1_000);
});

test('neither a page that is looked at nor the network hastens what the server put off', async () => {
  random(0);
  const { stream, realtime } = await open();
  await stream.cut();
  await wait(0);
  await requests()[1]!.answer(503, { 'retry-after': '30' });
  follow(realtime, 'news');
  await wait(29_999);
  expect(requests()).toHaveLength(2);
  await wait(1);
  expect(requests()).toHaveLength(3);
  expect(requests()[2]!.channels).toEqual(['news']);
});

test('a 401 without onUnauthorized closes', async () => {
  const realtime = page();
  listen(realtime);
  await (await newest()).answer(401);
  expect(realtime.status.getSnapshot()).toEqual({ state: 'closed', reason: 'unauthorized' });
  await wait(LONG);
  expect(requests()).toHaveLength(1);
});

test('a 401 asks onUnauthorized, and tries at once with new headers; each stream may expire so', async () => {
  random(0);
  let token = 'old';
  const onUnauthorized = vi.fn(async () => void (token = 'new'));
  const realtime = page({ headers: () => ({ authorization: token }), onUnauthorized });
  const seen = states(realtime);
  listen(realtime);
  await (await newest()).answer(401);
  await wait(0);
  expect(requests().map(({ headers }) => headers.get('authorization'))).toEqual(['old', 'new']);
  await requests()[1]!.hello();
  expect(onUnauthorized).toHaveBeenCalledTimes(1);
  expect(seen).toEqual(['idle', 'connecting', 'open']);
  await requests()[1]!.cut();
  await wait(0);
  await requests()[2]!.answer(401);
  await wait(0);
  expect(onUnauthorized).toHaveBeenCalledTimes(2);
  expect(requests()).toHaveLength(4);
});

test('a second 401 closes, and onUnauthorized is not asked again', async () => {
  const onUnauthorized = vi.fn();
  const realtime = page({ onUnauthorized });
  listen(realtime);
  await (await newest()).answer(401);
  await wait(0);
  await requests()[1]!.answer(401);
  expect(realtime.status.getSnapshot()).toEqual({ state: 'closed', reason: 'unauthorized' });
  await wait(LONG);
  expect(onUnauthorized).toHaveBeenCalledTimes(1);
  expect(requests()).toHaveLength(2);
});

test.each([
  ['returns false', () => false],
  ['throws', () => { throw new Error('signed out'); }],
  ['rejects', () => Promise.reject(new Error('signed out'))],
])('an onUnauthorized that %s closes', async (_, onUnauthorized) => {
  const realtime = page({ onUnauthorized });
  listen(realtime);
  await (await newest()).answer(401);
  await wait(LONG);
  expect(realtime.status.getSnapshot()).toEqual({ state: 'closed', reason: 'unauthorized' });
  expect(requests()).toHaveLength(1);
});

test('an HTML page with 200 is no stream, and is tried again', async () => {
  random(ALMOST_1);
  const realtime = page();
  const heard = listen(realtime);
  await (await newest()).answer(200, { 'content-type': 'text/html' }, '<p>data: not a stream</p>\n\n');
  expect(realtime.status.getSnapshot()).toMatchObject({ state: 'waiting', reason: 'not a stream' });
  expect(requests()[0]!.aborted).toBe(true);
  await wait(1_000);
  expect(requests()).toHaveLength(2);
  expect(heard).toEqual([]);
});

test('after a bye it comes back when the server said, and no failure is counted', async () => {
  random(0);
  const { realtime, stream } = await open({ backoff: { maxAttempts: 1 } }, { retry: 2_371 });
  let current = stream;
  for (let time = 2; time < 5; time++) {
    await current.bye('expired');
    expect(current.aborted).toBe(true);
    expect(realtime.status.getSnapshot()).toEqual({ state: 'waiting', reason: 'expired', retryAt: Date.now() + 2_371 });
    await wait(2_370);
    expect(requests()).toHaveLength(time - 1);
    await wait(1);
    expect(requests()).toHaveLength(time);
    current = requests().at(-1)!;
    await current.hello({ retry: 2_371 });
  }
});

test('a bye instead of a hello keeps the cursor', async () => {
  const { stream, heard } = await open();
  await stream.cursorAt('e-5');
  await stream.bye('shutdown');
  await wait(2_000);
  await requests()[1]!.write('retry: 3000\nid: e-5\nevent: bye\ndata: {"reason":"busy"}\n\n');
  await wait(2_999);
  expect(requests()).toHaveLength(2);
  await wait(1);
  expect(requests()[2]!.cursor).toBe('e-5');
  await requests()[2]!.hello();
  await wait(0);
  expect(heard).toEqual([]);
});

test('what is no JSON ends the stream, not the page', async () => {
  random(0);
  const { realtime, stream } = await open();
  await stream.write('event: revalidate\ndata: {"keys":\n\n');
  await wait(0);
  expect(requests()).toHaveLength(2);
  await requests()[1]!.hello();
  expect(realtime.status.getSnapshot().state).toBe('open');
});
