// Who is in a room and who is typing there, when streams change, break and end. A watcher hears what the server says
// of it, word by word.

import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { bundled } from './bundle.mjs';
import { becomes, browser, scene, stays } from './scene.mjs';
import { watcher } from './watcher.mjs';

/** Longer than any test. */
const NEVER = String(3_600_000);
/** Shorter than what a test waits for that is not to come. */
const SOON = '200';

describe('rooms', { concurrency: 3 }, () => {
  const chromium = browser();

  /** A scene with a watcher in it, and tabs of users. */
  async function room(t, grace, options) {
    const world = await scene(t, chromium, { ...options, knobs: { GRACE_MS: grace } });
    const heard = await watcher(t, world.app);
    await becomes('what the watcher heard', ['here: watcher'], () => heard);
    const enter = async (user, options, where) => {
      const tab = await world.tab({ token: user, identity: user, ...options }, { path: '/presence.html', ...where });
      return { ...tab, sees: (expected) => tab.shows('who is there', expected, () => there()) };
    };
    const hears = (...expected) => becomes('what the watcher heard', ['here: watcher', ...expected], () => heard);
    const hearsOnly = (...expected) => stays('what the watcher heard', ['here: watcher', ...expected], () => heard);
    const streams = async () => (await world.app.tell()).requests.length - 1;
    return { ...world, enter, heard, hears, hearsOnly, streams };
  }

  for (const share of [true, false]) {
    test(`following more and less is no coming and going, and the list stays, share: ${share}`, async (t) => {
      const { app, enter, hearsOnly, streams } = await room(t, '0');
      const alice = await enter('alice', { share });
      await alice.sees('alice,watcher');
      for (const name of ['a', 'b', 'c']) {
        await alice.run((name) => { window.unfollow = follow(`news:${name}`); }, name);
        await alice.until('the new stream', () => realtime.status.getSnapshot().state === 'open');
        await becomes('the newest stream', true, async () => {
          const { open, requests } = await app.tell();
          return open === 2 && requests.at(-1).url.includes(`news%3A${name}`);
        });
        await app.say(name);
        await alice.until('its message', (name) => seen.messages.length === name.charCodeAt(0) - 96, name);
        if (name === 'b') await alice.run(() => unfollow());
      }
      await hearsOnly('alice came');
      assert.ok((await streams()) > 3);
      assert.deepEqual(await alice.run(() => seen.lists), ['alice,watcher']);
    });
  }

  test('a tab that comes later to a shared stream has the list at once', async (t) => {
    const { enter, hears, hearsOnly, streams } = await room(t, NEVER);
    const first = await enter('alice');
    await first.sees('alice,watcher');
    const bob = await enter('bob');
    await bob.sees('alice,bob,watcher');
    await hears('alice came', 'bob came');
    await bob.run(() => presence.update({ mood: 'good' }));
    const meta = () => JSON.stringify(presence.getSnapshot().users.map(({ meta }) => meta ?? null));
    await first.shows('what is said of them', '[null,{"mood":"good"},null]', meta);
    const second = await enter('alice');
    await second.sees('alice,bob,watcher');
    await second.shows('what is said of them', '[null,{"mood":"good"},null]', meta);
    assert.deepEqual(await second.run(() => seen.lists), ['alice,bob,watcher'], 'whole from the first');
    await hearsOnly('alice came', 'bob came', 'bob is {"mood":"good"}');
    assert.equal(await streams(), 2, 'one of alice and one of bob');
  });

  test('a connection that breaks and comes back is no coming and going, and the list stays', async (t) => {
    const { enter, hearsOnly, link, streams } = await room(t, NEVER);
    const alice = await enter('alice', { backoff: { initial: 20, max: 100 } });
    await alice.sees('alice,watcher');
    for (const count of [1, 2]) {
      link.cut();
      await becomes('streams', 1 + count, streams);
      await alice.is('open');
    }
    await hearsOnly('alice came');
    assert.deepEqual(await alice.run(() => seen.lists), ['alice,watcher']);
  });

  test('who signs out has left at once, and comes back as a stranger', async (t) => {
    const { app, context, enter, heard, url } = await room(t, NEVER);
    await context.addCookies([{ name: 'user', value: 'alice', url: url() }]);
    const tabs = [await enter('', { identity: 'alice' }), await enter('', { identity: 'alice', share: false })];
    for (const alice of tabs) await alice.sees('alice,watcher');
    await Promise.all(tabs.map((alice) => alice.run(() => typing.start())));
    await context.clearCookies();
    await app.signOut('alice');
    for (const alice of tabs) {
      const state = () => [there(), presence.getSnapshot().denied?.code];
      await alice.shows('who is there', ['', 'accessdenied'], state);
    }
    // Which of the two ends first is nobody's concern.
    const expected = ['alice came', 'alice left', 'alice stops', 'alice types', 'here: watcher'];
    await stays('what the watcher heard', expected, () => heard.toSorted());
  });

  test('where no tab shares, on an origin that is not secure, all of it works', async (t) => {
    const { enter, hears } = await room(t, SOON);
    const where = { host: 'insecure.test' };
    const alice = await enter('alice', { share: false, types: true }, where);
    await alice.sees('alice,watcher');
    const bob = await enter('bob', { share: false, types: true }, where);
    assert.equal(await bob.run(() => isSecureContext), false);
    for (const tab of [alice, bob]) await tab.sees('alice,bob,watcher');
    await hears('alice came', 'bob came');
    await alice.run(() => presence.update({ mood: 'good' }));
    // Till it is seen: who rests for some seconds has stopped.
    await alice.run(() => { window.keys = setInterval(typing.start, 100); });
    await bob.shows('who types', 'ALICE', () => typists());
    await alice.run(() => {
      clearInterval(keys);
      typing.stop();
    });
    await bob.shows('who types', '', () => typists());
    assert.equal(await alice.run(() => typists()), '', 'nobody hears of oneself');
    assert.equal(await bob.run(() => realtime.emit('room:1', 'said', 'hello')), 5);
    await alice.page.close();
    await bob.sees('bob,watcher');
    await hears('alice came', 'bob came', 'alice is {"mood":"good"}', 'alice types', 'alice stops', 'alice left');
  });

  test("React's hooks: who is there and who types, in StrictMode", async (t) => {
    const files = await bundled('room.jsx');
    t.after(() => rm(files, { recursive: true }));
    const { tab, hears } = await room(t, SOON, { files: [files] });
    const open = async (user) => {
      const page = await tab({ token: user }, { path: '/room.html' });
      const shown = () => JSON.parse(document.querySelector('output')?.textContent ?? 'null');
      return { ...page, shows: (names, typing) => page.shows('the room', { ready: true, count: names.length, names, typing }, shown) };
    };
    const all = ['alice (ALICE)', 'bob (BOB)', 'watcher (WATCHER)'];
    const alice = await open('alice');
    await alice.shows(all.toSpliced(1, 1), []);
    const bob = await open('bob');
    for (const page of [alice, bob]) await page.shows(all, []);
    await hears('alice came', 'bob came');
    await alice.run(() => room.update({ mood: 'good' }));
    const happy = all.with(0, 'alice (ALICE): good');
    for (const page of [alice, bob]) await page.shows(happy, []);
    await bob.run(() => { window.keys = setInterval(() => room.start(), 100); });
    await alice.shows(happy, ['BOB']);
    await bob.shows(happy, []);
    await bob.run(() => {
      clearInterval(keys);
      room.stop();
    });
    await alice.shows(happy, []);
    await bob.page.close();
    await alice.shows(happy.toSpliced(1, 1), []);
    await hears('alice came', 'bob came', 'alice is {"mood":"good"}', 'bob types', 'bob stops', 'bob left');
  });
});
