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

/** What its data attributes say. HTML that shows something and has no cursor is of an unknown age. */
export function optionsOf(document: Document, tag: HTMLElement | null): RealtimeOptions {
  const { url, identity, share, enabled, debug } = tag?.dataset ?? {};
  const cursor = tag?.dataset.cursor ?? (interested(document).length > 0 ? '' : undefined);
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

/** The elements that show what may become stale, and what of it. */
const interested = (document: Document) => [
  ...listeners(document),
  ...[...revalidated(document)].map((element): [Element, string] => [element, element.dataset.revalidate ?? '']),
];

/** Makes a document live. Returns what undoes it. */
export function attach(document: Document, realtime: Realtime, gate: Gate): Unsubscribe {
  const refresh = staleElements(document, realtime, gate);
  const late = latecomers(document, () => interested(document), (stale, isLate) => {
    sayStale(document, stale, isLate);
    refresh(stale, isLate);
  });
  let heard: Stale | undefined;
  const hear = (stale: Stale) => {
    // What comes while nobody can see the page is told once, when somebody does.
    const waits = heard !== undefined;
    heard = heard ? union([heard, stale]) : stale;
    if (waits) return;
    gate(() => {
      const all = heard!;
      heard = undefined;
      late.remember(all);
      sayStale(document, all);
      refresh(all);
    });
  };
  const undo = [
    late.stop,
    realtime.onRevalidate(hear),
    followChannels(document, realtime),
    sayStatus(document, realtime),
  ];
  return () => undo.forEach((one) => one());
}
