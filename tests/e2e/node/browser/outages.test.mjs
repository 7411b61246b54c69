// What goes wrong between a page and its server, and what the page shows afterwards: what a fresh one would.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { freezable } from './frozen.mjs';
import { SOON, asked, becomes, browser, eventually, scene } from './scene.mjs';

const HEARTBEAT = 1000;

describe('outages', { concurrency: 4 }, () => {
  const chromium = browser();

  test('a link that broke: what was missed follows, once and in order, and nothing else is fetched', async (t) => {
    const { app, link, tab } = await scene(t, chromium);
    const page = await tab({ channel: 'news:x', backoff: SOON });
    await page.is('open');
    await page.value(0);
    await app.say('x');
    await page.shows('messages', [1], () => seen.messages);
    await page.run(() => { seen.stale.length = 0; });

    await link.refuse();
    await eventually('the loss to be noticed', () => page.run(() => realtime.status.getSnapshot().state !== 'open'));
    await app.bump('a');
    await app.bump('another');
    for (let number = 2; number <= 5; number += 1) await app.say('x');
    await link.mend();

    await page.value(1);
    await page.shows('messages', [1, 2, 3, 4, 5], () => seen.messages);
    const stale = await page.run(() => seen.stale.map(({ keys, gap }) => [keys[0], gap]));
    assert.deepEqual(stale, [[['counter', 'a'], undefined]], 'told once, by its name');
    assert.deepEqual(await page.run(() => seen.gaps), []);
  });

  test('a server that lost its history: told as a gap, and the page catches up', async (t) => {
    const world = await scene(t, chromium);
    const page = await world.tab({ channel: 'news:x', backoff: SOON });
    await page.is('open');
    for (let count = 0; count < 3; count += 1) await world.app.bump('a');
    await page.value(3);
    await page.run(() => { seen.stale.length = 0; });

    await world.app.kill();
    await eventually('the loss to be noticed', () => page.run(() => realtime.status.getSnapshot().state !== 'open'));
    await world.app.start();
    // It has an offset that the page has seen, of another life.
    await world.app.bump('a');

    await page.value(1);
    await page.is('open');
    const gap = await page.run(() => seen.stale.find(({ gap }) => gap));
    assert.deepEqual(gap, { keys: [[]], own: false, gap: 'unknown' });
    await page.shows('the gap of the channel', ['unknown'], () => seen.gaps.map(({ reason }) => reason));
    await world.app.bump('a');
    await page.value(2);
  });

  test('a stream that hangs is given up for another, and nothing is lost', async (t) => {
    const world = await scene(t, chromium, { knobs: { HEARTBEAT_MS: String(HEARTBEAT) } });
    const page = await world.tab({ channel: 'news:x', backoff: SOON });
    await page.is('open');
    await page.value(0);

    const began = Date.now();
    world.link.stall({ fresh: false });
    await world.app.bump('a');
    await world.app.say('x');
    await eventually('another stream', () => page.run(() => seen.states.filter(({ state }) => state === 'open').length > 1));
    const took = Date.now() - began;
    t.diagnostic(`live again after ${took} ms, ${(took / HEARTBEAT).toFixed(1)} heartbeats`);
    await page.value(1);
    await page.shows('messages', [1], () => seen.messages);
    assert.ok(await page.run(() => seen.states.some(({ reason }) => reason === 'silence')), 'it says why');
  });

  test('a link that swallows everything: noticed, tried again, and live once it is mended', async (t) => {
    const world = await scene(t, chromium, { knobs: { HEARTBEAT_MS: String(HEARTBEAT) } });
    const page = await world.tab({ channel: 'news:x', backoff: SOON });
    await page.is('open');
    await page.value(0);
    world.link.stall();
    await world.app.bump('a');
    await world.app.say('x');
    await eventually('the silence to be noticed', () => page.run(() => realtime.status.getSnapshot().state !== 'open'));
    await world.link.mend();
    await page.is('open');
    await page.value(1);
    await page.shows('messages', [1], () => seen.messages);
  });

  test('offline it pauses and asks for nothing; online it goes on at once', async (t) => {
    const world = await scene(t, chromium);
    const page = await world.tab({ share: false });
    await page.is('open');
    await page.value(0);
    await world.context.setOffline(true);
    await world.link.cut();
    await page.is('paused');
    await becomes('the server to know', 0, async () => (await world.app.tell()).open);
    await world.app.bump('a');
    await world.context.setOffline(false);
    await page.is('open');
    await page.value(1);
    assert.equal((await world.app.tell()).requests.length, 2);
  });

  for (const share of [true, false]) {
    test(`a frozen tab catches up when it thaws, share: ${share}`, async (t) => {
      const world = await scene(t, chromium);
      const open = await freezable(t, chromium.browser);
      const [frozen, other] = [
        await open(world.url({ share, identity: 'u', channel: 'news:x' })),
        await open(world.url({ share, identity: 'u' })),
      ].map((page) => ({ ...page, ...asked(page) }));
      await frozen.is('open');
      await frozen.value(0);
      await other.is('open');
      await frozen.run(() => { seen.stale.length = 0; });

      await frozen.freeze();
      // The page is in a process of its own, and hears of it when that one gets to run.
      await frozen.shows('its life', ['freeze'], () => seen.lifecycle);
      await world.app.bump('a');
      await world.app.say('x');
      await other.value(1);
      assert.deepEqual(await frozen.run(() => [seen.value, seen.lifecycle]), [0, ['freeze']]);

      await frozen.thaw();
      await frozen.value(1);
      await frozen.shows('messages', [1], () => seen.messages);
      assert.deepEqual(await frozen.run(() => seen.stale.flatMap(({ gap }) => gap ?? [])), [], 'it missed nothing');
    });
  }
});
