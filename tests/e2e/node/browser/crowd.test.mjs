// A broadcast to many clients does not bring them all at once.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { createRealtime } from '../../../../client/dist/client.js';
import { becomes } from './scene.mjs';
import { server } from './server.mjs';

const CLIENTS = 200;
const SPREAD = 2000;
const STEP = 100;

test('200 clients, one broadcast, a spread of 2 s: no more than a fifth of them in 100 ms', async (t) => {
  const app = await server({ REFETCHES_PER_S: String((CLIENTS * 1000) / SPREAD) });
  t.after(() => app.kill());
  const base = `http://127.0.0.1:${app.port()}`;

  let heard = 0;
  let begun = 0;
  let read = 0;
  const clients = Array.from({ length: CLIENTS }, () => createRealtime({
    url: `${base}/realtime`,
    share: false,
    debug(what) {
      if (what === 'revalidate') heard += 1;
    },
  }));
  t.after(() => clients.forEach((client) => client.disconnect()));
  for (const client of clients) {
    client.onRevalidate(['counter', 'a'], async () => {
      begun += 1;
      await (await client.fetch(`${base}/value/a`)).text();
      read += 1;
    });
  }
  await becomes('streams', CLIENTS, async () => (await app.tell()).open);
  // A stream that begins at no cursor tells so.
  await becomes('first reads', CLIENTS, () => read);

  // From here the clock is ours, so that a machine that stands still for a moment does not send them all at once.
  t.mock.timers.enable({ apis: ['setTimeout'] });
  await app.bump('a');
  while (heard < CLIENTS) await turn();
  const steps = [];
  for (let at = 0; at < SPREAD; at += STEP) {
    const before = begun;
    t.mock.timers.tick(STEP);
    steps.push(begun - before);
  }
  t.mock.timers.reset();
  t.diagnostic(`refetches in each ${STEP} ms: ${steps.join(' ')}`);
  assert.equal(begun, 2 * CLIENTS, 'each of them, once');
  // Ten is the mean. Four times as many do not come by chance.
  assert.ok(Math.max(...steps) <= CLIENTS / 5, `${Math.max(...steps)} in ${STEP} ms`);
  await becomes('reads', 2 * CLIENTS, () => read);
});
