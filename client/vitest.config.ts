import { defineConfig } from 'vitest/config';

// Tests wait for conditions; the timeout is a hang guard only. A DOM is asked for by the files that need one.
export default defineConfig({
  // What `build.mjs` says.
  define: { __VERSION__: '"0.0.0"', __WORKER__: '"worker.js"' },
  test: { include: ['test/**/*.test.{ts,tsx}'], testTimeout: 60_000 },
});
