// What web-platform-tests asks of an event stream, asked of the crate's own, as Chromium's `EventSource` and the
// client's pipeline read it: the streams' data come through as messages, and so do the streams themselves, every byte
// that means something included.

import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';

import { browser, eventSource, events, link, log, speaker } from './harness.mjs';
import { read } from './reader.mjs';
import { streams } from './streams.mjs';

const OPEN = 1;
const CLOSED = 2;
const brief = (heard) => events(heard).map(({ event, id, data }) => ({ event, id, data: JSON.parse(data) }));

suite('streams of the crate', () => {
  let server;
  let chrome;
  before(async () => {
    server = await speaker();
    chrome = await browser();
  });
  after(async () => {
    await chrome?.close();
    await server?.close();
  });

  /** Both listen, hear `hello` and as much as `play` says it has said, and the stream ends. */
  async function both(play) {
    const between = await link(server.port);
    const source = await eventSource(chrome, between.origin, between.events);
    const client = log('what the client hears');
    const reading = read(between.events, {}, (seen) => client.push(seen.at(-1)));
    await source.heard.until((heard) => events(heard).length === 1);
    await client.until((heard) => heard.length === 1);
    const count = 1 + await play();
    await source.heard.until((heard) => events(heard).length === count);
    await client.until((heard) => heard.length === count);
    await server.end();
    const end = await source.heard.until((heard) => heard.findIndex(({ over }) => over) + 1);
    await source.stop();
    const { seen } = await reading;
    await source.close();
    await between.close();
    return { chromium: brief(source.heard.list.slice(0, end)), client: brief(seen) };
  }

  for (const row of streams) {
    test(`${row.name}: its data and its bytes come through as messages`, async () => {
      const messages = [...row.seen, { event: 'bytes', data: row.sends }];
      const cursors = [];
      const { chromium, client } = await both(async () => {
        for (const { event, data } of messages) cursors.push(await server.say(event, data));
        return messages.length;
      });
      const expected = messages.map(({ event, data }, at) => {
        return { event: 'message', id: cursors[at], data: { channel: 'wpt', event, data } };
      });
      assert.deepEqual(chromium.map(({ event }) => event), ['hello', ...messages.map(() => 'message'), 'bye']);
      assert.deepEqual(chromium.slice(1, -1), expected);
      // Its `bye` is an end, not an event. Each has a `hello` of its own.
      assert.deepEqual(client.slice(1), chromium.slice(1, -1));
    });
  }

  test('format-comments: heartbeats between events are no events, and end none', async () => {
    const between = await link(server.port);
    const source = await eventSource(chrome, between.origin, between.events);
    const beats = (told) => told.join('').match(/^: .*\nid: .*\n\n/gm)?.length ?? 0;
    for (const word of ['one', 'two', 'three']) {
      const before = beats(between.told.list);
      await between.told.until((told) => beats(told) > before + 1);
      await server.say('word', word);
    }
    await source.heard.until((heard) => events(heard).length === 4);
    assert.deepEqual(brief(source.heard.list).slice(1).map(({ data }) => data.data), ['one', 'two', 'three']);
    await source.close();
    await between.close();
  });

  test('format-field-event: an event of another name comes under it, and in its place', async () => {
    const { chromium, client } = await both(async () => {
      await server.stale();
      await server.say('test', 'x');
      return 2;
    });
    assert.deepEqual(chromium.map(({ event }) => event), ['hello', 'revalidate', 'message', 'bye']);
    assert.deepEqual(chromium[1].data.keys, [['posts', 'list']]);
    assert.deepEqual(client.slice(1), chromium.slice(1, -1));
  });

  test('format-field-event-empty: no event is without a name', async () => {
    await assert.rejects(server.say('', 'data'), /422 "" is not the name of an event/);
  });

  test('format-field-id-3: an event without an id leaves the last one standing', async () => {
    const said = [];
    const { chromium } = await both(async () => said.push(await server.say('test', 1), await server.say('test', 2)));
    const [, ...after] = chromium.map(({ event, id }) => [event, id]);
    assert.deepEqual(after, [['message', said[0]], ['message', said[1]], ['bye', said[1]]]);
  });

  test('eventsource-onopen and eventsource-readyState and eventsource-eventtarget: it opens and closes', async () => {
    const between = await link(server.port);
    const source = await eventSource(chrome, between.origin, between.events);
    await source.heard.until((heard) => events(heard).length === 1);
    assert.deepEqual(source.heard.list[0], { open: true, state: OPEN });
    await source.stop();
    assert.equal(await source.state(), CLOSED);
    await source.close();
    await between.close();
  });
});
