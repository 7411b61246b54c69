// Who is there, who is typing, and what a page says to the server.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { chromium as playwright } from 'playwright-core';
import { asked, becomes, browser, executable, scene, stays } from './scene.mjs';

/** Watches a room in a page: `told` is who was there each time it was told. */
const watch = (tab) => tab.run(() => {
  const ids = () => presence.getSnapshot().users.map(({ userId }) => userId).join(' ');
  Object.assign(window, { presence: realtime.presence('room:1'), told: [] });
  window.leave = presence.subscribe(() => told.push(ids()));
});
const told = () => told;
const typists = () => typing.getSnapshot().map(({ userName }) => userName);
const user = (name, more) => ({ identity: name, token: name, ...more });

describe('presence', { concurrency: 4 }, () => {
  const chromium = browser();

  for (const share of [true, false]) {
    test(`two tabs of a user are one member, and nobody is told of the second, share: ${share}`, async (t) => {
      const world = await scene(t, chromium, { knobs: { GRACE_MS: '300' } });
      const bob = await world.tab(user('bob', { share }));
      await watch(bob);
      await bob.shows('who was there', ['bob'], told);
      const first = await world.tab(user('alice', { share }));
      await watch(first);
      const second = await world.tab(user('alice', { share }));
      await watch(second);
      await first.shows('who was there', ['alice bob'], told);
      await second.shows('who was there', ['alice bob'], told);
      assert.deepEqual(
        await second.run(() => ({ ...presence.getSnapshot(), denied: null })),
        { users: [{ userId: 'alice', info: { name: 'ALICE' } }, { userId: 'bob', info: { name: 'BOB' } }], count: 2, more: false, ready: true, denied: null },
      );
      await stays('streams', share ? 2 : 3, async () => (await world.app.tell()).open);
      await first.page.close();
      await stays('what Bob was told', ['bob', 'alice bob'], () => bob.run(told));
      await second.page.close();
      await bob.shows('who was there', ['bob', 'alice bob', 'bob'], told);
    });
  }

  test('a reload is no coming and going, nor is another stream', async (t) => {
    // However long the page takes to load.
    const world = await scene(t, chromium, { knobs: { GRACE_MS: '3600000' } });
    const bob = await world.tab(user('bob'));
    await watch(bob);
    const alice = await world.tab(user('alice'));
    await watch(alice);
    await bob.shows('who was there', ['bob', 'alice bob'], told);
    await alice.visit(world.url(user('alice')));
    await watch(alice);
    await alice.shows('who was there', ['alice bob'], told);
    await bob.run(() => realtime.channel('news:x', () => {}));
    await alice.run(() => realtime.channel('news:x', () => {}));
    await stays('what each was told', [['bob', 'alice bob'], ['alice bob']], async () => [await bob.run(told), await alice.run(told)]);
  });

  test('what a user says of itself is told to the others, and a room that is closed says so', async (t) => {
    const world = await scene(t, chromium);
    const [alice, bob] = [await world.tab(user('alice')), await world.tab(user('bob'))];
    await watch(alice);
    await watch(bob);
    await alice.shows('who was there', true, () => presence.getSnapshot().count === 2);
    await alice.run(() => presence.update({ mood: 'fine' }));
    const moods = () => presence.getSnapshot().users.map(({ meta }) => meta?.mood ?? null);
    await bob.shows('moods', ['fine', null], moods);
    // Another stream begins with a list of its own.
    await bob.run(() => realtime.channel('news:x', () => {}));
    await stays('moods', ['fine', null], () => bob.run(moods));
    await alice.run(() => presence.update(null));
    await bob.shows('moods', [null, null], moods);
    await bob.run(() => { window.shut = realtime.presence('room:9'); shut.subscribe(() => {}); });
    await bob.shows('the closed room', { users: [], count: 0, more: false, ready: false, denied: { code: 'accessdenied' } }, () => shut.getSnapshot());
  });

  test('after the server was killed each list is of those who came back', async (t) => {
    const world = await scene(t, chromium);
    const soon = { backoff: { initial: 20, max: 100 } };
    const [alice, bob] = [await world.tab(user('alice', soon)), await world.tab(user('bob', soon))];
    await watch(alice);
    await watch(bob);
    await bob.shows('who was there', true, () => presence.getSnapshot().count === 2);
    await world.app.kill();
    await alice.run(() => realtime.disconnect());
    assert.deepEqual(await bob.run(() => presence.getSnapshot().count), 2);
    await world.app.start();
    await bob.shows('who was there at last', 'bob', () => told.at(-1));
    await alice.run(() => realtime.connect());
    for (const one of [alice, bob]) await one.shows('who was there at last', 'alice bob', () => told.at(-1));
  });

  test('a browser that is killed: its user is gone after the grace, and types no more', async (t) => {
    const world = await scene(t, chromium, { knobs: { GRACE_MS: '300' } });
    const bob = await world.tab(user('bob'));
    await watch(bob);
    await bob.run(() => { window.typing = realtime.typing('room:1:typing'); typing.subscribe(() => {}); });
    const other = await playwright.launchServer({ executablePath: executable(), args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run'] });
    t.after(() => other.kill());
    const context = await (await playwright.connect(other.wsEndpoint())).newContext();
    const alice = asked(await context.newPage());
    await alice.visit(world.url(user('alice')));
    await watch(alice);
    await bob.shows('who was there', ['bob', 'alice bob'], told);
    await alice.run(() => {
      window.typing = realtime.typing('room:1:typing');
      // Each keystroke, till the end.
      setInterval(typing.start, 100);
    });
    await bob.shows('who types', ['ALICE'], typists);
    const pressed = Date.now();
    other.process().kill('SIGKILL');
    await bob.shows('who types', [], typists);
    await bob.shows('who was there', ['bob', 'alice bob', 'bob'], told);
    t.diagnostic(`${Date.now() - pressed} ms after it was killed`);
  });
});

describe('typing and emit', { concurrency: 4 }, () => {
  const chromium = browser();

  test('who types is seen by the others alone, in all their tabs, until it ends', async (t) => {
    const world = await scene(t, chromium);
    const tabs = [];
    for (const name of ['alice', 'alice', 'bob', 'bob']) {
      const tab = await world.tab(user(name));
      await tab.run(() => {
        Object.assign(window, { typing: realtime.typing('room:1:typing'), seen: [] });
        typing.subscribe(() => seen.push(typing.getSnapshot().map(({ userName }) => userName).join(' ')));
        realtime.channel('room:1:typing', { onConnect: () => { window.connected = true; } });
      });
      await tab.until('it to follow', () => window.connected);
      tabs.push(tab);
    }
    const [alice, , bob] = tabs;
    await alice.run(() => typing.start());
    for (const tab of tabs.slice(2)) await tab.shows('who types', ['ALICE'], typists);
    // It goes on for as long as it is said to.
    await alice.run(async () => {
      for (const until = Date.now() + 7_000; Date.now() < until;) {
        typing.start();
        await new Promise((done) => { setTimeout(done, 200); });
      }
    });
    assert.deepEqual(await bob.run(() => seen), ['ALICE']);
    await alice.run(() => typing.stop());
    for (const tab of tabs.slice(2)) await tab.shows('what was seen', ['ALICE', ''], () => seen);
    for (const tab of tabs.slice(0, 2)) assert.deepEqual(await tab.run(() => seen), []);
  });

  test('a page that is left types no more', async (t) => {
    const world = await scene(t, chromium);
    const [alice, bob] = [await world.tab(user('alice')), await world.tab(user('bob'))];
    // Another tab of hers stays.
    await world.tab(user('alice'));
    await bob.run(() => {
      window.typing = realtime.typing('room:1:typing');
      typing.subscribe(() => {});
      realtime.channel('room:1:typing', { onConnect: () => { window.connected = true; } });
    });
    await bob.until('it to follow', () => window.connected);
    await alice.run(() => realtime.typing('room:1:typing').start());
    await bob.shows('who types', ['ALICE'], typists);
    await alice.visit(world.url(user('alice')));
    await bob.shows('who types', [], typists);
    // The page itself said so: the server did not have to take it for granted.
    await becomes('what the page said', 2, async () => (await world.app.tell()).emitted);
  });

  test('what is emitted is answered, or refused with a code; a token is renewed', async (t) => {
    const world = await scene(t, chromium);
    const alice = await world.tab(user('alice', { token: 'old', refresh: 'alice', channel: 'room:1', enabled: false }));
    const emit = (data) => alice.run((said) => realtime.emit('room:1', 'said', said).catch(({ name, status, code, message }) => ({ name, status, code, message })), data);
    // Without a stream.
    assert.deepEqual(await emit('hi'), { name: 'EmitError', status: 409, code: 'conflict', message: 'nobody hears who is not there' });
    assert.equal(await alice.run(() => seen.refreshed), 1);
    await alice.run(() => realtime.connect());
    await watch(alice);
    await alice.shows('who was there', ['alice'], told);
    assert.equal(await emit('hi there'), 8);
    await alice.shows('messages', ['hi there'], () => seen.messages);
    assert.deepEqual((await emit(7)).code, 'invalid');
    const refusals = await alice.run(() => Promise.all([['room:9', 'said'], ['room:1', 'sung'], ['room:1', 'join']].map(
      ([channel, event]) => realtime.emit(channel, event, '').catch(({ status, code }) => [status, code]))));
    assert.deepEqual(refusals, [[403, 'accessdenied'], [404, 'unhandled'], [400, 'reserved']]);
    await world.app.kill();
    assert.deepEqual(await emit('hi'), { name: 'EmitError', status: 0, code: 'network', message: 'Failed to fetch' });
  });
});
