/** What a tab and its relay say to each other, through a port or a call. */

import type { Status } from './types';

/** Rises when an older tab and a newer worker, or the other way round, would not understand each other. */
export const PROTOCOL = 2;

export interface Config {
  /** Of the mount, absolute, without a slash at its end. */
  url: string;
  credentials: RequestCredentials;
  /** The tab is asked for headers before each attempt, and what to do about a 401. */
  headers: boolean;
  unauthorized: boolean;
  initial: number;
  max: number;
  maxAttempts: number | undefined;
  /** It is not known whose connection it is: open it anew for each tab that joins. */
  anonymous: boolean;
}

/** Begins the name of who is present in a channel, which tabs follow as they follow channels. No channel's name does. */
export const PRESENCE = ':';

/**
 * A channel to follow, or who is present in it, or `''`: the keys. And the cursor up to which the tab has what was said
 * there.
 */
export type Follow = readonly [name: string, since: string | undefined];

export type ToRelay =
  /** What comes before the `joined` with its number was meant for an earlier one. */
  | { t: 'join'; n: number; config: Config; follows: Follow[] }
  | { t: 'want'; follows: Follow[] }
  | { t: 'leave' }
  /** Something changed that makes it worth while to try now: back online, visible, `connect()`. */
  | { t: 'wake'; why: 'online' | 'visible' | 'connect' }
  | { t: 'reply'; n: number; value?: unknown; error?: boolean }
  | { t: 'pong' };

export interface Revalidated {
  t: 'revalidate';
  keys: unknown[][];
  origin?: string;
  spreadMs: number;
}

export interface Said {
  t: 'message';
  /** Or who is present in it: then an event is a snapshot, or a change of it. */
  channel: string;
  event: string;
  data: unknown;
  id: string | undefined;
}

export interface Gap {
  t: 'gap';
  reason: string;
  /** Without: everything. */
  channels?: string[];
  spreadMs: number;
}

export type ToTab =
  | ((Revalidated | Said | Gap | { t: 'cursor' }) & { cursor?: string | undefined })
  /** These are followed now; true: with all since the cursor that the tab named, else since `now`. */
  | { t: 'open'; opened: [name: string, resumed: boolean][]; now: string | undefined; spreadMs: number; cursor: string | undefined }
  | { t: 'denied'; denied: { channel: string; code: string }[] }
  | { t: 'status'; status: Status }
  | { t: 'ask'; n: number; what: 'headers' | 'unauthorized' }
  | { t: 'joined'; n: number }
  | { t: 'ready'; protocol: number }
  | { t: 'ping' };
