// What the suites stand on: a server that speaks as it is told, a link that notes what it carries and can break, and
// a browser whose own `EventSource` listens. They wait for conditions; `HANG` is the guard.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const HANG = 60_000;

/** A list that can be waited on. */
export function log(what) {
  const list = [];
  const waiting = new Set();
  return {
    list,
    push(...more) {
      list.push(...more);
      waiting.forEach((look) => look());
    },
    /** Waits until `find(list)` finds something, and returns it. */
    until(find) {
      return new Promise((resolve, reject) => {
        const done = (settle, value) => {
          clearTimeout(guard);
          waiting.delete(look);
          settle(value);
        };
        const guard = setTimeout(() => {
          done(reject, new Error(`${what}: waited in vain for ${find}; there is ${JSON.stringify(list, null, 1)}`));
        }, HANG);
        const look = () => {
          const found = find(list);
          if (found) done(resolve, found);
        };
        waiting.add(look);
        look();
      });
    },
  };
}

/** Listens on a free port of this machine. */
async function listen(server) {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return server.address().port;
}

let program;

function build() {
  const args = ['build', '--quiet', '-p', 'e2e', '--bin', 'speaker', '--message-format=json-render-diagnostics'];
  const options = { cwd: import.meta.dirname, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] };
  const lines = execFileSync('cargo', args, options).split('\n').filter(Boolean);
  return lines.map((line) => JSON.parse(line).executable).findLast(Boolean);
}

/** Starts `tests/e2e/src/bin/speaker.rs`. */
export async function speaker() {
  program ??= build();
  // It ends when its input does, and so with this process.
  const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
  const failed = once(child, 'exit').then(() => Promise.reject(new Error('the speaker did not start')));
  const [port] = await Promise.race([once(createInterface(child.stdout), 'line'), failed]);
  failed.catch(() => {});
  const post = async (path, body) => {
    const headers = { 'content-type': 'application/json' };
    const init = { method: 'POST', headers, body: JSON.stringify(body) };
    const response = await fetch(`http://127.0.0.1:${port}${path}`, init);
    const text = await response.text();
    if (!response.ok) throw new Error(`${response.status} ${text}`);
    return text;
  };
  return {
    port: Number(port),
    /** Publishes, and returns the cursor. */
    say: (event, data) => post('/say', { event, data }),
    /** Revalidates `posts.list`. */
    stale: () => post('/stale'),
    /** Ends every stream, in good order. */
    end: () => post('/end'),
    /** Refuses new streams from now on. */
    refuse: () => post('/refuse'),
    async close() {
      child.stdin.end();
      await once(child, 'exit');
    },
  };
}

/** Passes connections on to a port of this machine, and notes the requests for streams and what was told. */
export async function link(target) {
  const asked = log('requests');
  const told = log('what the server told');
  const pairs = new Set();
  let cutAt;

  const server = net.createServer((near) => {
    const far = net.connect(target, '127.0.0.1');
    const cut = () => {
      near.destroy();
      far.destroy();
    };
    pairs.add(cut);
    for (const socket of [near, far]) {
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => {
        pairs.delete(cut);
        cut();
      });
    }
    let head = '';
    near.on('data', (bytes) => {
      far.write(bytes);
      head += bytes.toString('latin1');
      for (let end; (end = head.indexOf('\r\n\r\n')) >= 0; head = head.slice(end + 4)) {
        const [line, ...fields] = head.slice(0, end).split('\r\n');
        const [method, url] = line.split(' ');
        if (!url?.includes('/events')) continue;
        const headers = fields.map((field) => {
          const [name, ...value] = field.split(':');
          return [name.toLowerCase(), value.join(':').trim()];
        });
        asked.push({ method, url, at: performance.now(), headers: Object.fromEntries(headers) });
      }
    });
    far.on('data', (bytes) => {
      const at = cutAt?.(bytes.toString('latin1')) ?? -1;
      if (at < 0) {
        near.write(bytes);
        told.push(bytes.toString());
        return;
      }
      cutAt = undefined;
      near.end(bytes.subarray(0, at), () => far.destroy());
    });
  });
  const port = await listen(server);
  return {
    port,
    origin: `http://127.0.0.1:${port}`,
    events: `http://127.0.0.1:${port}/realtime/events?channels=wpt`,
    asked,
    told,
    /** Ends every connection; new ones pass. */
    cut: () => pairs.forEach((cut) => cut()),
    /** Ends the connection that tells something in which `find` returns a place, at that place; once. */
    cutAt(find) {
      cutAt = find;
    },
    async close() {
      pairs.forEach((cut) => cut());
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A server of bytes: `answer(path)` returns `{ status, headers, body }`, and the connection ends with it. */
export async function raw(answer) {
  const asked = log('requests');
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    let head = '';
    socket.on('data', (bytes) => {
      head += bytes.toString('latin1');
      if (!head.endsWith('\r\n\r\n')) return;
      const path = decodeURIComponent(head.split(' ')[1]);
      asked.push({ path, head: head.toLowerCase() });
      const { status = 200, headers = {}, body = '' } = answer(path) ?? { headers: { 'content-type': 'text/html' } };
      const all = Object.entries({ ...headers, connection: 'close' });
      const fields = all.map(([name, value]) => `${name}: ${value}\r\n`);
      socket.end(Buffer.concat([Buffer.from(`HTTP/1.1 ${status} \r\n${fields.join('')}\r\n`), Buffer.from(body)]));
    });
  });
  const port = await listen(server);
  const close = () => new Promise((resolve) => server.close(resolve));
  return { port, origin: `http://127.0.0.1:${port}`, asked, close };
}

/** A headless Chromium. */
export const browser = () => chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
});

/**
 * Opens a page, and in it an `EventSource` of `url`. What it hears is a log of `{ event, data, id, origin }`,
 * `{ open: true }` and `{ over: 'for now' | 'for good' }`. Each page is of a browser context, with connections, of
 * its own.
 */
export async function eventSource(chrome, page, url, { names = [], ...init } = {}) {
  const context = await chrome.newContext();
  const tab = await context.newPage();
  const heard = log(`what is heard of ${url}`);
  await tab.exposeFunction('tell', (one) => heard.push(one));
  await tab.goto(page);
  await tab.evaluate(([url, init, names]) => {
    const source = new EventSource(url, init);
    window.source = source;
    for (const name of ['message', 'hello', 'revalidate', 'gap', 'bye', ...names]) {
      source.addEventListener(name, ({ type, data, lastEventId, origin }) => {
        window.tell({ event: type, data, id: lastEventId, origin });
      });
    }
    source.onopen = () => window.tell({ open: true, state: source.readyState });
    source.onerror = (event) => window.tell({
      over: source.readyState === EventSource.CLOSED ? 'for good' : 'for now',
      plain: event.constructor === Event && !event.bubbles && !event.cancelable,
    });
  }, [url, init, names]);
  return {
    heard,
    tab,
    state: () => tab.evaluate(() => window.source.readyState),
    stop: () => tab.evaluate(() => window.source.close()),
    close: () => context.close(),
  };
}

/** The events among what was heard. */
export const events = (heard) => heard.filter(({ event }) => event);
