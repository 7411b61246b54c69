import { expect, test, vi } from 'vitest';
import { shareWorkers } from './shared-worker';
import { answer, follow, listen, newest, page, requests, wait } from './stage';
import type { Presence, Realtime, RealtimeOptions } from '../src/types';

const random = (value: number) => vi.spyOn(Math, 'random').mockReturnValue(value);
const TAB = { share: true, identity: 'ann' } satisfies RealtimeOptions;
const ann = { userId: 'ann', info: { name: 'Ann' } };
const bob = { userId: 'bob' };
const cat = { userId: 'cat', meta: 'away' };

const live = () => requests().filter(({ aborted }) => !aborted);

/** A page that watches: who was there each time it was told, and what it is told from. */
const watch = (realtime: Realtime<any>, name = 'room:1') => {
  const presence: Presence = realtime.presence(name);
  const told: string[] = [];
  const leave = presence.subscribe(() => {
    const { users, count, more, ready, denied } = presence.getSnapshot();
    const ids = users.map(({ userId }) => userId).join(' ');
    told.push(`${ids || '-'} of ${count}${more ? '+' : ''}${ready ? '' : ', not ready'}${denied ? `, ${denied.code}` : ''}`);
  });
  return { presence, told, leave };
};
const ids = (presence: Presence) => presence.getSnapshot().users.map(({ userId }) => userId);

/** A page that watches a room in which Ann and Bob are. */
const inRoom = async (options?: RealtimeOptions) => {
  random(0);
  const realtime = page(options);
  const room = watch(realtime);
  const stream = await newest();
  await stream.hello();
  await stream.present('room:1', [ann, bob]);
  return { realtime, stream, ...room };
};

test('who watches is there, and is told who else is: the server’s list, with what it tells of each (F4, C12)', async () => {
  const realtime = page();
  const { presence, told } = watch(realtime);
  expect(presence.getSnapshot()).toEqual({ users: [], count: 0, more: false, ready: false, denied: undefined });
  const stream = await newest();
  expect(stream.presence).toEqual(['room:1']);
  expect(stream.channels).toEqual([]);
  await stream.hello();
  expect(presence.getSnapshot().ready).toBe(false);
  await stream.present('room:1', [ann, bob]);
  expect(presence.getSnapshot()).toEqual({ users: [ann, bob], count: 2, more: false, ready: true, denied: undefined });
  expect(told).toEqual(['ann bob of 2']);
});

test('who comes, who goes, and what changes of them: in the order of their ids, each state an object of its own (F4, F5)', async () => {
  const { stream, presence, told } = await inRoom();
  const first = presence.getSnapshot();
  await stream.moved('room:1', { joined: [{ userId: 'aaron' }, cat], left: ['bob'], count: 3 });
  const second = presence.getSnapshot();
  expect(second.users).toEqual([{ userId: 'aaron' }, ann, cat]);
  await stream.moved('room:1', { updated: [{ userId: 'cat', meta: 'back' }], count: 3 });
  expect(presence.getSnapshot().users[2]).toEqual({ userId: 'cat', meta: 'back' });
  // Who is known and joins again is the same, and so is who joins and changes in one.
  await stream.moved('room:1', { joined: [cat, bob], updated: [{ userId: 'bob', meta: 1 }], count: 4 });
  expect(presence.getSnapshot().users.slice(2)).toEqual([{ userId: 'bob', meta: 1 }, cat]);
  expect(first.users).toEqual([ann, bob]);
  expect(second.users).toEqual([{ userId: 'aaron' }, ann, cat]);
  expect(told).toHaveLength(4);
});

test('what says nothing new tells nobody, and the state is the same object', async () => {
  const { stream, presence, told } = await inRoom();
  const state = presence.getSnapshot();
  await stream.present('room:1', [ann, bob]);
  await stream.moved('room:1', { updated: [bob], count: 2 });
  await stream.moved('room:1', { left: ['nobody'], count: 2 });
  expect(presence.getSnapshot()).toBe(state);
  expect(told).toHaveLength(1);
});

test('of a crowd some are named, and all are counted', async () => {
  const { stream, told } = await inRoom();
  await stream.present('room:1', [ann, bob], 201);
  await stream.moved('room:1', { count: 202 });
  await stream.present('room:1', [ann]);
  expect(told.slice(1)).toEqual(['ann bob of 201+', 'ann bob of 202+', 'ann of 1']);
});

test('a change before the list of its stream is none', async () => {
  const { told, stream } = await inRoom();
  await stream.cut();
  await wait(1);
  const second = requests().at(-1)!;
  await second.hello();
  await second.moved('room:1', { joined: [cat], count: 2 });
  await second.present('room:1', [ann, cat]);
  expect(told).toEqual(['ann bob of 2', 'ann cat of 2']);
});

test('the channel of the same name hears nothing of it, nor is it asked for', async () => {
  random(0);
  const realtime = page();
  const room = watch(realtime);
  const { heard } = follow(realtime, 'room:1');
  const stream = await newest();
  expect([stream.channels, stream.presence]).toEqual([['room:1'], ['room:1']]);
  await stream.hello();
  await stream.present('room:1', [ann]);
  await stream.message('e-1', 'room:1', 'hi');
  await stream.moved('room:1', { joined: [bob], count: 2 });
  expect(heard).toEqual([['open', false], 'hi']);
  expect(room.told).toEqual(['ann of 1', 'ann bob of 2']);
});

test('another stream is made before the one is broken, and who is shown stays until it says who is there', async () => {
  const { realtime, stream, presence, told } = await inRoom();
  const state = presence.getSnapshot();
  follow(realtime, 'news');
  const second = await newest();
  expect([second.channels, second.presence, stream.aborted]).toEqual([['news'], ['room:1'], false]);
  await stream.moved('room:1', { joined: [cat], count: 3 });
  await second.hello();
  expect(live()).toEqual([second]);
  expect(ids(presence)).toEqual(['ann', 'bob', 'cat']);
  await second.present('room:1', [ann, bob, cat]);
  await second.moved('room:1', { left: ['cat'], count: 2 });
  expect(told).toEqual(['ann bob of 2', 'ann bob cat of 3', 'ann bob of 2']);
  expect(presence.getSnapshot()).toEqual(state);
});

test('so it does over a cut, however long that takes; the new list is the whole of it', async () => {
  const { stream, presence, told } = await inRoom();
  await stream.cut();
  await wait(1);
  await requests().at(-1)!.answer(503);
  await wait(60_000);
  expect(ids(presence)).toEqual(['ann', 'bob']);
  const second = requests().at(-1)!;
  expect(second.presence).toEqual(['room:1']);
  await second.hello();
  await second.present('room:1', [ann, cat]);
  expect(told).toEqual(['ann bob of 2', 'ann cat of 2']);
});

test('it is left a second after the last watcher, so that who comes back at once costs nothing', async () => {
  const { realtime, stream, presence, leave } = await inRoom();
  listen(realtime);
  leave();
  await wait(900);
  await stream.moved('room:1', { joined: [cat], count: 3 });
  const again = watch(realtime);
  expect(ids(again.presence)).toEqual(['ann', 'bob', 'cat']);
  await wait(5_000);
  expect(requests()).toHaveLength(1);
  again.leave();
  again.leave();
  await wait(999);
  expect(requests()).toHaveLength(1);
  await wait(100);
  const second = await newest();
  expect(second.presence).toEqual([]);
  expect(presence.getSnapshot()).toMatchObject({ users: [], ready: false });
  // Also before that stream is open: it would say nothing of the room.
  const back = watch(realtime);
  await wait(60);
  await second.hello();
  const third = await newest();
  expect(third.presence).toEqual(['room:1']);
  await third.hello();
  await third.present('room:1', [ann]);
  expect(ids(back.presence)).toEqual(['ann']);
});

test('all who watch in a page share it, whichever object they have it from', async () => {
  const { realtime, stream, told, leave } = await inRoom();
  const other = watch(realtime);
  expect(other.presence.getSnapshot()).toBe(realtime.presence('room:1').getSnapshot());
  leave();
  await wait(5_000);
  await stream.moved('room:1', { left: ['bob'], count: 1 });
  expect([told, other.told]).toEqual([['ann bob of 2'], ['ann of 1']]);
  expect(requests()).toHaveLength(1);
});

test('one watcher’s error is not the others’', async () => {
  const { realtime, stream } = await inRoom();
  realtime.presence('room:1').subscribe(() => {
    throw new Error('mine');
  });
  const { told } = watch(realtime);
  const thrown = vi.fn();
  process.once('uncaughtException', thrown);
  await stream.moved('room:1', { left: ['bob'], count: 1 });
  expect(told).toEqual(['ann of 1']);
  await expect(wait(1)).rejects.toThrow('mine');
  process.removeListener('uncaughtException', thrown);
});

test('a connection that is given up knows nobody; nor does one that was left', async () => {
  const { realtime, stream, presence, told } = await inRoom();
  await stream.cut();
  await wait(1);
  await requests().at(-1)!.answer(403);
  expect(realtime.status.getSnapshot().state).toBe('closed');
  expect(presence.getSnapshot()).toMatchObject({ users: [], count: 0, ready: false });
  realtime.connect();
  const second = await newest();
  await second.hello();
  expect(presence.getSnapshot().ready).toBe(false);
  await second.present('room:1', [bob]);
  realtime.disconnect();
  expect(told).toEqual(['ann bob of 2', '- of 0, not ready', 'bob of 1', '- of 0, not ready']);
});

test('who is refused is told why; the channel of the same name may be open', async () => {
  random(0);
  const realtime = page();
  const { presence, told } = watch(realtime);
  const { heard } = follow(realtime, 'room:1');
  const stream = await newest();
  await stream.hello({ channels: ['room:1'], denied: [{ channel: 'room:1', code: 'full' }] });
  await stream.message('e-1', 'room:1', 'hi');
  expect(heard).toEqual([['open', false], 'hi']);
  expect(presence.getSnapshot()).toEqual({ users: [], count: 0, more: false, ready: false, denied: { code: 'full' } });
  // Whoever comes is reason to ask again.
  follow(realtime, 'news');
  const second = await newest();
  expect(second.presence).toEqual(['room:1']);
  await second.hello();
  await second.present('room:1', [ann]);
  // And is put out later.
  await second.cut();
  await wait(1);
  await requests().at(-1)!.hello({ denied: [{ channel: 'room:1', code: 'accessdenied' }] });
  expect(told).toEqual(['- of 0, not ready, full', 'ann of 1', '- of 0, not ready, accessdenied']);
  expect(heard).toEqual([['open', false], 'hi', ['denied', 'accessdenied']]);
});

test('update tells the server of oneself', async () => {
  const { realtime, presence } = await inRoom();
  const said: unknown[] = [];
  answer(async (request) => {
    said.push(await request.json());
    return said.length < 3 ? new Response(null, { status: 204 }) : Response.json({ code: 'notpresent', message: 'no' }, { status: 409 });
  });
  await expect(presence.update({ mood: 'fine' })).resolves.toBe(undefined);
  await presence.update(null);
  await expect(realtime.presence('room:2').update(1)).rejects.toMatchObject({ status: 409, code: 'notpresent' });
  expect(said).toEqual([
    { channel: 'room:1', event: 'presence_update', data: { mood: 'fine' } },
    { channel: 'room:1', event: 'presence_update', data: null },
    { channel: 'room:2', event: 'presence_update', data: 1 },
  ]);
});

// --- Of several tabs ---------------------------------------------------------------------------------------------

test('a tab that comes late is told at once who is there, without a stream, and hears what changes', async () => {
  shareWorkers();
  const { stream, told } = await inRoom(TAB);
  await stream.moved('room:1', { joined: [cat], left: ['bob'], count: 2 });
  const other = watch(page({ ...TAB, cursor: 'e-0' }));
  await wait(11);
  await wait(1);
  expect(other.told).toEqual(['ann cat of 2']);
  await stream.moved('room:1', { left: ['cat'], count: 1 });
  await wait(100);
  expect(other.told).toEqual(['ann cat of 2', 'ann of 1']);
  expect(told).toEqual(['ann bob of 2', 'ann cat of 2', 'ann of 1']);
  expect(requests()).toHaveLength(1);
});

test('to be told who is there is not to have heard the rest: what a tab lacks, it is still given', async () => {
  shareWorkers();
  const { stream } = await inRoom(TAB);
  await stream.revalidate([['a']], { id: 'e-5' });
  await stream.cursorAt('e-9');
  const realtime = page({ ...TAB, cursor: 'e-3' });
  const { told } = watch(realtime);
  const heard = listen(realtime);
  /** It is told who is there; and goes and comes back, before it hears anything else. */
  const comeBack = async () => {
    await wait(11);
    await wait(1);
    await stream.moved('room:1', { joined: [cat], left: ['bob'], count: 2 });
    expect(told.at(-1)).toBe('ann cat of 2');
    realtime.disconnect();
    realtime.connect();
    await wait(11);
    await wait(60);
    await stream.present('room:1', [ann, bob]);
  };
  await comeBack();
  expect(heard).toEqual([{ keys: [['a']], own: false }]);
  realtime.disconnect();
  await stream.revalidate([['b']], { id: 'e-c' });
  await stream.cursorAt('e-f');
  realtime.connect();
  await comeBack();
  expect(heard.slice(1)).toEqual([{ keys: [['b']], own: false }]);
  expect(requests()).toHaveLength(1);
});

test('nobody is told who was there before: of a stream that was given up, left, or had no part in it', async () => {
  shareWorkers();
  const { realtime, stream, leave } = await inRoom(TAB);
  listen(realtime);
  await stream.cut();
  await wait(1);
  await requests().at(-1)!.answer(403);
  const given = page(TAB);
  const one = watch(given);
  const second = await newest();
  await second.hello();
  expect(one.told).toEqual([]);
  await second.present('room:1', [ann]);
  leave();
  one.leave();
  await wait(1_001);
  const third = await newest();
  expect(third.presence).toEqual([]);
  await third.hello();
  const two = watch(realtime);
  const fourth = await newest();
  expect(two.told).toEqual([]);
  await fourth.hello();
  await fourth.present('room:1', [ann]);
  realtime.disconnect();
  given.disconnect();
  await wait(1_001);
  const three = watch(page(TAB));
  await (await newest()).hello();
  expect(three.told).toEqual([]);
});

test('the stream asks for all that its tabs watch, and each hears of its own', async () => {
  shareWorkers();
  const one = await inRoom(TAB);
  const two = watch(page({ ...TAB, cursor: 'e-0' }), 'room:2');
  const second = await newest();
  expect(second.presence).toEqual(['room:1', 'room:2']);
  await second.hello();
  await second.present('room:1', [ann, bob]);
  await second.present('room:2', [ann]);
  await second.moved('room:2', { joined: [cat], count: 2 });
  expect(one.told).toEqual(['ann bob of 2']);
  expect(two.told).toEqual(['ann of 1', 'ann cat of 2']);
  one.leave();
  await wait(1_001);
  const third = await newest();
  expect([third.presence, second.aborted]).toEqual([['room:2'], false]);
  await third.hello();
  await third.present('room:2', [ann, cat]);
  expect(two.told).toHaveLength(2);
  expect(live()).toEqual([third]);
});

test('a tab that comes between the hello and the list is told, too', async () => {
  shareWorkers();
  random(0);
  const one = watch(page(TAB));
  const first = await newest();
  await first.hello();
  const two = watch(page({ ...TAB, cursor: 'e-0' }));
  await wait(11);
  await wait(1);
  await first.present('room:1', [ann]);
  await wait(100);
  for (const stream of live().slice(1)) {
    await stream.hello();
    await stream.present('room:1', [ann]);
  }
  expect([one.told, two.told]).toEqual([['ann of 1'], ['ann of 1']]);
});

test('a tab that comes while the stream is opened has it with the others', async () => {
  shareWorkers();
  random(0);
  const one = watch(page(TAB));
  const first = await newest();
  const two = watch(page(TAB));
  await wait(11);
  await wait(60);
  await first.hello();
  await first.present('room:1', [ann]);
  await wait(100);
  expect([one.told, two.told]).toEqual([['ann of 1'], ['ann of 1']]);
  expect(requests()).toHaveLength(1);
});

test('of unknown identity it waits for a stream of its own: the list may not be for its user', async () => {
  shareWorkers();
  random(0);
  const one = watch(page({ share: true }));
  const first = await newest();
  await first.hello();
  await first.present('room:1', [ann]);
  const two = watch(page({ share: true }));
  const second = await newest();
  expect(requests()).toHaveLength(2);
  expect(two.told).toEqual([]);
  await second.hello({ denied: [{ channel: 'room:1', code: 'accessdenied' }] });
  expect(two.told).toEqual(['- of 0, not ready, accessdenied']);
  expect(one.told).toEqual(['ann of 1', '- of 0, not ready, accessdenied']);
});

test('a tab that was refused with the others asks again when it comes', async () => {
  shareWorkers();
  random(0);
  const one = watch(page(TAB));
  await (await newest()).hello({ denied: [{ channel: 'room:1', code: 'full' }] });
  const two = watch(page({ ...TAB, cursor: 'e-0' }));
  const second = await newest();
  expect(requests()).toHaveLength(2);
  await second.hello();
  await second.present('room:1', [ann]);
  expect(one.told).toEqual(['- of 0, not ready, full', 'ann of 1']);
  expect(two.told).toEqual(['ann of 1']);
});

test('what is too much for the address is refused, and who is shown goes on', async () => {
  const { realtime, told, stream } = await inRoom();
  const other = watch(realtime, 'room:2');
  await (await newest()).answer(414);
  await stream.moved('room:1', { joined: [cat], count: 3 });
  expect(other.told).toEqual(['- of 0, not ready, http 414']);
  expect(told).toEqual(['ann bob of 2', 'ann bob cat of 3']);
});
