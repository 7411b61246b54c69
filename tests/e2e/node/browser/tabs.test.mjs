// Tabs of one browser: who shares a connection with whom, and what becomes of it when tabs come and go.

import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { becomes, browser, scene, stays } from './scene.mjs';

const DIST = join(import.meta.dirname, '../../../../client/dist');

const noSharedWorker = () => { delete window.SharedWorker; };

describe('tabs', { concurrency: 4 }, () => {
  const chromium = browser();
  const open = (world) => async () => (await world.app.tell()).open;

  test('two tabs have one stream, and closing the first leaves the other live', async (t) => {
    const world = await scene(t, chromium);
    const first = await world.tab({ identity: 'u' });
    await first.is('open');
    const second = await world.tab({ identity: 'u' });
    await second.is('open');
    await world.app.bump('a');
    await first.value(1);
    await second.value(1);
    await first.page.close();
    await world.app.bump('a');
    await second.value(2);
    await stays('streams', [1, 1], async () => {
      const { open, requests } = await world.app.tell();
      return [open, requests.length];
    });
    await second.page.close();
    await becomes('streams', 0, open(world));
  });

  for (const host of ['127.0.0.1', 'insecure.test']) {
    test(`seven tabs of ${host} have one stream, and the server still answers`, async (t) => {
      const world = await scene(t, chromium, { knobs: { LATENCY_MS: '100' } });
      const tabs = [];
      for (let count = 0; count < 7; count += 1) tabs.push(await world.tab({}, { host }));
      const last = tabs.at(-1);
      assert.equal(await last.run(() => isSecureContext), host === '127.0.0.1');
      const began = Date.now();
      assert.equal(await last.run(async () => (await (await fetch('/posts')).json()).posts.length), 1);
      t.diagnostic(`GET /posts beside seven tabs took ${Date.now() - began} ms; ${world.link.peak()} connections`);
      await world.app.bump('a');
      for (const tab of tabs) await tab.value(1);
      await stays('streams', 1, open(world));
    });
  }

  for (const share of [true, false]) {
    test(`nine pages after each other in one tab have one stream, share: ${share}`, async (t) => {
      const world = await scene(t, chromium);
      const tab = await world.tab({ share, key: 'k0' });
      for (let count = 1; count < 9; count += 1) {
        await tab.is('open');
        await tab.visit(world.url({ share, key: `k${count}` }));
        assert.equal(await tab.run(async () => (await (await fetch('/posts')).json()).posts.length), 1);
      }
      await tab.is('open');
      await world.app.bump('k8');
      await tab.value(1);
      await stays('streams', 1, open(world));
    });

    test(`back on a cached page it catches up with what it missed, share: ${share}`, async (t) => {
      const world = await scene(t, chromium);
      const tab = await world.tab({ share, channel: 'news:x' });
      await tab.is('open');
      await tab.value(0);
      await world.app.say('x');
      await tab.shows('messages', [1], () => seen.messages);
      await tab.run(() => { seen.stale.length = 0; });

      await tab.visit(world.url({ share, key: 'b' }));
      await tab.is('open');
      await world.app.bump('a');
      await world.app.say('x');
      await world.app.bump('b');
      await tab.value(1);
      await tab.run(() => history.back());

      // The very page: it was not loaded again.
      await tab.shows('pageshow', [false, true], () => seen.persisted);
      await tab.value(1);
      await tab.shows('messages', [1, 2], () => seen.messages);
      await tab.is('open');
      await world.app.bump('a');
      await tab.value(2);
      await stays('streams', 1, open(world));
    });
  }

  test('without SharedWorker: a stream a tab, let go with it', async (t) => {
    const world = await scene(t, chromium, { init: noSharedWorker });
    const [first, second] = [await world.tab({}), await world.tab({})];
    await first.is('open');
    await second.is('open');
    await stays('streams', 2, open(world));
    await first.page.close();
    await becomes('streams', 1, open(world));
    await world.app.bump('a');
    await second.value(1);
  });

  test('where a policy forbids workers: a stream a tab, and live', async (t) => {
    const world = await scene(t, chromium);
    const tabs = [await world.tab({}, { path: '/no-workers.html' }), await world.tab({}, { path: '/no-workers.html' })];
    for (const tab of tabs) await tab.is('open');
    await stays('streams', 2, open(world));
    await world.app.bump('a');
    for (const tab of tabs) await tab.value(1);
  });

  test('tabs of different identities never share', async (t) => {
    const world = await scene(t, chromium);
    const alice = await world.tab({ identity: 'alice', token: 'alice' });
    await alice.is('open');
    const bob = await world.tab({ identity: 'bob', token: 'bob' });
    await bob.is('open');
    await stays('streams', 2, open(world));
    const { requests } = await world.app.tell();
    assert.deepEqual(requests.map(({ headers }) => headers.authorization), ['Bearer alice', 'Bearer bob']);
    // Her sessions are ended, and come back as hers.
    await world.app.signOut('alice');
    await becomes('requests', 3, async () => (await world.app.tell()).requests.length);
    const last = (await world.app.tell()).requests.at(-1);
    assert.equal(last.headers.authorization, 'Bearer alice');
  });

  test('tokens without an identity: a stream a tab', async (t) => {
    const world = await scene(t, chromium);
    for (const token of ['alice', 'alice']) await (await world.tab({ token })).is('open');
    await stays('streams', 2, open(world));
  });

  test('a deploy: a page of the next version has a worker of its own, and the tab from before goes on', async (t) => {
    const files = await mkdtemp(join(tmpdir(), 'deploy-'));
    t.after(() => rm(files, { recursive: true }));
    const world = await scene(t, chromium, { files: [files] });
    const before = await world.tab({ identity: 'u' });
    await before.is('open');

    const { version } = JSON.parse(await readFile(join(DIST, '../package.json'), 'utf8'));
    await mkdir(join(files, 'realtime'));
    for (const name of ['client.js', 'worker.js']) {
      const text = await readFile(join(DIST, name), 'utf8');
      // Its name and its address both say which one it is.
      const next = text.replaceAll(version, '99.0.0').replace(/worker\.js\?v=\w+/g, 'worker.js?v=next');
      assert.notEqual(next, text);
      await writeFile(join(files, 'realtime', name), next);
    }
    const after = await world.tab({ identity: 'u' });
    await after.is('open');
    await stays('streams', 2, open(world));
    const versions = (await world.app.tell()).requests.map(({ headers }) => headers['x-revalidate-client']);
    assert.deepEqual(versions, [version, '99.0.0']);
    await world.app.bump('a');
    await before.value(1);
    await after.value(1);
    await before.page.close();
    await becomes('streams', 1, open(world));
  });

  test('cookies that changed: the next tab has the shared stream opened anew, with those of now', async (t) => {
    const world = await scene(t, chromium);
    const become = (user) => world.context.addCookies([{ name: 'user', value: user, domain: '127.0.0.1', path: '/' }]);
    await become('alice');
    const first = await world.tab({});
    await first.is('open');
    await become('bob');
    const second = await world.tab({});
    await second.is('open');
    const whose = async () => (await world.app.tell()).requests.at(-1).headers.cookie;
    await becomes('the last request', 'user=bob', whose);
    await world.app.bump('a');
    await first.value(1);
    await second.value(1);
    await stays('streams', 1, open(world));
    assert.equal(await whose(), 'user=bob');
  });
});
