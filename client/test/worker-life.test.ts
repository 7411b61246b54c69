// @vitest-environment jsdom
import { expect, test, vi } from 'vitest';
import { shareWorkers } from './shared-worker';
import { follow, listen, newest, page, requests, wait } from './stage';

/** A tab that follows `a` through a worker, with all up to e-5. */
const sharing = async () => {
  vi.spyOn(Math, 'random').mockReturnValue(0);
  const workers = shareWorkers();
  const realtime = page({ share: true, identity: 'ann' });
  const heard = listen(realtime);
  const { heard: said } = follow(realtime, 'a');
  const stream = await newest();
  await stream.hello();
  await stream.message('e-4', 'a', 4);
  await stream.cursorAt('e-5');
  await wait(1);
  heard.length = 0;
  said.length = 0;
  return { workers, realtime, heard, said, stream };
};
const beats = async (from: number, to: number) => {
  for (let beat = from; beat < to; beat++) {
    await wait(15_000);
    const stream = requests().at(-1)!;
    if (!stream.aborted) await stream.cursorAt(`e-${beat.toString(16)}`);
  }
};
const look = () => document.dispatchEvent(new Event('visibilitychange'));

test('when the browser ended the worker there is a new one, which goes on where the tab is', async () => {
  const { workers, heard, said } = await sharing();
  workers.kill();
  await wait(95_000);
  expect(workers.connected).toHaveLength(2);
  const again = await newest();
  expect([again.cursor, again.channels]).toEqual(['e-5', ['a']]);
  await again.hello();
  await again.revalidate([['posts']]);
  await again.message('e-7', 'a', 7);
  expect(heard).toEqual([{ keys: [['posts']], own: false }]);
  expect(said).toEqual([7]);
});

test('who looks at the page has it sooner', async () => {
  const { workers } = await sharing();
  workers.kill();
  await wait(61_000);
  expect(workers.connected).toHaveLength(1);
  look();
  await newest();
  expect(workers.connected).toHaveLength(2);
});

test('a worker that is there is kept', async () => {
  const { workers } = await sharing();
  await beats(16, 40);
  look();
  await wait(100);
  expect(workers.connected).toHaveLength(1);
  expect(requests()).toHaveLength(1);
});

test('after a sleep of both the tab connects anew, and hears nothing twice', async () => {
  const { workers, heard, said, stream } = await sharing();
  vi.setSystemTime(Date.now() + 3_600_000);
  look();
  await wait(100);
  expect(stream.aborted).toBe(true);
  const again = await newest();
  await again.hello();
  await again.message('e-7', 'a', 7);
  await again.revalidate([['posts']], { id: 'e-8' });
  expect(said).toEqual([7]);
  expect(heard).toEqual([{ keys: [['posts']], own: false }]);
  expect(workers.connected.filter(({ closed }) => !closed)).toHaveLength(1);
});

test('a tab that the worker took for dead is back by itself, with all it missed', async () => {
  const { workers, heard, said } = await sharing();
  const other = listen(page({ share: true, identity: 'ann', cursor: 'e-5' }));
  await wait(100);
  workers.connected[0]!.freeze();
  await beats(16, 24);
  const stream = requests().at(-1)!;
  await stream.hello();
  await stream.revalidate([['posts']], { id: 'e-30' });
  workers.connected[0]!.thaw();
  await beats(49, 60);
  const again = await newest();
  await again.hello();
  await again.message('e-f7', 'a', 7);
  expect(other).toHaveLength(1);
  expect(heard.length).toBeGreaterThanOrEqual(1);
  expect(said).toEqual([7]);
});
