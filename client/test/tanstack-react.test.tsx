// @vitest-environment jsdom
import { QueryClient, QueryClientProvider, useMutation, useQuery } from '@tanstack/react-query';
import { act, cleanup, configure, render } from '@testing-library/react';
import { useEffect, useState } from 'react';
import type { ReactNode } from 'react';
import { afterEach, expect, test } from 'vitest';
import { bindQueryClient } from '../src/tanstack';
import { fake } from './fake';
import { origin, until } from './origin';

configure({ reactStrictMode: true });
afterEach(cleanup);

test('bound in an effect, in StrictMode: news is shown, an optimistic update is left alone (B4, B17)', async () => {
  const server = fake();
  const [posts, created] = [origin(['a']), origin('ok')];
  let add = () => {};

  function Live({ children }: { children: ReactNode }) {
    const [client] = useState(() => new QueryClient({ defaultOptions: { queries: { staleTime: Infinity } } }));
    useEffect(() => bindQueryClient(server.realtime, client), [client]);
    return <QueryClientProvider client={client}>{children}</QueryClientProvider>;
  }
  function Posts() {
    const { data } = useQuery({ queryKey: ['posts', 'list'], queryFn: () => posts.read() });
    const { mutate, status } = useMutation({
      mutationFn: created.read,
      onMutate: async (_: string, { client }) => {
        await client.cancelQueries({ queryKey: ['posts'] });
        client.setQueryData<string[]>(['posts', 'list'], (old = []) => [...old, 'b?']);
        return {};
      },
    });
    add = () => mutate('b');
    return <p>{`${data?.join() ?? 'loading'} ${status}`}</p>;
  }
  const view = render(<Live><Posts /></Live>);
  const text = () => view.container.textContent;
  expect(server.listeners()).toBe(1);

  posts.value = ['a', 'c'];
  await act(async () => server.stale('posts.list'));
  await act(async () => posts.answer());
  await until(() => expect(posts.reads).toHaveLength(2));
  await act(async () => posts.answer());
  await until(() => expect(text()).toBe('a,c idle'));

  await act(async () => add());
  await act(async () => server.stale('posts'));
  await until(() => expect(text()).toBe('a,c,b? pending'));
  expect(posts.reads).toHaveLength(2);
  posts.value = ['a', 'c', 'b'];
  await act(async () => created.answer());
  await until(() => expect(posts.reads).toHaveLength(3));
  await act(async () => posts.answer());
  await until(() => expect(text()).toBe('a,c,b success'));
  view.unmount();
  expect(server.listeners()).toBe(0);
});
