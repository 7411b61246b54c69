/** Who is present in a channel, out of what the server says: a snapshot, then changes of it. */

import type { PresenceUser } from './types';

export interface Present {
  /** In the order of their ids. */
  readonly users: readonly PresenceUser[];
  readonly count: number;
}

interface Changes extends Present {
  joined?: PresenceUser[];
  left?: string[];
  updated?: PresenceUser[];
}

/** A change before the first snapshot is in the snapshot. */
export const foldPresence = (known: Present | undefined, event: string, data: unknown): Present | undefined => {
  const { users, count, joined = [], left = [], updated = [] } = data as Changes;
  if (event === 'presence') return { users, count };
  if (!known) return undefined;
  const present = new Map(known.users.map((user) => [user.userId, user]));
  for (const userId of left) present.delete(userId);
  for (const user of [...joined, ...updated]) present.set(user.userId, user);
  return { users: [...present.values()].sort((a, b) => (a.userId < b.userId ? -1 : 1)), count };
};
