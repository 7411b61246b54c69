// node clients.mjs eventsource|parser URL
//
// Listens with a client from npm, and prints what it hears as lines of JSON, until its input ends.

import { EventSource } from "eventsource";
import { createParser } from "eventsource-parser";

const say = (heard) => process.stdout.write(`${JSON.stringify(heard)}\n`);
const sayEvent = (event, data) => say({ event, data: JSON.parse(data) });

function eventsource(url) {
  const source = new EventSource(url);
  for (const name of ["hello", "revalidate", "message", "gap", "bye"]) {
    source.addEventListener(name, (event) => sayEvent(name, event.data));
  }
  source.onerror = () => say({ over: source.readyState === EventSource.CLOSED ? "for good" : "for now" });
}

// It parses, and nothing else: the rest is what an app writes around it.
async function parser(url) {
  let lastId = "";
  let retry = 3000;
  for (;;) {
    try {
      const headers = lastId ? { "last-event-id": lastId } : {};
      const response = await fetch(url, { headers });
      if (response.status !== 200) throw new Error(response.status);
      const parser = createParser({
        onId: (id) => { lastId = id; },
        onRetry: (ms) => { retry = ms; },
        onEvent: ({ event, data }) => sayEvent(event, data),
      });
      const decoder = new TextDecoder();
      for await (const bytes of response.body) parser.feed(decoder.decode(bytes, { stream: true }));
    } catch {
      // As an end: again after `retry`.
    }
    say({ over: "for now" });
    await new Promise((resolve) => setTimeout(resolve, retry));
  }
}

const [client, url] = process.argv.slice(2);
process.stdin.resume().on("end", () => process.exit());
({ eventsource, parser })[client](url);
