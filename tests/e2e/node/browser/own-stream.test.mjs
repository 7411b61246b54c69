// A handler's own stream, read by the browser's own `EventSource`: what there was, then each row as it comes.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { browser, scene } from './scene.mjs';

/** As many rows as the server keeps for who comes back. */
const KEPT = 16;

describe("a handler's own stream", { concurrency: 3 }, () => {
  const chromium = browser();

  /** A page that shows a list. The border to the stream is *at least once*, so it folds by the row's number. */
  async function list(t) {
    const world = await scene(t, chromium, { knobs: { LATENCY_MS: '50' } });
    const tab = await world.tab();
    const open = () => tab.run(() => {
      window.source?.close();
      window.seen = { beginnings: [], heard: [], others: [] };
      window.rows = new Set();
      window.source = new EventSource('/rows/a');
      const on = (name, then) => source.addEventListener(name, ({ data }) => then(JSON.parse(data)));
      on('initial', (there) => {
        seen.beginnings.push(there.length);
        rows = new Set(there);
      });
      on('row', (row) => {
        seen.heard.push(row);
        rows.add(row);
      });
      for (const name of ['message', 'gap', 'hello', 'bye']) on(name, (data) => seen.others.push([name, data]));
    });
    const add = async (count) => {
      for (let left = count; left > 0; left -= 1) await world.app.addRow('a');
    };
    /** The page shows the rows from 1 to `count`, in order. */
    const shows = (count) => tab.shows('the rows', Array.from({ length: count }, (_, at) => at + 1), () => [...rows]);
    return { ...world, open, add, shows, saw: () => tab.run(() => seen) };
  }

  test('cut, it goes on where it was, and hears everything once', async (t) => {
    const { add, link, open, saw, shows } = await list(t);
    await add(3);
    await open();
    await shows(3);
    await add(2);
    await shows(5);
    await link.refuse();
    await add(5);
    await link.mend();
    await shows(10);
    link.cut();
    await add(1);
    await shows(11);
    assert.deepEqual(await saw(), { beginnings: [3], heard: [4, 5, 6, 7, 8, 9, 10, 11], others: [] });
  });

  test('away for longer than is kept, it begins anew, and is told of no gap', async (t) => {
    const { add, link, open, saw, shows } = await list(t);
    await add(3);
    await open();
    await shows(3);
    await link.refuse();
    await add(KEPT + 4);
    await link.mend();
    await shows(KEPT + 7);
    await add(1);
    await shows(KEPT + 8);
    assert.deepEqual(await saw(), { beginnings: [3, KEPT + 7], heard: [KEPT + 8], others: [] });
  });

  test('rows that are added at every moment of its beginning are shown', async (t) => {
    const { add, app, open, shows } = await list(t);
    for (let turn = 0; turn < 5; turn += 1) {
      // As many as are kept: with more of them before it is read first, the stream would have a gap.
      const adding = add(KEPT - 1);
      await open();
      await adding;
      const count = await app.addRow('a');
      await shows(count);
    }
  });
});
