/** Events from this page to the server: each a request of its own, which waits for no stream. */

import type { Credentials } from './credentials';
import { retryAfter } from './retry-after';

/** What was emitted was not taken. */
export class EmitError extends Error {
  override readonly name = 'EmitError';

  constructor(
    /** Of the response; 0 where there is none. */
    readonly status: number,
    /**
     * The server's, as `accessdenied`, `invalid`, `limited`, or what a handler refused with; `http 502` where the
     * response has none, `network` where there is no response, `headers` where the option of that name failed.
     */
    readonly code: string,
    message: string,
    /** How long the server asks to wait before another attempt, in ms. */
    readonly retryAfterMs?: number | undefined,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

export type Emit = (channel: string, event: string, data?: unknown, init?: RequestInit) => Promise<any>;

export const createEmit =
  (post: (init: RequestInit) => Promise<Response>, credentials: Credentials): Emit =>
  async (channel, event, data, init) => {
    const body = JSON.stringify({ channel, event, data });
    const attempt = async () => {
      const given = await credentials.headers().catch(failed('headers'));
      const headers = { ...given, 'content-type': 'application/json', 'x-revalidate-client': __VERSION__ };
      return post({ ...init, method: 'POST', headers, body }).catch(failed('network'));
    };
    let response = await attempt();
    if (response.status === 401 && (await credentials.renew())) response = await attempt();
    const { status, ok } = response;
    if (status === 204) return undefined;
    const text = await response.text().catch(failed('network'));
    let said: any;
    try {
      said = JSON.parse(text);
      if (ok) return said;
    } catch {
      // A page that signs in, or of a proxy.
    }
    const code = said?.code ?? (ok ? 'not json' : `http ${status}`);
    throw new EmitError(status, code, said?.message ?? code, retryAfter(response.headers));
  };

const failed = (code: string) => (cause: unknown) => {
  throw new EmitError(0, code, String((cause as Error)?.message ?? cause), undefined, { cause });
};
