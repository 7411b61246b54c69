// @vitest-environment jsdom
import { expect, test, vi } from 'vitest';
import { shareWorkers } from './shared-worker';
import { follow, listen, newest, open, page, requests, wait } from './stage';

const random = (value: number) => vi.spyOn(Math, 'random').mockReturnValue(value);
const live = () => requests().filter(({ aborted }) => !aborted);
const event = (target: EventTarget, name: string) => target.dispatchEvent(new Event(name));

test('a switch that is refused for its size does not end all at the next cut', async () => {
  random(0);
  const { realtime } = await open();
  const a = follow(realtime, 'a');
  const second = await newest();
  await second.hello();
  follow(realtime, 'b');
  await (await newest()).answer(400);
  await second.cut();
  await wait(5_000);
  expect(realtime.status.getSnapshot().state).not.toBe('closed');
  expect(live().at(-1)!.channels).toEqual(['a']);
  await live().at(-1)!.hello();
  await live().at(-1)!.message('e-9', 'a', 9);
  expect(a.heard.at(-1)).toBe(9);
});

test('what one tab asks for in excess is not taken from another', async () => {
  random(0);
  shareWorkers();
  const one = page({ share: true, identity: 'ann' });
  const a = follow(one, 'a');
  const first = await newest();
  await first.hello();
  const two = page({ share: true, identity: 'ann', cursor: 'e-0' });
  const a2 = follow(two, 'a');
  const b = follow(two, 'b');
  await (await newest()).answer(400);
  await first.message('e-2', 'a', 2);
  expect(b.heard).toEqual([['denied', 'http 400']]);
  expect(a.heard).toEqual([['open', false], 2]);
  expect(a2.heard.at(-1)).toEqual(2);
});

test('a tab that is asked about a 401 and sleeps does not close the connection of the others', async () => {
  random(0);
  const workers = shareWorkers();
  const asked: string[] = [];
  const ann = (name: string) => page({ share: true, identity: 'ann', cursor: 'e-0', onUnauthorized: () => void asked.push(name) });
  const one = ann('one');
  listen(one);
  const first = await newest();
  await first.hello();
  const two = ann('two');
  listen(two);
  await newest();
  workers.connected[1]!.freeze();
  await first.cut();
  await wait(1);
  await requests()[1]!.answer(401);
  for (let n = 2; n < 8 && !asked.length; n++) {
    await wait(11_000);
    if (requests()[n]) await requests()[n]!.answer(401);
  }
  await wait(1);
  expect(asked).toEqual(['one']);
  await live().at(-1)!.hello();
  expect(one.status.getSnapshot().state).toBe('open');
});

test('a tab of unknown identity hears nothing of the stream that another identity opened', async () => {
  random(1 - Number.EPSILON);
  shareWorkers();
  const one = page({ share: true });
  listen(one);
  const first = await newest();
  await first.hello();
  const two = page({ share: true, cursor: 'e-0' });
  const heard = listen(two);
  const second = await newest();
  await second.refuse();
  listen(two, 'more');
  await wait(100);
  await first.revalidate([['ann']], { id: 'e-7' });
  expect(heard).toEqual([]);
  await wait(5_000);
  const third = live().at(-1)!;
  expect(third).not.toBe(first);
  expect(third.cursor).toBe('e-0');
});

test('a tab of unknown identity hears nothing of a stream that was on its way when it came', async () => {
  random(0);
  shareWorkers();
  const one = page({ share: true, cursor: 'e-0' });
  listen(one);
  const first = await newest();
  const two = page({ share: true, cursor: 'e-0' });
  const heard = listen(two);
  await wait(11);
  await first.hello();
  await first.revalidate([['ann']], { id: 'e-7' });
  expect(heard).toEqual([]);
  const second = await newest();
  expect(second).not.toBe(first);
  expect(second.cursor).toBe('e-0');
});

test('an empty identity is none', async () => {
  const workers = shareWorkers();
  listen(page({ identity: '', share: undefined as any, headers: () => ({ authorization: 'x' }) }));
  await newest();
  expect(workers.connected).toHaveLength(0);
});

test('what waited at a page that was frozen is not heard twice, nor claimed', async () => {
  random(0);
  const workers = shareWorkers();
  const one = page({ share: true, identity: 'ann' });
  const heard = follow(one, 'a');
  const first = await newest();
  await first.hello();
  await first.message('e-1', 'a', 1);
  await wait(1);
  workers.connected[0]!.freeze();
  await first.message('e-2', 'a', 2);
  event(document, 'freeze');
  await wait(10);
  event(document, 'resume');
  workers.connected[0]!.thaw();
  await wait(1);
  const second = await newest();
  await second.hello();
  for (const id of [2, 3]) await second.message(`e-${id}`, 'a', id);
  expect(heard.heard.slice(1)).toEqual([1, 2, 3]);
});

test('a switch that is refused keeps what is open, where it is known whose it is (R12)', async () => {
  const { realtime, stream } = await open({ identity: 'ann' });
  const a = follow(realtime, 'a');
  const switching = await newest();
  await switching.answer(403);
  expect(a.heard).toEqual([['denied', 'http 403']]);
  const heard = listen(realtime);
  await stream.revalidate([['posts']]);
  expect(heard).toHaveLength(1);
  expect(realtime.status.getSnapshot().state).toBe('open');
});

test('… and ends it where the cookies of now may be another user’s', async () => {
  const { realtime } = await open();
  follow(realtime, 'a');
  await (await newest()).answer(403);
  expect(realtime.status.getSnapshot()).toEqual({ state: 'closed', reason: 'http 403' });
});
