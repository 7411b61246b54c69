// @vitest-environment jsdom
import { expect, test, vi } from 'vitest';
import { follow, listen, newest, open, page, requests, wait } from './stage';

const random = (value: number) => vi.spyOn(Math, 'random').mockReturnValue(value);

/** A page that follows these; its stream, open at e-0. */
const following = async (...names: string[]) => {
  random(0);
  const realtime = page();
  const channels = names.map((name) => follow(realtime, name));
  const stream = await newest();
  await stream.hello();
  await wait(0);
  return { realtime, stream, channels };
};

test('it is connected when the server says so, not when it was asked (A14)', async () => {
  const realtime = page();
  const { heard } = follow(realtime, 'news');
  const stream = await newest();
  expect(heard).toEqual([]);
  await stream.hello();
  expect(heard).toEqual([['open', false]]);
  await stream.message('e-1', 'news', 'one');
  await stream.cut();
  expect(heard).toEqual([['open', false], 'one']);
});

test('each callback is told what it is for (A14)', async () => {
  const realtime = page();
  const messages = vi.fn();
  realtime.channel('news', messages);
  const denied = follow(realtime, 'secret');
  const stream = await newest();
  await stream.hello({ denied: [{ channel: 'secret', code: 'accessdenied' }] });
  await stream.message('e-1', 'news', { text: 'hi' }, 'announcement');
  expect(messages.mock.calls).toEqual([[{ channel: 'news', event: 'announcement', data: { text: 'hi' }, id: 'e-1' }]]);
  expect(denied.heard).toEqual([['denied', 'accessdenied']]);
});

test('0, false, "" and null are data like any other (defect 13)', async () => {
  const { stream, channels } = await following('news');
  const data = [0, false, '', null, [], {}];
  for (const [index, value] of data.entries()) await stream.message(`e-${index + 1}`, 'news', value);
  expect(channels[0]!.heard.slice(1)).toEqual(data);
});

test('messages of channels that say no id come too', async () => {
  const { stream, channels } = await following('room:1:typing');
  await stream.message(undefined, 'room:1:typing', 'ann');
  await stream.message(undefined, 'room:1:typing', 'ann');
  expect(channels[0]!.heard.slice(1)).toEqual(['ann', 'ann']);
});

test('all that changes within 50 ms is one switch', async () => {
  const { realtime, stream } = await following('a');
  follow(realtime, 'b');
  await wait(20);
  follow(realtime, 'c');
  const { leave } = follow(realtime, 'd');
  await wait(25);
  leave();
  expect(requests()).toHaveLength(1);
  const next = await newest();
  expect(requests()).toHaveLength(2);
  // What was let go lingers.
  expect(next.channels).toEqual(['a', 'b', 'c', 'd']);
  await next.hello();
  await wait(1_100);
  expect((await newest()).channels).toEqual(['a', 'b', 'c']);
  expect(requests()).toHaveLength(3);
  expect(stream.aborted).toBe(true);
});

test('what changes during a switch waits for its end', async () => {
  const { realtime } = await following('a');
  follow(realtime, 'b');
  const second = await newest();
  follow(realtime, 'c');
  await wait(500);
  expect(requests()).toHaveLength(2);
  await second.hello();
  const third = await newest();
  expect(third.channels).toEqual(['a', 'b', 'c']);
  expect(third.url.searchParams.get('replaces')).toBe('s2');
});

test('subscribers of one channel share it, and it is let go a second after the last one (F2)', async () => {
  const { realtime, stream, channels } = await following('a', 'b');
  const second = follow(realtime, 'a');
  await wait(200);
  await stream.message('e-1', 'a', 'one');
  channels[0]!.leave();
  channels[0]!.leave();
  await wait(2_000);
  expect(requests()).toHaveLength(1);
  await stream.message('e-2', 'a', 'two');
  expect(channels[0]!.heard.slice(1)).toEqual(['one']);
  second.leave();
  await stream.message('e-3', 'a', 'three');
  await wait(900);
  expect(requests()).toHaveLength(1);
  const third = follow(realtime, 'a');
  await stream.message('e-4', 'a', 'four');
  await wait(500);
  third.leave();
  await wait(1_001);
  expect((await newest()).channels).toEqual(['b']);
  expect(requests()).toHaveLength(2);
  // Whoever comes late is told that what was said before was told to others.
  expect(second.heard).toEqual([['open', false], 'one', 'two']);
  expect(third.heard).toEqual([['open', false], 'four']);
});

test('who comes in the very moment in which it is let go is a new subscription', async () => {
  const { realtime, channels } = await following('a', 'b');
  channels[0]!.leave();
  let again!: ReturnType<typeof follow>;
  setTimeout(() => (again = follow(realtime, 'a')), 1_000);
  await wait(1_000);
  const next = await newest();
  await next.hello();
  await next.message('e-5', 'a', 5);
  expect(again.heard).toEqual([['open', expect.any(Boolean)], 5]);
});

test('the same handlers twice are two subscriptions', async () => {
  const { realtime, stream } = await following('a');
  const onMessage = vi.fn();
  const handlers = { onMessage };
  const first = realtime.channel('a', handlers);
  realtime.channel('a', handlers);
  await stream.message('e-1', 'a', 1);
  expect(onMessage).toHaveBeenCalledTimes(2);
  first();
  await stream.message('e-2', 'a', 2);
  expect(onMessage).toHaveBeenCalledTimes(3);
});

test('switching is make before break: the old one is heard till the hello of the new (R12)', async () => {
  const { realtime, stream, channels } = await following('a');
  await stream.message('e-1', 'a', 1);
  const b = follow(realtime, 'b');
  const next = await newest();
  expect(next.url.searchParams.get('replaces')).toBe('s1');
  expect(next.cursor).toBe('e-1');
  await stream.message('e-3', 'a', 3);
  expect(channels[0]!.heard.slice(1)).toEqual([1, 3]);
  expect(stream.aborted).toBe(false);
  await next.hello();
  expect(stream.aborted).toBe(true);
  // Not read any more, whatever is still in its pipe.
  await stream.message('e-4', 'a', 'from the old');
  await next.message('e-2', 'b', 2);
  await next.message('e-3', 'a', 3);
  await next.message('e-4', 'a', 4);
  await next.message('e-5', 'b', 5);
  expect(channels[0]!.heard.slice(1)).toEqual([1, 3, 4]);
  // Said since it was asked for, though the old stream had an id above it.
  expect(b.heard).toEqual([['open', expect.any(Boolean)], 2, 5]);
});

test('what both brought is once, also when the new one breaks before it has caught up (R12)', async () => {
  const { realtime, stream, channels } = await following('a');
  follow(realtime, 'b');
  const next = await newest();
  for (const id of [1, 2, 3, 4]) await stream.message(`e-${id}`, 'a', id);
  await next.hello();
  await next.message('e-1', 'a', 1);
  await next.message('e-2', 'a', 2);
  await next.cut();
  await wait(1);
  const third = requests()[2]!;
  expect(third.cursor).toBe('e-2');
  await third.hello();
  for (const id of [3, 4, 5]) await third.message(`e-${id}`, 'a', id);
  expect(channels[0]!.heard.slice(1)).toEqual([1, 2, 3, 4, 5]);
});

test('… and also over another switch (R12)', async () => {
  const { realtime, stream, channels } = await following('a');
  const b = follow(realtime, 'b');
  const next = await newest();
  for (const id of [1, 2, 4]) await stream.message(`e-${id}`, 'a', id);
  await next.hello();
  await next.message('e-1', 'a', 1);
  const c = follow(realtime, 'c');
  const third = await newest();
  await next.message('e-2', 'a', 2);
  await next.message('e-3', 'b', 3);
  await third.hello();
  for (const [id, channel] of [[2, 'a'], [3, 'b'], [4, 'a'], [5, 'c'], [6, 'b'], [7, 'a']] as const) {
    await third.message(`e-${id}`, channel, id);
  }
  expect(channels[0]!.heard.slice(1)).toEqual([1, 2, 4, 7]);
  expect(b.heard.slice(1)).toEqual([3, 6]);
  expect(c.heard.slice(1)).toEqual([5]);
});

test('… and also when the page goes away in between, and comes back', async () => {
  const { realtime, stream, channels } = await following('a');
  const b = follow(realtime, 'b');
  const next = await newest();
  for (const id of [1, 2, 5]) await stream.message(`e-${id}`, 'a', id);
  await next.hello();
  await next.message('e-1', 'a', 1);
  await next.message('e-2', 'a', 2);
  window.dispatchEvent(new Event('pagehide'));
  await wait(1);
  window.dispatchEvent(new Event('pageshow'));
  const back = await newest();
  await back.hello();
  const said = [[1, 'a'], [2, 'a'], [3, 'b'], [4, 'b'], [5, 'a'], [6, 'a']] as const;
  for (const [id, channel] of said.slice(parseInt(back.cursor!.slice(2), 16))) {
    await back.message(`e-${id}`, channel, id);
  }
  expect(channels[0]!.heard.slice(1)).toEqual([1, 2, 5, 6]);
  expect(b.heard.slice(1)).toEqual([3, 4]);
});

test('a switch that fails keeps the old one, and is tried again', async () => {
  const { realtime, stream, channels } = await following('a');
  const b = follow(realtime, 'b');
  const states: unknown[] = [];
  realtime.status.subscribe(() => states.push(realtime.status.getSnapshot()));
  await (await newest()).answer(503);
  await stream.message('e-1', 'a', 1);
  expect(channels[0]!.heard.slice(1)).toEqual([1]);
  expect(stream.aborted).toBe(false);
  await wait(1);
  await requests()[2]!.refuse();
  await stream.message('e-2', 'a', 2);
  await wait(1);
  const next = requests()[3]!;
  // Where `b` was asked for.
  expect([next.cursor, next.channels]).toEqual(['e-0', ['a', 'b']]);
  await next.hello();
  await next.message('e-1', 'a', 1);
  await next.message('e-2', 'a', 2);
  expect(stream.aborted).toBe(true);
  expect(channels[0]!.heard.slice(1)).toEqual([1, 2]);
  expect(b.heard).toEqual([['open', expect.any(Boolean)]]);
  expect(states).toEqual([]);
});

test('when the old one breaks during a switch, the new one goes on alone', async () => {
  const { realtime, stream, channels } = await following('a');
  follow(realtime, 'b');
  const next = await newest();
  await stream.message('e-1', 'a', 1);
  await stream.cut();
  expect(realtime.status.getSnapshot().state).toBe('connecting');
  await wait(5_000);
  expect(requests()).toHaveLength(2);
  await next.hello();
  await next.message('e-1', 'a', 1);
  await next.message('e-2', 'a', 2);
  expect(realtime.status.getSnapshot().state).toBe('open');
  expect(channels[0]!.heard.slice(1)).toEqual([1, 2]);
});

test('too many channels are told to those that are too many; what is open goes on', async () => {
  const { realtime, stream, channels } = await following('a');
  const b = follow(realtime, 'b');
  await (await newest()).answer(400);
  expect(b.heard).toEqual([['denied', 'http 400']]);
  await stream.message('e-1', 'a', 1);
  expect(channels[0]!.heard.slice(1)).toEqual([1]);
  await wait(60_000 - 30_000);
  expect(requests()).toHaveLength(2);
});

test('a denied channel is told once, the rest goes on, and it is asked for again with the next stream', async () => {
  const realtime = page();
  const a = follow(realtime, 'a');
  const secret = follow(realtime, 'secret');
  const denied = [{ channel: 'secret', code: 'accessdenied' }];
  const stream = await newest();
  await stream.hello({ denied });
  await stream.message('e-1', 'a', 1);
  await wait(30_000);
  expect(requests()).toHaveLength(1);
  // Also who comes late.
  const late = follow(realtime, 'secret');
  await wait(0);
  expect(late.heard).toEqual([['denied', 'accessdenied']]);
  const b = follow(realtime, 'b');
  const next = await newest();
  expect(next.channels).toEqual(['a', 'b', 'secret']);
  await next.hello({ denied });
  expect(secret.heard).toEqual([['denied', 'accessdenied']]);
  follow(realtime, 'c');
  // A member by now.
  const third = await newest();
  await third.hello();
  await third.message('e-2', 'secret', 'at last');
  expect(secret.heard).toEqual([['denied', 'accessdenied'], ['open', false], 'at last']);
  expect(a.heard).toEqual([['open', false], 1]);
  expect(b.heard).toHaveLength(1);
});

test('a gap is told to those channels that it names, once each', async () => {
  const { stream, channels } = await following('a', 'b', 'c');
  await stream.gap('evicted', { id: 'e-9', channels: ['a', 'c', 'of another tab'] });
  await wait(1);
  await stream.message('e-a', 'a', 10);
  expect(channels.map(({ heard }) => heard.slice(1))).toEqual([[['gap', 'evicted'], 10], [], [['gap', 'evicted']]]);
});

test('a gap of everything is one of each channel', async () => {
  const { stream, channels } = await following('a', 'b');
  await stream.gap('epoch', { id: 'f-9' });
  await wait(1);
  expect(channels.map(({ heard }) => heard.slice(1))).toEqual([[['gap', 'epoch']], [['gap', 'epoch']]]);
});

test('with since, what was published since is delivered', async () => {
  const { realtime, stream, channels } = await following('a');
  for (const id of [3, 4, 7]) await stream.message(`e-${id}`, 'a', id);
  const b = follow(realtime, 'b', { since: 'e-3' });
  const next = await newest();
  expect(next.cursor).toBe('e-3');
  await next.hello();
  expect(b.heard).toEqual([['open', true]]);
  for (const [id, channel] of [[4, 'a'], [5, 'b'], [7, 'a'], [8, 'b']] as const) {
    await next.message(`e-${id}`, channel, id);
  }
  expect(b.heard.slice(1)).toEqual([5, 8]);
  expect(channels[0]!.heard.slice(1)).toEqual([3, 4, 7]);
});

test('with a since older than what is known here it is told that it is not resumed', async () => {
  random(0);
  const realtime = page({ cursor: 'e-9' });
  listen(realtime);
  await (await newest()).hello();
  const b = follow(realtime, 'b', { since: 'e-3' });
  const next = await newest();
  expect(next.cursor).toBe('e-9');
  await next.hello();
  await next.message('e-a', 'b', 10);
  expect(b.heard).toEqual([['open', false], 10]);
});

test('with a since of another life of the server, too', async () => {
  const { realtime } = await following('a');
  const b = follow(realtime, 'b', { since: 'd-3' });
  const next = await newest();
  expect(next.cursor).toBe('e-0');
  await next.hello();
  expect(b.heard).toEqual([['open', false]]);
});

test('the first stream begins at since', async () => {
  const realtime = page();
  const a = follow(realtime, 'a', { since: 'e-3' });
  const b = follow(realtime, 'b', { since: 'e-5' });
  const c = follow(realtime, 'c');
  const stream = await newest();
  expect(stream.cursor).toBe('e-3');
  await stream.hello();
  for (const [id, name] of [[4, 'a'], [4, 'b'], [6, 'a'], [6, 'b'], [6, 'c']] as const) {
    await stream.message(`e-${id}`, name, `${name}${id}`);
  }
  expect(a.heard).toEqual([['open', true], 'a4', 'a6']);
  expect(b.heard).toEqual([['open', true], 'b6']);
  expect(c.heard).toEqual([['open', false], 'c6']);
});

test('a channel that is followed again with a since before what is known of it comes in order, and once', async () => {
  const { realtime, stream, channels } = await following('a', 'b');
  for (const id of [1, 2, 3, 4]) await stream.message(`e-${id}`, 'b', id);
  channels[1]!.leave();
  await wait(1_001);
  const without = await newest();
  expect(without.channels).toEqual(['a']);
  await without.hello();
  await without.cursorAt('e-7');
  const again = follow(realtime, 'b', { since: 'e-2' });
  const next = await newest();
  expect(next.cursor).toBe('e-2');
  await next.hello();
  for (const id of [3, 4, 5, 8]) await next.message(`e-${id}`, 'b', id);
  expect(again.heard).toEqual([['open', true], 3, 4, 5, 8]);
});

test('… also where of that channel only the end is known here', async () => {
  const { realtime, stream } = await following('a');
  await stream.cursorAt('e-7');
  const b = follow(realtime, 'b');
  const second = await newest();
  await second.hello();
  await second.message('e-8', 'b', 8);
  b.leave();
  await wait(1_001);
  await (await newest()).hello();
  const again = follow(realtime, 'b', { since: 'e-3' });
  const next = await newest();
  expect(next.cursor).toBe('e-3');
  await next.hello();
  for (const id of [5, 8, 9]) await next.message(`e-${id}`, 'b', id);
  expect(again.heard).toEqual([['open', true], 5, 8, 9]);
});

test('a switch waits till it is known where the stream is: after a strange cursor, for its gap', async () => {
  const { realtime, stream, channels } = await following('a');
  await stream.cursorAt('e-4');
  await stream.cut();
  await wait(1);
  const strange = requests()[1]!;
  await strange.hello({ resumed: false, id: null });
  const b = follow(realtime, 'b');
  await wait(1_000);
  expect(requests()).toHaveLength(2);
  await strange.gap('unknown', { id: 'f-2' });
  await strange.message('f-3', 'a', 3);
  const next = await newest();
  expect([next.cursor, next.channels]).toEqual(['f-3', ['a', 'b']]);
  await next.hello();
  await next.message('f-4', 'b', 4);
  expect(channels[0]!.heard.slice(1)).toEqual([3, ['gap', 'unknown']]);
  expect(b.heard.slice(-2)).toEqual([['open', expect.any(Boolean)], 4]);
});

test('who comes late and has what was said before a gap is not resumed: the others were told of the gap', async () => {
  const { realtime, stream } = await following('a');
  await stream.message('e-3', 'a', 3);
  const before = follow(realtime, 'a', { since: 'e-4' });
  await stream.gap('evicted', { channels: ['a'] });
  await wait(1);
  const after = follow(realtime, 'a', { since: 'e-4' });
  await stream.message('e-8', 'a', 8);
  const late = follow(realtime, 'a', { since: 'e-9' });
  await stream.message('e-a', 'a', 10);
  expect(before.heard).toEqual([['open', true], ['gap', 'evicted'], 8, 10]);
  expect(after.heard).toEqual([['open', false], 8, 10]);
  expect(late.heard).toEqual([['open', true], 10]);
});

test('who comes late and has less than the channel began with here is not resumed', async () => {
  const { realtime, stream } = await following('a');
  await stream.cursorAt('e-9');
  // `b` draws the stream back to e-5; `c` begins at the e-9 that was known here.
  follow(realtime, 'b', { since: 'e-5' });
  follow(realtime, 'c', { since: 'd-1' });
  const next = await newest();
  expect(next.cursor).toBe('e-5');
  await next.hello();
  const [less, enough] = ['e-6', 'e-9'].map((since) => follow(realtime, 'c', { since }));
  for (const id of [7, 8]) await next.message(`e-${id}`, 'c', id);
  await next.message('e-a', 'c', 10);
  expect(less!.heard).toEqual([['open', false], 10]);
  expect(enough!.heard).toEqual([['open', true], 10]);
});

test('resources and records: their channels, and of these what was changed (F2, F3)', async () => {
  const realtime = page();
  const all = vi.fn();
  const seven = vi.fn();
  const leave = realtime.resource('posts', all);
  realtime.record('posts', 7, seven);
  const stream = await newest();
  expect(stream.channels).toEqual(['record:posts:7', 'resource:posts']);
  await stream.hello();
  const changes = [
    { operation: 'create', id: 7, data: { title: 'one' }, version: 1 },
    { operation: 'update', id: 7, data: { title: 'two' }, version: 2 },
    { operation: 'delete', id: 7 },
  ];
  for (const [index, change] of changes.entries()) {
    await stream.message(`e-${2 * index + 1}`, 'resource:posts', change, 'data_change');
    await stream.message(`e-${2 * index + 2}`, 'record:posts:7', change, 'data_change');
  }
  await stream.message('e-8', 'resource:posts', { operation: 'create', id: 8, data: {} }, 'data_change');
  await stream.message('e-9', 'resource:posts', { other: true }, 'something_else');
  expect(seven.mock.calls).toEqual(changes.map((change) => [change]));
  expect(all.mock.calls).toEqual([...changes, { operation: 'create', id: 8, data: {} }].map((change) => [change]));
  leave();
  await stream.message('e-a', 'resource:posts', { operation: 'delete', id: 8 }, 'data_change');
  expect(all).toHaveBeenCalledTimes(4);
});

test('who was let in, denied and let in again is told each time, and so is who comes later', async () => {
  const { realtime, stream } = await open();
  const first = follow(realtime, 'room');
  await (await newest()).hello();
  expect(first.heard).toEqual([['open', false]]);
  // Signed out, and in as one who may not.
  realtime.disconnect();
  realtime.connect();
  const between = follow(realtime, 'room');
  const refused = await newest();
  expect(between.heard).toEqual([]);
  await refused.hello({ resumed: true, denied: [{ channel: 'room', code: 'accessdenied' }] });
  expect(between.heard).toEqual([['denied', 'accessdenied']]);
  realtime.disconnect();
  realtime.connect();
  await (await newest()).hello({ resumed: true });
  const late = follow(realtime, 'room');
  await wait(1);
  expect([first, between, late].map(({ heard }) => heard.at(-1))).toEqual(Array(3).fill(['open', false]));
  expect(stream.aborted).toBe(true);
});
