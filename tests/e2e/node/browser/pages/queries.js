// A TanStack Query client that is bound to the stream, and queries of counters that can be cancelled.

import { createRealtime } from '/realtime/client.js';
import { QueryClient, QueryObserver } from '@tanstack/query-core';
import { bindQueryClient } from 'tower-revalidate/tanstack';

const realtime = createRealtime();
const queryClient = new QueryClient({ defaultOptions: { queries: { staleTime: Infinity } } });
queryClient.mount();
bindQueryClient(realtime, queryClient);

realtime.onRevalidate('counter', () => { window.told = true; });

window.values = [];
window.observe = (key) => {
  const queryKey = ['counter', key];
  // It takes the signal, so that a refetch which cancels is an aborted request.
  const queryFn = async ({ signal }) => (await realtime.fetch(`/value/${key}`, { signal })).json();
  new QueryObserver(queryClient, { queryKey, queryFn }).subscribe(({ data }) => {
    if (data !== undefined && data !== window.values.at(-1)) window.values.push(data);
  });
};
Object.assign(window, { realtime, queryClient, ready: true });
