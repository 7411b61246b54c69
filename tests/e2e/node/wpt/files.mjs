// Every file of web-platform-tests' `eventsource/`, of all its times: by its name without the ending, which changed
// from `.htm` and `.html` over `.js` to `.any.js`, `.window.js` and `.worker.js`. What tests it here, or why nothing
// does.

/** Rows of `streams.mjs`, read from a server of bytes, and their data and bytes through the crate's routes. */
const stream = 'streams';
/** A test of that name in `reconnect.test.mjs`, `served.test.mjs` or `raw.test.mjs`, beside rows if it has any. */
const route = 'routes';
const both = 'streams and routes';

/** Its subject is an object of the browser's, whatever the server sends. */
const object = "the browser's own object: its constructor, properties, prototype or realm";
const worker = 'the same object in a worker; the server sees no difference';

const all = (names, how) => names.map((name) => [name, how]);

export const files = new Map([
  ...all(['event-data', 'eventsource-onmessage', 'format-bom', 'format-bom-2', 'format-field-data'], stream),
  ...all(['format-field-id-null', 'format-field-parsing', 'format-field-retry-bogus'], stream),
  ...all(['format-field-retry-bogus-2'], stream), // in WebKit's copy of the suite only
  ...all(['format-field-retry-empty', 'format-field-unknown'], stream),
  ...all(['format-leading-space', 'format-mime-bogus', 'format-mime-trailing-semicolon'], stream),
  ...all(['format-mime-valid-bogus', 'format-newlines', 'format-null-character', 'format-utf-8'], stream),
  ...all(['format-comments', 'format-data-before-final-empty-line', 'format-field-event'], both),
  ...all(['format-field-event-empty', 'format-field-id', 'format-field-id-3', 'format-field-retry'], both),
  ...all(['format-field-id-2', 'eventsource-close', 'eventsource-cross-origin'], route),
  ...all(['eventsource-cross-origin-preflight', 'eventsource-cross-origin-redirect-origin'], route),
  ...all(['eventsource-eventtarget', 'eventsource-onopen', 'eventsource-readyState', 'eventsource-reconnect'], route),
  ...all(['request-accept', 'request-cache-control', 'request-credentials', 'request-redirect'], route),
  ...all(['request-status-error'], route),

  ...all(['eventsource-constructor-document-domain', 'eventsource-constructor-empty-url'], object),
  ...all(['eventsource-constructor-non-same-origin', 'eventsource-constructor-stringify'], object),
  ...all(['eventsource-constructor-url-bogus', 'eventsource-constructor-url-multi-window'], object),
  ...all(['eventsource-onmessage-realm', 'eventsource-onmessage-trusted', 'eventsource-prototype'], object),
  ...all(['eventsource-url', 'idlharness', 'interfaces'], object),
  ['eventsource-request-cancellation', 'what `window.stop()` does in the browser'],
  ['eventsource-bfcache', 'what the browser does with a page that it keeps; the client closes its stream itself'],
  ...all(
    ['eventsource-from-readable-stream', 'eventsource-from-readable-stream-fetch'],
    'a constructor that is proposed, and that no browser has',
  ),

  ...all([
    'eventsource-close', 'eventsource-close2', 'eventsource-constructor-non-same-origin',
    'eventsource-constructor-url-bogus', 'eventsource-eventtarget', 'eventsource-onmesage',
    'eventsource-onmessage', 'eventsource-onopen', 'eventsource-prototype', 'eventsource-url',
  ].map((name) => `dedicated-worker/${name}`), worker),
  ...all([
    'eventsource-close', 'eventsource-constructor-non-same-origin', 'eventsource-constructor-url-bogus',
    'eventsource-eventtarget', 'eventsource-onmesage', 'eventsource-onmessage', 'eventsource-onopen',
    'eventsource-prototype', 'eventsource-url',
  ].map((name) => `shared-worker/${name}`), worker),

  ['submissions/MOSQUITO/accept-header-include-text-event-stream', 'a first draft of request-accept'],
  ['submissions/MOSQUITO/field-name-event', 'a first draft of format-field-event'],
  ['submissions/MOSQUITO/user-agent-announce-connection', 'a first draft of eventsource-onopen'],
]);

export const ofStreams = (how) => how === stream || how === both;
export const ofRoutes = (how) => how === route || how === both;
