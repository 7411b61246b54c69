import { expect, test, vi } from 'vitest';
import { shareWorkers } from './shared-worker';
import { answer, follow, listen, newest, page, requests, wait } from './stage';
import type { RealtimeOptions } from '../src/types';

const random = (value: number) => vi.spyOn(Math, 'random').mockReturnValue(value);
const ANN = { share: true, identity: 'ann' } satisfies RealtimeOptions;

/** A tab that listens for keys, of a worker whose stream is open. */
const first = async (options: RealtimeOptions = ANN) => {
  random(0);
  const workers = shareWorkers();
  const realtime = page(options);
  const heard = listen(realtime);
  const stream = await newest();
  await stream.hello();
  await wait(1);
  heard.length = 0;
  return { workers, realtime, heard, stream };
};
const live = () => requests().filter(({ aborted }) => !aborted);

test('seven tabs have one stream, and all hear (A15)', async () => {
  const { workers, heard, stream } = await first();
  const others = Array.from({ length: 6 }, () => listen(page({ ...ANN, cursor: 'e-0' })));
  await newest();
  await stream.revalidate([['posts']], { id: 'e-1' });
  for (const one of [heard, ...others]) expect(one).toEqual([{ keys: [['posts']], own: false }]);
  expect(requests()).toHaveLength(1);
  expect(workers.running()).toBe(1);
});

test('one worker a version, a mount and an identity, so that neither deploys nor sign-outs mix', async () => {
  const { workers } = await first();
  for (const identity of ['bob', undefined]) listen(page({ share: true, ...(identity && { identity }) }));
  await newest();
  const names = workers.connected.map(({ options }) => options.name);
  expect(new Set(names).size).toBe(3);
  for (const name of names) expect(name).toContain('0.0.0');
  expect(workers.connected[0]!.url).toBe('http://app.test/realtime/worker.js');
  expect(workers.connected[0]!.options).toMatchObject({ type: 'module', credentials: 'same-origin' });
  expect(requests()).toHaveLength(3);
});

test('with headers and no identity nothing is shared, for two tabs may be two users', async () => {
  const workers = shareWorkers();
  for (const token of ['a', 'b']) listen(page({ url: 'http://app.test/realtime', share: undefined as any, headers: () => ({ authorization: token }) }));
  await newest();
  expect(workers.connected).toHaveLength(0);
  expect(requests().map(({ headers }) => headers.get('authorization'))).toEqual(['a', 'b']);
});

test('by default it is shared', async () => {
  const workers = shareWorkers();
  const { createRealtime } = await import('../src/realtime');
  const realtime = createRealtime({ url: 'http://app.test/realtime' });
  listen(realtime);
  await newest();
  expect(workers.connected).toHaveLength(1);
  realtime.disconnect();
});

test('a second tab is served from the ring: all since its cursor, and no request', async () => {
  const { stream } = await first();
  await stream.revalidate([['a']], { id: 'e-5' });
  await stream.revalidate([['b']]);
  await stream.revalidate([['c']], { id: 'e-7' });
  const heard = listen(page({ ...ANN, cursor: 'e-5' }));
  await wait(11);
  await wait(51);
  expect(heard.map(({ keys }) => keys)).toEqual([[['b']], [['c']]]);
  await stream.revalidate([['d']], { id: 'e-8' });
  expect(heard.map(({ keys }) => keys)).toEqual([[['b']], [['c']], [['d']]]);
  expect(heard.every(({ gap }) => gap === undefined)).toBe(true);
  expect(requests()).toHaveLength(1);
});

test('a tab without a cursor, or with one below the ring, hears a gap, and the others none', async () => {
  const { heard, stream } = await first();
  for (let id = 1; id <= 300; id++) await stream.revalidate([['n', id]], { id: `e-${id.toString(16)}` });
  heard.length = 0;
  const below = listen(page({ ...ANN, cursor: 'e-2' }));
  const without = listen(page(ANN));
  const strange = listen(page({ ...ANN, cursor: 'd-77' }));
  // 300 - 256 were evicted.
  const covered = listen(page({ ...ANN, cursor: 'e-2c' }));
  await wait(11);
  await wait(51);
  await wait(1);
  const gap = [{ keys: [[]], own: false, gap: 'fresh' }];
  expect([below, without, strange]).toEqual([gap, gap, gap]);
  expect(covered).toHaveLength(256);
  expect(heard).toEqual([]);
  expect(requests()).toHaveLength(1);
});

test('what the ring holds is bounded in bytes, too', async () => {
  const { stream } = await first();
  for (let id = 1; id <= 5; id++) await stream.revalidate([['x'.repeat(300_000), id]], { id: `e-${id}` });
  const below = listen(page({ ...ANN, cursor: 'e-1' }));
  const covered = listen(page({ ...ANN, cursor: 'e-2' }));
  await wait(11);
  await wait(51);
  await wait(1);
  expect(below.map(({ gap }) => gap)).toEqual(['fresh']);
  expect(covered).toHaveLength(3);
});

test('keys come before the messages of their batch, and may be younger than these: the ring reckons with it', async () => {
  const { realtime } = await first();
  follow(realtime, 'a');
  const stream = await newest();
  await stream.hello();
  // `b` changed at e-6; what was read of it at e-5 is old.
  await stream.revalidate([['b']]);
  await stream.message('e-5', 'a', 5);
  const early = listen(page({ ...ANN, cursor: 'e-5' }));
  await wait(11);
  await wait(51);
  await stream.message('e-7', 'a', 7);
  // The next batch: the one before was whole at e-7.
  await stream.revalidate([['c']]);
  const late = listen(page({ ...ANN, cursor: 'e-5' }));
  const later = listen(page({ ...ANN, cursor: 'e-7' }));
  await wait(11);
  await wait(51);
  await stream.cursorAt('e-9');
  const last = listen(page({ ...ANN, cursor: 'e-9' }));
  await wait(11);
  await wait(51);
  await wait(1);
  const keys = (heard: { keys: unknown }[]) => heard.map(({ keys }) => keys);
  expect(keys(early)).toEqual([[['b']], [['c']]]);
  expect(keys(late)).toEqual([[['b']], [['c']]]);
  expect(keys(later)).toEqual([[['c']]]);
  expect(keys(last)).toEqual([]);
});

test('… also where a gap came with them', async () => {
  const { realtime } = await first();
  follow(realtime, 'a');
  const stream = await newest();
  await stream.hello();
  await stream.cursorAt('e-3');
  await stream.gap('evicted', { channels: ['z'] });
  await stream.revalidate([['b']]);
  await stream.message('e-5', 'a', 5);
  const heard = listen(page({ ...ANN, cursor: 'e-5' }));
  await wait(11);
  await wait(51);
  expect(heard.map(({ keys }) => keys)).toEqual([[['b']]]);
});

test('keys that no cursor stands behind yet are in the ring for whoever comes', async () => {
  const { stream } = await first();
  await stream.revalidate([['a']], { id: 'e-5' });
  await stream.revalidate([['b']]);
  const heard = listen(page({ ...ANN, cursor: 'e-5' }));
  await wait(11);
  await wait(51);
  expect(heard.map(({ keys }) => keys)).toEqual([[['b']]]);
});

test('a channel newly followed with a since below the cursor is replayed, and the other tab hears nothing twice', async () => {
  const { realtime, stream } = await first();
  const one = follow(realtime, 'a');
  const second = await newest();
  await second.hello();
  for (const id of [3, 4, 7]) await second.message(`e-${id}`, 'a', id);
  const other = page({ ...ANN, cursor: 'e-7' });
  const two = follow(other, 'a', { since: 'e-3' });
  const also = follow(other, 'b', { since: 'e-5' });
  const third = await newest();
  expect([third.cursor, third.channels]).toEqual(['e-3', ['a', 'b']]);
  await second.message('e-8', 'a', 8);
  await third.hello();
  for (const [id, channel] of [[4, 'a'], [5, 'b'], [6, 'b'], [7, 'a'], [8, 'a'], [9, 'b'], [10, 'a']] as const) {
    await third.message(`e-${id.toString(16)}`, channel, id);
  }
  expect(one.heard).toEqual([['open', false], 3, 4, 7, 8, 10]);
  expect(two.heard).toEqual([['open', true], 4, 7, 8, 10]);
  expect(also.heard).toEqual([['open', true], 6, 9]);
  expect(live()).toEqual([third]);
  expect(stream.aborted).toBe(true);
});

test('two tabs that catch up from different places each hear all of it once, over a cut', async () => {
  const { realtime } = await first();
  const one = follow(realtime, 'a');
  const second = await newest();
  await second.hello();
  for (const id of [1, 2, 3, 4, 5, 6]) await second.message(`e-${id}`, 'a', id);
  const two = follow(page({ ...ANN, cursor: 'e-6' }), 'a', { since: 'e-2' });
  const third = await newest();
  await third.hello();
  await third.message('e-3', 'a', 3);
  const three = follow(page({ ...ANN, cursor: 'e-6' }), 'a', { since: 'e-1' });
  const fourth = await newest();
  expect(fourth.cursor).toBe('e-1');
  await third.message('e-4', 'a', 4);
  await fourth.hello();
  await fourth.message('e-2', 'a', 2);
  await fourth.message('e-3', 'a', 3);
  await fourth.cut();
  await wait(1);
  const fifth = requests().at(-1)!;
  await fifth.hello();
  for (const id of [4, 5, 6, 7]) await fifth.message(`e-${id}`, 'a', id);
  expect(one.heard.slice(1)).toEqual([1, 2, 3, 4, 5, 6, 7]);
  expect(two.heard.slice(1)).toEqual([3, 4, 5, 6, 7]);
  expect(three.heard.slice(1)).toEqual([2, 3, 4, 5, 6, 7]);
});

test('a channel of one tab is not another’s, nor is its gap or its denial', async () => {
  const { realtime } = await first();
  const other = page({ ...ANN, cursor: 'e-0' });
  const a = follow(realtime, 'a');
  const b = follow(other, 'b');
  const c = follow(other, 'c');
  const stream = await newest();
  await stream.hello({ denied: [{ channel: 'c', code: 'accessdenied' }] });
  await stream.message('e-1', 'a', 'for a');
  await stream.message('e-2', 'b', 'for b');
  await stream.gap('evicted', { channels: ['b'] });
  await wait(1);
  expect(a.heard).toEqual([['open', false], 'for a']);
  expect(b.heard).toEqual([['open', true], 'for b', ['gap', 'evicted']]);
  expect(c.heard).toEqual([['denied', 'accessdenied']]);
});

test('own is what the tab itself changed; skipOwn is of that tab alone', async () => {
  const { realtime, heard, stream } = await first();
  const other = listen(page({ ...ANN, cursor: 'e-0' }));
  await newest();
  let request!: Request;
  answer((asked) => {
    request = asked;
    return new Response();
  });
  const post = async (skipOwn: boolean) => {
    await realtime.fetch('http://app.test/posts', { method: 'POST', skipOwn });
    await stream.revalidate([['posts']], { origin: request.headers.get('x-revalidate-id')! });
  };
  await post(false);
  await post(true);
  expect(heard.map(({ own }) => own)).toEqual([true]);
  expect(other.map(({ own }) => own)).toEqual([false, false]);
});

test('when the first tab is closed, the stream stays for the second', async () => {
  const { realtime, heard, stream } = await first();
  const other = page({ ...ANN, cursor: 'e-0' });
  const second = listen(other);
  await newest();
  realtime.disconnect();
  await wait(5_000);
  await stream.revalidate([['posts']], { id: 'e-1' });
  expect(second).toHaveLength(1);
  expect(heard).toHaveLength(0);
  expect(stream.aborted).toBe(false);
  other.disconnect();
  await wait(999);
  expect(stream.aborted).toBe(false);
  await wait(1);
  expect(stream.aborted).toBe(true);
});

test('a page that loads another keeps the stream', async () => {
  const { realtime, stream } = await first();
  await stream.cursorAt('e-3');
  realtime.disconnect();
  await wait(500);
  const heard = listen(page({ ...ANN, cursor: 'e-3' }));
  await wait(11);
  await wait(51);
  await wait(5_000);
  await stream.revalidate([['posts']], { id: 'e-5' });
  expect(heard).toEqual([{ keys: [['posts']], own: false }]);
  expect(requests()).toHaveLength(1);
});

test('a tab that slept asks for the rest, and has it from the ring and the next stream', async () => {
  const { realtime, heard, stream } = await first();
  const a = follow(realtime, 'a');
  const other = page({ ...ANN, cursor: 'e-0' });
  const b = follow(other, 'a');
  const both = await newest();
  await both.hello();
  await both.message('e-1', 'a', 1);
  realtime.disconnect();
  await wait(1);
  await both.message('e-2', 'a', 2);
  await both.revalidate([['posts']], { id: 'e-3' });
  realtime.connect();
  const third = await newest();
  expect(third.cursor).toBe('e-1');
  await third.hello();
  await third.revalidate([['posts']]);
  await third.message('e-2', 'a', 2);
  await third.message('e-4', 'a', 4);
  expect(a.heard).toEqual([['open', false], 1, 2, 4]);
  expect(b.heard.slice(1)).toEqual([1, 2, 4]);
  expect(heard.length).toBeGreaterThanOrEqual(1);
  expect(heard.every(({ gap }) => gap === undefined)).toBe(true);
  expect(stream.aborted).toBe(true);
});

test('a tab that wakes while another stream is opened hears no gap for what is kept', async () => {
  const { realtime, heard, stream } = await first();
  const a = follow(realtime, 'a');
  const other = page({ ...ANN, cursor: 'e-0' });
  follow(other, 'b');
  const both = await newest();
  await both.hello();
  await both.message('e-1', 'a', 1);
  realtime.disconnect();
  await wait(1);
  await both.message('e-2', 'a', 2);
  await both.revalidate([['posts']], { id: 'e-3' });
  const without = await newest();
  expect([without.cursor, without.channels]).toEqual(['e-3', ['b']]);
  realtime.connect();
  await wait(11);
  await without.hello();
  expect(a.heard).toEqual([['open', false], 1]);
  const again = await newest();
  expect([again.cursor, again.channels]).toEqual(['e-1', ['a', 'b']]);
  await again.hello();
  await again.revalidate([['posts']]);
  await again.message('e-2', 'a', 2);
  expect(a.heard).toEqual([['open', false], 1, 2]);
  expect(heard).toContainEqual({ keys: [['posts']], own: false });
  expect(heard.every(({ gap }) => gap === undefined)).toBe(true);
  expect(stream.aborted).toBe(true);
});

test('… nor does one that wants keys alone', async () => {
  const { realtime, heard } = await first();
  const other = page({ ...ANN, cursor: 'e-0' });
  const b = follow(other, 'b');
  const both = await newest();
  await both.hello();
  await both.revalidate([['one']], { id: 'e-1' });
  realtime.disconnect();
  await wait(1);
  await both.revalidate([['two']], { id: 'e-2' });
  follow(other, 'c');
  const more = await newest();
  expect([more.cursor, more.channels]).toEqual(['e-2', ['b', 'c']]);
  realtime.connect();
  await wait(11);
  await more.hello();
  await wait(51);
  expect(heard).toEqual([{ keys: [['one']], own: false }, { keys: [['two']], own: false }]);
  expect(b.heard).toHaveLength(1);
  expect(live()).toEqual([more]);
});

test('of unknown identity each new tab opens the stream anew, with the cookies of now', async () => {
  const { stream } = await first({ share: true });
  listen(page({ share: true, cursor: 'e-0' }));
  const second = await newest();
  expect(requests()).toHaveLength(2);
  expect(second.url.searchParams.get('replaces')).toBe('s1');
  expect(stream.aborted).toBe(false);
  await second.hello();
  expect(live()).toEqual([second]);
});

test('a tab that joins while the first stream is opened is served by it', async () => {
  const workers = shareWorkers();
  const one = follow(page(ANN), 'a');
  await newest();
  const two = follow(page(ANN), 'b');
  await wait(11);
  await wait(51);
  expect(requests()).toHaveLength(1);
  await requests()[0]!.hello();
  const second = await newest();
  expect(second.channels).toEqual(['a', 'b']);
  await second.hello();
  await second.message('e-1', 'a', 1);
  await second.message('e-2', 'b', 2);
  expect([one.heard, two.heard]).toEqual([[['open', false], 1], [['open', expect.any(Boolean)], 2]]);
  expect(workers.running()).toBe(1);
});

test('the status is the same in every tab, also in one that comes late', async () => {
  const { realtime, stream } = await first();
  const other = page(ANN);
  listen(other);
  await wait(11);
  await wait(1);
  expect(other.status.getSnapshot()).toEqual({ state: 'open' });
  random(1);
  await stream.cut();
  expect(other.status.getSnapshot()).toMatchObject({ state: 'waiting' });
  expect(other.status.getSnapshot()).toEqual(realtime.status.getSnapshot());
});

test('what was given up is tried again for a new tab, and for those that are there', async () => {
  shareWorkers();
  const one = page(ANN);
  listen(one);
  await (await newest()).answer(403);
  expect(one.status.getSnapshot().state).toBe('closed');
  const two = page(ANN);
  listen(two);
  await (await newest()).hello();
  expect(requests()).toHaveLength(2);
  expect([one, two].map(({ status }) => status.getSnapshot().state)).toEqual(['open', 'open']);
});

test('a tab that died is let go with its channels, at once where the browser tells, else after its pings', async () => {
  const { workers, heard } = await first();
  for (const told of [true, false]) {
    follow(page({ ...ANN, cursor: 'e-0' }), 'a');
    const followed = await newest();
    expect(followed.channels).toEqual(['a']);
    await followed.hello();
    workers.connected.at(-1)!.die(told);
    for (let s = 0; s < (told ? 0 : 80); s += 10) {
      await followed.cursorAt('e-0');
      await wait(10_000);
    }
    const rest = await newest();
    expect(rest.channels).toEqual([]);
    await rest.hello();
  }
  await live()[0]!.revalidate([['posts']]);
  expect(heard).toEqual([{ keys: [['posts']], own: false }]);
});

test('a tab that answers stays, however long nothing happens', async () => {
  const { stream, heard } = await first();
  for (let minute = 0; minute < 10; minute++) {
    for (let beat = 0; beat < 4; beat++) {
      await wait(15_000);
      await stream.cursorAt(`e-${minute + 1}${beat}`);
    }
  }
  await stream.revalidate([['posts']], { id: 'e-ff' });
  expect(heard).toHaveLength(1);
  expect(requests()).toHaveLength(1);
});

test('a tab that leaves while it is asked for headers keeps nobody waiting', async () => {
  random(0);
  shareWorkers();
  const going = page({ ...ANN, headers: () => new Promise(() => {}) });
  listen(going);
  await wait(11);
  await wait(51);
  listen(page({ ...ANN, headers: () => ({ authorization: 'two' }) }));
  await wait(11);
  expect(requests()).toHaveLength(0);
  going.disconnect();
  await wait(1_000);
  expect(live().at(-1)?.headers.get('authorization')).toBe('two');
});

test('nor does the last one, whoever comes then', async () => {
  random(0);
  shareWorkers();
  const going = page({ ...ANN, headers: () => new Promise(() => {}) });
  listen(going);
  await wait(11);
  await wait(51);
  going.disconnect();
  await wait(500);
  listen(page({ ...ANN, headers: () => ({ authorization: 'two' }) }));
  await wait(1_000);
  expect(live().at(-1)?.headers.get('authorization')).toBe('two');
});

test('headers are asked of the tabs in turn: one that sleeps does not stop the others', async () => {
  const headers = (authorization: string) => () => ({ authorization });
  const { workers, stream } = await first({ ...ANN, headers: headers('one') });
  listen(page({ ...ANN, headers: headers('two'), cursor: 'e-0' }));
  await newest();
  workers.connected[0]!.freeze();
  await stream.cut();
  await wait(11_000);
  await wait(11_000);
  expect(live().at(-1)!.headers.get('authorization')).toBe('two');
});

test.each(['silent', 'throws'] as const)('a worker that is %s is done without', async (how) => {
  shareWorkers(how);
  const heard = listen(page(ANN));
  if (how === 'silent') await wait(5_100);
  const stream = await newest();
  await stream.hello();
  await stream.revalidate([['posts']], { id: 'e-1' });
  await wait(1);
  expect(heard).toContainEqual({ keys: [['posts']], own: false });
  expect(requests()).toHaveLength(1);
});

test('so is one that fails to load', async () => {
  const workers = shareWorkers('silent');
  listen(page(ANN));
  await wait(11);
  workers.connected[0]!.fail();
  await newest();
  expect(requests()).toHaveLength(1);
});

test('messages without an id are for who is there: they move no cursor, and nobody is told them later', async () => {
  const { realtime } = await first();
  const one = follow(realtime, 'room:1:typing');
  const second = await newest();
  await second.hello();
  await second.message('e-3', 'room:1:typing', 3);
  await second.message(undefined, 'room:1:typing', 'ann');
  const other = page({ ...ANN, cursor: 'e-3' });
  const keys = listen(other);
  const two = follow(other, 'room:1:typing');
  const third = await newest();
  expect(third.cursor).toBe('e-3');
  await third.hello();
  await third.message(undefined, 'room:1:typing', 'bob');
  await third.message(undefined, 'room:1:typing', 'bob');
  await third.message('e-4', 'room:1:typing', 4);
  await third.message(undefined, 'room:1:typing', 'cat');
  await third.cut();
  await wait(1);
  expect(requests().at(-1)!.cursor).toBe('e-4');
  const fourth = requests().at(-1)!;
  await fourth.hello();
  // Nor does it matter to what has one: what comes again of a stream that begins lower is heard once.
  const three = follow(page({ ...ANN, cursor: 'e-4' }), 'room:1:typing', { since: 'e-3' });
  const fifth = await newest();
  expect(fifth.cursor).toBe('e-3');
  await fifth.hello();
  await fifth.message(undefined, 'room:1:typing', 'dan');
  realtime.disconnect();
  await wait(1);
  realtime.connect();
  await fifth.message('e-4', 'room:1:typing', 4);
  const sixth = await newest();
  await sixth.hello();
  await sixth.message('e-4', 'room:1:typing', 4);
  await sixth.message('e-5', 'room:1:typing', 5);
  expect(one.heard).toEqual([['open', false], 3, 'ann', 'bob', 'bob', 4, 'cat', 'dan', 5]);
  expect(two.heard).toEqual([['open', true], 'bob', 'bob', 4, 'cat', 'dan', 5]);
  expect(three.heard).toEqual([['open', true], 'dan', 4, 5]);
  expect(keys).toEqual([]);
});
