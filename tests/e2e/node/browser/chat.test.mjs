// The chat, as its users see it: two of them side by side, in browsers of their own.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { chromium } from 'playwright-core';
import { chat, look } from './chat.mjs';
import { becomes, browser, launching, profile, stays } from './scene.mjs';

describe('the chat', { concurrency: 4 }, () => {
  const shared = browser();
  const stage = (t, env) => chat(t, shared.browser, env);

  test('what one says appears at the other, and stands once at both', async (t) => {
    const { as } = await stage(t);
    const [alice, bob] = [await as('Alice'), await as('Bob')];
    await alice.say('all hands');
    await bob.says('Alice: all hands');
    await bob.say('<b>aye</b>');
    await alice.says('Bob: <b>aye</b>');
    for (const tab of [alice, bob]) await stays('the end', ['Alice: all hands', 'Bob: <b>aye</b>'], () => tab.lines(2));
  });

  test('a message shows at once, and never twice, whichever of the answer and the stream is faster', async (t) => {
    const { as } = await stage(t);
    const [alice, bob] = [await as('Alice'), await as('Bob')];
    for (const order of ['answer', 'stream']) {
      const text = `the ${order} comes last`;
      await alice.watch(text);
      let let_go;
      const held = new Promise((resolve) => { let_go = resolve; });
      await alice.page.route('**/realtime/emit', async (route) => {
        if (!route.request().postData().includes('said')) return route.continue();
        if (order === 'stream') return held.then(() => route.continue());
        const response = await route.fetch();
        await held;
        return route.fulfill({ response });
      });
      await alice.say(text);
      await alice.says(order === 'stream' ? `Alice: ${text} (sending …)` : `Alice: ${text}`);
      if (order === 'answer') await bob.says(`Alice: ${text}`);
      let_go();
      await bob.says(`Alice: ${text}`);
      await alice.says(`Alice: ${text}`);
      // Never twice and never gone, at no moment.
      assert.deepEqual(await alice.watched(), [1]);
      await alice.page.unroute('**/realtime/emit');
    }
  });

  test('a message that the server refuses is taken back, to exactly what was there', async (t) => {
    const { as } = await stage(t);
    const [alice, bob] = [await as('Alice'), await as('Bob')];
    await alice.say('before');
    await bob.says('Alice: before');
    await becomes('her receipt', 'Read by Bob', () => alice.page.locator('.state').last().textContent());
    const before = await alice.html();
    let refuse;
    const held = new Promise((resolve) => { refuse = resolve; });
    await alice.page.route('**/realtime/emit', (route) => held.then(() => route.continue()));
    await alice.say('a mutiny');
    await alice.says('Alice: a mutiny (sending …)');
    refuse();
    await alice.page.getByRole('alert').getByText('No mutiny on this ship').waitFor();
    await becomes('the lines', before, alice.html);
    assert.equal(await alice.field().inputValue(), 'a mutiny');
    await bob.says('Alice: before');
  });

  test('one that was lost on its way back is not said twice when it is sent again', async (t) => {
    const { as } = await stage(t);
    const alice = await as('Alice');
    await alice.page.route('**/realtime/emit', async (route) => {
      if (!route.request().postData().includes('said')) return route.continue();
      // It arrived; the answer did not.
      await route.fetch();
      return route.abort();
    });
    await alice.say('are you there?');
    await becomes('what she has written', 'are you there?', () => alice.field().inputValue());
    await alice.says('Alice: are you there?');
    await alice.page.unroute('**/realtime/emit');
    await alice.page.getByRole('button', { name: 'Send' }).click();
    await becomes('what she has written', '', () => alice.field().inputValue());
    const count = async () => (await alice.lines(5)).filter((line) => line === 'Alice: are you there?').length;
    await stays('how often it stands there', 1, count);
  });

  test('who is writing is shown to the others, until it is sent or taken back', async (t) => {
    const { as } = await stage(t);
    const [alice, bob] = [await as('Alice'), await as('Bob')];
    const carol = await as('Carol');
    await alice.field().pressSequentially('hm');
    await bob.typing('Alice is writing', alice);
    await carol.field().pressSequentially('well');
    await bob.typing('Alice and Carol are writing', alice, carol);
    await alice.typing('Carol is writing', carol);
    await alice.field().press('Enter');
    await bob.typing('Carol is writing', carol);
    await carol.field().fill('');
    await bob.typing('');
  });

  test('who is in a room has a flag up there; a second tab changes nothing', async (t) => {
    const { as } = await stage(t);
    const alice = await as('Alice');
    await alice.flags(['alice']);
    const bob = await as('Bob');
    await alice.flags(['alice', 'bob']);
    await bob.flags(['alice', 'bob']);
    const again = await bob.open('rooms/1');
    await again.flags(['alice', 'bob']);
    await alice.watchFlags();
    // One of the two is there all the time: alone, a page that takes long to load is gone for longer than the grace.
    await bob.page.reload();
    await bob.flags(['alice', 'bob']);
    await bob.is('Live');
    await again.page.close();
    await stays('the flags', ['alice', 'bob'], alice.flagsNow);
    assert.deepEqual(await alice.flagsSeen(), ['alice,bob']);

    await bob.go('Galley');
    await bob.flags(['bob']);
    await alice.flags(['alice']);
  });

  test('a reader is seen by the one who wrote, and by nobody else', async (t) => {
    const { as } = await stage(t);
    const [alice, bob] = [await as('Alice'), await as('Bob', { at: 'rooms/2' })];
    await alice.say('who reads this?');
    const state = () => alice.page.locator('.state').last().textContent();
    await becomes('her receipt', 'Sent', state);
    await bob.go('Bridge');
    await becomes('her receipt', 'Read by Bob', state);
    const carol = await as('Carol');
    await becomes('her receipt', 'Read by Bob and Carol', state);
    await carol.says('Alice: who reads this?');
    assert.equal(await carol.line('who reads this?').locator('.state').count(), 0);
  });

  test('a badge counts what is unread, in every tab, until it is read in one', async (t) => {
    const { say, as } = await stage(t);
    const bob = await as('Bob', { at: 'rooms/1' });
    await bob.go('Galley');
    const other = await bob.open('rooms/2');
    await becomes('what is unread', '', () => bob.badge('Bridge'));
    await say('alice', 1, 'one');
    await say('carol', 1, 'two');
    for (const tab of [bob, other]) await becomes('what is unread', '2', () => tab.badge('Bridge'));
    await becomes('the title', '(2) Halyard', () => bob.page.title());
    await bob.go('Bridge');
    for (const tab of [bob, other]) await becomes('what is unread', '', () => tab.badge('Bridge'));
    await becomes('the title', 'Halyard', () => other.page.title());
  });

  test('whom a message names is told, in every tab, and it is there after a reload', async (t) => {
    const { say, as } = await stage(t);
    const [alice, bob] = [await as('Alice', { at: 'rooms/2' }), await as('Bob', { at: 'rooms/2' })];
    const other = await bob.open('rooms/2');
    await say('alice', 1, '@bob: the chart, please');
    for (const tab of [bob, other]) await becomes('the notices', '1', () => tab.badge('Notices'));
    await bob.page.reload();
    await becomes('the notices', '1', () => bob.badge('Notices'));
    assert.equal(await alice.badge('Notices'), '');
    await bob.page.getByRole('link', { name: 'Notices' }).click();
    await bob.page.getByText('Alice named you').waitFor();
    await say('carol', 1, '@bob and the compass');
    await bob.page.getByText('Carol named you').waitFor();
    await bob.page.getByRole('button', { name: 'Mark all as read' }).click();
    for (const tab of [bob, other]) await becomes('the notices', '', () => tab.badge('Notices'));
    await bob.page.getByText('Nothing that you have not read').waitFor();
  });

  test('a report reaches the officers', async (t) => {
    const { say, as } = await stage(t);
    await say('dave', 2, 'soup again');
    const [alice, carol] = [await as('Alice', { at: 'instruments' }), await as('Carol', { at: 'rooms/2' })];
    await carol.line('soup again').hover();
    await carol.line('soup again').getByRole('button', { name: 'Report' }).click();
    await carol.line('soup again').getByRole('button', { name: 'Reported' }).waitFor();
    await alice.page.getByText('Carol reported Dave').waitFor();
    await becomes('her notices', '1', () => alice.badge('Notices'));
    await carol.page.getByRole('link', { name: 'Instruments' }).click();
    await carol.page.getByText('Aboard now').waitFor();
    assert.equal(await carol.page.getByText('Reports').count(), 0);
  });

  test('going up, one reads all that was said before, and stays where one is', async (t) => {
    const { as } = await stage(t);
    const bob = await as('Bob');
    await becomes('the lines', 50, () => bob.page.locator('.line').count());
    const first = () => bob.page.locator('.line').first().textContent();
    const total = (await bob.ask('GET', '/rooms/1/messages?limit=100')).messages.length;
    assert.equal(total, 100);
    for (let pages = 0; (await bob.page.locator('.earlier').count()) && pages < 20; pages += 1) {
      const [before, top] = [await bob.page.locator('.line').count(), await first()];
      await bob.page.locator('.scroller').evaluate((element) => element.scrollTo({ top: -element.scrollHeight }));
      await becomes('more lines', true, async () => (await bob.page.locator('.line').count()) > before);
      // What was at the top is still in sight.
      const line = bob.page.locator('.line', { hasText: top }).first();
      assert.ok(await line.evaluate((element) => element.getBoundingClientRect().bottom > -200), top);
    }
    assert.match(await first(), /barometer/);
    const all = await bob.page.locator('.line').count();
    assert.ok(all > 100, `${all}`);
    // What is new does not take one away from there.
    await bob.page.getByRole('button', { name: 'To the newest' }).waitFor();
    await bob.page.getByRole('button', { name: 'To the newest' }).click();
    await bob.says('Bob: Gladly. Dawn is all yours.');
  });

  test('what one saves in the log stands at the other', async (t) => {
    const { as } = await stage(t);
    const [alice, bob] = [await as('Alice'), await as('Bob')];
    await alice.log().fill('the wind is fair');
    await alice.page.getByRole('button', { name: 'Save' }).click();
    await becomes('the log', 'the wind is fair', () => bob.log().inputValue());
    await bob.page.getByText('Version 2, by Alice').waitFor();
    await bob.log().press('Control+End');
    await bob.page.keyboard.type(', and rising');
    await bob.page.keyboard.press('Control+s');
    await becomes('the log', 'the wind is fair, and rising', () => alice.log().inputValue());
  });

  test('of two who changed the same version one decides, the other goes on undisturbed', async (t) => {
    const { as } = await stage(t);
    const [alice, bob] = [await as('Alice'), await as('Bob')];
    await bob.log().fill('north');
    await alice.log().fill('south');
    await alice.page.getByRole('button', { name: 'Save' }).click();
    await bob.page.getByText('Alice saved version 2 meanwhile.').waitFor();
    assert.equal(await bob.log().inputValue(), 'north');
    await bob.page.getByRole('button', { name: 'Save' }).click();
    await bob.page.getByRole('heading', { name: 'Alice was faster' }).waitFor();
    assert.deepEqual(await bob.page.locator('.conflict pre').allTextContents(), ['south', 'north']);
    await stays('the other’s log', 'south', () => alice.log().inputValue());
    assert.equal(await alice.page.locator('.conflict').count(), 0);

    await bob.page.getByRole('button', { name: 'Keep mine' }).click();
    for (const tab of [alice, bob]) {
      await becomes('the log', 'north', () => tab.log().inputValue());
      await tab.page.getByText('Version 3, by Bob').waitFor();
    }
    // The other way round.
    await bob.log().fill('west');
    await alice.log().fill('east');
    await alice.page.getByRole('button', { name: 'Save' }).click();
    await bob.page.getByText('Alice saved version 4 meanwhile.').waitFor();
    await bob.page.getByRole('button', { name: 'Save' }).click();
    await bob.page.getByRole('button', { name: 'Take this one' }).click();
    await becomes('the log', 'east', () => bob.log().inputValue());
  });

  test('in the log one sees where the others are, and that they left', async (t) => {
    const { as } = await stage(t);
    const [alice, bob] = [await as('Alice'), await as('Bob')];
    await bob.flags(['alice', 'bob']);
    await alice.log().focus();
    const carets = () => bob.page.locator('.caret').evaluateAll((all) => all.map((one) => [one.textContent, one.parentElement.firstChild.textContent]));
    // Again and again: where she is, is kept for nobody who comes later.
    await becomes('her caret', [['Alice', 'WATCH BILL\n']], async () => {
      await alice.page.keyboard.press('Control+Home');
      await alice.page.keyboard.press('ArrowDown');
      return carets();
    });
    assert.equal(await alice.page.locator('.caret').count(), 0);
    await alice.go('Galley');
    await becomes('her caret', [], carets);
  });

  test('the instruments move by themselves', async (t) => {
    const { say, as } = await stage(t);
    const dave = await as('Dave', { at: 'instruments' });
    const figure = (name) => dave.page.locator('.figure', { hasText: name }).locator('.value').textContent();
    const before = Number(await figure('Messages in the last hour'));
    await say('alice', 1, 'one more');
    await becomes('what was said', `${before + 1}`, () => figure('Messages in the last hour'));
    await becomes('who is aboard', '1', () => figure('Aboard now'));
    await as('Carol');
    await becomes('who is aboard', '2', () => figure('Aboard now'));
  });

  test('who is no member sees nothing of a room, and all of it once brought in', async (t) => {
    const { as } = await stage(t);
    const [alice, dave] = [await as('Alice'), await as('Dave', { at: 'rooms/1' })];
    await dave.page.getByText('Not a member of this room').waitFor();
    await alice.say('before he came');
    await alice.page.getByRole('tab', { name: 'Crew' }).click();
    await alice.page.getByLabel('Bring somebody in').selectOption('Dave');
    await alice.page.getByRole('button', { name: 'Add' }).click();
    await dave.says('Alice: before he came');
    await alice.say('welcome');
    await dave.says('Alice: welcome');
    await alice.flags(['alice', 'dave']);

    await alice.page.getByRole('button', { name: 'Remove Dave' }).click();
    await dave.page.getByText('Not a member of this room').waitFor();
    await alice.say('a secret');
    await stays('his page', 0, () => dave.page.getByText('a secret').count());
  });

  test('signing out ends all tabs of that user, in every browser, and they are gone at once for the others', async (t) => {
    const { as } = await stage(t);
    const [alice, elsewhere, bob] = [await as('Alice'), await as('Alice'), await as('Bob')];
    const other = await alice.open('rooms/1');
    await bob.flags(['alice', 'bob']);
    await elsewhere.field().pressSequentially('unfinished');
    await bob.typing('Alice is writing', elsewhere);
    await alice.page.getByRole('button', { name: 'Sign out' }).click();
    for (const tab of [alice, other, elsewhere]) await tab.page.getByText('Come aboard as').waitFor();
    await bob.flags(['bob']);
    await bob.typing('');
    await bob.say('she is gone');
    await stays('what she sees', 0, () => elsewhere.page.getByText('she is gone').count());

    await alice.page.getByRole('button', { name: 'Carol' }).click();
    await alice.says('Bob: she is gone');
    await bob.flags(['bob', 'carol']);
    await other.page.bringToFront();
  });

  test('a browser that is killed is gone after the grace, and so is its typing', async (t) => {
    const { as } = await stage(t);
    const bob = await as('Bob');
    const doomed = await chromium.launchServer(launching());
    t.after(() => doomed.kill());
    const alice = await as('Alice', { chromium: await chromium.connect(doomed.wsEndpoint()) });
    await bob.flags(['alice', 'bob']);
    await alice.field().pressSequentially('I was about to');
    await bob.typing('Alice is writing', alice);
    process.kill(doomed.process().pid, 'SIGKILL');
    await bob.typing('');
    await bob.flags(['bob']);
  });

  test('what is said while the server is away, or the page is cut off, is there when it is back', async (t) => {
    const directory = await mkdtemp(join(tmpdir(), 'tower-revalidate-'));
    t.after(() => rm(directory, { recursive: true }));
    const { app, say, as } = await stage(t, { DATABASE: join(directory, 'chat.db') });
    const alice = await as('Alice');
    await alice.says('Bob: Gladly. Dawn is all yours.');
    await app.kill();
    await alice.is('Connection lost');
    await alice.page.getByText(/^again in \d+ s$/).waitFor();
    await app.start();
    await say('bob', 1, 'after the night');
    await alice.says('Bob: after the night');
    await alice.is('Live');
    await alice.flags(['alice']);
  });

  test('by keyboard alone one signs in, writes, edits the log and signs out, and sees where one is', async (t) => {
    const { app } = await stage(t);
    const context = await profile(shared.browser, { viewport: { width: 1200, height: 800 } });
    t.after(() => context.close());
    const page = await context.newPage();
    await page.goto(app.url());
    const tab = look(page, context, app);
    const { keyboard } = page;
    await page.getByRole('button', { name: 'Bob' }).waitFor();
    await tab.tabTo('Bob');
    await keyboard.press('Enter');
    await tab.is('Live');
    await tab.tabTo('Galley');
    await keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Galley' }).waitFor();
    await tab.tabTo('Message to Galley');
    await keyboard.type('by keyboard');
    await keyboard.press('Enter');
    await tab.says('Bob: by keyboard');
    await tab.tabTo('Log', 'Shift+Tab');
    await keyboard.press('ArrowRight');
    await page.getByRole('heading', { name: 'Crew' }).waitFor();
    await keyboard.press('ArrowLeft');
    await tab.tabTo('Log of Galley');
    await keyboard.type('lemons');
    await tab.tabTo('Save');
    await keyboard.press('Enter');
    await page.getByText('Version 1, by Bob').waitFor();
    await tab.tabTo('Sign out', 'Shift+Tab');
    await keyboard.press('Enter');
    await page.getByText('Come aboard as').waitFor();
  });

  for (const colorScheme of ['light', 'dark']) {
    for (const width of [360, 1200]) {
      test(`nothing is wider than a page of ${width} px, in ${colorScheme}`, async (t) => {
        const { app, say, as } = await stage(t);
        const height = width === 360 ? 740 : 800;
        const context = await profile(shared.browser, { colorScheme, viewport: { width, height } });
        t.after(() => context.close());
        const page = await context.newPage();
        const shows = async (name) => {
          if (process.env.SCREENSHOTS) {
            await page.screenshot({ path: join(process.env.SCREENSHOTS, `chat-${colorScheme}-${width}-${name}.png`) });
          }
          // What scrolls by itself hides what is too wide in it.
          const wide = await page.evaluate(() =>
            [document.documentElement, ...document.querySelectorAll('.rail, .page, .scroller, .side, .sheet-page')]
              .filter((one) => one.scrollWidth > one.clientWidth)
              .map((one) => `${one.tagName}.${one.className}`));
          assert.deepEqual(wide, [], name);
        };
        await page.goto(app.url());
        await page.getByRole('button', { name: 'Bob' }).waitFor();
        await shows('sign-in');
        await page.getByRole('button', { name: 'Bob' }).click();
        await page.getByRole('link', { name: 'Bridge' }).waitFor();
        await shows('rooms');
        const bob = look(page, context, app);
        await bob.go('Bridge');
        await bob.says('Bob: Gladly. Dawn is all yours.');
        const alice = await as('Alice');
        const carol = await as('Carol');
        await bob.flags(['alice', 'bob', 'carol']);
        await alice.say('Fog bank ahead. @bob, sound the horn, please, and keep at it until we are through.');
        await bob.say('Aye.');
        await becomes('his receipt', 'Read by Alice and Carol', () => page.locator('.state').last().textContent());
        await alice.field().pressSequentially('one more');
        await bob.typing('Alice is writing', alice);
        await shows('talk');
        await say('carol', 1, `${'a'.repeat(300)} ${'word '.repeat(60)}`);
        await page.locator('.bubble').getByText('aaa').waitFor();
        await bob.say('a mutiny');
        await page.getByRole('alert').getByText('No mutiny').waitFor();
        await shows('refused');

        await page.getByRole('tab', { name: 'Log' }).click();
        await carol.log().focus();
        // Till it is seen: on a small screen his log has only just begun to listen.
        await becomes('her caret', 1, async () => {
          await carol.page.keyboard.press('Control+Home');
          for (let lines = 0; lines < 4; lines += 1) await carol.page.keyboard.press('End').then(() => carol.page.keyboard.press('ArrowDown'));
          return page.locator('.caret b').count();
        });
        await shows('log');
        await bob.log().fill(`WATCH BILL\n\n${'b'.repeat(200)}`);
        await carol.log().press('Control+End');
        await carol.page.keyboard.type('Lights at dusk.');
        await carol.page.keyboard.press('Control+s');
        await page.getByText('Carol saved version 2 meanwhile.').waitFor();
        await page.getByRole('button', { name: 'Save' }).click();
        await page.getByRole('heading', { name: 'Carol was faster' }).waitFor();
        await shows('conflict');
        await page.getByRole('tab', { name: 'Crew' }).click();
        await shows('crew');
        for (const name of ['Notices', 'Instruments']) {
          if (width === 360) await page.getByRole('link', { name: 'Back to the rooms' }).click();
          await page.getByRole('link', { name }).click();
          await page.getByText(name === 'Notices' ? 'Alice named you' : 'Aboard now').waitFor();
          await shows(name.toLowerCase());
        }
        await page.goto(`${app.url()}/#/rooms/99`);
        await page.getByText('Not a member of this room').waitFor();
        await shows('no-member');
        await app.kill();
        await page.getByText(/^again in/).waitFor();
        await shows('waiting');
      });
    }
  }
});
