// Several tabs subscribe and unsubscribe at random, under load, over a link that breaks, to a server that is killed
// now and then. No message is missing without a gap, none comes twice or too late, no change of a key is missed, and
// no relay ever has more than one stream, two while they change places.
//
// `SEED` makes the same choices again (not the same timing), `SECONDS` says how long.

import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { server } from '../browser/server.mjs';
import { browser } from './browser.mjs';
import { checker } from './checker.mjs';
import { troubled } from './proxy.mjs';
import { random } from './random.mjs';

const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32));
const SECONDS = Number(process.env.SECONDS ?? 40);
/** Long enough for the slowest machine; nothing that works comes near it. */
const HANG = 60_000;
const CHANNELS = Array.from({ length: 8 }, (_, index) => `c${index}`);
const KEYS = Array.from({ length: 6 }, (_, index) => `k${index}`);
/** More than a channel's history. */
const FLOOD = 300;

test(`whoever subscribes hears all or of a gap, in order and once (SEED=${SEED})`, { timeout: SECONDS * 1_000 + 4 * HANG }, async (t) => {
  const choose = random(SEED);
  const objections = [];
  const object = (what) => objections.push(what);

  // The pages before what they stand on.
  const undo = [];
  t.after(async () => {
    for (const one of undo.reverse()) await one();
  });
  const app = await server({ HEARTBEAT_MS: '400' });
  undo.push(app.kill);
  const link = await troubled(app.port(), choose.fork());
  undo.push(link.close);
  const streams = new Map();
  const world = await browser(link.port, (relay, open) => {
    streams.set(relay, open);
    if (open > 2) object(`${relay} has ${open} streams`);
  });
  undo.push(world.close);

  // --- What is published ---------------------------------------------------------------------------------------

  const agent = new Agent({ keepAlive: true });
  undo.push(() => agent.destroy());
  const lives = [];
  const counts = { published: 0, changed: 0, tabs: 0, subscriptions: 0, resumed: 0, gaps: 0, messages: 0 };
  let changes = new Map();
  const snapshot = (life = lives.at(-1)) => {
    const { sent } = life;
    return { life: life.epoch, sent: (channel) => sent.get(channel) ?? 0 };
  };
  const told = () => ({
    ...snapshot(),
    before: (one, other) => {
      const index = (epoch) => lives.findIndex((life) => life.epoch === epoch);
      return index(one) >= 0 && index(one) < index(other);
    },
    changedAt: (key) => changes.get(key) ?? -Infinity,
  });
  const { subscription, listener } = checker(told, object);

  const cursorNow = async () => {
    const response = await fetch(`http://127.0.0.1:${app.port()}/value/none`, { headers: { connection: 'close' } });
    await response.json();
    return response.headers.get('x-revalidate-cursor');
  };
  const begin = async () => lives.push({ epoch: (await cursorNow()).split('-')[0], sent: new Map() });
  await begin();

  const post = (path) =>
    new Promise((resolve, reject) => {
      const asked = request({ method: 'POST', port: app.port(), path, agent }, async (response) => {
        resolve(JSON.parse(Buffer.concat(await response.toArray())));
      });
      asked.on('error', reject).end();
    });
  const publish = async (channel) => {
    const { sent } = lives.at(-1);
    // Before it is answered: it may be heard before that.
    sent.set(channel, (sent.get(channel) ?? 0) + 1);
    assert.equal(await post(`/say/${channel}`), sent.get(channel));
    counts.published += 1;
  };
  const change = async (key) => {
    changes.set(key, performance.now());
    await post(`/bump/${key}`);
    counts.changed += 1;
  };

  /** Cursors, and what had been published up to them. */
  let places = [];
  const remember = async () => {
    const counted = new Map(lives.at(-1).sent);
    const at = performance.now();
    const place = { at, cursor: await cursorNow(), from: { life: lives.at(-1).epoch, sent: (channel) => counted.get(channel) ?? 0 } };
    places = [...places.slice(-20), place];
    return place;
  };

  // --- The tabs ------------------------------------------------------------------------------------------------

  const tabs = [];
  undo.push(() => tabs.forEach(close));
  let names = 0;
  const open = (slot, place) => {
    const name = `${slot.relay}#${(names += 1)}`;
    const realtime = world.page(slot.relay, { share: slot.share, cursor: place?.cursor });
    counts.tabs += 1;
    return { ...slot, name, realtime, place, connected: true, subscriptions: new Set(), listeners: new Set() };
  };
  for (const relay of ['ann', 'bob']) for (let tab = 0; tab < 3; tab++) tabs.push(open({ relay, share: true }));
  for (const relay of ['cat', 'dan']) tabs.push(open({ relay, share: false }));

  const act = {
    subscribe(tab) {
      if (tab.subscriptions.size > 6) return;
      const channel = choose.of(CHANNELS);
      // Where the page's data is from, or some place else.
      const place = choose.is(0.4) && places.length > 0 ? choose.of(places) : undefined;
      const checked = subscription(`${tab.name}/${(counts.subscriptions += 1)}`, channel, (place ?? tab.place)?.from);
      const leave = tab.realtime.channel(
        `news:${channel}`,
        {
          onConnect(opened) {
            if (opened.resumed) counts.resumed += 1;
            checked.onConnect(opened);
          },
          onMessage(message) {
            counts.messages += 1;
            checked.onMessage(message);
          },
          onGap(gap) {
            counts.gaps += 1;
            checked.onGap(gap);
          },
          onError: checked.onError,
        },
        { since: place?.cursor },
      );
      tab.subscriptions.add({ leave, checked });
    },
    unsubscribe(tab) {
      const [one] = tab.subscriptions;
      if (!one) return;
      tab.subscriptions.delete(one);
      one.leave();
      one.checked.end();
    },
    listen(tab, since = performance.now()) {
      if (tab.listeners.size > 3) return;
      const key = choose.of(KEYS);
      const checked = listener(tab.name, key, since);
      const leave = tab.realtime.onRevalidate(['counter', key], checked.hear);
      tab.listeners.add({ leave, checked });
    },
    deafen(tab) {
      const [one] = tab.listeners;
      if (!one) return;
      tab.listeners.delete(one);
      one.leave();
      one.checked.end();
    },
    /** Goes into the back-forward cache, or returns from it. */
    flip(tab) {
      tab.connected = !tab.connected;
      if (tab.connected) tab.realtime.connect();
      else tab.realtime.disconnect();
    },
    /** Loads the page anew. */
    reload(tab) {
      const place = choose.is(0.7) && places.length > 0 ? choose.of(places) : undefined;
      close(tab);
      const fresh = open({ relay: tab.relay, share: tab.share }, place);
      tabs[tabs.indexOf(tab)] = fresh;
      // Whoever listens from the beginning hears what changed since the page's data was read.
      act.listen(fresh, place?.at);
      act.subscribe(fresh);
    },
  };
  const close = (tab) => {
    while (tab.subscriptions.size) act.unsubscribe(tab);
    while (tab.listeners.size) act.deafen(tab);
    tab.realtime.disconnect();
  };
  const WEIGHTS = { subscribe: 10, unsubscribe: 8, listen: 3, deafen: 2, flip: 3, reload: 1 };
  const ACTIONS = Object.entries(WEIGHTS).flatMap(([name, weight]) => Array(weight).fill(name));

  // --- What happens --------------------------------------------------------------------------------------------

  const rehearse = async (until) => {
    for (let step = 0; performance.now() < until && !objections.length; step++) {
      act[choose.of(ACTIONS)](choose.of(tabs));
      await Promise.all(CHANNELS.filter(() => choose.is(0.4)).map(publish));
      if (choose.is(0.1)) await change(choose.of(KEYS));
      if (choose.is(0.1)) await remember();
      if (choose.is(0.02)) link.cut();
      if (choose.is(0.01)) link.hush();
      if (choose.is(0.008)) {
        const channel = choose.of(CHANNELS);
        for (let one = 0; one < FLOOD; one++) await publish(channel);
      }
      await sleep(choose.size(40));
    }
  };

  /** Everyone has everything, and each relay its one stream. */
  const settle = async () => {
    link.mend();
    for (const tab of tabs) {
      if (!tab.connected) act.flip(tab);
      if (!tab.subscriptions.size) act.subscribe(tab);
    }
    await Promise.all([...CHANNELS.map(publish), ...KEYS.map(change)]);
    const due = performance.now() + HANG;
    const lacking = async () => [
      ...tabs.flatMap(({ subscriptions, listeners }) => [...subscriptions, ...listeners].map(({ checked }) => checked.lacks())),
      ...tabs.map(({ name, realtime }) => {
        const { state } = realtime.status.getSnapshot();
        return state === 'open' ? undefined : `${name} is ${state}`;
      }),
      ...[...streams].map(([relay, open]) => (open === 1 ? undefined : `${relay} has ${open} streams`)),
      await app.tell().then(({ open }) => (open === streams.size ? undefined : `the server has ${open} streams`)),
    ].filter(Boolean);
    for (let lacks = await lacking(); lacks.length && !objections.length; lacks = await lacking()) {
      if (performance.now() > due) assert.fail(lacks.join('\n'));
      await sleep(20);
    }
    assert.deepEqual(objections, []);
    link.trouble();
  };

  const end = performance.now() + SECONDS * 1_000;
  for (let round = 1; performance.now() < end && !objections.length; round++) {
    await rehearse(Math.min(performance.now() + 6_000, end));
    await settle();
    if (round % 2 === 0) {
      await app.kill();
      await app.start();
      await begin();
    }
  }
  t.diagnostic(JSON.stringify({ SEED, ...counts, ...link.broken, lives: lives.length }));
  assert.deepEqual(objections, []);
});
