/**
 * Tabs do what they like, and so does the network; the server is a model, and time is the test's. So thousands of
 * hours of it are a minute, and a seed is the whole story: `SEED=… npx vitest run test/model.test.ts`.
 */

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { PROTOCOL, type ToRelay, type ToTab } from '../src/protocol';
import { createRealtime } from '../src/realtime';
import { createRelay } from '../src/relay';
import type { Realtime, Unsubscribe } from '../src/types';
import { modelServer, random, type Choose } from './model';

const WORLDS = Number(process.env.WORLDS ?? 300);
const SEED = Number(process.env.SEED ?? 1);
const STEPS = 150;
const CHANNELS = ['a', 'b', 'c', 'd'];
const KEYS = ['x', 'y', 'z'];

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date'] });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

const turn = async () => {
  for (let count = 0; count < 3; count++) await new Promise((done) => setImmediate(done));
};
const wait = async (ms: number) => {
  await vi.advanceTimersByTimeAsync(ms);
  await turn();
};

/** SharedWorkers that are no files: a relay a name, and ports that clone. */
const shareRelays = (choose: Choose) => {
  const relays = new Map<string, ReturnType<typeof createRelay>>();
  vi.stubGlobal(
    'SharedWorker',
    class {
      port;
      constructor(_: string, { name }: { name: string }) {
        const join = relays.get(name) ?? createRelay(1_000);
        relays.set(name, join);
        let open = true;
        // In order, and after a while: the other end is another thread.
        const later = () => {
          const queue: (() => void)[] = [];
          return (deliver: () => void) => {
            queue.push(deliver);
            setTimeout(() => queue.shift()!(), choose.of([0, 0, 0, 5, 80]));
          };
        };
        const [near, far] = [later(), later()];
        const port = {
          onmessage: undefined as undefined | ((event: { data: ToTab }) => void),
          postMessage(message: ToRelay) {
            const data = structuredClone(message);
            far(() => tell(data));
          },
          close: () => void (open = false),
        };
        const post = (message: ToTab) => {
          const data = structuredClone(message);
          near(() => open && port.onmessage?.({ data }));
        };
        const tell = join(post);
        post({ t: 'ready', protocol: PROTOCOL });
        this.port = port;
      }
    },
  );
};

interface Place {
  life: number;
  tip: number;
  cursor: string;
}
interface Checked {
  leave: Unsubscribe;
  end(): void;
  lacks(): string | undefined;
}
interface Tab {
  name: string;
  relay: string;
  share: boolean;
  realtime: Realtime;
  place: Place | undefined;
  connected: boolean;
  follows: Set<Checked>;
  attends: Set<Checked>;
  listens: Set<Checked>;
}

/** One world, from its seed; what is to object to in it. */
const live = async (seed: number): Promise<{ objections: string[]; gaps: number; messages: number; resumed: number; present: number }> => {
  const choose: Choose = random(seed);
  const jitter: Choose = random(seed + 1);
  vi.spyOn(Math, 'random').mockImplementation(() => jitter.below(1_000) / 1_000);
  vi.setSystemTime(1_000_000);
  const objections: string[] = [];
  const counts = { gaps: 0, messages: 0, resumed: 0, present: 0 };
  // Some worlds keep everything, and their server never restarts: there nothing may be told to be missing.
  const keeps = choose.is(0.4);
  const server = modelServer(choose, keeps ? 1e9 : 12, (relay, open) => {
    if (open > 2) objections.push(`${relay} has ${open} streams`);
  });
  shareRelays(random(seed + 2));
  vi.stubGlobal('fetch', server.fetch);
  let said: { life: number; channel: string; offset: number }[] = [];
  let places: Place[] = [];
  const changed = new Map<string, { life: number; offset: number }>();
  const relays = ['ann', 'bob', 'cat'];

  const follow = (tab: Tab, channel: string, own: Place | undefined): Checked => {
    /** It has all up to here, or was told otherwise; and what it heard last, which may be from before. */
    let at: { life: number; offset: number } | undefined;
    let last: typeof at;
    let ended = false;
    let covered = false;
    let hole: string | undefined;
    const history: string[] = [];
    const from = own ?? tab.place;
    const object = (what: string) => objections.push(`${tab.name} on ${channel}: ${what}; it heard ${history.join(' ')}`);
    const missing = (what: string) => {
      if (covered) return;
      hole = what;
      // A gap is told in the turn after the messages that came with it.
      setTimeout(() => !ended && hole === what && object(what), 5);
    };
    const due = () => said.find(({ life, channel: name, offset }) => life === at?.life && name === channel && offset > at.offset);
    const leave = tab.realtime.channel(
      channel,
      {
        onConnect({ resumed }) {
          history.push(resumed ? 'resumed' : 'connected');
          if (at || ended) object('connected again, or after its end');
          if (resumed) counts.resumed++;
          // Of another life, too, where the page has not heard of the new one yet: then a gap follows.
          if (resumed && !from) object('resumed from nowhere');
          at = resumed ? { life: from!.life, offset: from!.tip } : { life: server.life(), offset: server.tip() };
        },
        onMessage({ data: offset, id }) {
          const life = Number(id!.split('-')[0]!.slice(1));
          counts.messages++;
          history.push(`${life}/${offset}`);
          if (ended) return object(`${offset} after its end`);
          if (!at) return object(`${offset} before it was connected`);
          const next = due();
          // Of a life before the one in which it was connected: still on its way then.
          if (life > at.life) missing('another life, and no gap');
          else if (life === last?.life && offset <= last.offset) object(`${offset} again, or too late`);
          else if (life === at.life && next && offset > next.offset) missing(`${offset} where ${next.offset} was due`);
          covered = false;
          last = { life, offset };
          if (life > at.life || (life === at.life && offset > at.offset)) at = last;
        },
        onGap({ reason }) {
          counts.gaps++;
          history.push(`gap(${reason})`);
          if (ended) object('a gap after its end');
          if (keeps && !tab.share) object(`a gap, ${reason}, where all is kept`);
          if (hole) hole = undefined;
          else covered = true;
        },
        onError: ({ code }) => void object(`denied: ${code}`),
      },
      { since: own?.cursor },
    );
    return {
      leave,
      end: () => void (ended = true),
      lacks() {
        if (!at) return `${tab.name} on ${channel} is not connected`;
        if (hole) return `${tab.name} on ${channel} has a hole`;
        if (covered) return undefined;
        if (at.life !== server.life()) return `${tab.name} on ${channel} knows nothing of a new life; it heard ${history.join(' ')}`;
        return due() && `${tab.name} on ${channel} lacks ${due()!.offset}; it heard ${history.join(' ')}`;
      },
    };
  };

  const listen = (tab: Tab, key: string, since: Place | undefined): Checked => {
    let told = since ? { life: since.life, offset: since.tip } : { life: server.life(), offset: server.tip() };
    let ended = false;
    const leave = tab.realtime.onRevalidate([key], () => {
      if (ended) objections.push(`${tab.name} heard of ${key} after its end`);
      told = { life: server.life(), offset: server.tip() };
    });
    return {
      leave,
      end: () => void (ended = true),
      lacks() {
        const last = changed.get(key);
        if (!last || last.life < told.life || (last.life === told.life && last.offset <= told.offset)) return undefined;
        return `${tab.name} did not hear that ${key} changed at ${last.life}/${last.offset}, but up to ${told.life}/${told.offset}`;
      },
    };
  };

  const attend = (tab: Tab, channel: string): Checked => {
    const presence = tab.realtime.presence(channel);
    let ended = false;
    let was = presence.getSnapshot();
    const leave = presence.subscribe(() => {
      const now = presence.getSnapshot();
      const ids = now.users.map(({ userId }) => userId);
      const object = (what: string) => objections.push(`${tab.name} in ${channel}: ${what}: ${ids.join(' ')} of ${now.count}`);
      if (ended) object('told after its end');
      if (now === was) object('told of nothing');
      if (was.ready && !now.ready && tab.realtime.status.getSnapshot().state !== 'closed') object('forgotten');
      if (now.ready && !ids.includes(tab.relay)) object('without itself');
      if (new Set(ids).size !== now.count || ids.join() !== [...ids].sort().join() || now.denied) object('no list');
      was = now;
      counts.present++;
    });
    return {
      leave,
      end: () => void (ended = true),
      lacks() {
        const { users, ready } = presence.getSnapshot();
        const [is, should] = [users, server.present(channel)].map((list) => JSON.stringify(list));
        return ready && is === should ? undefined : `${tab.name} in ${channel} has ${ready ? is : 'nobody'}, not ${should}`;
      },
    };
  };

  let names = 0;
  const open = (relay: string, share: boolean, place?: Place): Tab => ({
    name: `${relay}#${++names}`,
    relay,
    share,
    realtime: createRealtime({
      url: `http://app.test/${relay}`,
      share,
      identity: relay,
      backoff: { initial: 50, max: 400 },
      ...(place && { cursor: place.cursor }),
    }),
    place,
    connected: true,
    follows: new Set(),
    attends: new Set(),
    listens: new Set(),
  });
  const tabs = [open('ann', true), open('ann', true), open('ann', true), open('bob', false), open('cat', false)];

  const drop = (all: Set<Checked>) => {
    const [one] = all;
    if (!one) return;
    all.delete(one);
    one.leave();
    one.end();
  };
  const close = (tab: Tab) => {
    while (tab.follows.size) drop(tab.follows);
    while (tab.attends.size) drop(tab.attends);
    while (tab.listens.size) drop(tab.listens);
    tab.realtime.disconnect();
  };
  const actions = {
    follow(tab: Tab) {
      if (tab.follows.size > 4) return;
      tab.follows.add(follow(tab, choose.of(CHANNELS), choose.is(0.4) ? choose.of([undefined, ...places]) : undefined));
    },
    unfollow: (tab: Tab) => drop(tab.follows),
    attend(tab: Tab) {
      if (tab.attends.size < 3) tab.attends.add(attend(tab, choose.of(CHANNELS)));
    },
    depart: (tab: Tab) => drop(tab.attends),
    listen(tab: Tab) {
      if (tab.listens.size < 3) tab.listens.add(listen(tab, choose.of(KEYS), undefined));
    },
    deafen: (tab: Tab) => drop(tab.listens),
    flip(tab: Tab) {
      tab.connected = !tab.connected;
      if (tab.connected) tab.realtime.connect();
      else tab.realtime.disconnect();
    },
    reload(tab: Tab) {
      const place = choose.of([undefined, ...places]);
      close(tab);
      const fresh = open(tab.relay, tab.share, place);
      tabs[tabs.indexOf(tab)] = fresh;
      fresh.listens.add(listen(fresh, choose.of(KEYS), place));
      if (choose.is(0.7)) actions.follow(fresh);
    },
  };
  const ACTIONS = Object.entries({ follow: 9, unfollow: 7, attend: 4, depart: 3, listen: 2, deafen: 1, flip: 4, reload: 2 } as const).flatMap(
    ([name, weight]) => Array<keyof typeof actions>(weight).fill(name as keyof typeof actions),
  );

  for (let step = 0; step < STEPS && !objections.length; step++) {
    for (let count = choose.of([0, 0, 0, 1, 1, 2]); count > 0; count--) actions[choose.of(ACTIONS)](choose.of(tabs));
    for (const channel of CHANNELS) {
      if (choose.is(0.25)) said.push({ life: server.life(), channel, offset: server.say(channel) });
    }
    if (choose.is(0.2)) server.move(choose.of(CHANNELS));
    if (choose.is(0.1)) {
      const key = choose.of(KEYS);
      changed.set(key, { life: server.life(), offset: server.change(key) });
    }
    if (choose.is(0.1)) places = [...places.slice(-5), { life: server.life(), tip: server.tip(), cursor: server.cursor() }];
    if (!keeps && choose.is(0.005)) server.restart();
    if (choose.is(0.7)) server.step();
    await wait(choose.of([0, 1, 10, 60, 60, 300]));
  }
  server.mend();
  for (const tab of tabs) {
    if (!tab.connected) actions.flip(tab);
    if (!tab.follows.size) tab.follows.add(follow(tab, choose.of(CHANNELS), undefined));
    if (!tab.attends.size) tab.attends.add(attend(tab, choose.of(CHANNELS)));
  }
  for (let step = 0; step < 120 && !objections.length; step++) {
    server.step();
    await wait(100);
  }
  for (const { follows, attends, listens } of tabs) {
    for (const checked of [...follows, ...attends, ...listens]) {
      const lacks = checked.lacks();
      if (lacks) objections.push(lacks);
    }
  }
  for (const relay of relays) if (server.open(relay) !== 1) objections.push(`${relay} has ${server.open(relay)} streams`);
  tabs.forEach(close);
  await wait(2_000);
  for (const relay of relays) if (server.open(relay)) objections.push(`${relay} still has a stream`);
  return { objections, ...counts };
};

test(`whoever subscribes hears all or of a gap, in order and once, and knows who is present (SEED=${SEED})`, async () => {
  await import('../src/worker');
  const sum = { gaps: 0, messages: 0, resumed: 0, present: 0 };
  const worlds = process.env.SEED && !process.env.WORLDS ? 1 : WORLDS;
  for (let world = 0; world < worlds; world++) {
    const seed = SEED + world;
    const { objections, gaps, messages, resumed, present } = await live(seed);
    expect(objections.slice(0, 3), `SEED=${seed}`).toEqual([]);
    sum.gaps += gaps;
    sum.messages += messages;
    sum.resumed += resumed;
    sum.present += present;
  }
  // It would be silent about nothing, too.
  if (worlds > 1) for (const count of Object.values(sum)) expect(count).toBeGreaterThan(worlds);
}, 300_000);
