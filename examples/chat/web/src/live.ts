/** The connection, typed by what is said on this app's channels. */

import { createHooks } from 'tower-revalidate/react';
import type { Document, Message, Metrics } from './api';

/** Where somebody else is in the document. */
export interface Caret {
  userId: string;
  userName: string;
  position: number;
}

export interface Channels {
  [document: `doc:${number}`]: { change: Document };
  [cursors: `doc:${number}:cursors`]: { cursor_update: Caret };
  [room: `room:${number}`]: { new_message: Message };
  'dashboard:metrics': { update: Metrics };
}

export const {
  RealtimeProvider,
  useChannel,
  usePresence,
  useRealtime,
  useRealtimeStatus,
  useStream,
  useTyping,
} = createHooks<Channels>();
