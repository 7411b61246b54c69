/**
 * Live queries in the browser: what a server with `tower-revalidate` says became stale, and what is said on its
 * channels, over one connection for all tabs.
 *
 * ```ts
 * const realtime = createRealtime();
 * realtime.onRevalidate('posts.list', () => reload());
 * realtime.channel('announcements', ({ event, data }) => show(event, data));
 * ```
 */

export { EmitError } from './emit';
export { concerns, toKey } from './keys';
export { createRealtime } from './realtime';
export type * from './types';
