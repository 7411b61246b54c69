// What an app does, in small: it shows a counter and a channel of the server, and fetches again what went stale.
// `?` and JSON in the address start it; `window.seen` is what the tests look at.

import { createRealtime } from '/realtime/client.js';

const persisted = [];
const lifecycle = [];
addEventListener('pageshow', (event) => persisted.push(event.persisted));
for (const name of ['freeze', 'resume']) document.addEventListener(name, () => lifecycle.push(name));

/** `token` is the bearer at first, `refresh` the one that a 401 brings; the rest is for `createRealtime`. */
window.start = ({ key = 'a', channel, token, refresh, ...options } = {}) => {
  const seen = { value: undefined, stale: [], states: [], messages: [], gaps: [], refreshed: 0, persisted, lifecycle };
  let bearer = token;
  const realtime = createRealtime({
    ...options,
    ...(token && { headers: () => ({ authorization: `Bearer ${bearer}` }) }),
    ...(refresh && {
      onUnauthorized() {
        seen.refreshed += 1;
        bearer = refresh;
      },
    }),
  });

  let newest = 0;
  async function load() {
    const turn = (newest += 1);
    const response = await realtime.fetch(`/value/${key}`);
    const value = await response.json();
    if (turn === newest) seen.value = value;
  }

  seen.states.push(realtime.status.getSnapshot());
  realtime.status.subscribe(() => seen.states.push(realtime.status.getSnapshot()));
  const subscribe = () => {
    const undo = [realtime.onRevalidate(['counter', key], (stale) => {
      seen.stale.push(stale);
      // Told by a gap while the server is away, it fails; the stream's coming back tells it again.
      load().catch(() => {});
    })];
    if (channel) {
      undo.push(realtime.channel(channel, {
        onMessage: (message) => seen.messages.push(message.data),
        onGap: (gap) => seen.gaps.push(gap),
      }));
    }
    return () => undo.forEach((each) => each());
  };
  Object.assign(window, { realtime, seen, subscribe, unsubscribe: subscribe() });
  load();
};

if (location.search) window.start(JSON.parse(decodeURIComponent(location.search.slice(1))));
window.ready = true;
