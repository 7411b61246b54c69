// What a browser runs for a `SharedWorker`: the client's own file, in a thread of its own.

import { parentPort, workerData } from 'node:worker_threads';
import { counted } from './streams.mjs';

let connect;
globalThis.SharedWorkerGlobalScope = class {};
globalThis.addEventListener = (_, listener) => (connect = listener);
counted((relay, open) => parentPort.postMessage({ relay, open }));
await import(workerData);
parentPort.on('message', (port) => connect({ ports: [port] }));
