// TanStack Query, bound, in a page as an app has it.

import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { bundled } from './bundle.mjs';
import { becomes, browser, eventually, scene } from './scene.mjs';

describe('queries', { concurrency: 4 }, async () => {
  const chromium = browser();
  const files = await bundled('queries.js');
  after(() => rm(files, { recursive: true }));

  /** A page with TanStack Query whose stream is open, and reads that take `latency` ms. */
  async function queries(t, latency) {
    const world = await scene(t, chromium, { files: [files], knobs: { LATENCY_MS: String(latency) } });
    const page = await world.tab(undefined, { path: '/queries.html' });
    // A stream there is while somebody listens; the binding does.
    await page.is('open');
    // As it begins at no cursor it says so, and what is read by then is read again.
    await page.until('the beginning to be told', () => window.told);
    return { ...world, page };
  }

  test('a change during the first fetch is read after it, and aborts nothing', async (t) => {
    const { app, page } = await queries(t, 400);
    await page.run(() => observe('a'));
    await becomes('the first read', 1, async () => (await app.tell()).reads.a?.length);
    await app.bump('a');
    await page.shows('values', [0, 1], () => values);
    const { reads, aborted } = await app.tell();
    assert.deepEqual([reads.a.length, aborted], [2, 0]);
  });

  test('changes every 60 ms, of a query that takes 100: shown while they come, right in the end, 0 aborts', async (t) => {
    const { app, page } = await queries(t, 100);
    await page.run(() => observe('a'));
    await page.shows('values', [0], () => values);
    let changes = 0;
    let shownMeanwhile = 0;
    await eventually('it to be shown while the changes come', async () => {
      // Of one train: between two of them anything may be shown.
      const before = await page.run(() => values.length);
      for (let count = 0; count < 25; count += 1) {
        changes = await app.bump('a');
        await sleep(60);
      }
      shownMeanwhile = (await page.run(() => values.length)) - before;
      return shownMeanwhile > 1;
    });
    await page.shows('the last value', changes, () => values.at(-1));
    const { reads, aborted } = await app.tell();
    t.diagnostic(`${changes} changes: ${reads.a.length} reads, ${shownMeanwhile} updates while they came, ${aborted} aborts`);
    assert.equal(aborted, 0);
  });
});
