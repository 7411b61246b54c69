// The streams of web-platform-tests, from a server of bytes: what the client makes of them, and, so that the table is
// known to be right, what Chromium's `EventSource` does.

import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';

import { browser, eventSource, events, raw } from './harness.mjs';
import { script } from './reader.mjs';
import { streams } from './streams.mjs';

const brief = (seen) => seen.map(({ event, id, data }) => ({ event, id, data }));

/** What the client says of the time to stay away is said at a `bye`; a second where it was not told any. */
const bye = 'event: bye\ndata: {}\n\n';
const wait = ({ retry = 1000 }) => ({ reason: undefined, retry });

suite('streams of web-platform-tests', () => {
  const rows = new Map(streams.map((row) => [`/${row.name}`, row]));
  const statuses = [204, 205, 210, 299, 404, 410, 503];
  let server;
  let chrome;
  /** Where the client reads: there are decoders of other makes that are wrong about a mark that was cut. */
  let tab;
  const read = (path) => tab.evaluate((url) => window.read(url), path);
  const readPieces = (type, text) => tab.evaluate(
    ([type, text]) => window.readPieces(type, [new TextEncoder().encode(text)]),
    [type, text],
  );
  const readCut = (type, text) => tab.evaluate(([type, text]) => window.readCut(type, text), [type, text]);
  before(async () => {
    server = await raw((path) => {
      const [, status, to] = path.split('/');
      if (to) return { status, headers: { location: `/${to}` } };
      const headers = { 'content-type': 'text/event-stream' };
      if (+status) return { status, headers, body: +status < 206 ? '' : 'data: data\n\n' };
      const row = rows.get(path);
      return row && { headers: { 'content-type': row.type }, body: row.sends };
    });
    chrome = await browser();
    tab = await chrome.newPage();
    await tab.goto(server.origin);
    await tab.addScriptTag({ content: script });
  });
  after(async () => {
    await chrome?.close();
    await server?.close();
  });

  for (const row of streams) {
    const path = `/${encodeURIComponent(row.name)}`;

    test(`${row.name}: Chromium sees what the table says`, async () => {
      const source = await eventSource(chrome, server.origin, path, { names: ['test'] });
      const end = await source.heard.until((heard) => heard.find(({ over }) => over));
      await source.stop();
      const refused = row.refused ?? row.refusedByChromium ?? false;
      assert.equal(end.over, refused ? 'for good' : 'for now');
      assert.ok(end.plain, 'the end is a plain event');
      assert.equal(source.heard.list.some(({ open }) => open), !refused);
      const first = source.heard.list.slice(0, source.heard.list.indexOf(end));
      assert.deepEqual(brief(events(first)), refused ? [] : row.seen);
      await source.close();
    });

    test(`${row.name}: the client sees it, however it is cut`, async () => {
      const { seen, cursors, end } = await read(path);
      assert.deepEqual(seen, row.seen);
      assert.deepEqual(cursors, [], 'a comment is no cursor');
      assert.deepEqual(end, { reason: row.refused ? 'not a stream' : 'cut' });
      assert.deepEqual(await readCut(row.type, row.sends), []);
    });

    if (row.refused || !row.sends.endsWith('\n\n')) continue;
    test(`${row.name}: the client waits for as long as it is told to`, async () => {
      const { end } = await readPieces(row.type, row.sends + bye);
      assert.deepEqual(end, wait(row));
    });
  }

  for (const status of statuses) {
    test(`request-status-error, ${status}: no event is heard of what is not 200`, async () => {
      const source = await eventSource(chrome, server.origin, `/${status}`);
      assert.deepEqual(await source.heard.until((heard) => heard[0]), { over: 'for good', plain: true });
      await source.close();
      const { seen, end } = await read(`/${status}`);
      assert.deepEqual(seen, []);
      assert.equal(end.status, status);
    });
  }

  for (const status of [301, 302, 303, 307]) {
    test(`request-redirect, ${status}: the client follows`, async () => {
      const { seen } = await read(`/${status}/eventsource-onmessage`);
      assert.deepEqual(seen.map(({ data }) => data), ['data']);
    });
  }

  test('request-cache-control: the client asks past every cache, twice the same', async () => {
    for (const _ of [1, 2]) await read('/eventsource-onmessage?cache');
    const asked = server.asked.list.filter(({ path }) => path.endsWith('?cache'));
    const fields = asked.map(({ head }) => /^cache-control: *(.*)$/m.exec(head)?.[1].trim());
    assert.deepEqual(fields, ['no-cache', 'no-cache']);
  });
});
