// What web-platform-tests' `eventsource/` sends and what has to be seen of it, told anew: a row a stream. The name is
// that of the file there, without its ending; a file that tests several streams has several rows.
//
// `sends` goes out as UTF-8, as the body of a response of the content type `type`. `seen` is every event of it, in
// order, each with the `lastEventId` that a browser's event has. `retry` is the last reconnection time that counts,
// where one does.

const EVENT_STREAM = 'text/event-stream';
const long = 'x'.repeat(2048);

const row = (file, sends, seen, more = {}) => ({
  file,
  name: more.of ? `${file}, ${more.of}` : file,
  type: EVENT_STREAM,
  sends,
  seen: seen.map((one) => ({ event: 'message', id: '', ...(typeof one === 'string' ? { data: one } : one) })),
  ...more,
});

export const streams = [
  row(
    'event-data',
    'data:msg\ndata: msg\n\n:\nfalsefield:msg\n\nfalsefield:msg\nData:data\n\ndata\n\ndata:end\n\n',
    ['msg\nmsg', '', 'end'],
  ),
  row('eventsource-onmessage', 'data: data\n\n\n', ['data']),

  // One byte order mark, at the very beginning, is not part of the stream; any other is part of its line.
  row('format-bom', '\uFEFFdata:1\n\n\uFEFFdata:2\n\ndata:3\n\n\n', ['1', '3']),
  row('format-bom-2', '\uFEFF\uFEFFdata:1\n\ndata:2\n\ndata:3\n\n\n', ['2', '3']),

  row(
    'format-comments',
    `data:1\r:\0\n:\r\ndata:2\n:${long}\rdata:3\n:data:fail\r:${long}\ndata:4\n\n`,
    ['1\n2\n3\n4'],
  ),
  // What the end of the stream cuts off is no event, and its id is none.
  row(
    'format-data-before-final-empty-line',
    'retry:1000\ndata:test1\n\nid:test\ndata:test2\n',
    ['test1'],
    { retry: 1000 },
  ),
  row('format-field-data', 'data:\n\ndata\ndata\n\ndata:test\n\n\n', ['', '\n', 'test']),
  row('format-field-event', 'event:test\ndata:x\n\ndata:x\n\n\n', [{ event: 'test', data: 'x' }, 'x']),
  row('format-field-event-empty', 'event: \ndata:data\n\n\n', ['data']),

  row('format-field-id', 'id: …\nretry: 200\ndata: hello\n\n', [{ data: 'hello', id: '…' }], { retry: 200 }),
  row(
    'format-field-id-3',
    'id: 1\ndata: 1\n\ndata: 2\n\nid: 2\ndata:3\n\ndata:4\n\n',
    [{ data: '1', id: '1' }, { data: '2', id: '1' }, { data: '3', id: '2' }, { data: '4', id: '2' }],
    { of: 'persists' },
  ),
  ...[['resets', 'id:'], ['resets without a colon', 'id']].map(([of, field]) => row(
    'format-field-id-3',
    `id: 1\ndata: 1\n\n${field}\ndata:2\n\ndata:3\n\n`,
    [{ data: '1', id: '1' }, { data: '2', id: '' }, { data: '3', id: '' }],
    { of },
  )),
  ...['\0\0', 'x\0', '\0x', 'x\0x', ' \0'].map((id) => row(
    'format-field-id-null',
    `id: ${id}\nretry: 200\ndata: hello\n\n`,
    ['hello'],
    { of: JSON.stringify(id), retry: 200 },
  )),

  row(
    'format-field-parsing',
    'data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\ndata:3\rdata:\r\n data:32\ndata:4\n\n',
    ['\0\n 2\n1\n3\n\n4'],
  ),
  // Digits, whatever they begin with; anything else does not count.
  row('format-field-retry', 'retry:03000\ndata:x\n\n\n', ['x'], { retry: 3000 }),
  row('format-field-retry-bogus', 'retry:3000\nretry:1000x\ndata:x\n\n\n', ['x'], { retry: 3000 }),
  row('format-field-retry-bogus-2', 'retry:1000\nretry:5000x\ndata:x\n\n\n', ['x'], { retry: 1000 }),
  row('format-field-retry-empty', 'retry\ndata:test\n\n\n', ['test']),
  row(
    'format-field-unknown',
    'data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n\n',
    ['test\n\ntest'],
  ),
  row('format-leading-space', 'data:\ttest\rdata: \ndata:test\n\n\n', ['\ttest\n\ntest']),

  // What is no event stream is not read.
  row('format-mime-bogus', 'data: data\n\n\n', [], { type: 'x bogus', refused: true }),
  row('format-mime-valid-bogus', 'data: data\n\n\n', [], { type: 'text/x-bogus', refused: true }),
  row('format-mime-trailing-semicolon', 'data: data\n\n\n', ['data'], { type: `${EVENT_STREAM};` }),

  row('format-newlines', 'data:test\r\ndata\ndata:test\r\n\r\n', ['test\n\ntest']),
  row('format-null-character', 'data:\0\n\n\n\n\n', ['\0']),
  // It is UTF-8, whatever the content type says. Chromium fails this one: it gives the stream up.
  row(
    'format-utf-8',
    'data:ok…\n\n\n',
    ['ok…'],
    { type: `${EVENT_STREAM};charset=windows-1252`, refusedByChromium: true },
  ),
];
