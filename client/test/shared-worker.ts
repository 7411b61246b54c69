/** SharedWorkers in this very process: each runs the worker's own file, and speaks through ports that clone. */

import { vi } from 'vitest';

export interface Connected {
  readonly url: string;
  readonly options: WorkerOptions;
  /** The tab's process is gone, without a word; `told`: the browser tells the worker. */
  die(told?: boolean): void;
  /** Its thread stands still: what is sent to it waits. */
  freeze(): void;
  thaw(): void;
  /** It fails to load. */
  fail(): void;
  /** The page closed its port. */
  readonly closed: boolean;
}

type Handler = ((event: { data: unknown }) => void) | undefined;

class Port {
  peer!: Port;
  closed = false;
  frozen = false;
  listeners: (() => void)[] = [];
  #queue: unknown[] = [];
  #handler: Handler;

  set onmessage(handler: Handler) {
    this.#handler = handler;
    this.deliver();
  }
  deliver() {
    while (this.#handler && !this.frozen && this.#queue.length) {
      const data = this.#queue.shift();
      const handler = this.#handler;
      queueMicrotask(() => this.frozen ? this.#queue.push(data) : this.closed || handler({ data }));
    }
  }
  postMessage(message: unknown) {
    if (this.closed) return;
    this.peer.#queue.push(structuredClone(message));
    this.peer.deliver();
  }
  addEventListener(name: string, listener: () => void) {
    if (name === 'close') this.listeners.push(listener);
  }
  close() {
    if (this.closed) return;
    this.closed = true;
    queueMicrotask(() => this.peer.listeners.forEach((listener) => listener()));
  }
}

type Connect = (event: { ports: Port[] }) => void;

let starting: Promise<unknown> = Promise.resolve();

/** Starts a worker, one after the other; what connects ports to it. */
const start = (): Promise<Connect> => {
  const started = starting.then(async () => {
    let connect!: Connect;
    const before = globalThis.addEventListener;
    vi.resetModules();
    Object.assign(globalThis, {
      SharedWorkerGlobalScope: Object,
      addEventListener: (_: string, listener: Connect) => void (connect = listener),
    });
    await import('../src/worker');
    globalThis.addEventListener = before;
    delete (globalThis as { SharedWorkerGlobalScope?: unknown }).SharedWorkerGlobalScope;
    return connect;
  });
  starting = started;
  return started;
};

/** Every worker that was asked for runs. To load its file takes real time, which the test does not move. */
export const allStarted = async () => {
  for (let last; last !== starting; ) await (last = starting);
};

/**
 * Puts `SharedWorker` into the world: of one name and url one worker. `broken`: how it does not work instead.
 *
 * - `silent`: a policy forbids it without a word.
 * - `throws`: the constructor does.
 */
export const shareWorkers = (broken?: 'silent' | 'throws') => {
  const running = new Map<string, { connect: Promise<Connect>; ports: Port[] }>();
  const connected: Connected[] = [];

  class FakeSharedWorker {
    port: Port;
    onerror: (() => void) | undefined;
    constructor(url: string, options: WorkerOptions) {
      if (broken === 'throws') throw new DOMException('another origin', 'SecurityError');
      const [near, far] = [new Port(), new Port()];
      Object.assign(near, { peer: far });
      Object.assign(far, { peer: near });
      this.port = near;
      connected.push({
        url,
        options,
        die(told = false) {
          far.postMessage = () => {};
          near.postMessage = () => {};
          if (told) far.listeners.forEach((listener) => listener());
        },
        freeze: () => void (near.frozen = true),
        thaw() {
          near.frozen = false;
          near.deliver();
        },
        fail: () => this.onerror?.(),
        get closed() {
          return near.closed;
        },
      });
      if (broken) return;
      const key = `${url} ${options.name}`;
      let worker = running.get(key);
      if (!worker) running.set(key, (worker = { connect: start(), ports: [] }));
      worker.ports.push(far);
      void worker.connect.then((connect) => connect({ ports: [far] }));
    }
  }
  vi.stubGlobal('SharedWorker', FakeSharedWorker);

  return {
    connected,
    /** How many run. */
    running: () => running.size,
    /** The browser ends them all: the next of the same name is a new one. */
    kill() {
      for (const { ports } of running.values()) {
        for (const port of ports) {
          port.postMessage = () => {};
          port.onmessage = () => {};
        }
      }
      running.clear();
    },
  };
};
