/**
 * Elements that come late: their HTML was on its way when the news came that made it stale, or they were there and
 * htmx did not listen yet, which it does a moment after it put them there.
 */

import type { Stale, Unsubscribe } from '../types';

/** How long HTML may be on its way. */
const RECENT_MS = 10_000;
/** htmx listens 20 ms after a swap. */
const SETTLE_MS = 100;

interface News {
  readonly stale: Stale;
  readonly at: number;
  /** Elements that had just come. */
  readonly young: ReadonlySet<Element>;
  /** A request of the page was under way. */
  overtook: boolean;
  /** What late elements asked for and were told: once, so that those that replace themselves come to an end. */
  readonly told: Set<string>;
}

/**
 * Calls back with each news of late, and whether an element came after it, that is interested in something.
 * `interested`: the elements that news may concern, and in what. Returns what to call with news.
 */
export function latecomers(
  document: Document,
  interested: () => Iterable<readonly [Element, string]>,
  tell: (stale: Stale, isLate: (element: Element, what: string) => boolean) => void,
): { remember(stale: Stale): void; stop: Unsubscribe } {
  let recent: News[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  const settled = new WeakSet<Element>();
  const unsettled = () => {
    const found = new Set<Element>();
    for (const [element] of interested()) if (!settled.has(element)) found.add(element);
    return found;
  };
  for (const element of unsettled()) settled.add(element);

  const forget = () => {
    recent = recent.filter(({ at }) => performance.now() - at < RECENT_MS);
  };

  const look = () => {
    timer = undefined;
    const late = unsettled();
    for (const element of late) settled.add(element);
    forget();
    if (late.size === 0) return;
    for (const { stale, young, overtook, told } of recent) {
      const now = new Set<string>();
      tell(stale, (element, what) => {
        if (!late.has(element) || !(overtook || young.has(element)) || told.has(what)) return false;
        now.add(what);
        return true;
      });
      for (const what of now) told.add(what);
    }
  };
  const mutations = new MutationObserver(() => (timer ??= setTimeout(look, SETTLE_MS)));
  mutations.observe(document, { subtree: true, childList: true });

  // Which requests had begun when the news came: those that it caused itself bring what is fresh.
  const requests = new PerformanceObserver((list) => {
    for (const { startTime, responseEnd, initiatorType } of list.getEntries() as PerformanceResourceTiming[]) {
      if (!/^(fetch|xmlhttprequest)$/.test(initiatorType)) continue;
      for (const news of recent) news.overtook ||= startTime < news.at && news.at < responseEnd;
    }
  });
  requests.observe({ type: 'resource' });

  return {
    remember(stale) {
      // Also on a page that never changes.
      forget();
      recent.push({ stale, at: performance.now(), young: unsettled(), overtook: false, told: new Set() });
    },
    stop() {
      clearTimeout(timer);
      mutations.disconnect();
      requests.disconnect();
    },
  };
}
