/**
 * What stands between the stream and the tabs: in a SharedWorker, one for all of them, and a port for each; where
 * there is none, a page imports it for itself.
 */

import { PROTOCOL, type ToRelay } from './protocol';
import { createRelay } from './relay';

export { createRelay };

/** A page that loads another is back within this time. */
const LINGER_MS = 1_000;
/** A tab that died says nothing. One that only slept comes back by itself. */
const PING_MS = 20_000;
const PINGS = 3;

const serve = () => {
  const join = createRelay(LINGER_MS);
  addEventListener('connect', (event) => {
    const port = (event as MessageEvent).ports[0]!;
    const tell = join((message) => port.postMessage(message));
    let unanswered = 0;
    let timer: ReturnType<typeof setInterval> | undefined;
    const leave = () => {
      clearInterval(timer);
      tell({ t: 'leave' });
    };
    port.onmessage = ({ data }: MessageEvent<ToRelay>) => {
      unanswered = 0;
      if (data.t === 'leave') return leave();
      if (data.t === 'join') {
        clearInterval(timer);
        timer = setInterval(() => {
          if (++unanswered > PINGS) leave();
          else port.postMessage({ t: 'ping' });
        }, PING_MS);
      }
      tell(data);
    };
    // Where browsers tell it (Chromium 122).
    port.addEventListener('close', leave);
    port.postMessage({ t: 'ready', protocol: PROTOCOL });
  });
};

if ('SharedWorkerGlobalScope' in globalThis) serve();
