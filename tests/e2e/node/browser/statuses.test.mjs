// What each answer of the server makes the client do, to the request.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SOON, browser, scene, stays } from './scene.mjs';

const HTML = { status: 200, headers: { 'content-type': 'text/html' }, body: '<h1>Sign in to the hotel</h1>' };
const TRY_LATER = { 'retry-after': '1' };

describe('statuses', { concurrency: 6 }, () => {
  const chromium = browser();

  /** A page whose first requests for a stream are answered so. */
  async function answered(t, answers, options) {
    const world = await scene(t, chromium);
    await world.app.answer(answers);
    const page = await world.tab({ backoff: SOON, identity: 'u', ...options });
    const requests = async () => (await world.app.tell()).requests;
    return { ...world, page, requests, count: async () => (await requests()).length };
  }

  const bearers = (requests) => requests.map(({ headers }) => headers.authorization);
  const gaps = (requests) => requests.slice(1).map(({ at }, index) => at - requests[index].at);

  test('503 three times, then 200: four requests, none before its Retry-After', async (t) => {
    const busy = { status: 503, headers: TRY_LATER };
    const { page, requests, count } = await answered(t, [busy, busy, busy]);
    await page.is('open');
    await stays('requests', 4, count);
    for (const gap of gaps(await requests())) assert.ok(gap >= 1000, `${gap} ms`);
  });

  test('429 is waited out, too', async (t) => {
    const { page, requests, count } = await answered(t, [{ status: 429, headers: TRY_LATER }]);
    await page.is('open');
    await stays('requests', 2, count);
    for (const gap of gaps(await requests())) assert.ok(gap >= 1000, `${gap} ms`);
  });

  test('401, and a refresh of the token: a second request, with the new one', async (t) => {
    const { page, requests, count } = await answered(t, [], { token: 'old', refresh: 'alice' });
    await page.is('open');
    await stays('requests', 2, count);
    assert.deepEqual(bearers(await requests()), ['Bearer old', 'Bearer alice']);
    assert.equal(await page.run(() => seen.refreshed), 1);
  });

  test('401 again after the refresh: closed after two requests', async (t) => {
    const { page, requests, count } = await answered(t, [], { token: 'old', refresh: 'old' });
    await page.is('closed');
    await stays('requests', 2, count);
    assert.deepEqual(bearers(await requests()), ['Bearer old', 'Bearer old']);
    assert.equal(await page.run(() => seen.refreshed), 1);
    assert.equal(await page.run(() => realtime.status.getSnapshot().reason), 'unauthorized');
  });

  test('401 with nobody to ask: closed after one request', async (t) => {
    const { page, count } = await answered(t, [], { token: 'old' });
    await page.is('closed');
    await stays('requests', 1, count);
  });

  test('a token that expired later is asked for again, once each time', async (t) => {
    const { app, link, page, requests, count } = await answered(t, [], { token: 'old', refresh: 'alice' });
    await page.is('open');
    // Nothing but the stream is cut.
    await page.value(0);
    await app.answer([{ status: 401 }]);
    link.cut();
    await page.shows('refreshes', 2, () => seen.refreshed);
    await page.is('open');
    await stays('requests', 4, count);
    assert.deepEqual(bearers(await requests()).slice(1), ['Bearer alice', 'Bearer alice', 'Bearer alice']);
  });

  for (const status of [204, 403, 404, 410]) {
    test(`${status}: closed after one request, until it is told to connect`, async (t) => {
      const { page, count } = await answered(t, [{ status }]);
      await page.is('closed');
      await stays('requests', 1, count);
      assert.equal(await page.run(() => realtime.status.getSnapshot().reason), `http ${status}`);
      await page.run(() => realtime.connect());
      await page.is('open');
      await stays('requests', 2, count);
    });
  }

  test('200 with a page of HTML is no stream: tried again', async (t) => {
    const { page, count } = await answered(t, [HTML, HTML]);
    await page.is('open');
    await stays('requests', 3, count);
    assert.ok(await page.run(() => !seen.states.some(({ state }, index) => state === 'open' && index < 3)));
  });

  test('500 is tried again', async (t) => {
    const { page, count } = await answered(t, [{ status: 500 }, { status: 500 }]);
    await page.is('open');
    await stays('requests', 3, count);
  });

  test('maxAttempts is the number of failures after which it gives up', async (t) => {
    const failures = Array(9).fill({ status: 500 });
    const { page, count } = await answered(t, failures, { backoff: { ...SOON, maxAttempts: 3 } });
    await page.is('closed');
    await stays('requests', 3, count);
  });

  test('without a backoff the first failure is the last', async (t) => {
    const { page, count } = await answered(t, [{ status: 500 }], { backoff: false });
    await page.is('closed');
    await stays('requests', 1, count);
  });

  test('every attempt says that it is the client, and nothing of a token stands in an address', async (t) => {
    const { page, requests } = await answered(t, [{ status: 500 }], { token: 'alice' });
    await page.is('open');
    for (const { url, headers } of await requests()) {
      assert.ok(headers['x-revalidate-client']);
      assert.ok(!url.includes('alice'), url);
    }
  });
});
