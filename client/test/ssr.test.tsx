import { renderToString } from 'react-dom/server';
import { expect, test } from 'vitest';
import {
  RealtimeProvider, useChannel, useLiveQuery, usePresence, useRealtimeStatus, useRevalidate, useStream, useTyping,
} from '../src/react';
import { fake } from './fake';

test('on a server everything can be imported and rendered, and nothing is subscribed to or read', async () => {
  expect(typeof window).toBe('undefined');
  expect(typeof document).toBe('undefined');
  for (const entry of ['tanstack', 'swr', 'react', 'live-query', 'keys']) await import(`../src/${entry}.ts`);
  const server = fake();
  server.setStatus({ state: 'open' });
  // What a tab shares may be there before a part of the page hydrates.
  server.present('room:1', { users: [{ userId: 'ann' }], count: 1 });
  server.type('room:1:typing', [{ userId: 'ann', userName: 'Ann' }]);
  let asked = 0;
  const ask = async () => ++asked;
  function Page() {
    useRevalidate('posts', () => {});
    const { isConnected } = useChannel('room:1', () => {});
    const loading = useStream('room:2', { initial: ask });
    const rendered = useStream('room:3', { initial: [{ id: 1 }], since: 'e-1' });
    const query = useLiveQuery('posts', ask);
    const given = useLiveQuery('users', ask, { initialData: 7 });
    const there = [usePresence('room:1').users.length, useTyping('room:1:typing').typists.length];
    return (
      <p>
        {[...there, useRealtimeStatus().state, isConnected, loading.isLoading, JSON.stringify(rendered.data), query.isLoading, given.data].join(' ')}
      </p>
    );
  }
  const html = renderToString(
    <RealtimeProvider realtime={server.realtime}>
      <Page />
    </RealtimeProvider>,
  );
  expect(html.replaceAll('&quot;', '"')).toBe('<p>0 0 idle false true [{"id":1}] true 7</p>');
  expect([asked, server.listeners(), server.subscribed(), server.watched().length]).toEqual([0, 0, 0, 0]);
});
