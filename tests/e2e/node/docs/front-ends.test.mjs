// The README's front ends, and those of docs/browser.md, run as they are written there: a post in one tab appears in
// the other.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { contextOf, launch } from './browser.mjs';
import { built } from './build.mjs';
import { example } from './example.mjs';
import { front } from './front.mjs';
import { sections } from './sections.mjs';

const ROOT = join(import.meta.dirname, '../../../..');
const GUARD = { timeout: 60_000 };

const documented = ['README.md', 'docs/browser.md'].flatMap((file) =>
  sections(readFileSync(join(ROOT, file), 'utf8')).map((section) => ({ file, ...section })),
);

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

test('each front end is documented', () => {
  const text = documented.map(({ title }) => title).join();
  for (const name of ['TanStack', 'SWR', 'JavaScript', 'htmx']) assert.match(text, new RegExp(name, 'i'));
});

for (const { file, title, page, script } of documented) {
  for (const htmx of page.includes('htmx.min.js') ? [2, 4] : [undefined]) {
    test(`${file}, ${title}${htmx ? ` ${htmx}` : ''}: a post in one tab appears in the other`, async (t) => {
      const app = await example();
      t.after(app.end);
      const site = await front({ page, script: script && (await built(script)), example: app.url });
      t.after(site.close);
      const context = await contextOf(browser, htmx);
      t.after(() => context.close());
      const faults = [];

      const post = (title, from = app.url) =>
        fetch(new URL('/posts', from), {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ title }),
        });
      const open = async () => {
        const tab = await context.newPage();
        tab.on('pageerror', (error) => faults.push(String(error)));
        await tab.goto(site.url);
        await shows(tab, 'before');
        return tab;
      };
      const shows = (tab, ...titles) =>
        tab.waitForFunction(
          (expected) => {
            const rows = [...document.querySelectorAll('ul li')].map((row) => row.textContent);
            return JSON.stringify(rows) === expected;
          },
          JSON.stringify(titles),
          GUARD,
        );

      assert.equal((await post('before')).status, 201);
      const [one, other] = [await open(), await open()];
      await other.evaluate(() => (globalThis.sameDocument = true));

      if (await one.$('form')) {
        await one.fill('form input', 'from <b>one</b>');
        await one.click('form button');
      } else {
        await one.evaluate(async (title) => {
          const headers = { 'content-type': 'application/json' };
          await fetch('/posts', { method: 'POST', headers, body: JSON.stringify({ title }) });
        }, 'from <b>one</b>');
      }
      await shows(other, 'before', 'from <b>one</b>');
      await shows(one, 'before', 'from <b>one</b>');
      assert.equal(await other.evaluate(() => globalThis.sameDocument), true);
      assert.deepEqual(faults, []);
    });
  }
}
