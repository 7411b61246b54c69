// Builds `dist/`. The same sources and the same lockfile give the same bytes on every machine: the crate serves
// the committed ones, and CI builds them anew and compares.
//
// The worker comes first: its hash is in the client, and the client's hash is in `auto.js`, so that each version of
// a file has a URL of its own and may be kept for ever.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { minify } from 'terser';

const root = fileURLToPath(new URL('.', import.meta.url));
const { version } = JSON.parse(await readFile(`${root}package.json`, 'utf8'));
const notices = new Map();

/** Bundles one entry point; its bytes, and which sources are in them. */
async function bundle(entry, options = {}) {
  const { define, ...rest } = options;
  const { metafile, outputFiles } = await build({
    entryPoints: [`src/${entry}.ts`],
    absWorkingDir: root,
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    charset: 'utf8',
    legalComments: 'none',
    define: { __VERSION__: JSON.stringify(version), ...define },
    metafile: true,
    write: false,
    outfile: 'out.js',
    ...rest,
  });
  const sources = Object.values(metafile.outputs).flatMap((output) =>
    Object.entries(output.inputs).flatMap(([path, { bytesInOutput }]) => (bytesInOutput > 0 ? [path] : [])),
  );
  return { code: outputFiles[0].text, sources };
}

/** A file that the crate serves, and its hash. */
async function serve(name, entry, options) {
  const { code: bundled, sources } = await bundle(entry, options);
  const { code } = await minify(bundled, { module: true, ecma: 2020, compress: { passes: 3 } });
  const packages = new Set(sources.flatMap((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? []));
  const whose = [`tower-revalidate ${version}, MIT OR Apache-2.0`];
  for (const name of [...packages].sort()) {
    const { title, text } = await notice(name);
    notices.set(name, text);
    whose.push(title);
  }
  const text = `/*! ${whose.join('; with ')} */\n${code}`;
  await writeFile(`${root}dist/${name}`, text);
  const hash = createHash('sha256').update(text).digest('hex').slice(0, 16);
  return { name, hash };
}

/** What the licence of a package whose code is in ours wants to be said. */
async function notice(name) {
  const folder = `${root}node_modules/${name}/`;
  const { version, license } = JSON.parse(await readFile(`${folder}package.json`, 'utf8'));
  const title = `${name} ${version}, ${license}`;
  return { title, text: `${title}\n\n${(await readFile(`${folder}LICENSE`, 'utf8')).trim()}\n` };
}

/** What imports this file of `src` asks for it at run time, at a path beside its own. */
const beside = (file, path) => ({
  name: `${file} beside`,
  setup: ({ onResolve }) =>
    onResolve({ filter: /^\.\.?\// }, (asked) => {
      const isFile = join(asked.resolveDir, asked.path).replace(/\.[jt]s$/, '') === join(root, 'src', file);
      return isFile ? { path, external: true } : undefined;
    }),
});

/** A module of the npm package alone. Its core is the app's: a second one would open a second stream. */
async function binding(entry, name = `${entry}.js`) {
  if (!existsSync(`${root}src/${entry}.ts`)) {
    console.warn(`there is no src/${entry}.ts yet`);
    return;
  }
  const { code } = await bundle(entry, { packages: 'external', plugins: [beside('index', './client.js')] });
  await writeFile(`${root}dist/${name}`, code);
}

/** What the service includes: no Node is needed to build the crate, and nothing is hashed while it runs. */
const included = (assets) => `// Written by client/build.mjs.
[
${assets
  .map(
    ({ name, hash }) => `    Asset {
        path: "/${name}",
        hash: "${hash}",
        etag: "\\"${hash}\\"",
        body: include_bytes!("${name}"),
    },
`,
  )
  .join('')}]
`;

await rm(`${root}dist`, { recursive: true, force: true });
await mkdir(`${root}dist`);

const worker = await serve('worker.js', 'worker');
const __WORKER__ = JSON.stringify(`${worker.name}?v=${worker.hash}`);
// What a page runs itself where no worker runs it is the worker's file.
const client = await serve('client.js', 'index', {
  define: { __WORKER__ },
  plugins: [beside('worker', './worker.js')],
});
const auto = await serve('auto.js', 'auto', { plugins: [beside('index', `./${client.name}?v=${client.hash}`)] });
await writeFile(`${root}dist/assets.rs`, included([client, worker, auto]));
await writeFile(`${root}dist/THIRD-PARTY.txt`, [...notices.values()].join('\n'));
await Promise.all(['tanstack', 'swr', 'react', 'live-query'].map((entry) => binding(entry)));
// Not every bundler finds a file whose name has a query.
await binding('auto', 'auto.npm.js');

const tsc = createRequire(import.meta.url).resolve('typescript/package.json').replace(/package\.json$/, 'bin/tsc');
execFileSync(process.execPath, [tsc, '--project', root, '--emitDeclarationOnly'], { stdio: 'inherit' });

// Node's own rules, by which some projects check their types, ask for the extension.
for (const name of await readdir(`${root}dist/types`, { recursive: true })) {
  if (!name.endsWith('.d.ts')) continue;
  const file = `${root}dist/types/${name}`;
  const text = await readFile(file, 'utf8');
  const whole = (specifier) => (existsSync(join(dirname(file), `${specifier}.d.ts`)) ? `${specifier}.js` : specifier);
  await writeFile(file, text.replace(/(?<=\b(?:from |import\()')\.[^']+/g, whole));
}

// The package is licensed as the crate is, in whose root the texts are.
await Promise.all(['LICENSE-APACHE', 'LICENSE-MIT'].map((name) => copyFile(`${root}../${name}`, root + name)));
