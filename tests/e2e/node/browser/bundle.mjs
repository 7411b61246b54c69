// A page's script with libraries in it. They are those of `client/`: of React there must be one copy.

import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';

const CLIENT = join(import.meta.dirname, '../../../../client');
const { build } = createRequire(join(CLIENT, 'package.json'))('esbuild');

/** Bundles scripts of `pages/`; the directory that they are in. The core stays the one that the mount serves. */
export async function bundled(...names) {
  const outdir = await mkdtemp(join(tmpdir(), 'pages-'));
  await build({
    entryPoints: names.map((name) => join(import.meta.dirname, 'pages', name)),
    outdir,
    bundle: true,
    format: 'esm',
    jsx: 'automatic',
    // As while one develops: StrictMode does nothing in production.
    define: { 'process.env.NODE_ENV': '"development"' },
    alias: {
      'tower-revalidate/react': join(CLIENT, 'dist/react.js'),
      'tower-revalidate/tanstack': join(CLIENT, 'dist/tanstack.js'),
    },
    external: ['/realtime/client.js'],
    nodePaths: [join(CLIENT, 'node_modules')],
  });
  return outdir;
}
