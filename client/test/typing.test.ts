// @vitest-environment jsdom
import { expect, test, vi } from 'vitest';
import { answer, newest, page, requests, wait } from './stage';
import type { RealtimeOptions } from '../src/types';

const NAME = 'room:1:typing';
const ann = { userId: 'ann', userName: 'Ann' };
const bob = { userId: 'bob', userName: 'bob' };

/** A page that sees who is typing. */
const watching = async () => {
  vi.spyOn(Math, 'random').mockReturnValue(0);
  const realtime = page();
  const typing = realtime.typing(NAME);
  const seen: string[] = [];
  const leave = typing.subscribe(() => void seen.push(typing.getSnapshot().map(({ userName }) => userName).join(' ') || '-'));
  const stream = await newest();
  await stream.hello();
  const type = (who: typeof ann, isTyping = true) => stream.message(undefined, NAME, { ...who, isTyping }, 'typing');
  return { realtime, typing, seen, leave, stream, type };
};

/** A page that types: when the server was told what, in ms, for as long as `slow` says. */
const typist = (options?: RealtimeOptions) => {
  const realtime = page(options);
  const began = Date.now();
  const sent: string[] = [];
  const waiting: (() => void)[] = [];
  const state = { slow: false };
  const bodies: unknown[] = [];
  answer(async (request) => {
    const body = await request.json();
    bodies.push(body);
    sent.push(`${Date.now() - began} ${body.data.isTyping}${request.keepalive ? '' : ' of the page alone'}`);
    if (state.slow) await new Promise<void>((done) => waiting.push(done));
    return new Response(null, { status: 204 });
  });
  return { realtime, typing: realtime.typing(NAME), sent, bodies, state, waiting };
};

test('who types is seen until the end of it is heard, in the order in which they began (C10)', async () => {
  const { typing, seen, stream, type } = await watching();
  expect([stream.channels, typing.getSnapshot()]).toEqual([[NAME], []]);
  await type(bob);
  await type(ann);
  await type(bob);
  expect(typing.getSnapshot()).toEqual([bob, ann]);
  await type(bob, false);
  await type(bob, false);
  await stream.message(undefined, NAME, { ...bob, isTyping: true }, 'said');
  expect(seen).toEqual(['bob', 'bob Ann', 'Ann']);
});

test('whose end is not heard is gone after 6 s without news, each for itself', async () => {
  const { typing, seen, type } = await watching();
  await type(ann);
  await wait(4_000);
  await type(bob);
  const both = typing.getSnapshot();
  await type(ann);
  expect(typing.getSnapshot()).toBe(both);
  await type(bob, false);
  await wait(5_999);
  expect(seen).toEqual(['Ann', 'Ann bob', 'Ann']);
  await wait(1);
  expect(seen).toEqual(['Ann', 'Ann bob', 'Ann', '-']);
});

test('whoever looks later sees the same; a second after the last it is forgotten', async () => {
  const { realtime, typing, type, leave, stream } = await watching();
  await type(ann);
  const other = realtime.typing(NAME);
  const leaveToo = other.subscribe(() => {});
  expect(other.getSnapshot()).toBe(typing.getSnapshot());
  leave();
  leaveToo();
  await wait(999);
  expect([other.getSnapshot(), stream.aborted]).toEqual([[ann], false]);
  await wait(1);
  // It was all that the page followed.
  expect([other.getSnapshot(), stream.aborted]).toEqual([[], true]);
});

test('to type opens no stream; a keystroke is said at once, and that it was the last after 4 s', async () => {
  const { typing, sent, bodies } = typist();
  typing.start();
  await wait(60_000);
  expect(sent).toEqual(['0 true', '4000 false']);
  expect(bodies[0]).toEqual({ channel: NAME, event: 'typing', data: { isTyping: true } });
  expect(requests()).toHaveLength(0);
});

test('who types on is said to once in 2 s, however fast; the last keystroke counts', async () => {
  const { typing, sent } = typist();
  for (let ms = 0; ms < 5_000; ms += 100) {
    typing.start();
    await wait(100);
  }
  await wait(60_000);
  expect(sent).toEqual(['0 true', '2000 true', '4000 true', '6000 true', '8900 false']);
});

test('a keystroke between two is said when its time has come: the server forgets after 5 s', async () => {
  const { typing, sent } = typist();
  typing.start();
  await wait(1_900);
  typing.start();
  await wait(60_000);
  expect(sent).toEqual(['0 true', '2000 true', '5900 false']);
});

test('stop says so once, and who types again at once is said at once', async () => {
  const { realtime, typing, sent } = typist();
  typing.stop();
  typing.start();
  await wait(100);
  realtime.typing(NAME).stop();
  typing.stop();
  await wait(100);
  typing.start();
  await wait(0);
  typing.stop();
  await wait(60_000);
  expect(sent).toEqual(['0 true', '100 false', '200 true', '200 false']);
});

test('one request at a time, so that the end is the last that is heard; what is over by then is not said', async () => {
  const { typing, sent, state, waiting } = typist();
  state.slow = true;
  typing.start();
  await wait(10);
  typing.stop();
  typing.start();
  typing.stop();
  await wait(1_000);
  expect(sent).toEqual(['0 true']);
  state.slow = false;
  waiting.shift()!();
  await wait(60_000);
  expect(sent).toEqual(['0 true', '1010 false']);
});

test('who stopped and began again meanwhile is repeated as before', async () => {
  const { typing, sent, state, waiting } = typist();
  state.slow = true;
  typing.start();
  await wait(10);
  typing.stop();
  typing.start();
  await wait(10);
  typing.start();
  state.slow = false;
  waiting.shift()!();
  await wait(60_000);
  expect(sent).toEqual(['0 true', '20 true', '2010 true', '4020 false']);
});

test('each channel is its own', async () => {
  const { realtime, bodies } = typist();
  realtime.typing('room:1:typing').start();
  realtime.typing('room:2:typing').start();
  realtime.typing('room:1:typing').stop();
  await wait(0);
  realtime.typing('room:2:typing').stop();
  expect(bodies).toEqual([
    { channel: 'room:1:typing', event: 'typing', data: { isTyping: true } },
    { channel: 'room:2:typing', event: 'typing', data: { isTyping: true } },
    { channel: 'room:1:typing', event: 'typing', data: { isTyping: false } },
  ]);
});

test('a page that is left says so, also where a request is still on its way', async () => {
  const { typing, sent, state } = typist();
  state.slow = true;
  typing.start();
  await wait(10);
  window.dispatchEvent(new Event('pagehide'));
  await wait(0);
  expect(sent).toEqual(['0 true', '10 false']);
  // And says it once, if it was typed at all.
  window.dispatchEvent(new Event('pagehide'));
  await wait(60_000);
  expect(sent).toHaveLength(2);
});

test('a page that comes back types as before', async () => {
  const { typing, sent } = typist();
  typing.start();
  await wait(10);
  window.dispatchEvent(new Event('pagehide'));
  await wait(90);
  typing.start();
  await wait(60_000);
  expect(sent).toEqual(['0 true', '10 false', '100 true', '4100 false']);
});

test('what the server does not take is no error of the page; `debug` tells it', async () => {
  const debug = vi.fn();
  const realtime = page({ debug });
  const typing = realtime.typing(NAME);
  answer(() => Response.json({ code: 'accessdenied', message: 'no' }, { status: 403 }));
  typing.start();
  typing.stop();
  await wait(60_000);
  expect(debug).toHaveBeenCalledWith('typing', expect.objectContaining({ code: 'accessdenied' }));
});
