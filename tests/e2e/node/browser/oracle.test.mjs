// The freshness oracle: whatever happened, when it is quiet again every cached query is what a fresh fetch brings.
//
// `ORACLE_SECONDS` says for how long, default 40; `ORACLE_SEED` draws the same again, as far as time lets it. To see
// that it finds what is broken: files in the directory `ORACLE_CLIENT` are served instead (`realtime/client.js`,
// `realtime/worker.js`), and `ORACLE_HANG` seconds of quiet are enough.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { bundled } from './bundle.mjs';
import { random } from './oracle/random.mjs';
import { fresh } from './oracle/verdict.mjs';
import { weather } from './oracle/weather.mjs';
import { say, world } from './oracle/world.mjs';
import { browser, PAGES } from './scene.mjs';

const SECONDS = Number(process.env.ORACLE_SECONDS ?? 40);
const SEED = Number(process.env.ORACLE_SEED ?? Math.floor(Math.random() * 2 ** 31));
/** To start, and for a last round that finds something. */
const MORE = 300_000;

const chromium = browser();

const options = { timeout: SECONDS * 1_000 + MORE };
test('when it is quiet, every cached query is what a fresh fetch brings', options, async (t) => {
  t.diagnostic(`ORACLE_SEED=${SEED}`);
  const draws = random(SEED);
  const [happened, heard] = [{}, {}];
  const into = (counts) => (what) => {
    counts[what] = (counts[what] ?? 0) + 1;
  };
  const counted = into(heard);
  const directory = await mkdtemp(join(tmpdir(), 'oracle-'));
  const script = await bundled('oracle.js');
  const files = [...(process.env.ORACLE_CLIENT ? [process.env.ORACLE_CLIENT] : []), script, PAGES];
  const its = await world({ browser: chromium.browser, files, store: join(directory, 'store'), draws, counted });
  t.after(async () => {
    await its.close();
    await Promise.all([directory, script].map((made) => rm(made, { recursive: true, force: true })));
  });
  for (const { open } of its.homes) await Promise.all([open(), open()]);

  const each = (run) => Promise.all(its.tabs().map((tab) => say(tab, run)));
  const waits = [];
  let compared = 0;
  const began = Date.now();
  const until = began + SECONDS * 1_000;
  for (let round = 1; Date.now() < until; round += 1) {
    const storm = weather(its, draws, into(happened));
    await sleep(draws.between(1_000, 5_000));
    await storm.calm();
    const quiet = Date.now();
    const what = `ORACLE_SEED=${SEED}, round ${round}, ${Math.round((quiet - began) / 1_000)} s`;
    compared += await fresh(its, what);
    waits.push(Date.now() - quiet);
    // What was marked, and nobody saw it.
    await each(() => seen(true));
    compared += await fresh(its, `${what}, all tabs seen`);
    await each(() => showAll());
    compared += await fresh(its, `${what}, all queries shown`, true);
    for (const { errors } of its.tabs()) assert.deepEqual(errors, [], 'errors that nobody caught');
    await each(() => setCalm(false));
  }

  const { reads, writes, statuses } = await its.figures();
  waits.sort((a, b) => a - b);
  const seconds = Math.round((Date.now() - began) / 1_000);
  t.diagnostic(`${waits.length} rounds in ${seconds} s, ${compared} cached queries compared`);
  t.diagnostic(`fresh after ${waits[waits.length >> 1]} ms in the median, ${waits.at(-1)} ms at most`);
  t.diagnostic(`${writes} changes, ${reads} reads; in the pages: ${JSON.stringify(heard)}`);
  t.diagnostic(`requests for a stream, by status: ${JSON.stringify({ 429: 0, ...statuses })}`);
  t.diagnostic(`it happened: ${JSON.stringify(happened)}`);
  assert.ok(compared > 0);
});
