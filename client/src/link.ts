/** The way to the relay: a SharedWorker where there is one and it answers, else in this page. */

import { PROTOCOL, type ToRelay, type ToTab } from './protocol';

/** Till the worker says a word. A policy may forbid it without telling. */
const READY_MS = 5_000;
/** It pings three times as often. */
const SILENT_MS = 60_000;
/** Till the relay is fetched again, where that failed. */
const AGAIN_MS = 5_000;

export interface Link {
  send(message: ToRelay): void;
  /** Looks whether the other end is still there. */
  check(): void;
}

/** `again`: the other end is a new one, and knows nothing of this tab. */
export const openLink = (
  worker: { url: string; name: string } | undefined,
  receive: (message: ToTab) => void,
  again: () => void,
): Link => {
  let send: (message: ToRelay) => void;
  let drop: () => void;
  let heardAt = Infinity;

  // What the worker runs, fetched only where no worker runs it.
  const local = () => {
    const relay = import('./worker').then(({ createRelay }) => createRelay(0)(receive));
    relay.catch(() => setTimeout(() => (local(), again()), AGAIN_MS));
    heardAt = Infinity;
    send = (message) => void relay.then((tell) => tell(message)).catch(() => {});
  };

  const shared = ({ url, name }: { url: string; name: string }) => {
    const worker = new SharedWorker(url, { type: 'module', name, credentials: 'same-origin' });
    const { port } = worker;
    let ready = false;
    heardAt = Date.now();
    // It may only have slept, and would go on telling.
    drop = () => {
      port.postMessage({ t: 'leave' } satisfies ToRelay);
      port.close();
    };
    const instead = () => {
      if (ready) return;
      ready = true;
      drop();
      local();
      again();
    };
    const patience = setTimeout(instead, READY_MS);
    worker.onerror = instead;
    port.onmessage = ({ data }: MessageEvent<ToTab>) => {
      heardAt = Date.now();
      if (data.t === 'ready') {
        clearTimeout(patience);
        if (data.protocol !== PROTOCOL) instead();
        ready = true;
      } else if (data.t === 'ping') send({ t: 'pong' });
      else receive(data);
    };
    send = (message) => port.postMessage(message);
  };

  try {
    if (worker && typeof SharedWorker !== 'undefined') shared(worker);
    else local();
  } catch {
    // Another origin.
    local();
  }

  return {
    send: (message) => send(message),
    check() {
      if (Date.now() - heardAt < SILENT_MS) return;
      drop();
      shared(worker!);
      again();
    },
  };
};
