/** What a page shows the server to say who it is, and its way to renew that. Of its stream and of what it emits. */

import type { RealtimeOptions } from './types';

/** A renewal that takes longer is given up. */
const RENEW_MS = 10_000;

export const createCredentials = ({ headers, onUnauthorized }: RealtimeOptions, log: (...what: unknown[]) => void) => {
  let renewing: Promise<boolean> | undefined;
  let since = 0;

  const renew = async () => {
    try {
      return !!onUnauthorized && (await onUnauthorized()) !== false;
    } catch (error) {
      log('unauthorized', error);
      return false;
    } finally {
      renewing = undefined;
    }
  };

  return {
    headers: async () => Object.fromEntries(new Headers(await headers?.())),
    /** After a 401: whether it is worth while to ask again. Once for all who were refused meanwhile. */
    renew() {
      if (!renewing || Date.now() - since > RENEW_MS) {
        since = Date.now();
        renewing = renew();
      }
      return renewing;
    },
  };
};

export type Credentials = ReturnType<typeof createCredentials>;
