/**
 * Live pages without a line of script: `<script type="module" src="/realtime/auto.js"></script>`.
 *
 * - htmx: `hx-trigger="rt:posts.list from:body"`.
 * - Plain HTML: `data-revalidate="posts.list"` on what shows it.
 * - Scripts: `import { liveQuery, realtime } from '/realtime/auto.js'`.
 *
 * Its options are data attributes of its tag, or of `<meta name="revalidate">` where something else imports it:
 * `data-channels`, `data-identity`, `data-cursor`, `data-share="false"`, `data-enabled="false"`, `data-debug`,
 * `data-url`. `docs/browser.md` says the rest.
 */

import { type Gate, gateOf } from './auto/gate';
import { live } from './auto/live';
import { attach, optionsOf, tagOf } from './auto/page';
import { createRealtime } from './index';
import type { KeyLike, Realtime, Unsubscribe } from './types';

export { Final } from './auto/refetch';
export type * from './types';

const inPage = typeof document !== 'undefined';

const options = inPage ? optionsOf(document, tagOf(document, import.meta.url)) : {};

/** The connection of this page. */
export const realtime: Realtime = createRealtime(options);

const gate: Gate = inPage ? gateOf(document) : () => {};
if (inPage) attach(document, realtime, gate);

/**
 * Calls `read`, which fetches and shows something: now, and again when `key` became stale. Never twice at once: what
 * becomes stale during a call is one more call after it. A call that throws is made again, after 1 s and up to 30 s,
 * with jitter; throw a `Final` where trying again is no use. Calls after the first wait while the page is hidden.
 */
export const liveQuery = (key: KeyLike, read: () => unknown): Unsubscribe => live(realtime, gate, key, read);
