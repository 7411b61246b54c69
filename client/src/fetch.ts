/** `fetch` for the app's own requests: what the page holds, and what it changed itself. */

import type { Realtime } from './types';

/** Requests whose news may still come. */
const MADE = 256;

export const createFetch = (
  mount: string,
  isEarly: () => boolean,
  hold: (cursor: string, early: boolean) => void,
  settled: () => void,
) => {
  const made = new Map<string, 'own' | 'skip'>();
  let inFlight = 0;

  const realtimeFetch: Realtime['fetch'] = async (input, { skipOwn, ...init } = {}) => {
    const request = new Request(input, init);
    if (![origin(mount), globalThis.location?.origin].includes(origin(request.url))) return fetch(request);
    const reads = /^(GET|HEAD)$/.test(request.method);
    if (!reads) {
      // Not `randomUUID`: pages of insecure origins do not have it.
      const bytes = crypto.getRandomValues(new Uint8Array(16));
      const id = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
      request.headers.set('x-revalidate-id', id);
      made.set(id, skipOwn ? 'skip' : 'own');
      if (made.size > MADE) made.delete(made.keys().next().value!);
      return fetch(request);
    }
    const early = isEarly();
    inFlight++;
    try {
      const response = await fetch(request);
      const cursor = response.headers.get('x-revalidate-cursor');
      if (cursor) hold(cursor, early);
      return response;
    } finally {
      inFlight--;
      settled();
    }
  };

  return {
    fetch: realtimeFetch,
    inFlight: () => inFlight,
    made: (origin: string | undefined) => origin && made.get(origin),
  };
};

const origin = (url: string) => new URL(url).origin;
