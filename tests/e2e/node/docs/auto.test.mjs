// auto.js in a browser, beside htmx and alone: what a document that is not one does not show.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { contextOf, launch } from './browser.mjs';
import { example } from './example.mjs';
import { front } from './front.mjs';

const GUARD = { timeout: 60_000 };
const AUTO = '<script type="module" src="/realtime/auto.js" data-share="false"></script>';
const HTMX = '<script src="https://cdn.example/htmx.min.js"></script>';

let app;
let browser;
before(async () => {
  app = await example();
  browser = await launch();
});
after(async () => {
  app?.end();
  await browser?.close();
});

/** A tab with this page. `part` answers what is asked of `/part/…`, and may wait. */
async function tabWith(t, { body, htmx, part = () => '' }) {
  const parts = { asked: [], ended: [] };
  const site = await front({ page: `<!doctype html>${htmx ? HTMX : ''}${AUTO}<body>${body}`, example: app.url });
  t.after(site.close);
  const context = await contextOf(browser, htmx);
  t.after(() => context.close());
  await context.route('**/part/*', async (route) => {
    const name = new URL(route.request().url()).pathname.slice('/part/'.length);
    parts.asked.push(name);
    const html = await part(name, parts.asked.filter((other) => other === name).length);
    await route.fulfill({ body: html, contentType: 'text/html' });
    parts.ended.push(name);
  });
  const tab = await context.newPage();
  const aborted = [];
  tab.on('requestfailed', (request) => aborted.push(request.url()));
  const began = async () => {
    await tab.goto(site.url);
    await tab.waitForSelector(':root[data-realtime=open]', { ...GUARD, state: 'attached' });
  };
  /** As if the server had said so. */
  const stale = (key) =>
    tab.evaluate(async (key) => (await import('/realtime/auto.js')).realtime.invalidate(key), key);
  const text = (selector, expected) =>
    tab.waitForFunction(([s, e]) => document.querySelector(s)?.textContent === e, [selector, expected], GUARD);
  return { tab, parts, aborted, began, stale, text };
}

/** A promise, and what resolves it. */
function gate() {
  let open;
  const opened = new Promise((resolve) => (open = resolve));
  return { opened, open };
}

for (const htmx of [2, 4]) {
  test(`htmx ${htmx}: a stale prefix reaches all that listen below it, also what htmx put there`, async (t) => {
    const { tab, parts, began, stale, text } = await tabWith(t, {
      htmx,
      body: `<p id="list" hx-get="/part/list" hx-trigger="rt:posts.list from:body"></p>
        <p id="seven" hx-get="/part/seven" data-hx-trigger="rt:posts.detail.7 from:body delay:10ms"></p>
        <p id="me" hx-get="/part/me" hx-trigger="click, rt:users.me from:body"></p>
        <p id="outer" hx-get="/part/outer" hx-trigger="click">outer</p>`,
      part: (name, times) =>
        name === 'outer'
          ? '<i id="inner" hx-get="/part/inner" hx-trigger="rt:stats.today from:body"></i>'
          : name === 'inner' ? 'read' : String(times),
    });
    await began();
    // The page has no cursor: the stream begins with news of everything.
    await Promise.all([text('#list', '1'), text('#seven', '1'), text('#me', '1')]);

    await stale('posts');
    await Promise.all([text('#list', '2'), text('#seven', '2')]);
    await stale(['posts', 'detail', 7]);
    await text('#seven', '3');
    await tab.click('#outer');
    await tab.waitForSelector('#inner', { ...GUARD, state: 'attached' });
    await stale('stats');
    await text('#inner', 'read');
    await stale([]);
    await Promise.all([text('#list', '3'), text('#seven', '4'), text('#me', '2')]);
    assert.deepEqual(parts.asked.filter((name) => name === 'me').length, 2);
  });

  test(`htmx ${htmx}: what becomes stale during a request is read once more, and nothing is aborted`, async (t) => {
    const slow = gate();
    const { parts, aborted, began, stale, text } = await tabWith(t, {
      htmx,
      body: '<p id="list" hx-get="/part/list" hx-trigger="rt:posts.list from:body"></p>',
      part: async (_, times) => {
        if (times === 2) await slow.opened;
        return String(times);
      },
    });
    await began();
    await text('#list', '1');
    for (let i = 0; i < 4; i++) await stale('posts.list');
    assert.deepEqual(parts.ended, ['list']);
    slow.open();
    await text('#list', '3');
    assert.deepEqual([parts.asked.length, aborted], [3, []]);
  });
}

for (const htmx of [2, 4]) {
  test(`htmx ${htmx}: what was on its way when the news came is read again`, async (t) => {
    const slow = gate();
    const { tab, parts, began, stale, text } = await tabWith(t, {
      htmx,
      body: '<button hx-get="/part/panel" hx-target="#panel">open</button><div id="panel"></div>',
      part: async (name) => {
        if (name === 'list') return 'new';
        await slow.opened;
        return '<p id="list" hx-get="/part/list" hx-trigger="rt:posts.list from:body">old</p>';
      },
    });
    await began();
    await tab.click('button');
    while (parts.asked.length === 0) await tab.evaluate(() => new Promise(requestAnimationFrame));
    await stale('posts');
    slow.open();
    await text('#list', 'new');
    assert.deepEqual(parts.asked, ['panel', 'list']);
  });

  test(`htmx ${htmx}: an element that replaces itself is read once`, async (t) => {
    const item = (times) =>
      `<p id="list" hx-get="/part/list" hx-swap="outerHTML" hx-trigger="rt:posts.list from:body">${times}</p>`;
    const { tab, parts, began, stale, text } = await tabWith(t, {
      htmx,
      body: item(0),
      part: (name, times) => (name === 'list' ? item(times) : ''),
    });
    const reads = (name) => parts.asked.filter((asked) => asked === name).length;
    // An element that just came when it was told is told again later: by then, whatever came before it was looked at.
    const settled = async () => {
      const before = reads('marker');
      await tab.evaluate(async () => {
        const { realtime } = await import('/realtime/auto.js');
        document.body.insertAdjacentHTML('beforeend', '<i data-revalidate="marker" data-src="/part/marker"></i>');
        realtime.invalidate('marker');
      });
      while (reads('marker') < before + 2) await tab.evaluate(() => new Promise(requestAnimationFrame));
    };
    await began();
    await text('#list', '1');
    await settled();
    await stale('posts.list');
    await text('#list', '2');
    await settled();
    assert.equal(reads('list'), 2);
  });
}

test('data-revalidate keeps the caret, the selection and the scroll position', async (t) => {
  const rows = (from) => Array.from({ length: 40 }, (_, i) => `<li id="r${from - i}">row ${from - i}</li>`).join('');
  const part = (from) => `<ul style="height: 5em; overflow: auto">${rows(from)}</ul><input name="q" value="as it was">`;
  const { tab, began, stale, text } = await tabWith(t, {
    body: `<div id="all" data-revalidate="rows" data-src="/part/rows">${part(40)}</div>`,
    part: (_, times) => part(40 + times),
  });
  await began();
  await text('li', 'row 41');
  await tab.focus('input');
  await tab.evaluate(() => {
    document.querySelector('input').setSelectionRange(3, 5);
    document.querySelector('#r20').scrollIntoView();
    globalThis.seen = document.querySelector('#r20').getBoundingClientRect().top;
    globalThis.field = document.activeElement;
  });
  await stale('rows');
  await text('li', 'row 42');
  const kept = await tab.evaluate(() => ({
    focus: document.activeElement === globalThis.field,
    selection: [globalThis.field.selectionStart, globalThis.field.selectionEnd],
    moved: Math.round(document.querySelector('#r20').getBoundingClientRect().top - globalThis.seen),
  }));
  assert.deepEqual(kept, { focus: true, selection: [3, 5], moved: 0 });
});

test('data-revalidate waits until a field that was typed into is left, and keeps what was typed', async (t) => {
  const form = '<form><input name="title"><button type="button">Go</button></form>';
  const part = (times) => `<b>${times}</b>${form}<script>globalThis.ran = true</script>`;
  const { tab, parts, began, stale, text } = await tabWith(t, {
    body: `<div id="all" data-revalidate="rows" data-src="/part/rows"><b>0</b>${form}</div>`,
    part: (_, times) => part(times),
  });
  await began();
  await text('b', '1');
  await tab.focus('input');
  await tab.keyboard.type('half a sen');
  await stale('rows');
  await tab.waitForFunction(() => document.querySelector('#all').dataset.stale === '', null, GUARD);
  while (parts.ended.length < 2) await tab.evaluate(() => new Promise(requestAnimationFrame));
  await tab.keyboard.type('tence');
  assert.equal(await tab.textContent('b'), '1');
  await tab.keyboard.press('Tab');
  await text('b', '2');
  const left = await tab.evaluate(() => ({
    focus: document.activeElement.textContent,
    typed: document.querySelector('input').value,
    ran: 'ran' in globalThis,
  }));
  assert.deepEqual(left, { focus: 'Go', typed: 'half a sentence', ran: false });
});
