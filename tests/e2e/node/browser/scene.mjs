// One test's own world: a server, a link to it that can break, and a browser's profile; all gone when it ends.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';
import { proxy } from './proxy.mjs';
import { server } from './server.mjs';

export const PAGES = join(import.meta.dirname, 'pages');
/** Long enough for the slowest machine; nothing that works comes near it. */
const HANG = 60_000;

/** Attempts that follow each other quickly. */
export const SOON = { initial: 20, max: 100 };
/** A wait in which what must not come would have come: several attempts. */
const QUIET = 600;

export function executable() {
  const found = (process.env.PATH ?? '').split(':').map((dir) => join(dir, 'chromium')).find(existsSync);
  return found ?? assert.fail('chromium is needed: scripts/test.sh installs it');
}

/** How the browser is started, with the back-forward cache that playwright turns off. */
export const launching = () => ({
  executablePath: executable(),
  // Dies with its tests; the host is a way to have an origin that is not secure, as 127.0.0.1 is.
  ignoreDefaultArgs: ['--disable-back-forward-cache'],
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-quic', '--no-first-run',
    '--host-resolver-rules=MAP insecure.test 127.0.0.1',
  ],
});

/** A profile of its own, whose pages are waited for as long as anything else. */
export async function profile(browser, options) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(HANG);
  return context;
}

/** A browser for the tests of a file. */
export function browser(options = {}) {
  const shared = {};
  before(async () => {
    shared.browser = await chromium.launch({ ...launching(), ...options });
  });
  after(() => shared.browser?.close());
  return shared;
}

/**
 * Starts a test's world. `knobs` are the server's; `files` directories whose files win over the app's; `init` a
 * function that runs in each page first.
 */
export async function scene(t, { browser }, { knobs = {}, files = [], init } = {}) {
  const app = await server({ FILES: [...files, PAGES].join(':'), ...knobs });
  t.after(() => app.kill());
  const link = await proxy(app.port());
  t.after(() => link.close());
  const context = await profile(browser);
  t.after(() => context.close());
  if (init) await context.addInitScript(init);

  // What pages threw and nobody caught.
  const errors = [];
  context.on('weberror', (error) => errors.push(error.error()));
  t.after(() => assert.deepEqual(errors, []));

  /** A page that starts with these options; without any it waits for `window.start`. */
  function url(options, { path = '/page.html', host = '127.0.0.1' } = {}) {
    const query = options ? `?${encodeURIComponent(JSON.stringify(options))}` : '';
    return `http://${host}:${link.port}${path}${query}`;
  }

  /** Opens a tab. */
  async function tab(options, where) {
    const page = await context.newPage();
    const asking = asked(page);
    await asking.visit(url(options, where));
    return { page, ...asking };
  }

  return { app, link, context, url, tab };
}

/** What a test asks a page, which can `evaluate`. */
export function asked(page) {
  const look = (expression, argument) => page.evaluate(expression, argument);
  const tab = {
    async visit(url) {
      await page.goto(url, { waitUntil: 'load', timeout: HANG });
      await tab.until('its script to have run', () => window.ready === true);
    },
    run: look,
    /** Waits until it is so in the page, which may be on its way to another one. */
    until: (what, expression, argument) => eventually(what, () => look(expression, argument).catch((error) => `${error}`)),
    is: (state) => tab.shows('the connection', state, () => window.realtime.status.getSnapshot().state),
    value: (expected) => tab.shows('the counter', expected, () => window.seen.value),
    shows: (what, expected, expression, argument) =>
      becomes(what, expected, () => look(expression, argument).catch((error) => `${error}`)),
  };
  return tab;
}

/** Looks again and again until it sees `true`, and fails with what it saw instead. */
export const eventually = (what, look) => becomes(what, true, look);

/** Looks again and again until it sees what is expected, and fails with what it saw instead. */
export async function becomes(what, expected, look) {
  const until = Date.now() + HANG;
  for (;;) {
    const seen = await look();
    try {
      assert.deepEqual(seen, expected, what);
      return;
    } catch (error) {
      if (Date.now() > until) throw error;
    }
    await sleep(25);
  }
}

/** Nothing more of it comes: it is so now, and still when whatever was under way would have come. */
export async function stays(what, expected, look) {
  await becomes(what, expected, look);
  await sleep(QUIET);
  assert.deepEqual(await look(), expected, what);
}
