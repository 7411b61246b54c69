/** The server's answers, and how to ask for them. */

import type { Realtime, RealtimeRequestInit } from 'tower-revalidate';

export interface Person {
  id: string;
  name: string;
}

export interface User extends Person {
  roles: string[];
}

export interface Message {
  id: number;
  room: number;
  sender: string;
  content: string;
  createdAt: number;
  key: string | null;
}

export interface RoomLine {
  id: number;
  name: string;
  topic: string;
  members: Person[];
  unread: number;
  last: Message | null;
}

export interface HistoryPage {
  messages: Message[];
  before: number | null;
  /** Where the stream goes on after this page. */
  cursor: string | undefined;
}

export interface Receipt {
  messageId: number;
  userId: string;
  status: 'read';
  readAt: number;
}

export interface Notification {
  id: number;
  type: string;
  title: string;
  body: string;
  data: { room?: number; message?: number };
  createdAt: number;
}

export interface Document {
  version: number;
  text: string;
  updatedBy: string | null;
  updatedAt: number | null;
}

/** What became of a change of a document. */
export type Outcome =
  | ({ outcome: 'change' } & Document)
  | { outcome: 'conflict'; currentVersion: number; change: Document; resolution: 'manual' };

export interface Metrics {
  messagesLastHour: number;
  perMinute: number[];
  documentVersions: number;
  aboard: number;
  streams: number;
  retainedBytes: number;
  updatedAt: number;
}

export interface Report {
  id: number;
  reporter: string;
  sender: string;
  content: string;
  createdAt: number;
}

/** With the `fetch` of the connection: it knows then what the page holds, and what the page changed itself. */
export async function ask<T>(fetch: Realtime['fetch'], path: string, init?: RealtimeRequestInit): Promise<T> {
  const response = await request(fetch, path, init);
  return response.status === 204 ? (undefined as T) : response.json();
}

export async function readHistory(fetch: Realtime['fetch'], room: number, before: number | null, signal: AbortSignal) {
  const query = before === null ? '' : `?before=${before}`;
  const response = await request(fetch, `/rooms/${room}/messages${query}`, { signal });
  const cursor = response.headers.get('x-revalidate-cursor') ?? undefined;
  return { ...(await response.json()), cursor } as HistoryPage;
}

export const send = (method: string, body?: object): RealtimeRequestInit => ({
  method,
  ...(body && { body: JSON.stringify(body) }),
});

async function request(fetch: Realtime['fetch'], path: string, init: RealtimeRequestInit = {}) {
  const headers = init.body ? { 'content-type': 'application/json' } : undefined;
  const response = await fetch(`/api${path}`, { ...(headers && { headers }), ...init });
  if (response.ok) return response;
  const { message } = await response.json().catch(() => ({ message: response.statusText }));
  throw new Error(message);
}
