/** The server's answers, and how to ask for them. */

import type { Realtime, RealtimeRequestInit } from 'tower-revalidate';

export interface Summary {
  id: number | string;
  title: string;
  author: string;
  /** Not at the server yet. */
  pending?: boolean;
}

export interface Post {
  id: number;
  title: string;
  body: string;
  author: string;
}

export type User = 'alice' | 'bob';

/** With the `fetch` of the connection: it knows then what the page holds, and what the page changed itself. */
export async function ask<T>(fetch: Realtime['fetch'], path: string, init: RealtimeRequestInit = {}): Promise<T> {
  const headers = init.body ? { 'content-type': 'application/json' } : undefined;
  const response = await fetch(`/api${path}`, { headers, ...init });
  if (response.ok) return response.status === 204 ? (undefined as T) : response.json();
  const { message } = await response.json().catch(() => ({ message: response.statusText }));
  throw new Error(message);
}
