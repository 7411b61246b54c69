// The events that the fixtures of `eventsource-parser`'s own tests produce, through the crate's encoder and back
// through that parser. On this wire a message's name and data are JSON inside of the data of one event, and its id is
// the hub's: so a name or a piece of data comes back equal or is refused, and no id of theirs can be given at all.

import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';

import { link, log, speaker } from './harness.mjs';
import { read } from './reader.mjs';

const done = ['done', '✔'];
const tick = (number) => ['tick', String(number)];
const words = (...words) => words.map((word) => [undefined, word]);

/** Every character there is, in pieces: more than the fixture's sentences in fourteen languages. */
function* characters() {
  const SIZE = 0x4000;
  for (let first = 0; first < 0x110000; first += SIZE) {
    const points = Array.from({ length: SIZE }, (_, at) => first + at);
    yield String.fromCodePoint(...points.filter((point) => point < 0xd800 || point > 0xdfff));
  }
}

/** People of the fixture's kind: characters that only mean something together. */
const families = ['👩', '👨', '🧑'].flatMap((one) => ['🏻', '🏽', '🏿'].flatMap((tone) => {
  return ['🦰', '🚒', '👧‍👦', '❤️‍🔥'].map((other) => `${one}${tone}\u200d${other}`);
})).join(' ');

/** The fixture's event of ten megabytes is as many lines as it takes. */
const huge = `${'Blåbærsyltetøy 蓝莓果酱 😶‍🌫️\n'.repeat(100)}\n`.repeat(2000);

/** The name of each fixture, and its events: a name, if it has one, and data. */
const fixtures = {
  Basic: [...words('0', '1', '2', '3', '4'), done],
  Time: [...Array.from({ length: 5 }, (_, at) => ['time', new Date(at * 1e11).toISOString()]), done],
  TimeChunked: Array.from({ length: 30 }, (_, at) => ['time', new Date(at * 1e10).toISOString()]),
  Identified: [tick(1337), tick(1338), done],
  Heartbeats: [...words('A', 'B', 'C', 'D', 'E'), done],
  Multiline: [['stock', 'YHOO\n+2\n10'], ['stock', 'GOOG\n-8\n1881'], done],
  Multibyte: [...words(families, ...characters()), done],
  MultibyteEmptyLine: [...words('我現在都看實況不玩遊戲'), done],
  InvalidBom: [...words('bomful 1', 'bomless 3', '\uFEFFdata: bomful 2'), done],
  LeadingBom: [...words('bomful 1', 'bomless 2', '\uFEFFbomful 1'), done],
  MultiBom: [...words('bomful 1', 'bomless 3', '\xEF\xBB\xBFdata: bomful 2'), done],
  CarriageReturn: [...words('dog\nbark', 'cat\nmeow', 'dog\rbark\r\r'), done],
  LineFeed: [...words('cow\nmoo', 'horse\nneigh'), done],
  CarriageReturnLineFeed: [...words('sheep\nbleat', 'pig\noink', 'sheep\r\nbleat\r\n\r\n'), done],
  Comments: [...words('First', 'Second', 'Third', 'Fourth', 'Fifth', ': Hello\n\n:'), done],
  MixedComments: words('1', '2', '3', '4', `1\r\r:\0\n:\r\n${'x'.repeat(2049)}\n`),
  EmptyEvents: [...words('Hello 1'), done],
  EmptyRetry: words('🥌', '🧹', '✅'),
  DataFieldParsing: [...words('', '\n', 'test'), done],
  InvalidRetry: words('x'),
  UnknownFields: [...words('abc\n\n123'), done],
  HugeMessage: [...words(huge), done],
};

/** The ids that the fixtures and their tests give, and those of web-platform-tests. */
const ids = [
  '0', '13', '1337', '1338', '42', '123', 'bad\0id', '', '…', 'e5p3n<3k0k0s', 'a'.repeat(255), 'a\nid: b', 'a-1\r',
];

suite("the corpus of eventsource-parser, through the crate's encoder", () => {
  let server;
  let between;
  before(async () => {
    server = await speaker();
    between = await link(server.port);
  });
  after(async () => {
    await between?.close();
    await server?.close();
  });

  /** Listens until `count` events were heard; returns them, and leaves the stream to end. */
  async function listen(query, play) {
    const heard = log('what the client hears');
    const reading = read(between.events + query, {}, (seen) => heard.push(seen.at(-1)));
    await heard.until((heard) => heard.length);
    const count = await play();
    await heard.until((heard) => heard.length >= count);
    await server.end();
    const { seen } = await reading;
    return seen.map((one) => ({ ...one, data: JSON.parse(one.data) }));
  }

  for (const [name, fixture] of Object.entries(fixtures)) {
    test(`${name}: every event comes back equal`, async () => {
      const expected = [];
      const [hello, ...heard] = await listen('', async () => {
        for (const [event = 'message', data] of fixture) {
          const id = await server.say(event, data);
          expected.push({ event: 'message', id, data: { channel: 'wpt', event, data } });
        }
        return 1 + fixture.length;
      });
      assert.equal(hello.event, 'hello');
      assert.equal(heard.length, fixture.length);
      // One at a time: a failure that prints megabytes tells nothing.
      for (const [at, one] of expected.entries()) assert.ok(sameEvent(heard[at], one), `event ${at} of ${name}`);
    });
  }

  const sameEvent = (one, other) => JSON.stringify(one) === JSON.stringify(other);

  for (const event of ['', 'a\nb', 'a\rdata: b', 'a\0', 'x'.repeat(129)]) {
    test(`the name ${JSON.stringify(event).slice(0, 20)} is refused`, async () => {
      await assert.rejects(server.say(event, 1), /422 .* is not the name of an event/);
    });
  }

  for (const id of ids) {
    test(`the id ${JSON.stringify(id).slice(0, 20)} is none of ours, and is never taken for one`, async () => {
      let cursor;
      const query = `&lastEventId=${encodeURIComponent(id)}`;
      const [hello, ...heard] = await listen(query, async () => {
        cursor = await server.say('test', 1);
        // A cursor that is none is told so: `hello` without an id, and a gap that has one.
        return id ? 3 : 2;
      });
      assert.equal(hello.data.resumed, false);
      assert.equal(heard.at(-1).id, cursor);
      const given = heard.map((one) => one.id);
      assert.ok(given.every((one) => /^[0-9a-z]{1,16}-[0-9a-f]{1,16}$/.test(one)), JSON.stringify(given));
    });
  }
});
