// An app that does at random what users and components do: it shows and hides queries, changes data, signs in and
// out, while a TanStack Query client that is bound to the stream keeps it fresh. `?` and JSON in the address say how;
// `window.report` is what the oracle looks at.

import { concerns, createRealtime } from '/realtime/client.js';
import { InfiniteQueryObserver, QueryClient, QueryObserver } from '@tanstack/query-core';
import { bindQueryClient } from 'tower-revalidate/tanstack';
import { CHANGES, QUERIES, queryOf } from '../oracle/queries.mjs';
import { random } from '../oracle/random.mjs';
import { changes } from './oracle-changes.js';

const options = JSON.parse(decodeURIComponent(location.search.slice(1)));
const draws = random(options.seed);
// Past the page's end, too.
const count = (what) => void window.counted(what).catch(() => {});

const LOGGED = 150;
const began = Date.now();
const logged = [];
function log(...what) {
  const words = what.map((one) => (typeof one === 'string' ? one : JSON.stringify(one)));
  logged.push([Date.now() - began, ...words].join(' '));
  if (logged.length > LOGGED) logged.shift();
}

// --- Who -----------------------------------------------------------------------------------------------------

/**
 * Of a cookie, which all tabs share, or of a token, which each tab has for itself. In the token alone: pages of a tab
 * see what another of them stored a moment later, and then not all of it.
 */
const token = () => sessionStorage.getItem('token') ?? '';
const identity = options.bearer
  ? () => token().split('.')[0]
  : () => /(?:^|; )user=([^;]*)/.exec(document.cookie)?.[1] ?? '';

/** Until it has one: who gives up is asked to sign in, and there is nobody here who would. */
async function refresh() {
  const user = identity();
  if (!user) return;
  try {
    const response = await fetch(`/token/${user}`, { method: 'POST' });
    const fresh = await response.json();
    if (identity() === user) sessionStorage.setItem('token', fresh);
  } catch {
    await new Promise((resolve) => setTimeout(resolve, 100));
    await refresh();
  }
}

async function become(user) {
  if (options.bearer) {
    sessionStorage.setItem('token', user && `${user}.0`);
  } else {
    // It may have worked although the answer was lost.
    await fetch(user ? `/sign-in/${user}` : '/sign-out', { method: 'POST' }).catch(() => {});
  }
  count('another user');
  follow();
}

const authorization = () => (options.bearer && token() ? { authorization: `Bearer ${token()}` } : {});

// --- A visit, as long as the user is the same ------------------------------------------------------------------

let visit;
let calm = false;
let calmFrom = Infinity;

function begin() {
  const user = identity();
  log('begin', user);
  const client = new QueryClient({
    defaultOptions: {
      queries: {
        retry: options.retry,
        retryDelay: 100,
        refetchOnWindowFocus: options.refetches,
        refetchOnReconnect: options.refetches,
      },
    },
  });
  client.mount();
  const realtime = createRealtime({
    backoff: { initial: 50, max: 1_000 },
    share: options.share,
    // With a token it is told whose; the cookie says it by itself.
    ...(options.named && { identity: user || 'nobody' }),
    ...(options.bearer && { headers: authorization, onUnauthorized: refresh }),
    debug: (...what) => what[0] === 'cursor' || log(...what),
  });
  /** When each query was last told of, and when the read began that it is at, on a clock of its own. */
  const told = new Map();
  const begun = new Map();
  let clock = 0;
  const offTold = realtime.onRevalidate(({ keys }) => {
    for (const { queryHash, queryKey } of client.getQueryCache().getAll()) {
      if (keys.some((key) => concerns(key, queryKey))) told.set(queryHash, (clock += 1));
    }
  });
  const unbind = bindQueryClient(realtime, client);
  // The new token has expired, too.
  const offStatus = realtime.status.subscribe(() => {
    if (realtime.status.getSnapshot().reason === 'unauthorized') refresh().then(() => connect(realtime));
  });
  const off = realtime.onRevalidate((stale) => {
    log('stale', stale);
    if (stale.gap) count(`gap ${stale.gap}`);
  });
  const offCache = client.getQueryCache().subscribe(({ type, query, action }) => {
    if (type === 'updated' && action.type === 'fetch') begun.set(query.queryHash, action.meta?.fetchMore ? 0 : clock);
    if (type === 'updated' && action.type === 'success' && !action.manual) {
      if (begun.get(query.queryHash) >= told.get(query.queryHash)) told.delete(query.queryHash);
    }
    if (type === 'updated') log(action.type, query.queryKey, action.data ?? String(action.error ?? ''));
    else if (type === 'removed' || type === 'observerAdded' || type === 'observerRemoved') log(type, query.queryKey);
  });
  const shown = new Map();
  visit = {
    user, client, realtime, shown, told,
    end() {
      log('end', user);
      for (const { hide } of shown.values()) hide();
      [offTold, unbind, off, offStatus, offCache].forEach((undo) => undo());
      realtime.disconnect();
      client.clear();
      client.unmount();
    },
  };
}

function connect(realtime) {
  if (realtime === visit.realtime) realtime.connect();
}

/** Another user is another cache and another connection. */
function follow() {
  if (visit && visit.user === identity()) return;
  visit?.end();
  begin();
  for (let count = draws.below(7); count; count -= 1) show(draws.pick(QUERIES));
}

// --- Reads -------------------------------------------------------------------------------------------------------

/** Waits before or after the data is read, and failures; for a moment also when it is calm. */
const trouble = () => {
  if (Date.now() > calmFrom) return {};
  return {
    ...(draws.chance(0.4) && { 'x-before': String(draws.below(120)) }),
    ...(draws.chance(0.5) && { 'x-after': String(draws.below(250)) }),
    ...(draws.chance(0.1) && { 'x-fail': draws.pick(['before', 'after']) }),
  };
};

async function request({ realtime, user }, path, init = {}, again = true) {
  const how = { ...init, headers: { ...trouble(), ...init.headers, ...authorization() } };
  const response = await (options.tracked ? realtime.fetch : fetch)(path, how);
  if (response.status === 401 && again) {
    await refresh();
    return request({ realtime, user }, path, init, false);
  }
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  // Somebody signed in in another tab, and this one has not seen it yet.
  if (response.headers.get('x-user') !== user) throw new Error(`${path}: of another user`);
  return response.json();
}

/** As a component that asks for this query, with options of its own. */
function show(query) {
  const { client, realtime, shown, user } = visit;
  const { queryKey, paths, infinite } = query;
  const cancels = draws.chance(0.5);
  const asks = {
    queryKey,
    staleTime: draws.pick([0, 300, Infinity, Infinity]),
    gcTime: draws.pick([200, Infinity, Infinity]),
    enabled: calm || draws.chance(0.9),
    queryFn: ({ signal, pageParam = 0 }) => request({ realtime, user }, paths[pageParam], cancels ? { signal } : {}),
    ...(infinite && {
      initialPageParam: 0,
      getNextPageParam: (_, all) => (all.length < paths.length ? all.length : undefined),
    }),
  };
  const observer = new (infinite ? InfiniteQueryObserver : QueryObserver)(client, asks);
  const unsubscribe = observer.subscribe(() => {});
  const entry = {
    queryKey,
    observer,
    enable: (enabled) => observer.setOptions({ ...asks, enabled }),
    hide() {
      unsubscribe();
      shown.delete(entry);
    },
  };
  shown.set(entry, entry);
}

// --- What happens -------------------------------------------------------------------------------------------------

const change = changes({ draws, count, log, request, visit: () => visit, isTracked: options.tracked });

let hidden = false;
Object.defineProperty(document, 'visibilityState', { get: () => (hidden ? 'hidden' : 'visible') });
Object.defineProperty(document, 'hidden', { get: () => hidden });
function seen(is) {
  if (hidden === !is) return;
  hidden = !is;
  log(hidden ? 'hidden' : 'visible');
  document.dispatchEvent(new Event('visibilitychange', { bubbles: true }));
}

const ACTS = {
  show: () => visit.shown.size < 9 && show(draws.pick(QUERIES)),
  hide: () => draws.pick([...visit.shown.values()])?.hide(),
  enable: () => draws.pick([...visit.shown.values()])?.enable(draws.chance(0.7)),
  more: () => [...visit.shown.values()].find(({ observer }) => observer.fetchNextPage)?.observer.fetchNextPage(),
  invalidate() {
    const { queryKey } = draws.pick(QUERIES);
    void visit.client.invalidateQueries({ queryKey }, { cancelRefetch: draws.chance(0.5) });
  },
  change: () => change(draws.pick(CHANGES)),
  see: () => seen(hidden || draws.chance(0.6)),
  reconnect() {
    const { realtime } = visit;
    realtime.disconnect();
    setTimeout(connect, draws.below(300), realtime);
  },
  become: () => become(draws.pick(['alice', 'bob', ''])),
};
const WEIGHTS = {
  show: 30, hide: 16, enable: 6, more: 6, invalidate: 4, change: 20, see: 8, reconnect: 1, become: 0.7,
};

function act() {
  if (!calm) {
    const what = draws.weighted(WEIGHTS);
    log('>', what);
    Promise.resolve(ACTS[what]()).catch((error) => log('failed', String(error)));
  }
  setTimeout(act, draws.between(10, 120));
}

// --- What the oracle sees ------------------------------------------------------------------------------------------

Object.assign(window, {
  setCalm(is) {
    calm = is;
    calmFrom = calm ? Date.now() + 500 : Infinity;
    if (!calm) return;
    for (const entry of visit.shown.values()) entry.enable(true);
    visit.realtime.connect();
  },
  seen,
  rereadAll: () => void visit.client.refetchQueries({ type: 'active' }, { cancelRefetch: false }),
  /** As a user does who sees an error; where it is news that failed to be read, the binding comes back to it. */
  retryFailed: () => void visit.client.refetchQueries({
    predicate: ({ queryHash, state }) => state.status === 'error' && !visit.told.has(queryHash),
  }),
  /** Every query that is in the cache. */
  showAll() {
    for (const query of visit.client.getQueryCache().getAll()) {
      if (!query.isActive()) show(queryOf(query.queryKey));
    }
  },
  report(withLog) {
    const { user, client, realtime } = visit;
    return {
      who: identity(),
      user,
      hidden,
      state: realtime.status.getSnapshot(),
      changing: client.isMutating(),
      queries: client.getQueryCache().getAll().map((query) => ({
        key: query.queryKey,
        data: query.state.data,
        status: query.state.status,
        fetching: query.state.fetchStatus,
        invalidated: query.state.isInvalidated,
        failed: query.state.status === 'error',
        active: query.isActive(),
      })),
      ...(withLog && { log: logged }),
    };
  },
});

addEventListener('pageshow', ({ persisted }) => {
  log('pageshow', persisted);
  if (persisted) count('back from the cache');
  follow();
});
addEventListener('pagehide', () => log('pagehide'));
if (options.bearer && sessionStorage.getItem('token') === null) {
  sessionStorage.setItem('token', `${options.bearer}.0`);
}
follow();
// Another tab signed in or out.
setInterval(follow, 50);
act();
window.ready = true;
