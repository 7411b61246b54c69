// Tabs, and the workers that some of them share.

import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { MessageChannel, Worker } from 'node:worker_threads';
import { counted } from './streams.mjs';

/** What is built of the client; `CLIENT` names another build of it. */
const CLIENT = process.env.CLIENT ?? join(import.meta.dirname, '../../../../client/dist');

/** A browser whose tabs connect to `port`; `tell` hears how many streams a relay has. */
export async function browser(port, tell) {
  const threads = new Map();
  const ports = new Set();
  counted(tell);

  globalThis.SharedWorker = class {
    constructor(_, { name }) {
      if (!threads.has(name)) {
        const thread = new Worker(join(import.meta.dirname, 'worker.mjs'), {
          workerData: pathToFileURL(join(CLIENT, 'worker.js')).href,
        });
        thread.on('message', ({ relay, open }) => tell(relay, open));
        threads.set(name, thread);
      }
      const { port1, port2 } = new MessageChannel();
      this.port = port1;
      ports.add(port1);
      threads.get(name).postMessage(port2, [port2]);
    }
  };
  const { createRealtime } = await import(pathToFileURL(join(CLIENT, 'client.js')));

  return {
    /** A page; those of one relay share it, if it may be shared. */
    page: (relay, { share, cursor }) =>
      createRealtime({
        url: `http://127.0.0.1:${port}/realtime`,
        share,
        identity: relay,
        cursor,
        headers: () => ({ 'x-relay': relay }),
        backoff: { initial: 20, max: 200 },
      }),
    async close() {
      ports.forEach((one) => one.close());
      await Promise.all([...threads.values()].map((thread) => thread.terminate()));
    },
  };
}
