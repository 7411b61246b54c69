// React's bindings, in a page as an app has it.

import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { test } from 'node:test';
import { bundled } from './bundle.mjs';
import { browser, scene, stays } from './scene.mjs';

const chromium = browser();

test('StrictMode: mounted twice, one stream and one request for it', async (t) => {
  const files = await bundled('strict.jsx');
  t.after(() => rm(files, { recursive: true }));
  const { app, tab } = await scene(t, chromium, { files: [files] });
  const page = await tab(undefined, { path: '/strict.html' });
  const shown = () => JSON.parse(document.querySelector('output')?.textContent ?? 'null');
  await page.shows('the component', { state: 'open', value: 0, messages: [] }, shown);
  assert.equal(await page.run(() => mounts), 2);
  await stays('streams', [1, 1], async () => {
    const { open, requests } = await app.tell();
    return [open, requests.length];
  });
  await app.bump('a');
  await app.say('x');
  await page.shows('the component', { state: 'open', value: 1, messages: [1] }, shown);
});
