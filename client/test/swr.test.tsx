// @vitest-environment jsdom
import { act, cleanup, configure, render } from '@testing-library/react';
import { useState } from 'react';
import type { ReactNode } from 'react';
import useSWR, { preload, SWRConfig, useSWRConfig } from 'swr';
import type { Middleware, SWRConfiguration } from 'swr';
import useSWRInfinite from 'swr/infinite';
import useSWRMutation from 'swr/mutation';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { bindSWR } from '../src/swr';
import { fake } from './fake';
import type { Fake } from './fake';
import { origin, quiet, setHidden, until } from './origin';
import type { Origin } from './origin';

let server: Fake;
let live: Middleware;
let config: ReturnType<typeof useSWRConfig>;

beforeEach(() => {
  server = fake();
  live = bindSWR(server.realtime);
});

afterEach(() => {
  cleanup();
  configure({ reactStrictMode: false });
  setHidden(false);
  vi.useRealTimers();
});

function Config({ children }: { children: ReactNode }) {
  config = useSWRConfig();
  return children;
}

/** A page with a cache of its own. Data never goes stale by itself, and answers are deduplicated for an hour. */
function page(children: ReactNode, value: SWRConfiguration = {}) {
  const cache = new Map();
  const frozen = { dedupingInterval: 3_600_000, revalidateIfStale: false, revalidateOnFocus: false };
  const wrap = (inner: ReactNode) => (
    <SWRConfig value={{ ...frozen, shouldRetryOnError: false, provider: () => cache, use: [live], ...value }}>
      <Config>{inner}</Config>
    </SWRConfig>
  );
  const view = render(wrap(children));
  return { ...view, show: (inner: ReactNode) => view.rerender(wrap(inner)) };
}

function Show({ at, from }: { at: unknown; from: Origin<unknown> }) {
  const { data, error } = useSWR(at as string, from.read);
  return <p>{error ? 'failed' : data === undefined ? 'loading' : JSON.stringify(data)}</p>;
}

const text = () => document.body.textContent;
const settle = (from: Origin<unknown>) => act(async () => from.answer());
const say = (...keys: Parameters<Fake['stale']>) => act(async () => server.stale(...keys));

/** Shows a key, with its first data. */
async function shown(at: unknown, from: Origin<unknown>, value?: SWRConfiguration) {
  const view = page(<Show at={at} from={from} />, value);
  await settle(from);
  expect(text()).toBe(JSON.stringify(from.value));
  return view;
}

test('news revalidates what is shown at once, whatever was deduplicated (B6)', async () => {
  const posts = origin(1);
  await shown(['posts', 'list'], posts);
  posts.value = 2;
  await say('posts.list');
  expect(posts.reads).toHaveLength(2);
  await settle(posts);
  expect(text()).toBe('2');
  await quiet();
  expect(posts.reads).toHaveLength(2);
});

test('only what begins with the key is revalidated, by whole segments (B18, defect 11)', async () => {
  const names = [
    ['posts', 'list', { id: 1 }], ['posts', 'list', { id: 2 }], 'posts.list', ['posts', 'listArchived'],
    ['posts.list'], { posts: 'list' },
  ];
  const froms = names.map(() => origin(0));
  page(names.map((name, i) => <Show key={i} at={name} from={froms[i]!} />));
  await act(async () => froms.forEach(from => from.answer()));
  const asked = () => froms.map(from => from.reads.length - 1);
  await say(['posts', 'list', { id: 1 }]);
  expect(asked()).toEqual([1, 0, 0, 0, 0, 0]);
  await settle(froms[0]!);
  await say('posts.list');
  expect(asked()).toEqual([2, 1, 1, 0, 0, 0]);
  await act(async () => froms.slice(0, 3).forEach(from => from.answer()));
  await act(async () => server.gap());
  expect(asked()).toEqual([3, 2, 2, 1, 1, 1]);
});

test.each([
  ['a table', { '/api/posts': 'posts.list' }],
  ['a function', (key: unknown) => (key === '/api/posts' ? ['posts', 'list'] : null)],
])('%s names a URL as the server does', async (_, key) => {
  live = bindSWR(server.realtime, { key });
  const posts = origin(1);
  await shown('/api/posts', posts);
  await say('posts');
  expect(posts.reads).toHaveLength(2);
});

test('`null` names what the server never changes', async () => {
  live = bindSWR(server.realtime, { key: () => null });
  const posts = origin(1);
  await shown('posts', posts);
  await act(async () => server.gap());
  expect(posts.reads).toHaveLength(1);
});

test('news during the first read is not lost: it is shown, and one more follows', async () => {
  const posts = origin('old');
  page(<Show at="posts" from={posts} />);
  posts.value = 'new';
  await say('posts');
  await say('posts');
  expect(posts.reads).toHaveLength(1);
  await settle(posts);
  expect(text()).toBe('"old"');
  await until(() => expect(posts.reads).toHaveLength(2));
  await settle(posts);
  expect(text()).toBe('"new"');
  await quiet();
  expect(posts.reads).toHaveLength(2);
});

test('news during a read is read for once more, also where the answer changes nothing on the page', async () => {
  const posts = origin(1);
  await shown('posts', posts);
  await say('posts');
  posts.value = 2;
  await say('posts');
  await settle(posts);
  expect(text()).toBe('1');
  await until(() => expect(posts.reads).toHaveLength(3));
  await settle(posts);
  expect(text()).toBe('2');
});

test('news every 60 ms on a request of 100 ms: it goes on being updated, and the last value is right', async () => {
  vi.useFakeTimers();
  let value = 0;
  const seen = new Set<unknown>();
  function Ticks() {
    const { data } = useSWR('ticks', () => {
      const now = value;
      return new Promise<number>(done => setTimeout(done, 100, now));
    });
    if (data !== undefined) seen.add(data);
    return <p>{data}</p>;
  }
  page(<Ticks />);
  for (let at = 0; at < 1500; at += 60) {
    await act(() => vi.advanceTimersByTimeAsync(60));
    value++;
    await say('ticks');
  }
  expect(seen.size).toBeGreaterThanOrEqual(12);
  await act(() => vi.advanceTimersByTimeAsync(250));
  expect(text()).toBe(String(value));
});

test('what is not shown is not read, and read when it is shown', async () => {
  const [posts, other] = [origin(1), origin(0)];
  const view = await shown('posts', posts);
  view.show(<Show at="other" from={other} />);
  await settle(other);
  posts.value = 2;
  await say('posts');
  await quiet();
  expect(posts.reads).toHaveLength(1);
  view.show(<Show at="posts" from={posts} />);
  await until(() => expect(posts.reads).toHaveLength(2));
  await settle(posts);
  expect(text()).toBe('2');
  expect(other.reads).toHaveLength(1);
});

test('what was cached while nothing was shown, and so nobody listened, is read when it is shown', async () => {
  const posts = origin(1);
  const view = await shown('posts', posts);
  view.show(null);
  await until(() => expect(server.listeners()).toBe(0));
  posts.value = 2;
  await say('posts');
  view.show(<Show at="posts" from={posts} />);
  await until(() => expect(posts.reads).toHaveLength(2));
  await settle(posts);
  expect(text()).toBe('2');
  await quiet();
  expect(posts.reads).toHaveLength(2);
});

test.each([true, false])('a hidden page reads when it is seen, once (revalidateOnFocus: %s)', async onFocus => {
  const posts = origin(1);
  await shown('posts', posts, { revalidateOnFocus: onFocus, focusThrottleInterval: 0 });
  await act(async () => setHidden(true));
  posts.value = 2;
  await say('posts');
  await quiet();
  expect(posts.reads).toHaveLength(1);
  await act(async () => setHidden(false));
  await until(() => expect(posts.reads).toHaveLength(2));
  await settle(posts);
  expect(text()).toBe('2');
  await quiet();
  expect(posts.reads).toHaveLength(2);
});

test('while SWR is paused nothing is read, and it is made up for', async () => {
  const posts = origin(1);
  let paused = false;
  let rerender = (_: number) => {};
  function Pausable() {
    rerender = useState(0)[1];
    return <Show at="posts" from={posts} />;
  }
  page(<Pausable />, { isPaused: () => paused });
  await settle(posts);
  await quiet();
  paused = true;
  await say('posts');
  await quiet();
  expect(posts.reads).toHaveLength(1);
  paused = false;
  await act(async () => rerender(1));
  expect(posts.reads).toHaveLength(2);
});

test('a read that fails while SWR is paused, which SWR tells nobody, is made up for', async () => {
  const posts = origin(1);
  let paused = false;
  let rerender = (_: number) => {};
  function Pausable() {
    rerender = useState(0)[1];
    return <Show at="posts" from={posts} />;
  }
  page(<Pausable />, { isPaused: () => paused });
  await settle(posts);
  posts.value = 2;
  await say('posts');
  paused = true;
  await act(async () => posts.fail());
  await quiet();
  expect(text()).toBe('1');
  expect(posts.reads).toHaveLength(2);
  paused = false;
  await act(async () => rerender(1));
  await until(() => expect(posts.reads).toHaveLength(3));
  await settle(posts);
  expect(text()).toBe('2');
});

test('an optimistic update in flight is not disturbed: one read follows when it has settled (C14)', async () => {
  const [posts, created] = [origin(['a']), origin(['a', 'b'])];
  await shown('posts', posts);
  let done: Promise<unknown>;
  await act(async () => {
    done = config.mutate('posts', created.read(), { optimisticData: ['a', 'b?'], revalidate: false });
  });
  await say('posts');
  await quiet();
  expect(text()).toBe('["a","b?"]');
  expect(posts.reads).toHaveLength(1);
  posts.value = ['a', 'b', 'c'];
  await act(async () => {
    created.answer();
    await done;
  });
  await until(() => expect(posts.reads).toHaveLength(2));
  await settle(posts);
  expect(text()).toBe('["a","b","c"]');
  await quiet();
  expect(posts.reads).toHaveLength(2);
});

test('an optimistic update that fails is rolled back to what was, then read (C14)', async () => {
  const [posts, created] = [origin(['a']), origin(0)];
  await shown('posts', posts);
  let done: Promise<unknown>;
  await act(async () => {
    done = config.mutate('posts', created.read(), { optimisticData: ['a', 'b?'], revalidate: false }).catch(() => {});
  });
  await say('posts');
  await act(async () => {
    created.fail();
    await done;
  });
  expect(text()).toBe('["a"]');
  await until(() => expect(posts.reads).toHaveLength(2));
});

test.each([
  ['has ended', false],
  ['still goes on, which throws that answer away too', true],
])('an answer that SWR threw away because of a mutation is asked for again when that %s', async (_, goesOn) => {
  const [posts, saved] = [origin('old'), origin('local')];
  await shown('posts', posts);
  vi.useFakeTimers();
  posts.value = 'new';
  await say('posts');
  let done: Promise<unknown>;
  await act(async () => {
    done = config.mutate('posts', saved.read(), { revalidate: false, populateCache: false });
  });
  await act(async () => posts.reads[1]!.answer());
  expect(text()).toBe('"old"');
  // When it asks again is a matter of time; a mutation tells nobody when it ends.
  if (goesOn) await act(() => vi.advanceTimersByTimeAsync(1000));
  expect(posts.open).toHaveLength(goesOn ? 1 : 0);
  await act(async () => {
    saved.answer();
    await done;
  });
  if (goesOn) await settle(posts);
  expect(text()).toBe('"old"');
  await act(() => vi.advanceTimersByTimeAsync(1000));
  expect(posts.open).toHaveLength(1);
  await settle(posts);
  expect(text()).toBe('"new"');
  await act(() => vi.advanceTimersByTimeAsync(10_000));
  expect(posts.open).toHaveLength(0);
});

test('an answer that SWR threw away when its component shows another key is asked for when it is shown again', async () => {
  const [posts, other, saved] = [origin('old'), origin(0), origin('local')];
  let go = (_: string) => {};
  function Pager() {
    const [at, set] = useState('posts');
    go = set;
    return <Show at={at} from={at === 'posts' ? posts : other} />;
  }
  page(<Pager />);
  await settle(posts);
  posts.value = 'new';
  await say('posts');
  let done: Promise<unknown>;
  await act(async () => {
    done = config.mutate('posts', saved.read(), { revalidate: false, populateCache: false });
  });
  await act(async () => go('other'));
  await settle(other);
  await act(async () => posts.reads[1]!.answer());
  await act(async () => {
    saved.answer();
    await done;
  });
  await quiet();
  await act(async () => go('posts'));
  expect(text()).toBe('"old"');
  await until(() => expect(posts.reads).toHaveLength(3));
  await settle(posts);
  expect(text()).toBe('"new"');
});

/** Shows a key, and a `useSWRMutation` of it. */
async function mutated(posts: Origin<unknown>, created: Origin<unknown>) {
  let trigger!: () => Promise<unknown>;
  function Create() {
    trigger = useSWRMutation('posts', (_key: string, _options: { arg: unknown }) => created.read(), {
      revalidate: false,
      populateCache: false,
    }).trigger;
    return null;
  }
  page(<><Show at="posts" from={posts} /><Create /></>);
  await settle(posts);
  return () => trigger();
}

test('a mutation of `useSWRMutation` is no read: what is stale under it is read', async () => {
  const [posts, created] = [origin(1), origin('ok')];
  const trigger = await mutated(posts, created);
  await act(async () => setHidden(true));
  await say('posts');
  let done: Promise<unknown>;
  await act(async () => {
    done = trigger();
  });
  await act(async () => {
    created.answer();
    await done;
  });
  await act(async () => setHidden(false));
  await until(() => expect(posts.reads).toHaveLength(2));
});

test('… nor is its success, in the moment in which it threw an answer away', async () => {
  const [posts, created] = [origin(1), origin('ok')];
  const trigger = await mutated(posts, created);
  posts.value = 2;
  await say('posts');
  let done: Promise<unknown>;
  await act(async () => {
    done = trigger();
  });
  await act(async () => {
    posts.answer();
    created.answer();
    await done;
  });
  expect(text()).toBe('1');
  await until(() => expect(posts.reads).toHaveLength(3));
  await settle(posts);
  expect(text()).toBe('2');
});

test('a read that fails is made again when the stream opens', async () => {
  const posts = origin(1);
  await shown('posts', posts);
  posts.value = 2;
  await say('posts');
  await act(async () => posts.fail());
  expect(text()).toBe('failed');
  await quiet();
  expect(posts.reads).toHaveLength(2);
  await act(async () => server.setStatus({ state: 'waiting' }));
  await quiet();
  expect(posts.reads).toHaveLength(2);
  await act(async () => server.setStatus({ state: 'open' }));
  await until(() => expect(posts.reads).toHaveLength(3));
  await settle(posts);
  expect(text()).toBe('2');
  await act(async () => {
    server.setStatus({ state: 'waiting' });
    server.setStatus({ state: 'open' });
  });
  await quiet();
  expect(posts.reads).toHaveLength(3);
});

test('a read that was preloaded is waited for', async () => {
  const posts = origin('old');
  void preload('preloaded', posts.read);
  page(<Show at="preloaded" from={posts} />);
  posts.value = 'new';
  await say('preloaded');
  await quiet();
  expect(posts.reads).toHaveLength(1);
  await settle(posts);
  expect(text()).toBe('"old"');
  await until(() => expect(posts.reads).toHaveLength(2));
  await settle(posts);
  expect(text()).toBe('"new"');
});

test('of an infinite list all pages are read, also when only one of them became stale', async () => {
  let value = 'old';
  const asked: number[] = [];
  let setSize: (size: number) => Promise<unknown>;
  function Feed() {
    const feed = useSWRInfinite(
      page => ['feed', { page }],
      async ([, { page }]: [string, { page: number }]) => {
        asked.push(page);
        return `${value} ${page}`;
      },
    );
    setSize = feed.setSize;
    return <p>{feed.data?.join()}</p>;
  }
  const view = page(<Feed />);
  await until(() => expect(text()).toBe('old 0'));
  await act(() => setSize(2));
  expect(text()).toBe('old 0,old 1');
  asked.length = 0;
  value = 'new';
  await say(['feed', { page: 1 }]);
  await until(() => expect(text()).toBe('new 0,new 1'));
  expect(asked).toEqual([0, 1]);

  // … and what became stale while it was not shown.
  const other = origin(0);
  view.show(<Show at="other" from={other} />);
  value = 'newer';
  await say(['feed', { page: 1 }]);
  view.show(<Feed />);
  await until(() => expect(text()).toBe('newer 0,newer 1'));

  // … once.
  await quiet();
  view.show(<Show at="other" from={other} />);
  asked.length = 0;
  view.show(<Feed />);
  await quiet();
  expect(asked).toEqual([]);
});

test('many hooks of one key are one read, also in StrictMode, and none is left when they go (F14)', async () => {
  // In this test alone: with a provider of its own, SWR forgets there what it knew of mutations.
  configure({ reactStrictMode: true });
  const posts = origin(1);
  const three = [0, 1, 2].map(i => <Show key={i} at="posts" from={posts} />);
  const view = page(three);
  await settle(posts);
  await say('posts');
  expect(posts.reads).toHaveLength(2);
  expect(server.listeners()).toBe(1);
  await settle(posts);
  expect(text()).toBe('111');
  view.unmount();
  await until(() => expect(server.listeners()).toBe(0));
});

test('a middleware that is made anew on every render keeps what is owed', async () => {
  const posts = origin(1);
  const fresh = () => (
    <SWRConfig value={{ use: [bindSWR(server.realtime)] }}>
      <Show at="posts" from={posts} />
    </SWRConfig>
  );
  live = next => next;
  const view = page(fresh());
  posts.value = 2;
  await say('posts');
  view.show(fresh());
  await settle(posts);
  await until(() => expect(posts.reads).toHaveLength(2));
  expect(server.listeners()).toBe(1);
});
