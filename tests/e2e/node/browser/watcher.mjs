// Somebody in a room who misses nothing that the server says of it: no client, the bytes of the stream.

import { createParser } from 'eventsource-parser';

/**
 * Joins `room` as `watcher`. What it hears, in words: `here: watcher`, `alice came`, `alice left`, `alice is {meta}`,
 * `alice types`, `alice stops`.
 */
export async function watcher(t, app, room = 'room:1') {
  const heard = [];
  const typists = new Set();
  const told = {
    presence: ({ users }) => heard.push(`here: ${users.map(({ userId }) => userId)}`),
    presence_update({ joined = [], left = [], updated = [] }) {
      joined.forEach(({ userId }) => heard.push(`${userId} came`));
      left.forEach((userId) => heard.push(`${userId} left`));
      updated.forEach(({ userId, meta }) => heard.push(`${userId} is ${JSON.stringify(meta)}`));
    },
    typing({ userId, isTyping }) {
      // While it goes on it is said again.
      if (typists.has(userId) && isTyping) return;
      if (isTyping) typists.add(userId);
      else typists.delete(userId);
      heard.push(`${userId} ${isTyping ? 'types' : 'stops'}`);
    },
  };
  const parser = createParser({
    onEvent({ event, data }) {
      // Whatever else comes was not to come: a gap, a goodbye.
      if (event === 'hello') return;
      const message = JSON.parse(data);
      const tell = event === 'message' && told[message.event];
      if (tell) tell(message.data);
      else heard.push(`${event} ${data}`);
    },
  });

  const leave = new AbortController();
  t.after(() => leave.abort());
  const response = await fetch(
    `http://127.0.0.1:${app.port()}/realtime/events?presence=${room}&channels=${room}:typing`,
    { headers: { authorization: 'Bearer watcher' }, signal: leave.signal },
  );
  (async () => {
    for await (const bytes of response.body.pipeThrough(new TextDecoderStream())) parser.feed(bytes);
    heard.push('the stream ended');
  })().catch((error) => heard.push(`${error}`));
  return heard;
}
