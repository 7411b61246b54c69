// @vitest-environment jsdom
import { expect, test, vi } from 'vitest';
import { shareWorkers } from './shared-worker';
import { follow, listen, newest, open, page, requests, wait } from './stage';

const random = (value: number) => vi.spyOn(Math, 'random').mockReturnValue(value);
const live = () => requests().filter(({ aborted }) => !aborted);
const event = (target: EventTarget, name: string) => target.dispatchEvent(new Event(name));

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
