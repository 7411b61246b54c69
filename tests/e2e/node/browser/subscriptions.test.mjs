// When there is a stream at all: while somebody listens, and until the app says otherwise.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { SOON, becomes, browser, scene, stays } from './scene.mjs';

describe('subscriptions', { concurrency: 4 }, () => {
  const chromium = browser();
  const streams = (world) => async () => {
    const { open, requests } = await world.app.tell();
    return [open, requests.length];
  };

  for (const share of [true, false]) {
    test(`enabled: false asks for nothing until connect(), share: ${share}`, async (t) => {
      const world = await scene(t, chromium);
      const page = await world.tab({ share, enabled: false });
      await page.value(0);
      await stays('streams', [0, 0], streams(world));
      await page.is('idle');
      await page.run(() => realtime.connect());
      await page.is('open');
      await world.app.bump('a');
      await page.value(1);
      await stays('streams', [1, 1], streams(world));
    });

    test(`after disconnect() it stays closed, and connect() brings what was missed, share: ${share}`, async (t) => {
      const world = await scene(t, chromium);
      const page = await world.tab({ share, backoff: SOON, identity: 'u', channel: 'news:x' });
      await page.is('open');
      await page.value(0);
      await page.run(() => realtime.disconnect());
      await page.is('closed');
      await stays('streams', [0, 1], streams(world));
      await world.app.bump('a');
      await world.app.say('x');
      assert.equal(await page.run(() => seen.value), 0);
      await page.run(() => realtime.connect());
      await page.is('open');
      await page.value(1);
      await page.shows('messages', [1], () => seen.messages);
    });

    test(`the last subscription's end closes the stream, another within a second does not, share: ${share}`, async (t) => {
      const world = await scene(t, chromium);
      const page = await world.tab({ share, identity: 'u', channel: 'news:x' });
      await page.is('open');
      await page.run(async () => {
        unsubscribe();
        await new Promise((resolve) => { setTimeout(resolve, 200); });
        window.unsubscribe = subscribe();
      });
      await world.app.bump('a');
      await page.value(1);
      await world.app.say('x');
      await page.shows('messages', [1], () => seen.messages);
      await stays('streams', [1, 1], streams(world));
      await page.run(() => unsubscribe());
      await becomes('streams', [0, 1], streams(world));
      await page.run(() => { window.unsubscribe = subscribe(); });
      await page.is('open');
      await world.app.bump('a');
      await page.value(2);
    });
  }

  test('subscriptions made together are one request', async (t) => {
    const world = await scene(t, chromium);
    const page = await world.tab({ identity: 'u' });
    await page.run(() => {
      window.connected = 0;
      for (const name of ['x', 'y', 'z']) {
        realtime.channel(`news:${name}`, {
          onConnect: () => { connected += 1; },
          onMessage: (message) => seen.messages.push(message.data),
        });
      }
    });
    await page.shows('what is followed', 3, () => connected);
    for (const name of ['x', 'y', 'z']) await world.app.say(name);
    await page.shows('messages', [1, 1, 1], () => seen.messages);
    assert.ok((await world.app.tell()).requests.length <= 2, 'the page\'s own and one more');
  });

  test('a channel that is added later loses nothing of the others, and costs one request', async (t) => {
    const world = await scene(t, chromium);
    const page = await world.tab({ identity: 'u', channel: 'news:x' });
    await page.is('open');
    // One after the other, and slowly enough that a stream which takes seconds to open is not overtaken by more of them
    // than are kept.
    let talks = true;
    const talk = (async () => {
      for (; talks; await sleep(20)) await world.app.say('x');
    })();
    t.after(() => { talks = false; });
    await page.shows('some messages', true, () => seen.messages.length > 5);
    await page.run(() => realtime.channel('news:y', (message) => seen.messages.push(`y${message.data}`)));
    await becomes('requests', 2, async () => (await world.app.tell()).requests.length);
    await world.app.say('y');
    await page.shows('the new channel', true, () => seen.messages.includes('y1'));
    talks = false;
    await talk;
    await becomes('one stream', 1, async () => (await world.app.tell()).open);
    const said = await world.app.say('x');
    await page.shows('the last message', true, (said) => seen.messages.includes(said), said);
    const numbers = await page.run(() => seen.messages.filter((each) => typeof each === 'number'));
    assert.deepEqual(numbers, Array.from({ length: said }, (_, index) => index + 1));
    assert.deepEqual(await page.run(() => seen.gaps), []);
  });
});
