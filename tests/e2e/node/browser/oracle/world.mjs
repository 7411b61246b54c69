// The server, two homes with a browser's profile and a network each, and the tabs that are open there.

import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { proxy } from '../proxy.mjs';
import { built, server } from '../server.mjs';

built('oracle');

/** Long enough for the slowest machine; nothing that works comes near it. Less where it is to be broken. */
export const HANG = Number(process.env.ORACLE_HANG ?? 60) * 1_000;
/** For a word from a page, which may be on its way to another one. */
const WORD = 10_000;

/** `counted` is told what the pages count. */
export async function world({ browser, files, store, draws, counted }) {
  const knobs = { FILES: files.join(':'), STORE: store, CROWD: '0' };
  const app = await server(knobs, 'oracle');
  /** Of servers that were killed. */
  const past = { reads: 0, writes: 0, statuses: {} };
  const at = (path) => `http://127.0.0.1:${app.port()}${path}`;

  async function ask(path, { user, headers, ...init } = {}) {
    const who = user && { cookie: `user=${user}` };
    const response = await fetch(at(path), { ...init, headers: { connection: 'close', ...headers, ...who } });
    if (!response.ok) throw new Error(`${path}: ${response.status}`);
    return response.status === 204 ? undefined : response.json();
  }
  const post = (path, { body, ...init } = {}) => ask(path, {
    ...init,
    method: 'POST',
    ...(body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });

  async function figures() {
    const now = await ask('/figures').catch(() => ({ reads: 0, writes: 0, statuses: {} }));
    const statuses = { ...past.statuses };
    for (const [status, count] of Object.entries(now.statuses)) statuses[status] = (statuses[status] ?? 0) + count;
    return { reads: past.reads + now.reads, writes: past.writes + now.writes, statuses };
  }

  const homes = [];
  async function home(bearer) {
    const link = await proxy(app.port());
    const context = await browser.newContext();
    await context.exposeFunction('counted', counted);
    const tabs = new Set();
    const options = () => {
      const named = draws.chance(0.8);
      return {
        seed: draws.below(2 ** 31),
        named,
        share: bearer && !named ? false : draws.chance(0.9),
        tracked: draws.chance(0.75),
        refetches: draws.chance(0.25),
        retry: draws.below(3),
        ...(bearer && { bearer: draws.pick(['alice', 'bob']) }),
      };
    };
    const url = () => `http://127.0.0.1:${link.port}/oracle.html?${encodeURIComponent(JSON.stringify(options()))}`;

    async function open() {
      const page = await context.newPage();
      const tab = { page, url, busy: undefined, where: bearer ? 'token' : 'cookie', errors: [] };
      page.on('pageerror', (error) => tab.errors.push(String(error)));
      tabs.add(tab);
      await page.goto(url(), { waitUntil: 'commit', timeout: HANG });
      return tab;
    }
    const it = { link, context, tabs, open };
    homes.push(it);
    return it;
  }
  await home(false);
  await home(true);

  return {
    app, homes, ask, post, figures,
    tabs: () => homes.flatMap(({ tabs }) => [...tabs]),
    async kill(keeps) {
      Object.assign(past, await figures());
      await app.kill();
      knobs.CROWD = draws.pick(['0', '0', '110']);
      if (!keeps) await rm(store, { force: true });
    },
    async close() {
      await Promise.all(homes.map(({ context }) => context.close()));
      await Promise.all(homes.map(({ link }) => link.close()));
      await app.kill();
    },
  };
}

/** What the page answers; undefined where it does not. */
export async function say(tab, run, argument) {
  const late = new AbortController();
  try {
    return await Promise.race([
      tab.page.evaluate(run, argument),
      sleep(WORD, undefined, { signal: late.signal, ref: false }),
    ]);
  } catch {
    return undefined;
  } finally {
    late.abort();
  }
}
