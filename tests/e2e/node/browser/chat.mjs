// One test's own chat: a server, and its users in browsers of their own.

import assert from 'node:assert/strict';
import { built, run } from './example.mjs';
import { becomes, profile } from './scene.mjs';

built('chat');

/** How long one look at a page may take, in ms: a loaded machine keeps a page from answering for a second or more. */
const LOOK = 15_000;

/** A server, and a way to sign in to it in a browser of one's own; all gone when the test ends. */
export async function chat(t, browser, env) {
  const app = await run('chat', env);
  t.after(() => app.kill());

  /** Asks it as a user who is in none of the test's browsers. */
  async function ask(user, method, path, body) {
    const headers = { 'content-type': 'application/json', connection: 'close' };
    const send = (cookie, method, path, body) =>
      fetch(`${app.url()}/api${path}`, { method, headers: { ...headers, cookie }, body: body && JSON.stringify(body) });
    const session = await send('', 'POST', '/session', { user });
    const response = await send(session.headers.getSetCookie()[0].split(';')[0], method, path, body);
    if (!response.ok) throw new Error(`${path}: ${response.status}`);
    return response.status === 204 ? undefined : response.json();
  }
  const say = (user, room, content) => ask(user, 'POST', `/rooms/${room}/messages`, { content });

  async function as(user, { at = 'rooms/1', chromium = browser, ...options } = {}) {
    const context = await profile(chromium, { viewport: { width: 1200, height: 800 }, ...options });
    t.after(() => context.close().catch(() => {}));
    const page = await context.newPage();
    await page.goto(`${app.url()}/#/${at}`);
    await page.getByRole('button', { name: user }).click();
    const tab = look(page, context, app);
    await tab.is('Live');
    return tab;
  }
  return { app, ask, say, as };
}

/** What a user can see and do in a tab. */
export function look(page, context, app) {
  const tab = {
    page,
    context,
    /** The live region of the connection. */
    is: (words) => becomes('the connection', words, () => page.locator('.connection [role=status]').textContent({ timeout: LOOK }).catch(String)),
    go: (room) => page.getByRole('link', { name: room }).click(),
    /** Another tab of the same browser. */
    async open(at) {
      const page = await context.newPage();
      await page.goto(`${app.url()}/#/${at}`);
      const other = look(page, context, app);
      await other.is('Live');
      return other;
    },
    ask: (method, path) => page.evaluate(([method, path]) => fetch(`/api${path}`, { method }).then((r) => r.json()), [method, path]),

    field: () => page.getByRole('textbox', { name: /^Message to/ }),
    async say(text) {
      await tab.field().fill(text);
      await page.keyboard.press('Enter');
    },
    /** The last so many messages, each with its sender. */
    lines: (count) =>
      page.locator('.lines').evaluate((list, count) => {
        let sender;
        const lines = [...list.querySelectorAll('.line')].map((line) => {
          sender = line.querySelector('.who strong')?.textContent ?? sender;
          const isOnItsWay = line.textContent.includes('sending …');
          return `${sender}: ${line.querySelector('.bubble p').textContent}${isOnItsWay ? ' (sending …)' : ''}`;
        });
        return lines.slice(-count);
      }, count, { timeout: LOOK }).catch(String),
    says: (line) => becomes('the last message', [line], () => tab.lines(1)),
    line: (text) => page.locator('.line', { hasText: text }),
    html: () => page.locator('.lines').evaluate((element) => element.innerHTML),
    /** `writers` type on till it is seen: who rests for some seconds has stopped. */
    typing: (words, ...writers) =>
      becomes('who is writing', words, async () => {
        for (const writer of writers) await writer.field().press('.');
        return (await page.locator('.typing').textContent()).trim();
      }),
    flagsNow: () => page.locator('.halyard [data-present=true]').evaluateAll((all) => all.map((one) => one.dataset.user)).catch(String),
    flags: (users) => becomes('who is here', users, tab.flagsNow),
    badge: (name) =>
      page.getByRole('link', { name }).locator('.badge').evaluateAll((all) => all.map((one) => one.firstChild.textContent).join()),
    log: () => page.getByRole('textbox', { name: /^Log of/ }),

    /** Notes how many messages have this text whenever the page changes, from the first time that there is one. */
    watch: (text) =>
      page.evaluate((text) => {
        window.counts = new Set();
        window.observer?.disconnect();
        window.observer = new MutationObserver(() => {
          const count = [...document.querySelectorAll('.bubble p')].filter((one) => one.textContent === text).length;
          if (count || window.counts.size) window.counts.add(count);
        });
        window.observer.observe(document.body, { childList: true, characterData: true, subtree: true });
      }, text),
    watched: () => page.evaluate(() => [...window.counts]),
    /** Notes who is here whenever that changes. */
    watchFlags: () =>
      page.evaluate(() => {
        const now = () => [...document.querySelectorAll('.halyard [data-present=true]')].map((one) => one.dataset.user).join();
        window.flags = new Set([now()]);
        new MutationObserver(() => window.flags.add(now())).observe(document.body, { attributes: true, childList: true, subtree: true });
      }),
    flagsSeen: () => page.evaluate(() => [...window.flags]),

    /** The name of what has the focus, without what stands beside it. */
    focused: () =>
      page.evaluate(() => {
        const { activeElement: element } = document;
        const own = element.querySelector('.room-name, span:not(.badge)')?.textContent;
        return (element.getAttribute('aria-label') ?? own ?? element.textContent).trim();
      }),
    /** Presses Tab until it is there; wherever it comes by, one sees it. */
    async tabTo(name, key = 'Tab') {
      for (let presses = 0; presses < 80; presses += 1) {
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
