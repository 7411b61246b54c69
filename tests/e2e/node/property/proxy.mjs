// A link that breaks by itself: connections are cut at any byte, go silent without a word, or are refused, and what
// passes comes in pieces.

import net from 'node:net';

/** Listens on a free port; `choose` makes its choices. */
export async function troubled(port, choose) {
  const pairs = new Set();
  let trouble = true;
  const broken = { cut: 0, silent: 0, refused: 0 };

  const server = net.createServer((near) => {
    const pair = { near, far: undefined, silent: false };
    near.on('error', () => {});
    near.setNoDelay(true);
    if (trouble && choose.is(0.1)) {
      broken.refused += 1;
      near.resetAndDestroy();
      return;
    }
    pairs.add(pair);
    const far = net.connect(port, '127.0.0.1');
    pair.far = far;
    far.setNoDelay(true);
    far.on('error', () => {});
    // A reset, or an end as of a proxy that was restarted.
    const cut = (abruptly) => {
      broken.cut += 1;
      if (abruptly) near.resetAndDestroy();
      else near.end();
      far.destroy();
    };
    const fate = choose.of(['pass', 'pass', 'cut', 'cut', 'cut', 'silent']);
    const abruptly = choose.is(0.5);
    let left = choose.size(30_000);

    near.on('data', (bytes) => pair.silent || far.write(bytes));
    near.on('close', () => {
      pairs.delete(pair);
      far.destroy();
    });
    far.on('close', () => pair.silent || near.destroy());
    far.on('data', (bytes) => {
      if (pair.silent) return;
      if (trouble && fate !== 'pass' && bytes.length >= left) {
        near.write(bytes.subarray(0, left));
        if (fate === 'cut') return cut(abruptly);
        pair.silent = true;
        broken.silent += 1;
        return;
      }
      left -= bytes.length;
      const at = 1 + choose.below(bytes.length);
      near.write(bytes.subarray(0, at));
      if (at === bytes.length) return;
      far.pause();
      setImmediate(() => {
        if (near.writable) near.write(bytes.subarray(at));
        far.resume();
      });
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));

  return {
    port: server.address().port,
    broken,
    /** Nothing breaks from now on. What went silent stays so: the client has to find out. */
    mend: () => void (trouble = false),
    trouble: () => void (trouble = true),
    cut: () => pairs.forEach(({ near, far }) => {
      broken.cut += 1;
      near.resetAndDestroy();
      far?.destroy();
    }),
    hush: () => pairs.forEach((pair) => {
      broken.silent += 1;
      pair.silent = true;
    }),
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      pairs.forEach(({ near }) => near.destroy());
      await closed;
    },
  };
}
