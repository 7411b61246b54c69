// Builds a script of the documentation as a reader's bundler would. The libraries are those of `client/`: of React
// there must be one copy.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const CLIENT = join(import.meta.dirname, '../../../../client');
const { build } = createRequire(join(CLIENT, 'package.json'))('esbuild');
const { exports } = JSON.parse(readFileSync(join(CLIENT, 'package.json'), 'utf8'));

/** `tower-revalidate`, `tower-revalidate/tanstack` …: what the package's own `exports` say. */
const alias = Object.fromEntries(
  Object.entries(exports)
    .filter(([, target]) => target.default)
    // The longest first: esbuild takes what an alias is a prefix of.
    .sort(([one], [other]) => other.length - one.length)
    .map(([name, target]) => [`tower-revalidate${name.slice(1)}`, join(CLIENT, target.default)]),
);

export async function built(code) {
  const { outputFiles } = await build({
    stdin: { contents: code, loader: 'tsx', resolveDir: CLIENT, sourcefile: 'main.tsx' },
    bundle: true,
    write: false,
    format: 'esm',
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"production"' },
    alias,
    nodePaths: [join(CLIENT, 'node_modules')],
  });
  return outputFiles[0].text;
}
