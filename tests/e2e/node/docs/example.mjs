// The axum example, built and started as the README tells.

import { execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../../../..');

// As the module loads: a test's time is not for the compiler.
if (!process.env.AXUM_EXAMPLE) execFileSync('cargo', ['build', '--quiet', '--example', 'axum'], { cwd: ROOT, stdio: 'inherit' });

/** Starts it on a free port; its address, and what ends it. `AXUM_EXAMPLE`: one that is built already. */
export async function example() {
  const [command, ...rest] = process.env.AXUM_EXAMPLE
    ? [process.env.AXUM_EXAMPLE]
    : ['cargo', 'run', '--quiet', '--example', 'axum'];
  const child = spawn(command, rest, {
    cwd: ROOT,
    env: { ...process.env, PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise((_, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the example ended with ${code}`)));
  });
  ended.catch(() => {});
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const { value = '' } = await Promise.race([lines.next(), ended]);
  const url = /http:\/\/\S+/.exec(value)?.[0];
  if (!url) throw new Error(`the first line was ${value}`);
  return { url, end: () => child.kill() };
}
