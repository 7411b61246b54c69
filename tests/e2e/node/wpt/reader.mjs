// The client's own way from a response to events, `client/src/stream.ts`, as it is but for one thing: data that is not
// JSON, which the crate never sends and web-platform-tests does, stays the text that it is.

import { createRequire } from 'node:module';
import { runInThisContext } from 'node:vm';

const root = new URL('../../../../client/', import.meta.url);
const { build } = createRequire(new URL('package.json', root))('esbuild');

const { outputFiles: [bundle] } = await build({
  entryPoints: [new URL('src/stream.ts', root).pathname],
  bundle: true,
  write: false,
  format: 'iife',
  globalName: 'client',
  define: { 'JSON.parse': 'String' },
});
runInThisContext(bundle.text);

/**
 * Reads a stream to its end. Returns its events, with the id that a browser's event would have, the cursors that came
 * alone, and how it ended.
 */
export const read = (url, init = {}, onEvent = () => {}) => new Promise((resolve) => {
  const seen = [];
  const cursors = [];
  let id = '';
  // How long it waits for the first byte, in ms: the guard of a test that hangs.
  client.openStream(url, init, 60_000, {
    event(name, data, own) {
      id = own ?? id;
      seen.push({ event: name || 'message', id, data });
      onEvent(seen);
    },
    cursor: (cursor) => cursors.push(cursor),
    end: (end) => resolve({ seen, cursors, end }),
  });
});

/** Reads these pieces as a response of that content type. */
export const readPieces = async (type, pieces) => {
  const { fetch } = globalThis;
  const body = new ReadableStream({
    start(into) {
      pieces.forEach((piece) => into.enqueue(piece));
      into.close();
    },
  });
  globalThis.fetch = async () => new Response(body, { headers: { 'content-type': type } });
  try {
    return await read('about:pieces');
  } finally {
    globalThis.fetch = fetch;
  }
};

/** Reads it cut in two in every way, and byte by byte; returns what was read otherwise than whole, and the cut. */
export const readCut = async (type, text) => {
  const bytes = new TextEncoder().encode(text);
  const expected = JSON.stringify(await readPieces(type, [bytes]));
  const cuts = Array.from(bytes, (_, at) => [bytes.subarray(0, at), bytes.subarray(at)]);
  cuts.push(Array.from(bytes, (byte) => Uint8Array.of(byte)));
  const different = [];
  for (const cut of cuts) {
    const heard = await readPieces(type, cut);
    if (JSON.stringify(heard) !== expected) different.push({ cut: cut.map((piece) => piece.length), heard });
  }
  return different;
};

/** All of it, for a page. */
export const script = `${bundle.text}
  Object.assign(window, { read: ${read}, readPieces: ${readPieces}, readCut: ${readCut} });`;
