/** A document and a connection, put together. */

import type { Realtime, RealtimeOptions, Stale, Unsubscribe } from '../types';
import { revalidated, staleElements } from './elements';
import { followChannels, listeners, sayStale, sayStatus, union } from './events';
import type { Gate } from './gate';
import { latecomers } from './late';

/**
 * The tag that loaded the module of this address, for modules have no `document.currentScript`; or the tag that
 * speaks for it where no tag did.
 */
export function tagOf(document: Document, url: string): HTMLElement | null {
  const same = (other: string) => other.replace(/[?#].*/, '') === url.replace(/[?#].*/, '');
  const scripts = [...document.querySelectorAll<HTMLScriptElement>('script[src]')];
  return scripts.find(({ src }) => same(src)) ?? document.querySelector<HTMLElement>('meta[name=revalidate]');
}

/** What its data attributes say. */
export function optionsOf(tag: HTMLElement | null): RealtimeOptions {
  const { url, identity, cursor, share, enabled, debug } = tag?.dataset ?? {};
  return {
    // Without it, the core knows where it came from itself.
    ...(url !== undefined && { url }),
    ...(identity !== undefined && { identity }),
    ...(cursor !== undefined && { cursor }),
    ...(share !== undefined && { share: share !== 'false' }),
    ...(enabled !== undefined && { enabled: enabled !== 'false' }),
    ...(debug !== undefined && { debug: debug !== 'false' }),
  };
}

/** More than the server ever spreads. */
const SPREAD_MS = 11_000;

/**
 * Makes a document live. Returns what undoes it. `stamped`: it came with the cursor that the connection begins at.
 */
export function attach(document: Document, realtime: Realtime, gate: Gate, stamped: boolean): Unsubscribe {
  const refresh = staleElements(document, realtime, gate);
  const interested = () => [
    ...listeners(document),
    ...[...revalidated(document)].map((element): [Element, string] => [element, element.dataset.revalidate ?? '']),
  ];
  const late = latecomers(document, interested, (stale, isLate) => {
    sayStale(document, stale, isLate);
    refresh(stale, isLate);
  });
  let heard: Stale[] = [];
  const hear = (stale: Stale) => {
    if (stale.gap) unread();
    // What comes while nobody can see the page is told once, when somebody does.
    if (heard.push(stale) > 1) return;
    gate(() => {
      const all = union(heard);
      heard = [];
      late.remember(all);
      sayStale(document, all);
      refresh(all);
    });
  };
  const unread = stamped ? () => {} : onceOpen(realtime, () => hear({ keys: [[]], own: false, gap: 'fresh' }));
  const undo = [
    unread,
    late.stop,
    realtime.onRevalidate(hear),
    followChannels(document, realtime),
    sayStatus(document, realtime),
  ];
  return () => undo.forEach((one) => one());
}

/**
 * The HTML of a page without a cursor may be older than the stream, and the stream says so; but not where it begins
 * at the cursor of something that a script of the page fetched. Calls back unless it said so in time.
 */
function onceOpen({ status }: Realtime, then: () => void): Unsubscribe {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const unsubscribe = status.subscribe(() => {
    if (!/^(open|degraded)$/.test(status.getSnapshot().state)) return;
    unsubscribe();
    timer = setTimeout(then, SPREAD_MS);
  });
  return () => {
    unsubscribe();
    clearTimeout(timer);
  };
}
