// @vitest-environment jsdom
import { expect, test, vi } from 'vitest';
import { EmitError } from '../src/index';
import { shareWorkers } from './shared-worker';
import { answer, listen, MOUNT, newest, open, page, requests, wait } from './stage';

/** What the server was sent, and how it answers. */
const server = (...answers: (Response | (() => Response | Promise<Response>))[]) => {
  const sent: { request: Request; body: unknown }[] = [];
  answer(async (request) => {
    sent.push({ request, body: await request.json() });
    const next = answers.length > 1 ? answers.shift()! : answers[0]!;
    return next instanceof Response ? next.clone() : next();
  });
  return sent;
};
const refused = (status: number, code: string, headers?: Record<string, string>) =>
  Response.json({ code, message: `it is ${code}` }, { status, ...(headers && { headers }) });
const none = () => new Response(null, { status: 204 });

test('an event is one POST, and its answer is the handler’s', async () => {
  const realtime = page();
  const sent = server(Response.json({ id: 7 }));
  await expect(realtime.emit('room:1', 'said', { text: 'hi' })).resolves.toEqual({ id: 7 });
  const [{ request, body }] = sent as [(typeof sent)[number]];
  expect([request.method, request.url, request.credentials]).toEqual(['POST', `${MOUNT}/emit`, 'same-origin']);
  expect(request.headers.get('content-type')).toBe('application/json');
  expect(request.headers.get('x-revalidate-client')).toBe('0.0.0');
  expect(request.headers.get('x-revalidate-id')).toMatch(/^[0-9a-f]{32}$/);
  expect(body).toEqual({ channel: 'room:1', event: 'said', data: { text: 'hi' } });
  expect(sent).toHaveLength(1);
});

test.each([0, false, '', null, []])('what is sent and answered may be %j', async (data) => {
  const realtime = page();
  const sent = server(() => Response.json(data));
  await expect(realtime.emit('room:1', 'said', data)).resolves.toEqual(data);
  expect(sent[0]!.body).toEqual({ channel: 'room:1', event: 'said', data });
});

test('no data is none, and no answer is undefined', async () => {
  const realtime = page();
  const sent = server(none);
  await expect(realtime.emit('room:1', 'wave')).resolves.toBe(undefined);
  expect(sent[0]!.body).toEqual({ channel: 'room:1', event: 'wave' });
});

test('it opens no stream and waits for none; also of a connection that was closed', async () => {
  const workers = shareWorkers();
  const realtime = page({ share: true, identity: 'ann' });
  const sent = server(none);
  await realtime.emit('room:1', 'wave');
  listen(realtime);
  await newest();
  // Its hello does not come.
  await realtime.emit('room:1', 'wave');
  realtime.disconnect();
  await realtime.emit('room:1', 'wave');
  expect(sent).toHaveLength(3);
  expect(requests()).toHaveLength(1);
  // The tab itself asks, not what it shares.
  expect(workers.running()).toBe(1);
});

test('the headers are asked for each time, and credentials are those of the stream (D9)', async () => {
  let count = 0;
  const realtime = page({ headers: async () => ({ authorization: `Bearer ${++count}` }), credentials: 'include' });
  const sent = server(none);
  await realtime.emit('room:1', 'wave');
  await realtime.emit('room:1', 'wave');
  expect(sent.map(({ request }) => request.headers.get('authorization'))).toEqual(['Bearer 1', 'Bearer 2']);
  expect(sent.every(({ request }) => request.credentials === 'include' && !/Bearer/.test(request.url))).toBe(true);
});

test.each([
  ['the server’s code and reason', refused(403, 'accessdenied'), { status: 403, code: 'accessdenied', message: 'it is accessdenied' }],
  ['… and when to come again', refused(429, 'limited', { 'retry-after': '3' }), { status: 429, code: 'limited', retryAfterMs: 3_000 }],
  ['what a handler refused with', refused(409, 'conflict'), { status: 409, code: 'conflict' }],
  ['the status of a proxy', new Response('<h1>Bad Gateway</h1>', { status: 502 }), { status: 502, code: 'http 502' }],
  ['that a page that signs in is no answer', new Response('<form>', { status: 200 }), { status: 200, code: 'not json' }],
  ['an answer that is JSON of somebody else', Response.json(null, { status: 500 }), { status: 500, code: 'http 500' }],
])('an error says %s', async (_, response, said) => {
  const realtime = page();
  const sent = server(response);
  const error = await realtime.emit('room:1', 'said').catch((error: unknown) => error);
  expect(error).toBeInstanceOf(EmitError);
  expect(error).toMatchObject({ name: 'EmitError', ...said });
  // It is the app that knows whether it may be said twice.
  await wait(60_000);
  expect(sent).toHaveLength(1);
});

test('without a response it is `network`, and what failed is the cause', async () => {
  const realtime = page();
  const cause = new TypeError('fetch failed');
  server(() => Promise.reject(cause));
  const error = await realtime.emit('room:1', 'said').catch((error: unknown) => error);
  expect(error).toMatchObject({ status: 0, code: 'network', message: 'fetch failed', cause });
  server(() => new Response(new ReadableStream({ start: (body) => body.error(cause) })));
  await expect(realtime.emit('room:1', 'said')).rejects.toMatchObject({ status: 0, code: 'network' });
});

test('headers that fail are `headers`, and nothing is sent', async () => {
  const realtime = page({ headers: () => { throw new Error('no token'); } });
  const sent = server(none);
  await expect(realtime.emit('room:1', 'said')).rejects.toMatchObject({ status: 0, code: 'headers', message: 'no token' });
  expect(sent).toHaveLength(0);
});

test('a 401 asks onUnauthorized, and it is said once more with new headers (D9)', async () => {
  let token = 'old';
  const onUnauthorized = vi.fn(async () => void (token = 'new'));
  const realtime = page({ headers: () => ({ authorization: token }), onUnauthorized });
  const sent = server(refused(401, 'unauthorized'), Response.json('taken'));
  await expect(realtime.emit('room:1', 'said', 'hi')).resolves.toBe('taken');
  expect(sent.map(({ request }) => request.headers.get('authorization'))).toEqual(['old', 'new']);
  expect(sent[1]!.body).toEqual(sent[0]!.body);
  expect(onUnauthorized).toHaveBeenCalledTimes(1);
});

test('a second 401 is the answer, and onUnauthorized is not asked again', async () => {
  const onUnauthorized = vi.fn();
  const realtime = page({ onUnauthorized });
  const sent = server(refused(401, 'unauthorized'));
  await expect(realtime.emit('room:1', 'said')).rejects.toMatchObject({ status: 401, code: 'unauthorized' });
  expect([sent.length, onUnauthorized.mock.calls.length]).toEqual([2, 1]);
});

test.each([
  ['is not there', undefined],
  ['returns false', () => false],
  ['throws', () => { throw new Error('signed out'); }],
  ['rejects', () => Promise.reject(new Error('signed out'))],
])('an onUnauthorized that %s leaves it at that', async (_, onUnauthorized) => {
  const realtime = page({ onUnauthorized });
  const sent = server(refused(401, 'unauthorized'));
  await expect(realtime.emit('room:1', 'said')).rejects.toMatchObject({ status: 401, code: 'unauthorized' });
  expect(sent).toHaveLength(1);
});

test('all who are refused meanwhile, the stream with them, ask once', async () => {
  let renewed!: () => void;
  let token = 'old';
  const onUnauthorized = vi.fn(() => new Promise<void>((done) => (renewed = () => (token = 'new', done()))));
  const realtime = page({ headers: () => ({ authorization: token }), onUnauthorized });
  server(refused(401, 'unauthorized'), refused(401, 'unauthorized'), Response.json(1));
  const emitted = [realtime.emit('room:1', 'a'), realtime.emit('room:1', 'b')];
  listen(realtime);
  await (await newest()).answer(401);
  expect(onUnauthorized).toHaveBeenCalledTimes(1);
  renewed();
  expect(await Promise.all(emitted)).toEqual([1, 1]);
  await wait(0);
  expect(requests().map(({ headers }) => headers.get('authorization'))).toEqual(['old', 'new']);
  // And the next time anew.
  server(refused(401, 'unauthorized'), Response.json(2));
  const again = realtime.emit('room:1', 'c');
  await wait(0);
  expect(onUnauthorized).toHaveBeenCalledTimes(2);
  renewed();
  expect(await again).toBe(2);
});

test('a renewal that never ends does not keep the next from being tried', async () => {
  const onUnauthorized = vi.fn(() => new Promise(() => {}));
  const realtime = page({ onUnauthorized });
  server(refused(401, 'unauthorized'));
  void realtime.emit('room:1', 'a');
  await wait(10_001);
  void realtime.emit('room:1', 'b');
  await wait(0);
  expect(onUnauthorized).toHaveBeenCalledTimes(2);
});

test('what it made stale is one’s own', async () => {
  const { realtime, heard, stream } = await open();
  const sent = server(none);
  await realtime.emit('room:1', 'said');
  await stream.revalidate([['messages']], { origin: sent[0]!.request.headers.get('x-revalidate-id')! });
  expect(heard).toEqual([{ keys: [['messages']], own: true }]);
});
