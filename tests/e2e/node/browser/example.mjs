// The examples with a page of their own, as processes that can be killed, and started anew on the same port.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

const programs = new Map();

/** Builds it, once a process, and asks cargo where it is. Called as a module loads: a test's time is not for the compiler. */
export function built(name) {
  if (!programs.has(name)) {
    const args = ['build', '--quiet', '-p', `example-${name}`, '--example', name, '--message-format=json-render-diagnostics'];
    const told = execFileSync('cargo', args, { cwd: import.meta.dirname, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
    programs.set(name, told.split('\n').filter(Boolean).map((line) => JSON.parse(line).executable).findLast(Boolean));
  }
  return programs.get(name);
}

/** Starts `cargo run -p example-{name}`; `DATABASE` in `env` is a file, else what it stores is in memory. */
export async function run(name, env = {}) {
  let child;
  let url = 'http://127.0.0.1:0';

  async function start() {
    child = spawn(built(name), { env: { ...process.env, ...env, PORT: new URL(url).port || '0' }, stdio: ['ignore', 'pipe', 'inherit'] });
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
  };
}

/** The one with TanStack Query. */
export async function example(env) {
  const app = await run('tanstack', env);
  return {
    ...app,
    /** Asks it as a user who is not in any of the test's browsers. */
    async ask(user, path, init) {
      const headers = { cookie: `user=${user}`, 'content-type': 'application/json', connection: 'close' };
      const response = await fetch(`${app.url()}/api${path}`, { headers, ...init });
      if (!response.ok) throw new Error(`${path}: ${response.status}`);
      return response.status === 204 ? undefined : response.json();
    },
  };
}
