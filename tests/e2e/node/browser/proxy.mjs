// A TCP proxy that can break as networks do.

import net from 'node:net';

/** Listens on a free port of its own and passes everything on to `port`. */
export async function proxy(port) {
  const pairs = new Set();
  let stalled = false;
  let peak = 0;

  const server = net.createServer((near) => {
    const pair = { near, far: undefined };
    pairs.add(pair);
    peak = Math.max(peak, pairs.size);
    near.on('close', () => {
      pairs.delete(pair);
      pair.far?.destroy();
    });
    near.on('error', () => {});
    if (!stalled) pass(pair);
  });

  function pass(pair) {
    if (!pair.far) {
      pair.far = net.connect(port, '127.0.0.1');
      pair.far.setNoDelay(true);
      pair.near.setNoDelay(true);
      pair.far.on('error', () => {});
      pair.far.on('close', () => pair.near.destroy());
      pair.near.on('data', (bytes) => pair.far.write(bytes));
      pair.far.on('data', (bytes) => pair.near.write(bytes));
      pair.near.on('end', () => pair.far.end());
    }
    pair.near.resume();
    pair.far.resume();
  }

  const listen = (at) => new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(at, '127.0.0.1', () => {
      server.off('error', reject);
      resolve();
    });
  });
  const cut = () => pairs.forEach(({ near }) => near.resetAndDestroy());

  await listen(0);
  const own = server.address().port;
  return {
    port: own,
    /** Connections open now. */
    open: () => pairs.size,
    /** The most that were open at a time. */
    peak: () => peak,
    /** Ends every connection; new ones pass. */
    cut,
    /** Ends every connection, and turns new ones away, until it is mended. */
    refuse: () => new Promise((resolve) => {
      server.close(resolve);
      cut();
    }),
    /**
     * Swallows everything both ways and closes nothing, until it is mended: a cable was pulled. `fresh: false`: only
     * on connections that are open now, as where a router forgot them.
     */
    stall({ fresh = true } = {}) {
      stalled = fresh;
      for (const { near, far } of pairs) {
        near.pause();
        far?.pause();
      }
    },
    /** Passes everything again, also what was held up. */
    async mend() {
      stalled = false;
      if (!server.listening) await listen(own);
      pairs.forEach(pass);
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      cut();
      await closed;
    },
  };
}
