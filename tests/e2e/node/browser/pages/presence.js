// Who is in a room and who is typing there, of the client alone. `?` and JSON in the address say who one is, and
// whether one watches who `types`; `window.seen` is what the tests look at.

import { createRealtime } from '/realtime/client.js';

const { room = 'room:1', types, token, ...options } = JSON.parse(decodeURIComponent(location.search.slice(1)));
const realtime = createRealtime({
  ...options,
  ...(token && { headers: () => ({ authorization: `Bearer ${token}` }) }),
});
const presence = realtime.presence(room);
const typing = realtime.typing(`${room}:typing`);

/** `lists`: who was there, each time that it was said; `undefined` where it was not known. */
const seen = { lists: [], messages: [] };
presence.subscribe(() => {
  const { ready, users } = presence.getSnapshot();
  seen.lists.push(ready ? users.map(({ userId }) => userId).join() : undefined);
});
if (types) typing.subscribe(() => {});

const follow = (channel) => realtime.channel(channel, ({ data }) => seen.messages.push(data));

Object.assign(window, {
  realtime, presence, typing, seen, follow,
  there: () => presence.getSnapshot().users.map(({ userId }) => userId).join(),
  typists: () => typing.getSnapshot().map(({ userName }) => userName).join(),
  ready: true,
});
