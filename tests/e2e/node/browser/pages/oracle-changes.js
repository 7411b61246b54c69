// The ways an app changes data: it waits for what the server says, shows the change before it is made, or writes the
// answer into the cache itself.

import { MutationObserver } from '@tanstack/query-core';
import { QUERIES } from '../oracle/queries.mjs';

export function changes({ draws, count, log, request, visit, isTracked }) {
  /** Counts, and waits for it: what it makes stale is another's matter. */
  async function plain(path) {
    const { client, ...by } = visit();
    await mutate(client, { mutationFn: () => request(by, path, { method: 'POST' }) });
  }

  /** As TanStack's documentation has it: what it shows is taken back where it failed. */
  async function optimistic(path, queryKey) {
    const { client, ...by } = visit();
    const refetches = draws.chance(0.5);
    await mutate(client, {
      mutationFn: () => request(by, path, { method: 'POST' }),
      scope: { id: path },
      async onMutate() {
        await client.cancelQueries({ queryKey });
        const before = client.getQueryData(queryKey);
        if (before) client.setQueryData(queryKey, { ...before, n: before.n + 0.5 });
        return { before };
      },
      onError(_error, _variables, { before } = {}) {
        if (before) client.setQueryData(queryKey, before);
      },
      onSettled(_data, error) {
        // The server's news would do; where it failed, nobody knows whether it happened.
        if (error || refetches) void client.invalidateQueries({ queryKey });
      },
    });
  }

  /** It shows the change itself, and does not want to hear of it. */
  async function own(path, queryKey) {
    const { client, ...by } = visit();
    await mutate(client, {
      mutationFn: () => request(by, path, { method: 'POST', skipOwn: true }),
      async onSuccess(answer) {
        // What is being read may be older than the answer.
        await client.cancelQueries({ queryKey });
        const known = client.getQueryData(queryKey);
        if (known?.life === answer.life && known.n < answer.n) client.setQueryData(queryKey, answer);
        else void client.invalidateQueries({ queryKey });
      },
      onError: () => void client.invalidateQueries({ queryKey }),
    });
  }

  async function mutate(client, options) {
    try {
      await new MutationObserver(client, options).mutate();
      count('change');
    } catch (error) {
      count('change failed');
      log('change failed', String(error));
    }
  }

  return function change(path) {
    const query = path.startsWith('/counter/') && QUERIES.find(({ paths }) => paths[0] === path);
    if (!query) return plain(path);
    const how = draws.weighted({ plain: 2, optimistic: 2, own: isTracked ? 1 : 0 });
    return { plain, optimistic, own }[how](path, query.queryKey);
  };
}
