/** What the types promise; `npm run types` reads it, nothing runs it. */

import {
  createRealtime, EmitError, type DataChangeEvent, type Message, type PresenceState, type PresenceUser, type Stale, type Status,
  type Store, type Typist,
} from '../src/index';

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const is = <_ extends true>() => {};

interface App {
  announcements: { announcement: { text: string }; closed: null };
  [room: `room:${string}`]: { new_message: { text: string; sender: string } };
}

const realtime = createRealtime<App>({ url: '/realtime', backoff: false, identity: 'ann' });

// From a channel's name to its events, from an event's name to its data.
realtime.channel('announcements', (message) => {
  is<Same<typeof message.event, 'announcement' | 'closed'>>();
  is<Same<typeof message.channel, 'announcements'>>();
  if (message.event === 'closed') is<Same<typeof message.data, null>>();
  else is<Same<typeof message.data, { text: string }>>();
});
realtime.channel(`room:${7}`, {
  onMessage({ event, data }) {
    is<Same<typeof event, 'new_message'>>();
    is<Same<typeof data.sender, string>>();
    // @ts-expect-error: it does not say so
    data.title;
  },
  onConnect: ({ resumed }) => is<Same<typeof resumed, boolean>>(),
  onGap: ({ reason }) => is<Same<typeof reason, string>>(),
  onError: ({ code }) => is<Same<typeof code, string>>(),
}, { since: undefined });

// @ts-expect-error: there is no such channel
realtime.channel('announcement', () => {});
// @ts-expect-error: nor such an event
realtime.channel('announcements', ({ event }) => event === 'opened');
// @ts-expect-error: nor such a callback
realtime.channel('announcements', { onOpen: () => {} });
is<Same<Message<App, 'announcements'>['data'], { text: string } | null>>();

// Without a schema: every channel, any event, any data.
const loose = createRealtime();
loose.channel('anything', ({ event, data, id }) => {
  is<Same<typeof event, string>>();
  is<Same<typeof id, string | undefined>>();
  data.whatever.it.is;
});

// Records and resources.
realtime.record<{ title: string }>('posts', 7, ({ operation, data }) => {
  is<Same<typeof operation, 'create' | 'update' | 'delete'>>();
  is<Same<typeof data, { title: string } | undefined>>();
});
realtime.resource('posts', (change) => is<Same<typeof change, DataChangeEvent<unknown>>>());

// Keys: dotted, or segments; with one, or without.
realtime.onRevalidate('posts.list', (stale) => is<Same<typeof stale, Stale>>());
realtime.onRevalidate(['posts', { page: 1 }], ({ keys, own, gap }) => {
  is<Same<typeof own, boolean>>();
  is<Same<typeof gap, string | undefined>>();
  // @ts-expect-error: they are the server's
  keys.push([]);
});
realtime.onRevalidate(({ keys }) => keys.length);
// @ts-expect-error: no number is a key
realtime.onRevalidate(7, () => {});
const leave: () => void = realtime.onRevalidate('posts', () => {});
leave();

// What a client says is not what the server says: any event, any data, and an answer of the caller's type.
void realtime.emit('room:1', 'said', { text: 'hi' }).then((answer) => is<Same<typeof answer, unknown>>());
void realtime.emit<{ id: number }>('room:1', 'wave').then(({ id }) => is<Same<typeof id, number>>());
void realtime.emit('room:1', 'said').catch((error: unknown) => {
  if (error instanceof EmitError) is<Same<typeof error.retryAfterMs, number | undefined>>();
});

// Who is there: what the server tells of them, and what they tell themselves.
const presence = realtime.presence<{ name: string }, 'away'>('room:1');
is<Same<ReturnType<typeof presence.getSnapshot>['users'], readonly PresenceUser<{ name: string }, 'away'>[]>>();
void presence.update('away').then((nothing) => is<Same<typeof nothing, void>>());
void presence.update(null);
// @ts-expect-error: nothing else
void presence.update('back');
const anybody: Store<PresenceState> = realtime.presence('anywhere');
anybody.getSnapshot().denied?.code;
const { start, stop, ...typing } = realtime.typing('room:1:typing');
is<Same<ReturnType<typeof typing.getSnapshot>, readonly Typist[]>>();
start();
stop();

// As `useSyncExternalStore` takes it, without `this`.
const { subscribe, getSnapshot }: Store<Status> = realtime.status;
is<Same<ReturnType<typeof getSnapshot>['state'], Status['state']>>();
subscribe(() => {})();

// `fetch` takes what the platform's does.
const own: typeof fetch = realtime.fetch;
void own;
void realtime.fetch('/posts', { method: 'POST', skipOwn: true });
// @ts-expect-error: no option of anything
createRealtime({ retries: 5 });
