// TanStack Query, bound, in a page as an app has it.

import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { bundled } from './bundle.mjs';
import { becomes, browser, scene } from './scene.mjs';

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
    for (let count = 0; count < 25; count += 1) {
      await app.bump('a');
      await sleep(60);
    }
    const shownMeanwhile = await page.run(() => values.length - 1);
    await page.shows('the last value', 25, () => values.at(-1));
    const { reads, aborted } = await app.tell();
    t.diagnostic(`25 changes: ${reads.a.length} reads, ${shownMeanwhile} updates while they came, ${aborted} aborts`);
    assert.equal(aborted, 0);
    assert.ok(shownMeanwhile > 1, 'it is shown while the changes come');
  });
});
