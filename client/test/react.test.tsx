// @vitest-environment jsdom
import { act, cleanup, configure, render, renderHook } from '@testing-library/react';
import type { ReactNode } from 'react';
import { afterEach, beforeEach, expect, expectTypeOf, test, vi } from 'vitest';
import {
  createHooks, RealtimeProvider, useChannel, useLiveQuery, usePresence, useRealtime, useRealtimeStatus, useRevalidate, useStream,
  useTyping,
} from '../src/react';
import type { StreamOptions } from '../src/react';
import type { Message, Realtime } from '../src/types';
import { fake } from './fake';
import type { Fake } from './fake';
import { origin, quiet, setHidden, until } from './origin';

// Everything here is promised in StrictMode. At the root: below a component that mounts with it, it does nothing.
configure({ reactStrictMode: true });

let server: Fake;

beforeEach(() => {
  server = fake();
});

afterEach(() => {
  cleanup();
  setHidden(false);
  vi.useRealTimers();
});

const wrapper = ({ children }: { children: ReactNode }) => (
  <RealtimeProvider realtime={server.realtime}>{children}</RealtimeProvider>
);

/** Renders a hook below a provider. */
const hook = <R, P>(use: (props: P) => R, initialProps?: P) =>
  renderHook(use, { wrapper, ...(initialProps === undefined ? {} : { initialProps }) });

test('the status is the connection\'s', async () => {
  const { result } = hook(() => useRealtimeStatus());
  expect(result.current).toEqual({ state: 'open' });
  await act(async () => server.setStatus({ state: 'waiting', retryAt: 7, reason: 'http 503' }));
  expect(result.current).toEqual({ state: 'waiting', retryAt: 7, reason: 'http 503' });
});

test('a hook outside of a provider says what is missing', () => {
  vi.spyOn(console, 'error').mockImplementation(() => {});
  expect(() => renderHook(() => useRealtime())).toThrow('RealtimeProvider');
  vi.restoreAllMocks();
});

test('useRevalidate: inline keys and callbacks subscribe once, and the last callback is called (F14)', async () => {
  const subscribe = vi.spyOn(server.realtime, 'onRevalidate');
  const heard: string[] = [];
  const view = hook(({ name, id }: { name: string; id: number }) => {
    useRevalidate(['posts', { id, page: 1 }], () => heard.push(`${name} ${id}`));
  }, { name: 'first', id: 1 });
  const mounted = subscribe.mock.calls.length;
  view.rerender({ name: 'second', id: 1 });
  expect(subscribe).toHaveBeenCalledTimes(mounted);
  expect(server.listeners()).toBe(1);
  server.stale(['posts', { page: 1, id: 1 }]);
  server.stale('users');
  view.rerender({ name: 'third', id: 2 });
  server.stale(['posts', { page: 1, id: 1 }]);
  server.stale('posts');
  expect(heard).toEqual(['second 1', 'third 2']);
  view.unmount();
  expect(server.listeners()).toBe(0);
});

test('useRevalidate: `null` listens to nothing', () => {
  hook(() => useRevalidate(null, () => {}));
  expect(server.listeners()).toBe(0);
});

test('useChannel: connected means acknowledged by the server, not mounted (A14)', async () => {
  const said: unknown[] = [];
  const { result } = hook(() =>
    useChannel('room:1', {
      onConnect: opened => said.push(opened),
      onMessage: message => said.push(message.data),
      onGap: gap => said.push(gap),
      onError: denied => said.push(denied),
    }),
  );
  expect(result.current).toEqual({ isConnected: false, denied: undefined });
  expect(said).toEqual([]);
  await act(async () => server.connect('room:1', false));
  expect(result.current.isConnected).toBe(true);
  server.publish('room:1', 'message', 'hello');
  server.lose('room:1');
  expect(said).toEqual([{ resumed: false }, 'hello', { reason: 'evicted' }]);
  await act(async () => server.setStatus({ state: 'waiting' }));
  expect(result.current.isConnected).toBe(false);
  await act(async () => server.setStatus({ state: 'open' }));
  expect(result.current.isConnected).toBe(true);
  await act(async () => server.deny('room:1', 'accessdenied'));
  expect(result.current).toEqual({ isConnected: false, denied: { code: 'accessdenied' } });
  expect(said.at(-1)).toEqual({ code: 'accessdenied' });
});

test('useChannel: StrictMode and inline handlers cost one subscription, and none is left (F14)', async () => {
  const heard: string[] = [];
  const view = hook(({ name, room }: { name: string; room: string | null }) => {
    useChannel(room, message => heard.push(`${name} ${message.data}`), { since: name });
  }, { name: 'first', room: 'room:1' as string | null });
  view.rerender({ name: 'second', room: 'room:1' });
  await quiet();
  expect(server.subscribed()).toBe(1);
  expect(server.followers('room:1').map(one => one.since)).toEqual(['first']);
  server.publish('room:1', 'message', 1);
  view.rerender({ name: 'third', room: 'room:2' });
  await until(() => expect(server.followers().map(one => one.name)).toEqual(['room:2']));
  server.publish('room:2', 'message', 2);
  view.rerender({ name: 'fourth', room: null });
  await until(() => expect(server.followers()).toEqual([]));
  expect(heard).toEqual(['second 1', 'third 2']);
});

test('useChannel: nothing is called once the component is gone', async () => {
  const heard: unknown[] = [];
  const view = hook(() => useChannel('room:1', message => heard.push(message.data)));
  view.unmount();
  server.publish('room:1', 'message', 1);
  await until(() => expect(server.followers()).toEqual([]));
  expect(heard).toEqual([]);
});

const payloads = [{ text: 'x' }, [1, 2], 0, false, '', null];

test.each(payloads.map(data => [data]))('useChannel and useStream deliver %j (C4, defect 13)', async data => {
  const heard: unknown[] = [];
  const { result } = hook(() => {
    useChannel('dashboard', message => heard.push(message.data));
    return useStream('dashboard');
  });
  expect(result.current.data).toBe(undefined);
  await act(async () => server.publish('dashboard', 'value', ['before']));
  await act(async () => server.publish('dashboard', 'value', data));
  expect(heard).toEqual([['before'], data]);
  expect(result.current.data).toBe(data);
});

interface Row {
  id: number;
  version: number;
}

const stream = (options: StreamOptions<Row[], Message>) => hook(() => useStream<Row[]>('room:1', options));
const publish = (id: number, version: number, operation?: string) =>
  act(async () => server.publish('room:1', 'row', { id, version, ...(operation && { operation }) }));

test('useStream: `initial` is loaded when the server has acknowledged, and messages are folded into it', async () => {
  const rows = origin<Row[]>([{ id: 1, version: 1 }]);
  const { result } = stream({ initial: rows.read });
  await quiet();
  expect(rows.reads).toHaveLength(0);
  expect(result.current).toMatchObject({ data: undefined, isLoading: true, isConnected: false });
  await act(async () => server.connect('room:1', false));
  expect(rows.reads).toHaveLength(1);
  await act(async () => rows.answer());
  expect(result.current).toEqual({
    data: [{ id: 1, version: 1 }],
    error: undefined,
    isLoading: false,
    isStale: false,
    isConnected: true,
    denied: undefined,
  });
  await publish(2, 1);
  await publish(2, 1);
  await publish(1, 3);
  await publish(1, 2);
  expect(result.current.data).toEqual([{ id: 1, version: 3 }, { id: 2, version: 1 }]);
  await publish(1, 4, 'delete');
  expect(result.current.data).toEqual([{ id: 2, version: 1 }]);
});

test('useStream: what comes during the load is folded on top, and twice is once', async () => {
  const rows = origin<Row[]>([{ id: 1, version: 2 }]);
  const { result } = stream({ initial: rows.read });
  await act(async () => server.connect('room:1', false));
  await publish(1, 1);
  await publish(1, 2);
  await publish(2, 1);
  expect(result.current.data).toBe(undefined);
  await act(async () => rows.answer());
  expect(result.current.data).toEqual([{ id: 1, version: 2 }, { id: 2, version: 1 }]);
});

test.each(['a gap', 'a connect that did not resume'])('useStream: after %s it is loaded again', async how => {
  const rows = origin<Row[]>([{ id: 1, version: 1 }]);
  const { result } = stream({ initial: rows.read });
  await act(async () => server.connect('room:1', false));
  await act(async () => rows.answer());
  rows.value = [{ id: 1, version: 5 }];
  await act(async () => (how === 'a gap' ? server.lose('room:1') : server.connect('room:1', false)));
  expect(rows.reads).toHaveLength(2);
  expect(result.current).toMatchObject({ data: [{ id: 1, version: 1 }], isStale: true, isLoading: false });
  // It goes on meanwhile, and what is newer than the load stays.
  await publish(2, 7);
  expect(result.current.data).toEqual([{ id: 1, version: 1 }, { id: 2, version: 7 }]);
  await act(async () => rows.answer());
  expect(result.current).toMatchObject({ data: [{ id: 1, version: 5 }, { id: 2, version: 7 }], isStale: false });
  await act(async () => server.connect('room:1', true));
  expect(rows.reads).toHaveLength(2);
});

test('useStream: a gap during the load asks for one more', async () => {
  const rows = origin<Row[]>([]);
  const { result } = stream({ initial: rows.read });
  await act(async () => server.connect('room:1', false));
  rows.value = [{ id: 1, version: 1 }];
  await act(async () => server.lose('room:1'));
  expect(rows.reads).toHaveLength(1);
  await act(async () => rows.answer());
  await until(() => expect(rows.reads).toHaveLength(2));
  await act(async () => rows.answer());
  expect(result.current.data).toEqual([{ id: 1, version: 1 }]);
});

test('useStream: a value with its cursor needs no load, and a gap in it is shown', async () => {
  const { result } = stream({ initial: [{ id: 1, version: 1 }], since: 'e-7' });
  expect(server.followers('room:1').map(one => one.since)).toEqual(['e-7']);
  expect(result.current).toMatchObject({ data: [{ id: 1, version: 1 }], isLoading: false });
  await act(async () => server.connect('room:1', true));
  await publish(1, 2);
  expect(result.current).toMatchObject({ data: [{ id: 1, version: 2 }], isStale: false });
  await act(async () => server.lose('room:1'));
  expect(result.current).toMatchObject({ data: [{ id: 1, version: 2 }], isStale: true });
});

test('useStream: a load that fails is tried again; the server\'s silence does not keep it from beginning', async () => {
  vi.useFakeTimers();
  const rows = origin<Row[]>([{ id: 1, version: 1 }]);
  const { result } = stream({ initial: rows.read });
  await act(() => vi.advanceTimersByTimeAsync(1_000));
  expect(rows.reads).toHaveLength(1);
  await act(async () => rows.fail());
  expect(result.current).toMatchObject({ data: undefined, error: new Error('origin'), isLoading: false });
  await act(() => vi.advanceTimersByTimeAsync(1_000));
  expect(rows.reads).toHaveLength(2);
  await act(async () => rows.answer());
  expect(result.current).toMatchObject({ data: [{ id: 1, version: 1 }], error: undefined });
  // What was said between that load and the acknowledgement is in none of the two.
  await act(async () => server.connect('room:1', false));
  expect(rows.reads).toHaveLength(3);
});

test('useStream: a channel that is acknowledged at once is loaded once', async () => {
  vi.useFakeTimers();
  const rows = origin<Row[]>([]);
  const { channel } = server.realtime;
  vi.spyOn(server.realtime, 'channel').mockImplementation((name, handlers, options) => {
    const off = channel(name, handlers, options);
    server.connect(name, false);
    return off;
  });
  const { result } = stream({ initial: rows.read });
  await act(async () => rows.answer());
  await act(() => vi.advanceTimersByTimeAsync(60_000));
  expect(rows.reads).toHaveLength(1);
  expect(result.current).toMatchObject({ data: [], isConnected: true });
});

test('useStream: who is denied loads nothing', async () => {
  vi.useFakeTimers();
  const rows = origin<Row[]>([]);
  const { result } = stream({ initial: rows.read });
  await act(async () => server.deny('room:1', 'accessdenied'));
  await act(() => vi.advanceTimersByTimeAsync(60_000));
  expect(rows.reads).toHaveLength(0);
  expect(result.current).toMatchObject({ isLoading: false, denied: { code: 'accessdenied' } });
});

test('useStream: a reducer of one\'s own, inline; another channel starts anew', async () => {
  const view = hook(({ room, by }: { room: string; by: number }) =>
    useStream<number>(room, { initial: 0, reduce: (sum, { data }) => sum + data * by }), { room: 'room:1', by: 1 });
  await act(async () => server.publish('room:1', 'add', 2));
  view.rerender({ room: 'room:1', by: 10 });
  await act(async () => server.publish('room:1', 'add', 3));
  expect(view.result.current.data).toBe(32);
  expect(server.subscribed()).toBe(1);
  view.rerender({ room: 'room:2', by: 1 });
  expect(view.result.current.data).toBe(0);
  view.unmount();
  await until(() => expect(server.followers()).toEqual([]));
});

test('useLiveQuery: a second page sees what the first one changed, without a line of code (B4)', async () => {
  const posts = origin(['a']);
  const Posts = () => <p>{useLiveQuery('posts.list', posts.read).data?.join()}</p>;
  const one = render(<Posts />, { wrapper });
  const two = render(<Posts />, { wrapper });
  expect(posts.reads).toHaveLength(2);
  await act(async () => posts.open.forEach(read => read.answer()));
  posts.value = ['a', 'b'];
  await act(async () => server.stale('posts.list'));
  await act(async () => posts.open.forEach(read => read.answer()));
  expect([one, two].map(page => page.container.textContent)).toEqual(['a,b', 'a,b']);
  expect(posts.reads).toHaveLength(4);
});

test('useLiveQuery: inline keys and fetchers read once; another key reads anew; `null` does not', async () => {
  const asked: string[] = [];
  const view = hook(({ id, by }: { id: number | null; by: string }) =>
    useLiveQuery(id === null ? null : ['post', { id }], async ([, at]) => {
      asked.push(`${by} ${JSON.stringify(at)}`);
      return id;
    }), { id: 1 as number | null, by: 'first' });
  await until(() => expect(view.result.current.data).toBe(1));
  view.rerender({ id: 1, by: 'second' });
  await act(async () => server.stale(['post', { id: 1 }]));
  view.rerender({ id: 2, by: 'third' });
  expect(view.result.current).toMatchObject({ data: undefined, isLoading: true });
  await until(() => expect(view.result.current.data).toBe(2));
  await act(() => view.result.current.refetch());
  view.rerender({ id: null, by: 'fourth' });
  expect(view.result.current).toMatchObject({ data: undefined, isLoading: false });
  expect(asked).toEqual(['first {"id":1}', 'second {"id":1}', 'third {"id":2}', 'third {"id":2}']);
  await until(() => expect(server.listeners()).toBe(0));
});

interface App {
  announcements: { announcement: { text: string }; count: number };
  [room: `room:${string}`]: { said: { id: number; text: string } };
}

test('usePresence: who is there, while it is mounted; the same object until that changes (F4, F5)', async () => {
  let renders = 0;
  const view = hook(({ name }: { name: string | null }) => (renders++, usePresence<{ name: string }, string>(name)), { name: 'room:1' as string | null });
  expect(view.result.current).toMatchObject({ users: [], count: 0, more: false, ready: false, denied: undefined });
  expect(server.watched()).toEqual(['room:1']);
  await act(async () => server.present('room:1', { users: [{ userId: 'ann', info: { name: 'Ann' } }], count: 1 }));
  expect(view.result.current.users.map(({ info }) => info?.name)).toEqual(['Ann']);
  expect(view.result.current.ready).toBe(true);
  const before = view.result.current;
  view.rerender({ name: 'room:1' });
  expect(view.result.current).toBe(before);
  await act(() => view.result.current.update('away'));
  await act(async () => server.present('room:1', { denied: { code: 'full' }, ready: false }));
  expect(view.result.current.denied).toEqual({ code: 'full' });
  view.rerender({ name: 'room:2' });
  await act(() => view.result.current.update('back'));
  expect(server.watched()).toEqual(['room:2']);
  view.rerender({ name: null });
  await act(() => view.result.current.update('nowhere'));
  expect([view.result.current.ready, server.watched()]).toEqual([false, []]);
  expect(server.told).toEqual([['update', 'room:1', 'away'], ['update', 'room:2', 'back']]);
});

test('useTyping: who types, and to say so, with functions that stay the same (C10)', async () => {
  const view = hook(({ name }: { name: string | null }) => useTyping(name), { name: 'room:1:typing' as string | null });
  const { start, stop } = view.result.current;
  expect(view.result.current.typists).toEqual([]);
  await act(async () => server.type('room:1:typing', [{ userId: 'ann', userName: 'Ann' }]));
  expect(view.result.current).toEqual({ typists: [{ userId: 'ann', userName: 'Ann' }], start, stop });
  start();
  stop();
  expect(server.told).toEqual([['start', 'room:1:typing'], ['stop', 'room:1:typing']]);
  view.rerender({ name: null });
  view.result.current.start();
  view.result.current.stop();
  expect([view.result.current.typists, server.watched(), server.told.length]).toEqual([[], [], 2]);
  view.unmount();
});

test('createHooks gives the same hooks, typed by the app\'s channels', async () => {
  const app = fake<App>();
  const hooks = createHooks<App>();
  const typed = ({ children }: { children: ReactNode }) => (
    <hooks.RealtimeProvider realtime={app.realtime}>{children}</hooks.RealtimeProvider>
  );
  const { result } = renderHook(() => {
    hooks.useChannel('announcements', message => {
      if (message.event === 'count') expectTypeOf(message.data).toEqualTypeOf<number>();
      else expectTypeOf(message.data).toEqualTypeOf<{ text: string }>();
    });
    // @ts-expect-error: no such channel
    hooks.useChannel('nowhere', () => {});
    expectTypeOf(hooks.useRealtime()).toEqualTypeOf<Realtime<App>>();
    return hooks.useStream('room:1', { initial: async () => [{ id: 1, text: 'a' }] });
  }, { wrapper: typed });
  expectTypeOf(result.current.data).toEqualTypeOf<{ id: number; text: string }[] | undefined>();
  await act(async () => app.connect('room:1', false));
  await until(() => expect(result.current.data).toEqual([{ id: 1, text: 'a' }]));
});
