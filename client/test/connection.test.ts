import { expect, test, vi } from 'vitest';
import { flush, follow, listen, newest, open, page, requests, states, wait } from './stage';

const random = (value: number) => vi.spyOn(Math, 'random').mockReturnValue(value);
const ALMOST_1 = 1 - Number.EPSILON;

test('not enabled: nothing is requested, till connect (A5)', async () => {
  const realtime = page({ enabled: false });
  listen(realtime);
  follow(realtime, 'news');
  await wait(60_000);
  expect(requests()).toHaveLength(0);
  expect(realtime.status.getSnapshot()).toEqual({ state: 'idle' });
  realtime.connect();
  expect((await newest()).channels).toEqual(['news']);
});

test('nothing is requested before somebody listens', async () => {
  const realtime = page();
  realtime.status.subscribe(() => {});
  await wait(60_000);
  expect(requests()).toHaveLength(0);
});

test('without reconnects, there is no second attempt after a drop (A6)', async () => {
  const { realtime, stream } = await open({ backoff: false });
  await stream.cut();
  await wait(120_000);
  expect(requests()).toHaveLength(1);
  expect(realtime.status.getSnapshot().state).toBe('closed');
});

test('without reconnects, neither after a bye (A6)', async () => {
  const { realtime, stream } = await open({ backoff: false });
  await stream.bye('shutdown');
  await wait(120_000);
  expect(requests()).toHaveLength(1);
  expect(realtime.status.getSnapshot()).toEqual({ state: 'closed', reason: 'shutdown' });
});

/** Fails each attempt at once; the waits between them. */
const waits = async (attempts: number) => {
  const { realtime } = await open();
  await requests()[0]!.cut();
  const delays: number[] = [];
  while (delays.length < attempts) {
    const before = Date.now();
    const count = requests().length;
    const { retryAt } = realtime.status.getSnapshot();
    await wait(retryAt! - before);
    expect(requests()).toHaveLength(count + 1);
    delays.push(retryAt! - before);
    await requests().at(-1)!.refuse();
  }
  return delays;
};

test('each wait may be as short as none: full jitter (A8, defect 20)', async () => {
  random(0);
  expect(await waits(6)).toEqual([0, 0, 0, 0, 0, 0]);
});

test('each wait is at most twice the one before, from 1 s up to 30 s (A8)', async () => {
  random(ALMOST_1);
  expect(await waits(8)).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
});

test('the waits of two clients are not in step (defect 20)', async () => {
  const { realtime, stream } = await open();
  const other = page();
  listen(other);
  const second = await newest();
  await second.hello();
  const now = Date.now();
  vi.spyOn(Math, 'random').mockReturnValueOnce(0.25).mockReturnValueOnce(0.75);
  await stream.cut();
  await second.cut();
  expect([realtime, other].map(({ status }) => status.getSnapshot().retryAt! - now)).toEqual([250, 750]);
});

test('it does not give up by itself (A8, defect 20)', async () => {
  random(0);
  const { realtime } = await open();
  await requests()[0]!.cut();
  for (let attempt = 1; attempt < 200; attempt++) {
    await wait(0);
    expect(requests()).toHaveLength(attempt + 1);
    await requests()[attempt]!.refuse();
  }
  expect(realtime.status.getSnapshot().state).toBe('waiting');
});

test('a stream that stood begins the waits anew, one that fell at once does not (A8)', async () => {
  random(ALMOST_1);
  const { realtime } = await open();
  const due = () => realtime.status.getSnapshot().retryAt! - Date.now();
  await requests()[0]!.cut();
  for (const expected of [1_000, 2_000, 4_000]) {
    expect(due()).toBe(expected);
    await wait(expected);
    await requests().at(-1)!.hello();
    await requests().at(-1)!.cut();
  }
  expect(due()).toBe(8_000);
  await wait(8_000);
  await requests().at(-1)!.hello();
  await wait(5_001);
  await requests().at(-1)!.cut();
  expect(due()).toBe(1_000);
});

test('with maxAttempts 5 it gives up after five failures in a row (A8)', async () => {
  random(0);
  const realtime = page({ backoff: { maxAttempts: 5 } });
  listen(realtime);
  await newest();
  for (let failure = 1; failure <= 5; failure++) {
    expect(requests()).toHaveLength(failure);
    expect(realtime.status.getSnapshot().state).toBe('connecting');
    await requests().at(-1)!.refuse();
    await wait(0);
  }
  expect(realtime.status.getSnapshot()).toEqual({ state: 'closed', reason: 'fetch failed' });
  await wait(600_000);
  expect(requests()).toHaveLength(5);
  realtime.connect();
  await wait(60);
  expect(requests()).toHaveLength(6);
});

test('the schedule is an option (A9)', async () => {
  random(ALMOST_1);
  const { realtime } = await open({ backoff: { initial: 100, max: 300 } });
  await requests()[0]!.cut();
  for (const expected of [100, 200, 300, 300]) {
    expect(realtime.status.getSnapshot().retryAt! - Date.now()).toBe(expected);
    await wait(expected);
    await requests().at(-1)!.refuse();
  }
});

test('the server says how often in hello, the option wins (A10)', async () => {
  random(0);
  const failing = async (maxAttempts?: number) => {
    const { realtime, stream } = await open(maxAttempts === undefined ? {} : { backoff: { maxAttempts } }, { maxAttempts: 2 });
    const before = requests().length;
    await stream.cut();
    while (realtime.status.getSnapshot().state !== 'closed') {
      await wait(0);
      await requests().at(-1)!.refuse();
    }
    return requests().length - before;
  };
  // The cut is a failure itself.
  expect(await failing()).toBe(1);
  expect(await failing(4)).toBe(3);
});

test('the states through a drop and the recovery, each with what there is to say of it (A12)', async () => {
  random(0.5);
  const realtime = page();
  const seen = states(realtime);
  const changes = vi.fn();
  const unsubscribe = realtime.status.subscribe(changes);
  expect(realtime.status.getSnapshot()).toBe(realtime.status.getSnapshot());
  listen(realtime);
  (await newest()).hello();
  await flush();
  await requests()[0]!.cut();
  expect(realtime.status.getSnapshot()).toEqual({ state: 'waiting', reason: 'network error', retryAt: Date.now() + 500 });
  await wait(499);
  expect(requests()).toHaveLength(1);
  await wait(1);
  expect(requests()[1]!.cursor).toBe('e-0');
  await requests()[1]!.hello();
  expect(seen).toEqual(['idle', 'connecting', 'open', 'waiting', 'connecting', 'open']);
  expect(changes).toHaveBeenCalledTimes(5);
  unsubscribe();
  realtime.disconnect();
  expect(seen.at(-1)).toBe('closed');
  expect(realtime.status.getSnapshot().reason).toBe('disconnect');
  expect(changes).toHaveBeenCalledTimes(5);
});

test('a server that does not hear all news is degraded, till it does', async () => {
  const { realtime, stream } = await open();
  await stream.hello({ live: false, resumed: true });
  expect(realtime.status.getSnapshot().state).toBe('degraded');
  await stream.hello({ live: true, resumed: true });
  expect(realtime.status.getSnapshot().state).toBe('open');
  expect(requests()).toHaveLength(1);
});

test('after disconnect nothing reconnects (A13)', async () => {
  const { realtime, stream } = await open();
  realtime.disconnect();
  await flush();
  expect(stream.aborted).toBe(true);
  follow(realtime, 'news');
  listen(realtime);
  await wait(60_000);
  expect(requests()).toHaveLength(1);
  expect(realtime.status.getSnapshot()).toEqual({ state: 'closed', reason: 'disconnect' });
});

test('after disconnect between two attempts, too (A13)', async () => {
  random(ALMOST_1);
  const { realtime, stream } = await open();
  await stream.cut();
  realtime.disconnect();
  await wait(60_000);
  expect(requests()).toHaveLength(1);
});

test('connect opens again what was subscribed, at the cursor it left (A13)', async () => {
  const { realtime, stream, heard } = await open();
  await stream.cursorAt('e-9');
  realtime.disconnect();
  await wait(60_000);
  realtime.connect();
  const again = await newest();
  expect(again.cursor).toBe('e-9');
  await again.hello();
  await again.revalidate([['posts']]);
  expect(heard).toEqual([{ keys: [['posts']], own: false }]);
});

test('the url is the mount of the page, whatever is at its end (A18)', async () => {
  vi.stubGlobal('location', new URL('http://app.test/posts?page=2'));
  for (const url of ['/realtime', '/realtime/', 'http://app.test/realtime', new URL('http://app.test/realtime/')]) {
    const realtime = page({ url });
    listen(realtime);
    const { url: asked } = await newest();
    expect(`${asked.origin}${asked.pathname}`).toBe('http://app.test/realtime/events');
    realtime.disconnect();
  }
});

test('without a url it is /realtime of the page (A18)', async () => {
  vi.stubGlobal('location', new URL('http://app.test/posts'));
  const { createRealtime } = await import('../src/realtime');
  const realtime = createRealtime({ share: false });
  listen(realtime);
  expect((await newest()).url.pathname).toBe('/realtime/events');
  realtime.disconnect();
});

test('debug tells what happens, to the console or to a function (A20)', async () => {
  const console_ = vi.spyOn(console, 'debug').mockImplementation(() => {});
  const logged = vi.fn();
  const { stream } = await open({ debug: logged });
  await stream.revalidate([['posts']]);
  const states = logged.mock.calls.filter(([what]) => what === 'status').map(([, { state }]) => state);
  expect(states).toEqual(['connecting', 'open']);
  expect(logged.mock.calls.map(([what]) => what)).toContain('revalidate');
  expect(console_).not.toHaveBeenCalled();
  await open({ debug: true });
  expect(console_).toHaveBeenCalledWith('[realtime]', 'status', { state: 'open' });
  console_.mockClear();
  await open();
  expect(console_).not.toHaveBeenCalled();
});

test('the headers are asked for at every attempt, and are not in the URL (B10, D9)', async () => {
  random(0);
  let token = 0;
  const headers = vi.fn(async () => ({ authorization: `Bearer secret-${++token}` }));
  const { stream } = await open({ headers });
  await stream.cut();
  await wait(0);
  await requests()[1]!.refuse();
  await wait(0);
  expect(requests().map(({ headers }) => headers.get('authorization'))).toEqual([1, 2, 3].map((n) => `Bearer secret-${n}`));
  expect(headers).toHaveBeenCalledTimes(3);
  for (const { url } of requests()) expect(url.href).not.toContain('secret');
});

test('headers that cannot be had are a failure like another (D9)', async () => {
  random(ALMOST_1);
  const headers = vi.fn(() => ({ authorization: 'Bearer late' }) as HeadersInit);
  headers.mockImplementationOnce(() => {
    throw new Error('offline');
  });
  const realtime = page({ headers });
  listen(realtime);
  await wait(11);
  await wait(51);
  expect(requests()).toHaveLength(0);
  expect(realtime.status.getSnapshot()).toMatchObject({ state: 'waiting', reason: 'headers' });
  await wait(1_000);
  expect(requests()[0]!.headers.get('authorization')).toBe('Bearer late');
});

test('what a request says of itself', async () => {
  const realtime = page({ cursor: 'e-7', credentials: 'include' });
  follow(realtime, 'b');
  follow(realtime, 'a:1');
  const { headers, url, cursor, credentials, channels } = await newest();
  expect(headers.get('accept')).toBe('text/event-stream');
  expect(headers.get('x-revalidate-client')).toBe('0.0.0');
  expect(credentials).toBe('include');
  expect(cursor).toBe('e-7');
  expect(channels).toEqual(['a:1', 'b']);
  expect([...url.searchParams.keys()]).toEqual(['channels']);
});
