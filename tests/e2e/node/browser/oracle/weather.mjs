// What happens to the pages: changes that others make, networks that break, servers that die, users who reload.

import { setTimeout as sleep } from 'node:timers/promises';
import { CHANGES } from './queries.mjs';
import { HANG, say } from './world.mjs';

const WEIGHTS = {
  change: 40, promote: 2, expire: 1, answers: 1,
  cut: 4, stall: 2, forget: 1, refuse: 2, offline: 1,
  reload: 3, navigate: 4, back: 5, open: 1, close: 1,
  kill: 1, reset: 0.7,
};
const MOST_TABS = 3;

/** Weather that goes on until it is `calm()`; `count` is told of each event. */
export function weather(world, draws, count) {
  let blows = true;
  /** What is under way. */
  const events = new Set();
  const { app, homes } = world;
  let restarting;

  const user = () => draws.pick(['alice', 'bob']);
  const home = () => draws.pick(homes);
  const tab = () => draws.pick(world.tabs());

  /** Breaks it, and mends it again. */
  async function outage({ link }, breaks, ms) {
    await breaks(link);
    await sleep(ms);
    await link.mend();
  }

  async function restart(keeps, ms) {
    if (restarting) return;
    restarting = (async () => {
      await world.kill(keeps);
      await sleep(ms);
      await app.start();
    })();
    await restarting.finally(() => (restarting = undefined));
  }

  /** One of these at a time: a page that goes somewhere does not reload. */
  async function go(where, run) {
    if (where.busy) return;
    where.busy = run(where.page).catch(() => {});
    await where.busy;
    where.busy = undefined;
  }
  const committed = { waitUntil: 'commit', timeout: 20_000 };

  const happens = {
    change: () => world.post(draws.pick(CHANGES), {
      user: user(),
      headers: {
        ...(draws.chance(0.3) && { 'x-before': String(draws.below(80)) }),
        ...(draws.chance(0.3) && { 'x-after': String(draws.below(80)) }),
      },
    }),
    promote: () => world.post(`/promote/${user()}`),
    expire: () => world.post('/expire'),
    answers() {
      const answers = Array.from({ length: draws.between(1, 3) }, () => draws.pick([429, 503, 500]));
      return world.post('/answers', { body: answers });
    },
    cut: () => home().link.cut(),
    stall: () => outage(home(), (link) => link.stall(), draws.between(100, 3_500)),
    forget: () => outage(home(), (link) => link.stall({ fresh: false }), draws.between(100, 3_500)),
    refuse: () => outage(home(), (link) => link.refuse(), draws.between(50, 1_500)),
    async offline() {
      const { context } = home();
      await context.setOffline(true);
      await sleep(draws.between(50, 1_500));
      await context.setOffline(false);
    },
    reload: () => go(tab(), (page) => page.reload(committed)),
    navigate() {
      const where = tab();
      return go(where, (page) => page.goto(where.url(), committed));
    },
    back: () => go(tab(), (page) => page.goBack(committed)),
    async open() {
      const { tabs, open } = home();
      if (tabs.size < MOST_TABS) await open();
    },
    async close() {
      const { tabs } = home();
      const where = draws.pick([...tabs]);
      if (tabs.size < 2 || where.busy) return;
      tabs.delete(where);
      await where.page.close();
    },
    kill: () => restart(true, draws.between(0, 800)),
    reset: () => restart(false, draws.between(0, 800)),
  };

  async function blow() {
    while (blows) {
      const what = draws.weighted(WEIGHTS);
      count(what);
      // It may fail, where the server is away.
      const event = Promise.resolve().then(happens[what]).catch(() => {}).finally(() => events.delete(event));
      events.add(event);
      await sleep(draws.between(10, 150));
    }
  }
  const blowing = blow();

  /** Everything is being read, and is changed meanwhile: what is missed now, nothing mends. */
  async function parting() {
    await Promise.all(world.tabs().map((tab) => say(tab, () => window.rereadAll?.())));
    await sleep(draws.between(0, 60));
    await Promise.all(CHANGES.filter(() => draws.chance(0.7)).map((path) => world.post(path).catch(() => {})));
  }

  return {
    /** Ends it, and mends what is broken; all tabs show a page. */
    async calm() {
      if (draws.chance(0.6)) await parting();
      blows = false;
      await blowing;
      await restarting;
      const mend = async ({ link, context }) => {
        await link.mend();
        await context.setOffline(false);
      };
      await Promise.all(homes.map(mend));
      await Promise.all(events);
      // One outage may have ended while another was there, and a page that closes makes an end of it fail.
      await Promise.all(homes.map(mend));
      await world.post('/answers', { body: [] });
      await Promise.all(world.tabs().map(arrive));
    },
  };
}

/** A page that could not be had, or its script, is asked for anew. */
async function arrive(tab) {
  const until = Date.now() + HANG;
  let why;
  while (Date.now() < until) {
    const [ready, over] = await say(tab, () => {
      if (window.ready) setCalm(true);
      return [window.ready, document.readyState === 'complete'];
    }) ?? [];
    if (ready) return;
    if (over) await tab.page.goto(tab.url(), { waitUntil: 'commit', timeout: HANG }).catch((error) => (why = error));
    await sleep(50);
  }
  throw new Error(`a tab does not show its page but ${tab.page.url()}`, { cause: why });
}
