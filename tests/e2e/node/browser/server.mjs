// An app of `tests/e2e/src/bin/` as a process that can be killed, and started anew on the same port.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

const programs = {};

/** Builds one, once a process. Called as a module loads: a test's time is not for the compiler. */
export function built(name) {
  return (programs[name] ??= build(name));
}

function build(name) {
  const args = ['build', '--quiet', '-p', 'e2e', '--bin', name, '--message-format=json-render-diagnostics'];
  const told = execFileSync('cargo', args, { cwd: import.meta.dirname, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  return told.split('\n').filter(Boolean).map((line) => JSON.parse(line).executable).findLast(Boolean);
}

built('stage');

/** Starts one; `knobs` are its environment variables. */
export async function server(knobs = {}, name = 'stage') {
  const program = built(name);
  let child;
  let port = 0;

  async function start() {
    const env = { ...process.env, ...knobs, PORT: String(port) };
    // It ends when its input does, and so with this process.
    child = spawn(program, { env, stdio: ['pipe', 'pipe', 'inherit'] });
    const [line] = await once(createInterface(child.stdout), 'line');
    port = Number(line);
  }

  async function ask(path, init) {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { ...init, headers: { connection: 'close', ...init?.headers } });
    if (!response.ok) throw new Error(`${path}: ${response.status}`);
    return response.status === 204 ? undefined : response.json();
  }

  await start();
  return {
    port: () => port,
    start,
    /** As `kill -9`: nothing of it is left, its history neither. */
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
    /** What it saw: `open`, `opened`, `requests`, `emitted`, `reads`, `aborted`. */
    tell: () => ask('/stage'),
    /** Raises a counter past the browser, and tells everyone; the new value. */
    bump: (key) => ask(`/bump/${key}`, { method: 'POST' }),
    /** Says the next number on a channel. */
    say: (channel) => ask(`/say/${channel}`, { method: 'POST' }),
    /** Adds the next row to a list. */
    addRow: (list) => ask(`/rows/${list}`, { method: 'POST' }),
    signOut: (user) => ask(`/sign-out/${user}`, { method: 'POST' }),
    /** How the next requests for a stream are answered: `{ status, headers, body }` each. */
    answer: (answers) => ask('/stage/answers', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(answers),
    }),
  };
}
