// `cargo run -p example-tanstack --example tanstack`, as a process that can be killed, and started anew on the same port.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

const ARGS = ['build', '--quiet', '-p', 'example-tanstack', '--example', 'tanstack'];

let program;

/** Builds it, once a process, and asks cargo where it is. */
function build() {
  const args = [...ARGS, '--message-format=json-render-diagnostics'];
  const told = execFileSync('cargo', args, { cwd: import.meta.dirname, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  return told.split('\n').filter(Boolean).map((line) => JSON.parse(line).executable).findLast(Boolean);
}

/** Starts it; `DATABASE` in `env` is a file, else its posts are in memory. */
export async function example(env = {}) {
  program ??= build();
  let child;
  let url = 'http://127.0.0.1:0';

  async function start() {
    child = spawn(program, { env: { ...process.env, ...env, PORT: new URL(url).port || '0' }, stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = await once(createInterface(child.stdout), 'line');
    url = line.slice('listening on '.length);
  }

  await start();
  return {
    url: () => url,
    start,
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
    /** Asks it as a user who is not in any of the test's browsers. */
    async ask(user, path, init) {
      const headers = { cookie: `user=${user}`, 'content-type': 'application/json', connection: 'close' };
      const response = await fetch(`${url}/api${path}`, { headers, ...init });
      if (!response.ok) throw new Error(`${path}: ${response.status}`);
      return response.status === 204 ? undefined : response.json();
    },
  };
}
