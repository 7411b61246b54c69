import { renderToString } from 'react-dom/server';
import { expect, test } from 'vitest';
import { RealtimeProvider, useChannel, useLiveQuery, useRealtimeStatus, useRevalidate, useStream } from '../src/react';
import { fake } from './fake';

test('on a server everything can be imported and rendered, and nothing is subscribed to or read', async () => {
  expect(typeof window).toBe('undefined');
  expect(typeof document).toBe('undefined');
  for (const entry of ['tanstack', 'swr', 'react', 'live-query', 'keys']) await import(`../src/${entry}.ts`);
  const server = fake();
  server.setStatus({ state: 'open' });
  let asked = 0;
  const ask = async () => ++asked;
  function Page() {
    useRevalidate('posts', () => {});
    const { isConnected } = useChannel('room:1', () => {});
    const loading = useStream('room:2', { initial: ask });
    const rendered = useStream('room:3', { initial: [{ id: 1 }], since: 'e-1' });
    const query = useLiveQuery('posts', ask);
    const given = useLiveQuery('users', ask, { initialData: 7 });
    return (
      <p>
        {[useRealtimeStatus().state, isConnected, loading.isLoading, JSON.stringify(rendered.data), query.isLoading, given.data].join(' ')}
      </p>
    );
  }
  const html = renderToString(
    <RealtimeProvider realtime={server.realtime}>
      <Page />
    </RealtimeProvider>,
  );
  expect(html.replaceAll('&quot;', '"')).toBe('<p>idle false true [{"id":1}] true 7</p>');
  expect([asked, server.listeners(), server.subscribed()]).toEqual([0, 0, 0]);
});
