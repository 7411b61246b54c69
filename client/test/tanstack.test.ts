// @vitest-environment jsdom
import { InfiniteQueryObserver, MutationObserver, onlineManager, QueryClient, QueryObserver } from '@tanstack/query-core';
import type { QueryObserverOptions } from '@tanstack/query-core';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { bindQueryClient } from '../src/tanstack';
import { fake } from './fake';
import type { Fake } from './fake';
import { origin, quiet, setHidden, until } from './origin';
import type { Origin } from './origin';

let client: QueryClient;
let server: Fake;
let unbind: () => void;
const cleanups: (() => void)[] = [];

beforeEach(() => {
  client = new QueryClient({ defaultOptions: { queries: { retry: false, staleTime: Infinity } } });
  client.mount();
  server = fake();
  unbind = bindQueryClient(server.realtime, client);
});

afterEach(() => {
  cleanups.splice(0).forEach(cleanup => cleanup());
  unbind();
  client.clear();
  client.unmount();
  onlineManager.setOnline(true);
  setHidden(false);
});

/** Shows a query, as a component does. */
function show<T>(queryKey: readonly unknown[], from: Origin<T>, options: Partial<QueryObserverOptions<T>> = {}) {
  const observer = new QueryObserver<T>(client, { queryKey, queryFn: from.read, ...options });
  const hide = observer.subscribe(() => {});
  cleanups.push(hide);
  return { observer, hide, data: () => observer.getCurrentResult().data };
}

/** … and waits for its first data. */
async function shown<T>(queryKey: readonly unknown[], from: Origin<T>, options: Partial<QueryObserverOptions<T>> = {}) {
  const query = show(queryKey, from, options);
  from.answer();
  await until(() => expect(query.data()).toEqual(from.value));
  return query;
}

const invalidated = (queryKey: readonly unknown[]) => client.getQueryState(queryKey)?.isInvalidated;
const aborted = (from: Origin<unknown>) => from.reads.filter(read => read.signal?.aborted).length;

test('news refetches what is shown at once, however fresh it is (B6, defect 12)', async () => {
  const posts = origin(1);
  const { data } = await shown(['posts', 'list'], posts);
  posts.value = 2;
  server.stale('posts.list');
  expect(posts.reads).toHaveLength(2);
  posts.answer();
  await until(() => expect(data()).toBe(2));
  await quiet();
  expect(posts.reads).toHaveLength(2);
});

test('only what begins with the key is refetched, by whole segments (B18, defect 11)', async () => {
  const [one, two, all, archived, dotted] = [origin(0), origin(0), origin(0), origin(0), origin(0)];
  await shown(['posts', 'list', { id: 1, page: undefined }], one);
  await shown(['posts', 'list', { id: 2 }], two);
  await shown(['posts', 'list'], all);
  await shown(['posts', 'listArchived'], archived);
  await shown(['posts.list'], dotted);
  const asked = () => [one, two, all, archived, dotted].map(from => from.reads.length - 1);

  server.stale(['posts', 'list', { id: 1 }]);
  await quiet();
  expect(asked()).toEqual([1, 0, 0, 0, 0]);
  one.answer();
  await quiet();
  server.stale('posts.list');
  await quiet();
  expect(asked()).toEqual([2, 1, 1, 0, 0]);
});

test('a gap refetches everything', async () => {
  const [posts, users] = [origin(0), origin(0)];
  await shown(['posts'], posts);
  await shown(['users', 7], users);
  server.gap();
  expect([posts.reads.length, users.reads.length]).toEqual([2, 2]);
});

test('news during the first fetch is not swallowed: it ends, and one more follows', async () => {
  const posts = origin('old');
  const { data } = show(['posts'], posts);
  posts.value = 'new';
  server.stale('posts');
  server.stale('posts');
  expect(posts.reads).toHaveLength(1);
  posts.answer();
  await until(() => expect(posts.reads).toHaveLength(2));
  expect(data()).toBe('old');
  posts.answer();
  await until(() => expect(data()).toBe('new'));
  await quiet();
  expect(posts.reads).toHaveLength(2);
  expect(aborted(posts)).toBe(0);
});

test('news during a refetch aborts nothing: every answer is shown, and one more read follows', async () => {
  const posts = origin(0);
  const { data } = await shown(['posts'], posts);
  server.stale('posts');
  for (let round = 1; round <= 5; round++) {
    const before = posts.reads.length;
    posts.value = round;
    server.stale('posts');
    server.stale(['posts']);
    expect(posts.reads).toHaveLength(before);
    posts.answer();
    await until(() => expect(posts.reads).toHaveLength(before + 1));
    expect(data()).toBe(round - 1);
  }
  posts.answer();
  await until(() => expect(data()).toBe(5));
  await quiet();
  expect(posts.reads).toHaveLength(7);
  expect(aborted(posts)).toBe(0);
});

test('news every 60 ms on a query of 100 ms: it goes on being updated, and the last value is right', async () => {
  vi.useFakeTimers();
  cleanups.push(() => vi.useRealTimers());
  let value = 0;
  let aborts = 0;
  const seen: number[] = [];
  const observer = new QueryObserver(client, {
    queryKey: ['ticks'],
    queryFn: ({ signal }) => {
      signal.addEventListener('abort', () => aborts++);
      const now = value;
      return new Promise<number>(done => setTimeout(done, 100, now));
    },
  });
  cleanups.push(observer.subscribe(({ data }) => data !== undefined && seen.at(-1) !== data && seen.push(data)));
  for (let at = 0; at < 1500; at += 60) {
    await vi.advanceTimersByTimeAsync(60);
    value++;
    server.stale('ticks');
  }
  // A read takes 100 ms and at most a few ms pass between two.
  expect(seen.length).toBeGreaterThanOrEqual(12);
  await vi.advanceTimersByTimeAsync(250);
  expect(seen.at(-1)).toBe(value);
  expect(aborts).toBe(0);
});

test('what is not shown is marked stale and not fetched, and fetched once it is shown', async () => {
  const posts = origin(1);
  const { hide } = await shown(['posts'], posts);
  hide();
  posts.value = 2;
  server.stale('posts');
  await quiet();
  expect(posts.reads).toHaveLength(1);
  expect(invalidated(['posts'])).toBe(true);
  const again = show(['posts'], posts);
  posts.answer();
  await until(() => expect(again.data()).toBe(2));
  await quiet();
  expect(posts.reads).toHaveLength(2);
});

test('what became stale unseen is read when it is shown, also where `refetchOnMount` is off', async () => {
  const posts = origin(1);
  const { hide } = await shown(['posts'], posts);
  hide();
  posts.value = 2;
  server.stale('posts');
  const { data } = show(['posts'], posts, { refetchOnMount: false });
  await until(() => expect(posts.reads).toHaveLength(2));
  posts.answer();
  await until(() => expect(data()).toBe(2));
});

test('news during a fetch that nobody watches leaves its result marked stale', async () => {
  const posts = origin(1);
  const fetched = client.fetchQuery({ queryKey: ['posts'], queryFn: posts.read });
  posts.value = 2;
  server.stale('posts');
  posts.answer();
  expect(await fetched).toBe(1);
  await until(() => expect(invalidated(['posts'])).toBe(true));
  expect(posts.reads).toHaveLength(1);
});

test('what is not enabled is not fetched, and fetched once it is enabled', async () => {
  const posts = origin(1);
  const { observer, data } = await shown(['posts'], posts);
  const options = { queryKey: ['posts'], queryFn: posts.read };
  observer.setOptions({ ...options, enabled: false });
  posts.value = 2;
  server.stale('posts');
  await quiet();
  expect(posts.reads).toHaveLength(1);
  expect(invalidated(['posts'])).toBe(true);
  observer.setOptions({ ...options, enabled: true });
  await until(() => expect(posts.reads).toHaveLength(2));
  posts.answer();
  await until(() => expect(data()).toBe(2));
});

test.each([true, false])('a hidden page refetches when it is seen, once (refetchOnWindowFocus: %s)', async onFocus => {
  const posts = origin(1);
  const { data } = await shown(['posts'], posts, { refetchOnWindowFocus: onFocus });
  setHidden(true);
  posts.value = 2;
  server.stale('posts');
  server.stale('posts');
  await quiet();
  expect(posts.reads).toHaveLength(1);
  expect(invalidated(['posts'])).toBe(true);
  setHidden(false);
  await until(() => expect(posts.reads).toHaveLength(2));
  posts.answer();
  await until(() => expect(data()).toBe(2));
  await quiet();
  expect(posts.reads).toHaveLength(2);
});

test('a fetch that waits for the network is waited for, too', async () => {
  const posts = origin(1);
  const { data } = await shown(['posts'], posts);
  onlineManager.setOnline(false);
  server.stale('posts');
  expect(client.getQueryState(['posts'])?.fetchStatus).toBe('paused');
  server.stale('posts');
  await quiet();
  expect(posts.reads).toHaveLength(1);
  onlineManager.setOnline(true);
  await until(() => expect(posts.reads).toHaveLength(2));
  posts.value = 2;
  posts.answer();
  await until(() => expect(posts.reads).toHaveLength(3));
  posts.answer();
  await until(() => expect(data()).toBe(2));
});

/** A mutation that appends to a list at once and takes it back when it fails, as TanStack's guide has it. */
function append(from: Origin<string[]>, fetcher: Origin<unknown>, more: { onSettled?: () => unknown } = {}) {
  const said: string[] = [];
  const mutation = new MutationObserver<unknown, Error, string, { before: string[] | undefined }>(client, {
    mutationFn: () => fetcher.read(),
    onMutate: async text => {
      said.push('mutate');
      await client.cancelQueries({ queryKey: ['posts'] });
      const before = client.getQueryData<string[]>(['posts']);
      client.setQueryData<string[]>(['posts'], (old = []) => [...old, text]);
      return { before };
    },
    onError: (_error, _text, context) => {
      said.push('error');
      client.setQueryData(['posts'], context?.before);
    },
    onSuccess: () => void said.push('success'),
    onSettled: () => {
      said.push('settled');
      return more.onSettled?.();
    },
  });
  const statuses: string[] = [];
  cleanups.push(mutation.subscribe(({ status }) => statuses.at(-1) !== status && statuses.push(status)));
  return { mutation, said, statuses, from };
}

test('an optimistic update in flight is not disturbed: one read follows when it has settled (B17, C14)', async () => {
  const posts = origin(['a']);
  const { data } = await shown(['posts'], posts);
  const created = origin('ok');
  const { mutation, said, statuses } = append(posts, created);
  const done = mutation.mutate('b');
  // Also before `onMutate` has written.
  server.stale('posts');
  await until(() => expect(created.reads).toHaveLength(1));
  server.stale('posts');
  await quiet();
  expect(data()).toEqual(['a', 'b']);
  expect(posts.reads).toHaveLength(1);

  posts.value = ['a', 'b!'];
  created.answer();
  await done;
  expect(said).toEqual(['mutate', 'success', 'settled']);
  await until(() => expect(posts.reads).toHaveLength(2));
  posts.answer();
  await until(() => expect(data()).toEqual(['a', 'b!']));
  await quiet();
  expect(posts.reads).toHaveLength(2);
  expect(statuses).toEqual(['pending', 'success']);
});

test('an optimistic update that fails is rolled back to what was, then read (C14)', async () => {
  const posts = origin(['a']);
  const { data } = await shown(['posts'], posts);
  const created = origin('ok');
  const { mutation, said, statuses } = append(posts, created);
  const done = mutation.mutate('b').catch(() => {});
  await until(() => expect(created.reads).toHaveLength(1));
  server.stale('posts');
  await quiet();
  expect(posts.reads).toHaveLength(1);
  created.fail();
  await done;
  expect(data()).toEqual(['a']);
  expect(said).toEqual(['mutate', 'error', 'settled']);
  await until(() => expect(posts.reads).toHaveLength(2));
  expect(statuses).toEqual(['pending', 'error']);
});

test('a read that an optimistic update cancelled is made up for when it has settled', async () => {
  const posts = origin(['a']);
  const { data } = await shown(['posts'], posts);
  posts.value = ['a', 'c'];
  server.stale('posts');
  const created = origin('ok');
  const { mutation } = append(posts, created);
  const done = mutation.mutate('b');
  await until(() => expect(created.reads).toHaveLength(1));
  expect(data()).toEqual(['a', 'b']);
  expect(aborted(posts)).toBe(1); // by the app's own `cancelQueries`
  created.answer();
  await done;
  await until(() => expect(posts.reads).toHaveLength(3));
  posts.answer();
  await until(() => expect(data()).toEqual(['a', 'c']));
});

test('a refetch of its own in `onSettled` is enough', async () => {
  const posts = origin(['a']);
  await shown(['posts'], posts);
  const created = origin('ok');
  const { mutation } = append(posts, created, { onSettled: () => client.invalidateQueries({ queryKey: ['posts'] }) });
  const done = mutation.mutate('b');
  await until(() => expect(created.reads).toHaveLength(1));
  server.stale('posts');
  created.answer();
  await until(() => expect(posts.reads).toHaveLength(2));
  posts.answer();
  await done;
  await quiet();
  expect(posts.reads).toHaveLength(2);
});

test('an optimistic update holds back what it wrote, and nothing else', async () => {
  const [posts, users] = [origin(['a']), origin(1)];
  await shown(['posts'], posts);
  await shown(['users'], users);
  const created = origin('ok');
  const { mutation } = append(posts, created);
  const done = mutation.mutate('b');
  await until(() => expect(created.reads).toHaveLength(1));
  server.gap();
  expect([posts.reads.length, users.reads.length]).toEqual([1, 2]);
  created.answer();
  await done;
  await until(() => expect(posts.reads).toHaveLength(2));
});

test('a mutation without `onMutate` holds nothing back', async () => {
  const posts = origin(1);
  await shown(['posts'], posts);
  const saved = origin('ok');
  const mutation = new MutationObserver(client, { mutationFn: saved.read });
  void mutation.mutate(undefined);
  await until(() => expect(saved.reads).toHaveLength(1));
  server.stale('posts');
  expect(posts.reads).toHaveLength(2);
});

test('an optimistic update that waits for the network holds until it is resumed, and no longer', async () => {
  const posts = origin(['a']);
  const { data } = await shown(['posts'], posts, { networkMode: 'always' });
  const created = origin('ok');
  const { mutation } = append(posts, created);
  onlineManager.setOnline(false);
  const done = mutation.mutate('b');
  await until(() => expect(mutation.getCurrentResult().isPaused).toBe(true));
  await until(() => expect(data()).toEqual(['a', 'b']));
  server.stale('posts');
  await quiet();
  expect(posts.reads).toHaveLength(1);
  onlineManager.setOnline(true);
  await until(() => expect(created.reads).toHaveLength(1));
  await quiet();
  expect(posts.reads).toHaveLength(1);
  created.answer();
  await done;
  await until(() => expect(posts.reads).toHaveLength(2));
});

test('a paused mutation that nobody resumes holds nothing for ever', async () => {
  const posts = origin(['a']);
  await shown(['posts'], posts);
  client.unmount();
  cleanups.push(() => client.mount());
  const { mutation } = append(posts, origin('ok'));
  onlineManager.setOnline(false);
  void mutation.mutate('b');
  await until(() => expect(mutation.getCurrentResult().isPaused).toBe(true));
  server.stale('posts');
  await quiet();
  expect(posts.reads).toHaveLength(1);
  onlineManager.setOnline(true);
  await until(() => expect(posts.reads).toHaveLength(2));
});

test('data written by hand into what is stale does not make it fresh', async () => {
  const posts = origin(1);
  const { hide } = await shown(['posts'], posts);
  hide();
  server.stale('posts');
  client.setQueryData(['posts'], 7);
  expect(invalidated(['posts'])).toBe(true);
});

test('infinite queries: all pages are refetched, also after a page that was loading', async () => {
  let value = 'old';
  const asked: number[] = [];
  const gates: (() => void)[] = [];
  const observer = new InfiniteQueryObserver(client, {
    queryKey: ['feed'],
    initialPageParam: 0,
    getNextPageParam: (_page, pages) => pages.length,
    queryFn: ({ pageParam, signal }) => {
      void signal;
      const page = `${value} ${pageParam}`;
      asked.push(pageParam);
      return new Promise<string>(done => gates.push(() => done(page)));
    },
  });
  cleanups.push(observer.subscribe(() => {}));
  const answer = async (reads: number) => {
    await until(() => expect(asked).toHaveLength(reads));
    gates.shift()!();
  };
  await answer(1);
  await until(() => expect(observer.getCurrentResult().data?.pages).toEqual(['old 0']));
  void observer.fetchNextPage();
  value = 'new';
  server.stale('feed');
  expect(asked).toEqual([0, 1]);
  await answer(2);
  await until(() => expect(observer.getCurrentResult().data?.pages).toHaveLength(2));
  await answer(3);
  await answer(4);
  await until(() => expect(observer.getCurrentResult().data?.pages).toEqual(['new 0', 'new 1']));
  await quiet();
  expect(asked).toEqual([0, 1, 0, 1]);
});

test('a page that is loaded instead of the refetch does not pay for it', async () => {
  let value = 'old';
  const asked: number[] = [];
  const gates: (() => void)[] = [];
  const observer = new InfiniteQueryObserver(client, {
    queryKey: ['feed'],
    initialPageParam: 0,
    getNextPageParam: (_page, pages) => pages.length,
    queryFn: ({ pageParam }) => {
      const page = `${value} ${pageParam}`;
      asked.push(pageParam);
      return new Promise<string>(done => gates.push(() => done(page)));
    },
  });
  cleanups.push(observer.subscribe(() => {}));
  gates.shift()!();
  await until(() => expect(observer.getCurrentResult().data?.pages).toEqual(['old 0']));
  value = 'new';
  server.stale('feed');
  // The user scrolls; TanStack cancels the refetch for it.
  void observer.fetchNextPage();
  const pump = setInterval(() => gates.shift()?.());
  cleanups.push(() => clearInterval(pump));
  await until(() => expect(observer.getCurrentResult().data?.pages).toEqual(['new 0', 'new 1']));
  expect(asked).toEqual([0, 0, 1, 0, 1]);
});

test('a refetch that fails leaves the query stale, and is tried again when the stream opens', async () => {
  const posts = origin(1);
  const { data } = await shown(['posts'], posts);
  posts.value = 2;
  server.stale('posts');
  posts.fail();
  await until(() => expect(client.getQueryState(['posts'])?.status).toBe('error'));
  await quiet();
  expect(posts.reads).toHaveLength(2);
  expect(invalidated(['posts'])).toBe(true);
  server.setStatus({ state: 'waiting' });
  await quiet();
  expect(posts.reads).toHaveLength(2);
  server.setStatus({ state: 'open' });
  await until(() => expect(posts.reads).toHaveLength(3));
  posts.answer();
  await until(() => expect(data()).toBe(2));
});

test("a refetch of the app's own that fails is the app's own affair", async () => {
  const posts = origin(1);
  const { observer } = await shown(['posts'], posts);
  server.stale('posts');
  posts.answer();
  await quiet();
  void observer.refetch();
  posts.fail();
  await until(() => expect(client.getQueryState(['posts'])?.status).toBe('error'));
  server.setStatus({ state: 'waiting' });
  server.setStatus({ state: 'open' });
  await quiet();
  expect(posts.reads).toHaveLength(3);
});

test('news during a read that fails is read for once more', async () => {
  const posts = origin(1);
  const { data } = await shown(['posts'], posts);
  server.stale('posts');
  posts.value = 2;
  server.stale('posts');
  posts.fail();
  await until(() => expect(posts.reads).toHaveLength(3));
  posts.answer();
  await until(() => expect(data()).toBe(2));
});

test('`key` names a query as the server does', async () => {
  unbind();
  unbind = bindQueryClient(server.realtime, client, {
    key: ({ queryKey }) => (queryKey[0] === 'local' ? null : queryKey[0] === '/api/posts' ? 'posts.list' : queryKey),
  });
  const [posts, local] = [origin(1), origin(1)];
  await shown(['/api/posts', { page: 1 }], posts);
  await shown(['local'], local);
  server.stale('posts');
  server.gap();
  expect([posts.reads.length, local.reads.length]).toEqual([2, 1]);
});

test('what is static stays as it is', async () => {
  const posts = origin(1);
  await shown(['posts'], posts, { staleTime: 'static' });
  server.stale('posts');
  await quiet();
  expect(posts.reads).toHaveLength(1);
});

test('unbinding leaves no listener, and nothing is refetched any more', async () => {
  const queries = client.getQueryCache();
  const posts = origin(1);
  await shown(['posts'], posts);
  setHidden(true);
  server.stale('posts');
  unbind();
  unbind();
  expect(server.listeners()).toBe(0);
  expect(queries.hasListeners()).toBe(false);
  expect(client.getMutationCache().hasListeners()).toBe(false);
  setHidden(false);
  server.stale('posts');
  server.setStatus({ state: 'waiting' });
  server.setStatus({ state: 'open' });
  await quiet();
  // Its mark is TanStack's own by now: this one read is refetchOnWindowFocus.
  expect(posts.reads).toHaveLength(2);
});

test('unbinding during a read ends with that read', async () => {
  const posts = origin(1);
  await shown(['posts'], posts);
  server.stale('posts');
  server.stale('posts');
  const settled = new Promise<void>(done =>
    cleanups.push(client.getQueryCache().subscribe(event => event.type === 'updated' && done())),
  );
  posts.answer();
  await settled;
  unbind();
  await quiet();
  expect(posts.reads).toHaveLength(2);
});
