/** What the stream says, as events of `document.body`: htmx's `hx-trigger` and plain listeners hear them. */

import type { Key, Message, Realtime, Stale, Unsubscribe } from '../types';
import { ofEvent } from './keys';

/** Dispatches on the body; it bubbles, so that `from:document` and `from:window` hear it too. */
export function say(document: Document, name: string, detail: unknown): void {
  (document.body ?? document.documentElement).dispatchEvent(new CustomEvent(name, { detail, bubbles: true }));
}

/**
 * `rt:{key}` for each name that the page listens to now and that a stale key concerns, and `rt-revalidate` once. Of
 * some elements alone: only the names that they listen to.
 */
export function sayStale(
  document: Document,
  stale: Stale,
  isMeant?: (element: Element, name: string) => boolean,
): void {
  const names = new Set<string>();
  for (const [element, name] of listeners(document)) if (!isMeant || isMeant(element, name)) names.add(name);
  if (!isMeant) {
    // For listeners of scripts, which nobody can look up; they hear the key itself.
    for (const key of stale.keys) {
      if (key.length > 0 && key.every((segment) => typeof segment === 'string')) names.add(key.join('.'));
    }
    say(document, 'rt-revalidate', stale);
  }
  for (const name of names) {
    if (stale.keys.some(ofEvent(name))) say(document, `rt:${name}`, stale);
  }
}

/**
 * Who listens, and the names after `rt:` in the attributes, whatever their prefix: of
 * `hx-trigger="rt:posts.list from:body"` (`data-hx-trigger`, `hx-trigger:inherited` …), and of
 * `hx-on:rt:posts.list="…"`. Read when they are needed, for htmx changes the page all the time.
 */
export function listeners(document: Document): [Element, string][] {
  const found: [Element, string][] = [];
  const attributes = document.evaluate('//@*[contains(., "rt:") or contains(name(), "rt:")]', document, null, 4);
  for (let node = attributes.iterateNext() as Attr | null; node; node = attributes.iterateNext() as Attr | null) {
    const names = [...node.value.matchAll(/(?<![^\s,;])rt:([^\s,;[]+)/g)].map(([, name]) => name);
    const [, on] = node.name.match(/[:-]rt:(.+)$/) ?? [];
    for (const name of on ? [...names, on] : names) found.push([node.ownerElement as Element, name as string]);
  }
  return found;
}

/** The cursor of the data that an element shows, and the channels that it names, in `data-channels`. */
const channelsOf = (element: HTMLElement): string[] =>
  (element.dataset.channels ?? '').split(/[\s,]+/).filter(Boolean);

/**
 * Follows the channels that elements of the page name, for as long as they do: `rt-connect` and
 * `rt-connect:{channel}` once it does, `rt-message` … for each message, `rt-gap` … where some were missed, `rt-denied`
 * … where it may not.
 */
export function followChannels(document: Document, realtime: Pick<Realtime, 'channel'>): Unsubscribe {
  const followed = new Map<string, Unsubscribe>();

  const follow = (channel: string, since: string | undefined) => {
    const tell = (name: string, detail: object) => {
      say(document, `rt-${name}`, detail);
      say(document, `rt-${name}:${channel}`, detail);
    };
    return realtime.channel(
      channel,
      {
        onMessage: (message: Message) => tell('message', message),
        onConnect({ resumed }) {
          tell('connect', { channel, resumed });
          if (!resumed) tell('gap', { channel, reason: 'fresh' });
        },
        onGap: ({ reason }) => tell('gap', { channel, reason }),
        onError: ({ code }) => tell('denied', { channel, code }),
      },
      { since },
    );
  };

  const look = () => {
    const wanted = new Map<string, string | undefined>();
    for (const element of document.querySelectorAll<HTMLElement>('[data-channels]')) {
      for (const channel of channelsOf(element)) {
        if (!wanted.has(channel)) wanted.set(channel, element.dataset.cursor);
      }
    }
    for (const [channel, unsubscribe] of followed) {
      if (wanted.has(channel)) continue;
      followed.delete(channel);
      unsubscribe();
    }
    for (const [channel, since] of wanted) {
      if (!followed.has(channel)) followed.set(channel, follow(channel, since));
    }
  };

  const observer = new MutationObserver(look);
  const attributeFilter = ['data-channels'];
  observer.observe(document, { subtree: true, childList: true, attributes: true, attributeFilter });
  look();
  return () => {
    observer.disconnect();
    for (const unsubscribe of followed.values()) unsubscribe();
    followed.clear();
  };
}

/** `data-realtime="open"` on the root element, for style sheets, and `rt-status` at each change. */
export function sayStatus(document: Document, { status }: Pick<Realtime, 'status'>): Unsubscribe {
  const look = () => {
    const now = status.getSnapshot();
    document.documentElement.dataset.realtime = now.state;
    say(document, 'rt-status', now);
  };
  look();
  return status.subscribe(look);
}

/** Of several that came while the page was hidden, the union. */
export function union(of: readonly Stale[]): Stale {
  const keys = new Map<string, Key>();
  for (const stale of of) for (const key of stale.keys) keys.set(JSON.stringify(key), key);
  const gap = of.find((stale) => stale.gap)?.gap;
  return { keys: [...keys.values()], own: of.every((stale) => stale.own), ...(gap !== undefined && { gap }) };
}
