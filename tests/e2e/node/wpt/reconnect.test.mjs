// What web-platform-tests asks of an `EventSource` that comes back, and of requests, redirects and origins, with the
// crate's routes in the place of its handlers: Chromium's own `EventSource` must find in them all that it needs.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, suite, test } from 'node:test';

import { browser, eventSource, events, link, speaker } from './harness.mjs';

/** What Chromium waits for where it was not told how long. */
const DEFAULT_RETRY = 3000;

suite('coming back to the crate', { concurrency: false }, () => {
  let chrome;
  let server;
  /** Where the pages are, and where streams of their own origin are. */
  let here;
  /** Another origin. */
  let there;
  let source;
  before(async () => (chrome = await browser()));
  after(() => chrome?.close());
  beforeEach(async () => {
    server = await speaker();
    [here, there] = await Promise.all([link(server.port), link(server.port)]);
  });
  afterEach(async () => {
    await source?.close();
    source = undefined;
    await Promise.all([here.close(), there.close()]);
    await server.close();
  });

  const listen = async (url = here.events, init) => (source = await eventSource(chrome, here.origin, url, init));
  const stream = (origin, prefix, query = '') => `${origin}${prefix}/realtime/events?channels=wpt${query}`;
  const next = (found) => source.heard.until((heard) => heard.findIndex(found) + 1);
  const says = (data) => (one) => one.event === 'message' && JSON.parse(one.data).data === data;
  const message = (data) => source.heard.until((heard) => heard.find(says(data)));
  const hello = (count) => source.heard.until((heard) => heard.filter(({ event }) => event === 'hello')[count - 1]);
  const resumed = ({ data }) => JSON.parse(data).resumed;
  const lastEventIds = (asked) => asked.list.map(({ headers }) => headers['last-event-id']);

  test('eventsource-reconnect: after an end in good order it comes back, and goes on', async () => {
    await listen();
    await hello(1);
    await server.say('test', 'ok');
    await message('ok');
    await server.end();
    const over = await next((one) => one.over);
    assert.equal(source.heard.list[over - 1].over, 'for now');
    await hello(2);
    await server.say('test', 'data');
    await message('data');
    // Whose rights were looked up anew is not told what it may have missed, but that.
    const heard = events(source.heard.list).map(({ event }) => event);
    assert.deepEqual(heard, ['hello', 'message', 'bye', 'hello', 'gap', 'message']);
  });

  test('format-field-id: the id that an event had is what comes back, and what was missed follows it', async () => {
    await listen();
    await hello(1);
    const cursor = await server.say('test', 'hello');
    assert.equal((await message('hello')).id, cursor);
    here.cut();
    await next((one) => one.over);
    const missed = await server.say('test', 'missed');
    assert.equal((await message('missed')).id, missed);
    assert.deepEqual(lastEventIds(here.asked), [undefined, cursor]);
  });

  test('format-field-id-2: where nothing follows, the same id comes back again and again', async () => {
    await listen();
    await hello(1);
    const cursor = await server.say('test', 'hello');
    await message('hello');
    for (const count of [2, 3]) {
      here.cut();
      const again = await hello(count);
      assert.ok(resumed(again));
      assert.equal(again.id, cursor);
    }
    assert.deepEqual(lastEventIds(here.asked), [undefined, cursor, cursor]);
    assert.deepEqual(events(source.heard.list).map(({ event }) => event), ['hello', 'message', 'hello', 'hello']);
  });

  test('format-data-before-final-empty-line: of a message that was cut neither data nor id count', async () => {
    await listen();
    await hello(1);
    const before = await server.say('test', 'test1');
    await message('test1');
    // All of it is there but the last line ending, of the empty line.
    here.cutAt((bytes) => (bytes.includes('"test2"') ? bytes.indexOf('\n\n', bytes.indexOf('"test2"')) + 1 : -1));
    const cursor = await server.say('test', 'test2');
    assert.equal((await message('test2')).id, cursor);
    assert.deepEqual(lastEventIds(here.asked), [undefined, before]);
    const heard = events(source.heard.list).map(({ event, data }) => [event, JSON.parse(data).data]);
    assert.deepEqual(heard, [['hello', undefined], ['message', 'test1'], ['hello', undefined], ['message', 'test2']]);
  });

  test('format-field-retry: it stays away for as long as the stream said', async () => {
    // Drawn anew for each stream: until one is above what Chromium does by itself.
    const told = () => Number(/retry: (\d+)\n/.exec(here.told.list.join('').split('HTTP/1.1 200').at(-1))[1]);
    await listen();
    await hello(1);
    while (told() <= DEFAULT_RETRY) {
      await source.close();
      await listen();
      await hello(1);
    }
    const retry = told();
    const count = here.asked.list.length;
    const at = performance.now();
    here.cut();
    await hello(2);
    const away = here.asked.list[count].at - at;
    assert.ok(away >= retry, `${away} of ${retry} ms`);
  });

  test('eventsource-close: it comes back until it is refused, and then no more', async () => {
    await listen();
    await hello(1);
    await server.end();
    await source.heard.until((heard) => heard.some(({ event }) => event === 'gap'));
    await server.refuse();
    await server.end();
    await next((one) => one.over === 'for good');
    const heard = source.heard.list.flatMap(({ event, over }) => event ?? over ?? []);
    assert.deepEqual(heard, ['hello', 'bye', 'for now', 'hello', 'gap', 'bye', 'for now', 'for good']);
  });

  test('request-status-error: what is not found is given up', async () => {
    await listen(`${here.origin}/realtime/nothing/events`);
    assert.deepEqual(await source.heard.until((heard) => heard[0]), { over: 'for good', plain: true });
  });

  for (const status of [301, 302, 303, 307]) {
    test(`request-redirect, ${status}: it is followed to the stream`, async () => {
      await listen(`${here.origin}/redirect/${status}?to=${encodeURIComponent(stream('', ''))}`);
      await hello(1);
      assert.deepEqual(source.heard.list[0], { open: true, state: 1 });
    });
  }

  test('request-accept: it asks for an event stream, and is served one', async () => {
    await listen();
    await hello(1);
    assert.equal(here.asked.list[0].headers.accept, 'text/event-stream');
  });

  for (const where of ['its own origin', 'another']) {
    test(`request-cache-control, ${where}: it is never answered from a cache, asked twice`, async () => {
      const another = where === 'another';
      const { asked } = another ? there : here;
      const url = another ? stream(there.origin, '/shared') : here.events;
      for (const count of [1, 2]) {
        await listen(url);
        await hello(1);
        await source.close();
        assert.equal(asked.list.length, count);
        assert.equal(asked.list.at(-1).headers['cache-control'], 'no-cache');
      }
    });
  }

  for (const [how, init, sent] of [
    ['enabled', { withCredentials: true }, 'wpt=1'],
    ['disabled', { withCredentials: false }, undefined],
    ['default', {}, undefined],
  ]) {
    test(`request-credentials, ${how}: cookies of another origin`, async () => {
      await listen(stream(there.origin, '/shared', '&cookie=wpt'), init);
      // Without credentials the origin that may read is named all the same.
      await hello(1);
      await server.end();
      await hello(2);
      assert.deepEqual(there.asked.list.map(({ headers }) => headers.cookie), [undefined, sent]);
    });
  }

  test('eventsource-cross-origin: basic use', async () => {
    await listen(stream(there.origin, '/shared'), { withCredentials: true });
    await hello(1);
    await server.say('test', 'data');
    assert.equal((await message('data')).origin, there.origin);
  });

  test('eventsource-cross-origin: redirect use', async () => {
    const to = encodeURIComponent(stream('', '/shared'));
    await listen(`${there.origin}/shared/redirect/302?to=${to}`, { withCredentials: true });
    await hello(1);
    await server.say('test', 'data');
    assert.equal((await message('data')).origin, there.origin);
  });

  test('eventsource-cross-origin: it comes back', async () => {
    await listen(stream(there.origin, '/shared'), { withCredentials: true });
    await hello(1);
    await server.end();
    await hello(2);
    await server.say('test', 'data');
    assert.equal((await message('data')).origin, there.origin);
  });

  test('eventsource-cross-origin-redirect-origin: an event is of where it came from in the end', async () => {
    const to = encodeURIComponent(stream(there.origin, '/shared'));
    await listen(`${here.origin}/redirect/302?to=${to}`);
    await hello(1);
    await server.say('test', 'data');
    assert.equal((await message('data')).origin, there.origin);
  });

  const others = [['for another', '/elsewhere'], ['for one without a name', '/nowhere'], ['for none', '']];
  for (const [why, prefix] of others) {
    test(`eventsource-cross-origin: a stream that is ${why} is not read`, async () => {
      await listen(stream(there.origin, prefix));
      assert.deepEqual(await source.heard.until((heard) => heard[0]), { over: 'for good', plain: true });
    });
  }

  test('eventsource-cross-origin-preflight: no id of ours makes a browser ask first', async () => {
    await listen(stream(there.origin, '/shared'));
    await hello(1);
    const cursor = await server.say('test', 'hello');
    await message('hello');
    there.cut();
    await hello(2);
    assert.deepEqual(there.asked.list.map(({ method }) => method), ['GET', 'GET']);
    assert.deepEqual(lastEventIds(there.asked), [undefined, cursor]);
  });
});
