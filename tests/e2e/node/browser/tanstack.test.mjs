// The example with React and TanStack Query, as its users see it: two of them, in browsers of their own.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { built, example } from './example.mjs';
import { becomes, browser, eventually, profile, stays } from './scene.mjs';

built('tanstack');

/** How long one look at a page may take, in ms: a loaded machine keeps a page from answering for a second or more. */
const LOOK = 15_000;

describe('the example with TanStack Query', { concurrency: 4 }, () => {
  const chromium = browser();

  /** A server, and a way to open it as one user in a browser of that user's own. */
  async function stage(t, env) {
    const app = await example(env);
    t.after(() => app.kill());
    const write = (title, body = '') => app.ask('carol', '/posts', { method: 'POST', body: JSON.stringify({ title, body }) });

    async function as(user, options = {}) {
      const context = await profile(chromium.browser, options);
      t.after(() => context.close());
      await context.addCookies([{ name: 'user', value: user, url: app.url() }]);
      return open(context);
    }
    async function open(context) {
      const page = await context.newPage();
      const asked = [];
      page.on('request', (request) => asked.push(`${request.method()} ${new URL(request.url()).pathname}`));
      await page.goto(app.url());
      const tab = look(page, asked, context);
      await tab.is('Live');
      return tab;
    }
    return { app, write, as, open };
  }

  test('a post of one user appears in the browser of the other', async (t) => {
    const { as } = await stage(t);
    const [alice, bob] = [await as('alice'), await as('bob')];
    await alice.post('from alice');
    await bob.shows(['from alice']);
    await bob.post('<b>from</b> bob');
    await alice.shows(['from alice', '<b>from</b> bob']);
    assert.equal(alice.count('GET /'), 1);
  });

  test('a new post shows at once, and once only when the server has it', async (t) => {
    const { write, as } = await stage(t);
    await write('first');
    const alice = await as('alice');
    await alice.shows(['first']);
    await alice.watch('new');
    // A read that is under way does not know of it.
    const reads = await alice.hold('GET', '/api/posts');
    await write('of somebody else');
    await becomes('reads under way', 1, () => reads.length);
    const posts = await alice.hold('POST', '/api/posts');

    await alice.post('new');
    await alice.shows(['first', 'new (sending …)']);
    await alice.release(reads);
    // What others do meanwhile takes nothing away.
    await write('of somebody else, too');
    await becomes('posts under way', 1, () => posts.length);

    await alice.release(posts);
    await alice.shows(['first', 'of somebody else', 'of somebody else, too', 'new']);
    // Never twice and never gone, at no moment.
    assert.deepEqual(await alice.watched(), [1]);
  });

  test('of two new posts neither takes the other away', async (t) => {
    const { as } = await stage(t);
    const alice = await as('alice');
    await alice.shows([]);
    await alice.watch('second');
    const posts = await alice.hold('POST', '/api/posts');
    await alice.post('first');
    await alice.post('second');
    await alice.shows(['first (sending …)', 'second (sending …)']);
    await becomes('posts under way', 2, () => posts.length);
    const [second] = posts.splice(1);
    const answered = alice.page.waitForResponse((response) => response.request().method() === 'POST');
    await alice.release(posts);
    await answered;
    await stays('the posts', ['first (sending …)', 'second (sending …)'], alice.titles);
    await second.continue();
    await alice.shows(['first', 'second']);
    assert.deepEqual(await alice.watched(), [1]);
  });

  test('a post that the server refuses is taken back, to exactly what was there', async (t) => {
    const { write, as } = await stage(t);
    await write('one');
    await write('two');
    const alice = await as('alice');
    await alice.shows(['one', 'two']);
    const before = await alice.html();
    const posts = await alice.hold('POST', '/api/posts');
    await alice.post('this will fail');
    await alice.shows(['one', 'two', 'this will fail (sending …)']);

    // The read that follows is held back: it is not what takes the post away.
    const reads = await alice.hold('GET', '/api/posts');
    await alice.release(posts);
    await alice.shows(['one', 'two']);
    await eventually('the read that follows', () => reads.length === 1);
    assert.equal(await alice.html(), before);
    await alice.page.getByRole('alert').getByText('is refused').waitFor();
    assert.equal(await alice.page.getByLabel('New post').inputValue(), 'this will fail');

    await alice.release(reads);
    await becomes('the list', before, () => alice.html());
  });

  test('what one did oneself is read once, when the server has answered', async (t) => {
    const { write, as, open } = await stage(t);
    await write('a post');
    const alice = await as('alice');
    const other = await open(alice.context);
    await alice.star('a post', false);
    const before = alice.count('GET /api/stars');
    // The server has done it, and everybody knows, before its answer arrives.
    let answer;
    const answered = new Promise((resolve) => { answer = resolve; });
    await alice.page.route('**/api/stars/*', async (route) => {
      const response = await route.fetch();
      await answered;
      await route.fulfill({ response });
    });
    await alice.page.getByRole('button', { name: 'Star “a post”' }).click();
    await other.star('a post', true);
    await stays('its own reads', before, () => alice.count('GET /api/stars'));
    answer();
    await alice.star('a post', true);
    await stays('its own reads', before + 1, () => alice.count('GET /api/stars'));
  });

  test('with the plug pulled nothing comes; plugged in, what was missed does, and nothing else is read', async (t) => {
    const { app, write, as } = await stage(t);
    const { id } = await write('kept open', 'a text');
    const [alice, bob] = [await as('alice'), await as('bob')];
    await alice.page.getByRole('button', { name: 'kept open', exact: true }).click();
    await alice.page.getByText('a text').waitFor();

    await alice.page.getByLabel('Plugged in').click();
    await alice.is('Disconnected');
    await bob.post('meanwhile');
    await app.ask('alice', `/stars/${id}`, { method: 'PUT' });
    await bob.shows(['kept open', 'meanwhile']);
    assert.deepEqual(await alice.titles(), ['kept open']);
    const before = alice.asked.length;

    await alice.page.getByLabel('Plugged in').click();
    await alice.is('Live');
    await alice.shows(['kept open', 'meanwhile']);
    await alice.star('kept open', true);
    const reads = alice.asked.slice(before).filter((request) => request.startsWith('GET /api/'));
    assert.deepEqual(reads.sort(), ['GET /api/posts', 'GET /api/stars']);
  });

  test('with the plug pulled one can still write', async (t) => {
    const { as } = await stage(t);
    const [alice, bob] = [await as('alice'), await as('bob')];
    await alice.page.getByLabel('Plugged in').click();
    await alice.is('Disconnected');
    await alice.post('from the dark');
    await alice.shows(['from the dark']);
    await bob.shows(['from the dark']);
    await alice.is('Disconnected');
  });

  test('a star shows in all browsers of its user, and no other user asks for anything', async (t) => {
    const { write, as } = await stage(t);
    await write('a post');
    const [alice, elsewhere, bob] = [await as('alice'), await as('alice'), await as('bob')];
    await bob.shows(['a post']);
    await bob.star('a post', false);
    const before = bob.asked.length;
    await alice.page.getByRole('button', { name: 'Star “a post”' }).click();
    await alice.star('a post', true);
    await elsewhere.star('a post', true);
    await elsewhere.page.getByText('1 starred').waitFor();

    // What bob may hear comes after what he may not.
    await alice.post('for all');
    await bob.shows(['a post', 'for all']);
    assert.deepEqual(bob.asked.slice(before), ['GET /api/posts']);
    await bob.star('a post', false);
  });

  test('an edit is read by who looks at that post, and not by who looks at another', async (t) => {
    const { write, as } = await stage(t);
    const [one, two] = [await write('one', 'text of one'), await write('two', 'text of two')];
    const [alice, bob] = [await as('alice'), await as('bob')];
    for (const [tab, title] of [[alice, 'one'], [bob, 'two']]) {
      await tab.page.getByRole('button', { name: title, exact: true }).click();
      await tab.page.getByText(`text of ${title}`).waitFor();
    }

    const carol = await as('alice');
    await carol.page.getByRole('button', { name: 'two', exact: true }).click();
    await carol.page.getByRole('button', { name: 'Edit' }).click();
    await carol.page.getByLabel('Title').fill('two, anew');
    await carol.page.getByLabel('Text').fill('another text');
    await carol.page.getByRole('button', { name: 'Save' }).click();
    await bob.page.getByText('another text').waitFor();
    await alice.shows(['one', 'two, anew']);
    assert.equal(bob.count(`GET /api/posts/${two.id}`), 2);
    assert.equal(alice.count(`GET /api/posts/${one.id}`), 1);
  });

  test('a deleted post is gone everywhere', async (t) => {
    const { write, as } = await stage(t);
    await write('short-lived');
    const [alice, bob] = [await as('alice'), await as('bob')];
    await bob.shows(['short-lived']);
    await alice.page.getByRole('button', { name: 'short-lived', exact: true }).click();
    await alice.page.getByRole('button', { name: 'Delete' }).click();
    await alice.shows([]);
    await bob.shows([]);
  });

  test('signed in as another user, the page has that one’s stars and connection, in all tabs', async (t) => {
    const { app, write, as, open } = await stage(t);
    const { id } = await write('a post');
    await app.ask('alice', `/stars/${id}`, { method: 'PUT' });
    const tab = await as('alice');
    const other = await open(tab.context);
    await other.star('a post', true);
    await tab.star('a post', true);

    await tab.page.getByRole('button', { name: 'bob', exact: true }).click();
    for (const page of [tab, other]) {
      await page.star('a post', false);
      await page.is('Live');
      await page.page.getByText('which only bob can see').waitFor();
    }
    await app.ask('bob', `/stars/${id}`, { method: 'PUT' });
    for (const page of [tab, other]) await page.star('a post', true);
  });

  test('while the server is away the badge says when it is tried again; then the list is right', async (t) => {
    const directory = await mkdtemp(join(tmpdir(), 'tower-revalidate-'));
    t.after(() => rm(directory, { recursive: true }));
    const { app, write, as } = await stage(t, { DATABASE: join(directory, 'posts.db') });
    await write('of the first process');
    const alice = await as('alice');
    await alice.shows(['of the first process']);

    await app.kill();
    await alice.is('Connection lost');
    await alice.page.getByText(/^next attempt in \d+ s$/).waitFor();
    await app.start();
    await write('of the second process');
    await alice.is('Live');
    await alice.shows(['of the first process', 'of the second process']);
  });

  test('by keyboard alone a post is written, starred, read and edited, and one sees where one is', async (t) => {
    const { as } = await stage(t);
    const alice = await as('alice');
    const { keyboard } = alice.page;
    await alice.shows([]);
    await alice.tabTo('New post');
    await keyboard.type('by keyboard');
    await keyboard.press('Enter');
    await alice.shows(['by keyboard']);
    await alice.tabTo('by keyboard');
    await keyboard.press('Enter');
    await alice.page.getByText('No text yet').waitFor();
    await alice.tabTo('Star “by keyboard”');
    await keyboard.press('Space');
    await alice.star('by keyboard', true);
    await alice.tabTo('Edit');
    await keyboard.press('Enter');
    await becomes('the focus', 'Title', () => alice.focused());
    await alice.tabTo('Text');
    await keyboard.type('a text');
    await alice.tabTo('Save');
    await keyboard.press('Enter');
    await alice.page.locator('.detail').getByText('a text').waitFor();
    await becomes('the focus', 'Edit', () => alice.focused());

    await alice.tabTo('Plugged in', 'Shift+Tab');
    await keyboard.press('Space');
    await alice.is('Disconnected');
    await alice.tabTo('bob', 'Shift+Tab');
    await keyboard.press('Enter');
    await alice.is('Live');
    await alice.page.getByText('which only bob can see').waitFor();
  });

  for (const colorScheme of ['light', 'dark']) {
    for (const width of [360, 1200]) {
      test(`nothing is wider than a page of ${width} px, in ${colorScheme}`, async (t) => {
        const { app, write, as } = await stage(t);
        const { id } = await write('A post with a text', 'Its text,\nin two lines.');
        await write('A title that is longer than a line of a small screen, and has more than one of them there');
        await write('a'.repeat(200), `${'b'.repeat(1000)}`);
        await app.ask('alice', `/stars/${id}`, { method: 'PUT' });
        const alice = await as('alice', { colorScheme, viewport: { width, height: 800 } });
        const narrow = async (name) => {
          if (process.env.SCREENSHOTS) {
            await alice.page.screenshot({ path: join(process.env.SCREENSHOTS, `${colorScheme}-${width}-${name}.png`), fullPage: true });
          }
          const widths = await alice.page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
          assert.deepEqual(widths, [width, width], name);
        };

        await alice.page.getByRole('button', { name: 'A post with a text', exact: true }).click();
        await alice.page.getByText('Its text').waitFor();
        await narrow('open');
        await alice.page.getByRole('button', { name: 'aaa', exact: false }).first().click();
        await alice.page.getByText('bbb').waitFor();
        await alice.post('this will fail');
        await alice.page.getByRole('alert').getByText('is refused').waitFor();
        await narrow('refused');
        await alice.hold('POST', '/api/posts');
        await alice.post('on its way');
        await alice.page.getByText('sending …').waitFor();
        await alice.page.getByRole('button', { name: 'Edit' }).click();
        await alice.page.getByLabel('Plugged in').click();
        await alice.is('Disconnected');
        await narrow('edit');
        const ground = await alice.page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
        assert.equal(ground, colorScheme === 'dark' ? 'rgb(15, 19, 24)' : 'rgb(255, 255, 255)');
        await app.kill();
        await alice.page.getByLabel('Plugged in').click();
        await alice.page.getByText('next attempt in').waitFor();
        await narrow('waiting');
      });
    }
  }
});

/** What a user can see and do in a tab. */
function look(page, asked, context) {
  const list = page.locator('.posts');
  const tab = {
    page,
    asked,
    context,
    count: (request) => asked.filter((one) => one === request).length,
    /** The live region of the badge. */
    is: (words) => becomes('the badge', words, () => page.getByRole('status').textContent({ timeout: LOOK }).catch(String)),
    titles: () =>
      list.locator('li').evaluateAll((lines) =>
        lines.map((line) => line.querySelector('.title').textContent + (line.textContent.includes('sending …') ? ' (sending …)' : ''))),
    shows: (titles) => becomes('the posts', titles, tab.titles),
    html: () => list.evaluate((element) => element.innerHTML),
    star: (title, on) =>
      becomes(`the star of ${title}`, String(on), () =>
        page.getByRole('button', { name: `Star “${title}”` }).getAttribute('aria-pressed', { timeout: LOOK }).catch(String)),
    async post(title) {
      await page.getByLabel('New post').fill(title);
      await page.getByRole('button', { name: 'Post', exact: true }).click();
    },

    /** Holds requests back, until they are released. */
    async hold(method, path) {
      const held = [];
      await page.route(`**${path}`, (route) => (route.request().method() === method ? held.push(route) : route.fallback()));
      return held;
    },
    /** Lets them go, and those that follow. */
    async release(held) {
      const routes = held.splice(0);
      held.push = (route) => route.continue();
      // One that the page has given up is not there any more.
      await Promise.all(routes.map((route) => route.continue().catch(() => {})));
    },

    /** Notes how many posts have this title whenever the page changes, from the first time that there is one. */
    watch: (title) =>
      page.evaluate((title) => {
        window.counts = new Set();
        new MutationObserver(() => {
          const count = [...document.querySelectorAll('.title')].filter((one) => one.textContent === title).length;
          if (count || window.counts.size) window.counts.add(count);
        }).observe(document.body, { childList: true, characterData: true, subtree: true });
      }, title),
    watched: () => page.evaluate(() => [...window.counts]),

    /** The name of what has the focus. */
    focused: () =>
      page.evaluate(() => {
        const { activeElement: element } = document;
        const name = element.getAttribute('aria-label') ?? element.labels?.[0]?.firstChild.textContent ?? element.textContent;
        return element.labels?.[0] && !name.trim() ? element.labels[0].textContent : name;
      }),
    /** Presses Tab until it is there; wherever it comes by, one sees it. */
    async tabTo(name, key = 'Tab') {
      for (let presses = 0; presses < 40; presses += 1) {
        await page.keyboard.press(key);
        if (await page.evaluate(() => document.activeElement === document.body)) continue;
        const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outline);
        assert.match(ring, /solid 2px/, `the focus on ${await tab.focused()} is to be seen`);
        if ((await tab.focused()) === name) return;
      }
      assert.fail(`${name} is not to be reached by ${key}`);
    },
  };
  return tab;
}
