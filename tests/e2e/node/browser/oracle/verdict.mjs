// Whether what the tabs have in their caches is what the app answers now.

import { isDeepStrictEqual } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import { cached, QUERIES, queryOf } from './queries.mjs';
import { HANG, say } from './world.mjs';

const PATHS = [...new Set(QUERIES.flatMap(({ paths }) => paths))];

/** What each path answers to this user, asked past the browser and the proxies. */
const answersTo = async (world, user) =>
  Object.fromEntries(await Promise.all(PATHS.map(async (path) => [path, await world.ask(path, { user })])));

/** What keeps a tab from being at rest. */
function unrest({ who, user, hidden, state, changing, queries }) {
  if (who !== user) return [`is ${user}, and should be ${who}`];
  const busy = queries.filter(({ fetching }) => fetching !== 'idle' && !(hidden && fetching === 'paused'));
  return [
    ...(state.state === 'open' ? [] : [`the connection is ${JSON.stringify(state)}`]),
    ...(changing ? [`${changing} changes are under way`] : []),
    ...busy.map(({ key, fetching }) => `${JSON.stringify(key)} is ${fetching}`),
  ];
}

/** The queries that lie: which show something else than the app answers, and are not known to. */
function lies({ hidden, queries }, answers, all) {
  return queries.flatMap((query) => {
    const { key, data, invalidated, active, failed, fetching } = query;
    if (data === undefined && !active) return [];
    // TanStack waits with another try until somebody looks.
    if (hidden && fetching === 'paused') return [];
    const known = cached(queryOf(key), answers);
    const shown = data?.pages ? { pages: data.pages } : data;
    const expected = data?.pages ? { pages: known.pages.slice(0, data.pages.length) } : known;
    if (isDeepStrictEqual(shown, expected)) return [];
    // Not shown, it is marked; so it is when it is shown again.
    if (invalidated && !all && (hidden || !active)) return [];
    return [{ key, shown, expected, invalidated, active, failed }];
  });
}

/**
 * Waits until every cached query of every tab is what a fresh fetch brings, each tab by itself: nothing changes any
 * more, so what is right stays so. Where that does not come to be, throws with what such a tab knows of it. `all`:
 * also queries that are marked must be right. Returns how many queries were compared.
 */
export async function fresh(world, what, all = false) {
  const until = Date.now() + HANG;
  const compared = await Promise.all(world.tabs().map(async (tab) => {
    let poked = 0;
    let lie = [];
    for (;;) {
      const { report, objections } = await judge(world, tab, all);
      if (!objections.length) return report.queries.length;
      // A stream may just be coming back, as its grant expired.
      if (objections.some((objection) => objection.key)) lie = objections;
      // What failed is tried again when somebody looks at the page.
      const failed = !report?.hidden && report?.queries.some((query) => query.failed && query.active);
      if (failed && Date.now() > poked + 2_000) {
        poked = Date.now();
        await say(tab, () => (seen(false), seen(true), retryFailed()));
      }
      if (Date.now() > until) return stale(what, tab, [...new Set([...objections, ...lie])]);
      await sleep(30);
    }
  }));
  const errors = compared.filter((one) => typeof one === 'string');
  if (errors.length) throw new Error(errors.join('\n'));
  return compared.reduce((sum, one) => sum + one, 0);
}

async function judge(world, tab, all) {
  const look = async () => {
    const report = await say(tab, () => window.report?.());
    return { report, objections: report ? unrest(report) : ['does not answer'] };
  };
  const before = await look();
  if (before.objections.length) return before;
  const answers = await answersTo(world, before.report.user);
  // What was read before the answers were may be older.
  const { report, objections } = await look();
  if (report?.user !== before.report.user) return { report, objections: ['is another user'] };
  return { report, objections: [...objections, ...lies(report, answers, all)] };
}

async function stale(what, tab, objections) {
  const report = await say(tab, () => window.report?.(true));
  return [
    `${what}: not fresh after ${HANG / 1_000} s of quiet: a tab by ${tab.where}, ${decodeURIComponent(tab.page.url())}`,
    ...objections.map((objection) => `  ${typeof objection === 'string' ? objection : JSON.stringify(objection)}`),
    ...(report?.log ?? []).map((line) => `    ${line}`),
  ].join('\n');
}
