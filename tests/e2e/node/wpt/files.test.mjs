import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { files, ofRoutes, ofStreams } from './files.mjs';
import { streams } from './streams.mjs';

test('every file of web-platform-tests is tested as it is said to be, or said to be left out', async (t) => {
  const suites = ['raw', 'served', 'reconnect'].map((name) => new URL(`${name}.test.mjs`, import.meta.url));
  const sources = suites.map((file) => readFile(file, 'utf8'));
  const text = (await Promise.all(sources)).join('\n');
  const tests = new Set([...text.matchAll(/test\(['`]([^:]+?)[:,]/g)].flatMap(([, names]) => names.split(' and ')));
  const rows = new Set(streams.map(({ file }) => file));
  const named = (which) => [...files].filter(([, how]) => which(how)).map(([name]) => name).sort();
  assert.deepEqual([...rows].sort(), named(ofStreams));
  assert.deepEqual(named(ofRoutes).filter((name) => !tests.has(name)), []);

  const tested = named((how) => ofStreams(how) || ofRoutes(how));
  t.diagnostic(`${tested.length} of ${files.size} files; ${streams.length} streams`);
  for (const [name, how] of files) if (!tested.includes(name)) t.diagnostic(`left out: ${name}: ${how}`);
});
