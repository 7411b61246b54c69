// @vitest-environment jsdom
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { gateOf } from '../src/auto/gate';
import { ofEvent, ofRevalidate } from '../src/auto/keys';
import { live } from '../src/auto/live';
import { morph } from '../src/auto/morph';
import { attach, optionsOf, tagOf } from '../src/auto/page';
import { Final } from '../src/auto/refetch';
import type { Unsubscribe } from '../src/types';
import { fakeRealtime } from './fake-realtime';

const GUARD = 60_000;
vi.setConfig({ testTimeout: GUARD });
const until = (condition: () => void) => vi.waitFor(condition, { timeout: GUARD, interval: 5 });

/** What was asked of the network; each waits for its answer. */
interface Asked {
  readonly url: string;
  answer(html: string, status?: number): void;
  fail(): void;
}

let server: ReturnType<typeof fakeRealtime>;
let undo: Unsubscribe;
let asked: Asked[];

const hide = (hidden: boolean) => {
  Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
};
const shown = (id: string) => document.getElementById(id)?.innerHTML;
const request = async (index: number): Promise<Asked> => {
  await until(() => expect(asked.length).toBeGreaterThan(index));
  return asked[index] as Asked;
};
/** Everything that is due has happened. */
const settled = () => new Promise((resolve) => setTimeout(resolve, 20));

function page(html: string) {
  document.body.innerHTML = html;
  server = fakeRealtime();
  undo = attach(document, server.realtime, gateOf(document));
}

/** The names of the events that the body hears from now on. */
function hear(...names: string[]): string[] {
  const heard: string[] = [];
  for (const name of names) document.body.addEventListener(name, () => heard.push(name));
  return heard;
}

/** The browser tells of a request that ended. */
let requested: (entry: object) => void;

beforeEach(() => {
  undo = () => {};
  vi.stubGlobal(
    'PerformanceObserver',
    class {
      observe() {}
      disconnect() {}
      constructor(told: (list: object) => void) {
        requested = (entry) => told({ getEntries: () => [entry] });
      }
    },
  );
  asked = [];
  hide(false);
  vi.stubGlobal('fetch', (url: string) =>
    new Promise<Response>((resolve, reject) =>
      asked.push({
        url,
        answer: (html, status = 200) => resolve(new Response(html, { status })),
        fail: () => reject(new TypeError('no network')),
      }),
    ),
  );
});
afterEach(() => {
  undo();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
  document.documentElement.replaceChildren(document.createElement('head'), document.createElement('body'));
});

describe('keys in attributes', () => {
  test('a stale key concerns the names that begin with it, by whole segments', () => {
    const list = ofRevalidate('posts.list');
    expect([list([]), list(['posts']), list(['posts', 'list'])]).toEqual([true, true, true]);
    expect([list(['post']), list(['posts', 'li']), list(['posts', 'list', 1])]).toEqual([false, false, false]);
    expect(ofRevalidate('a.b, posts.list\n users.me')(['users'])).toBe(true);
    expect(ofRevalidate('')(['anything'])).toBe(true);
  });

  test('a name means the number as well as its text', () => {
    expect(ofRevalidate('posts.detail.7')(['posts', 'detail', 7])).toBe(true);
    expect(ofRevalidate('posts.detail.7')(['posts', 'detail', '7'])).toBe(true);
    expect(ofRevalidate('posts.detail.77')(['posts', 'detail', 7])).toBe(false);
  });

  test('JSON says exactly what it says, one key or several', () => {
    const one = ofRevalidate('["posts", {"tag": "a.b", "page": 2}]');
    expect(one(['posts', { page: 2, tag: 'a.b' }])).toBe(true);
    expect([one(['posts', { page: 3 }]), one(['posts'])]).toEqual([false, true]);
    expect(ofRevalidate('["posts", 7]')(['posts', '7'])).toBe(false);
    expect(ofRevalidate('[["posts"], ["users", 1]]')(['users', 1])).toBe(true);
    expect(ofRevalidate('[]')(['users', 1])).toBe(false);
  });

  test('what is no JSON is told, and refetches too much rather than too little', () => {
    const warn = vi.spyOn(console, 'warn').mockReturnValue();
    expect(ofRevalidate('["posts"')(['users'])).toBe(true);
    expect(warn).toHaveBeenCalledOnce();
  });

  test('the name of an event may be percent-encoded', () => {
    expect(ofEvent('tags.a%20b%2Cc')(['tags', 'a b,c'])).toBe(true);
    expect(ofEvent('rates.100%')(['rates', '100%'])).toBe(true);
  });
});

describe('options', () => {
  test('the tag is found by its address, with any version', () => {
    const attributes = 'data-identity="7" data-share="false" data-cursor="e-1"';
    document.head.innerHTML = `<script src="/other.js"></script><script src="/live/auto.js?v=1" ${attributes}></script>`;
    const tag = tagOf(document, new URL('/live/auto.js', document.baseURI).href);
    expect(optionsOf(document, tag)).toEqual({ identity: '7', share: false, cursor: 'e-1' });
  });

  test('a meta tag speaks for a module that no tag loaded', () => {
    document.head.innerHTML = '<meta name="revalidate" data-url="/live" data-enabled="false" data-debug>';
    const tag = tagOf(document, 'http://elsewhere/auto.js');
    expect(optionsOf(document, tag)).toEqual({ url: '/live', enabled: false, debug: true });
    expect(optionsOf(document, null)).toEqual({});
    document.body.innerHTML = '<p hx-trigger="rt:posts from:body"></p>';
    expect(optionsOf(document, null)).toEqual({ cursor: '' });
    document.body.innerHTML = '<ul data-revalidate="posts"></ul>';
    expect(optionsOf(document, null)).toEqual({ cursor: '' });
  });
});

describe('events', () => {
  test('a stale prefix reaches all that listen below it, and nobody else', () => {
    page(`<ul hx-get="/a" hx-trigger="load, rt:posts.list from:body"></ul>
      <p data-hx-trigger="rt:posts.detail.7[detail.keys] from:body delay:1s"></p>
      <p hx-trigger:inherited="rt:posts.count from:body"></p>
      <p hx-on:rt:posts.other="x()" hx-on="rt:posts.many once -> x()"></p>
      <p hx-trigger="rt:users.me from:body, cart:posts.secret from:body"></p>`);
    const below = ['', '.count', '.detail.7', '.list', '.many', '.other'].map((name) => `rt:posts${name}`);
    const heard = hear(...below, 'rt:users.me', 'rt:posts.secret');
    server.stale('posts');
    expect(heard.sort()).toEqual(below);
  });

  test('everything stale reaches all names', () => {
    page('<p hx-trigger="rt:a.b from:body"></p><p hx-trigger="rt:c from:body"></p>');
    const heard = hear('rt:a.b', 'rt:c', 'rt:');
    server.stale([]);
    expect(heard).toEqual(['rt:a.b', 'rt:c']);
  });

  test('what listens is looked up when it is needed', () => {
    page('');
    const heard = hear('rt:late');
    server.stale([]);
    document.body.insertAdjacentHTML('beforeend', '<p hx-trigger="rt:late from:body"></p>');
    server.stale([]);
    expect(heard).toEqual(['rt:late']);
  });

  test('one event a name, however many keys concern it, with the keys', () => {
    page('<p hx-trigger="rt:posts.list from:body"></p>');
    const details: unknown[] = [];
    document.body.addEventListener('rt:posts.list', (event) => details.push((event as CustomEvent).detail));
    document.addEventListener('rt-revalidate', (event) => details.push((event as CustomEvent).detail), { once: true });
    server.stale('posts', 'posts.list');
    const stale = { keys: [['posts'], ['posts', 'list']], own: false };
    expect(details).toEqual([stale, stale]);
  });

  test('a hidden page is told once, of all, when it is seen', () => {
    page('<p hx-trigger="rt:posts.list from:body, rt:users from:body"></p>');
    hide(true);
    const heard = hear('rt-revalidate', 'rt:posts.list', 'rt:users');
    const details: unknown[] = [];
    document.addEventListener('rt-revalidate', (event) => details.push((event as CustomEvent).detail), { once: true });
    server.stale('posts.list');
    server.stale('users');
    server.stale('posts.list');
    expect(heard).toEqual([]);
    hide(false);
    expect(heard.sort()).toEqual(['rt-revalidate', 'rt:posts.list', 'rt:users']);
    expect(details).toEqual([{ keys: [['posts', 'list'], ['users']], own: false }]);
  });

  test('a page that is still being read is told when it is whole', async () => {
    vi.spyOn(document, 'readyState', 'get').mockReturnValue('interactive');
    page('<p hx-trigger="rt:posts from:body"></p>');
    const heard = hear('rt:posts', 'rt:late');
    server.stale([]);
    document.body.insertAdjacentHTML('beforeend', '<p hx-trigger="rt:late from:body"></p>');
    expect(heard).toEqual([]);
    document.dispatchEvent(new Event('DOMContentLoaded'));
    await until(() => expect(heard).toEqual(['rt:posts', 'rt:late']));
  });
});

describe('elements that come late', () => {
  const OWN = '<p hx-trigger="rt:posts.list from:body, rt:users from:body"></p>';
  /** News of posts; then elements, of a request that began and ended so much before or after. */
  const late = async (html: string, { began = -50, ended = 1_000, comes = 1_010, times = 1 } = {}) => {
    vi.useFakeTimers();
    page(`<p hx-trigger="rt:posts from:body"></p><p data-revalidate="posts" data-src="/early">old</p>
      <div id="other"></div>`);
    const heard = hear('rt:posts', 'rt:posts.list', 'rt:users', 'rt-revalidate');
    server.stale('posts');
    expect(heard.splice(0)).toEqual(['rt-revalidate', 'rt:posts']);
    const news = performance.now();
    await vi.advanceTimersByTimeAsync(comes);
    asked.shift()?.answer('new');
    requested({ initiatorType: 'fetch', startTime: news + began, responseEnd: news + ended });
    for (let i = 0; i < times; i++) {
      document.querySelector('#other')!.innerHTML = html;
      await vi.advanceTimersByTimeAsync(1_000);
    }
    await vi.advanceTimersByTimeAsync(10_000);
    return heard;
  };

  test('hear what became stale while they were on their way', async () => {
    expect(await late(OWN)).toEqual(['rt:posts.list']);
    expect(asked.length).toBe(0);
  });

  test('hear it once, also when they replace themselves', async () => {
    expect(await late(OWN, { times: 3 })).toEqual(['rt:posts.list']);
  });

  test('hear nothing of what was known when they were asked for, or not asked for yet when they came', async () => {
    expect(await late(OWN, { began: 10 })).toEqual([]);
    undo();
    expect(await late(OWN, { ended: -10 })).toEqual([]);
  });

  test('hear nothing of what was long before', async () => {
    expect(await late(OWN, { comes: 20_000, ended: 19_999 })).toEqual([]);
  });

  test('are read again where they say so', async () => {
    await late('<p id="late" data-revalidate="posts.list">old</p><p data-revalidate="users"></p>');
    expect(asked.length).toBe(1);
    asked[0]?.answer('<p id="late">new</p>');
    await vi.advanceTimersByTimeAsync(0);
    expect(shown('late')).toBe('new');
  });

  test('are also those that stood there for a moment, to which htmx did not listen yet', async () => {
    vi.useFakeTimers();
    page('<div id="other"></div>');
    document.querySelector('#other')!.innerHTML = '<p hx-trigger="rt:posts from:body"></p>';
    await vi.advanceTimersByTimeAsync(10);
    const heard = hear('rt:posts');
    server.stale('posts');
    await vi.advanceTimersByTimeAsync(10_000);
    expect(heard).toEqual(['rt:posts', 'rt:posts']);
  });
});

describe('channels and status', () => {
  test('channels are followed for as long as an element names them', async () => {
    page('<div id="room" data-channels="room:1 news" data-cursor="e-5"></div>');
    const names = () => [...server.followed].map(({ name }) => name).sort();
    expect(names()).toEqual(['news', 'room:1']);
    expect([...server.followed][0]?.options).toEqual({ since: 'e-5' });
    document.body.insertAdjacentHTML('beforeend', '<i data-channels="news,room:2"></i>');
    await until(() => expect(names()).toEqual(['news', 'room:1', 'room:2']));
    document.getElementById('room')?.remove();
    await until(() => expect(names()).toEqual(['news', 'room:2']));
    document.querySelector<HTMLElement>('i')!.dataset.channels = 'room:3';
    await until(() => expect(names()).toEqual(['room:3']));
  });

  test('a message is an event of its channel, whatever its data', () => {
    page('<div data-channels="room:1"></div>');
    const details: unknown[] = [];
    const tell = (event: Event) => details.push([event.type, (event as CustomEvent).detail]);
    const names = ['rt-message', 'rt-message:room:1', 'rt-gap:room:1', 'rt-denied:room:1', 'rt-connect:room:1'];
    for (const name of names) {
      document.body.addEventListener(name, tell);
    }
    const [{ handlers }] = [...server.followed] as [typeof server.followed extends Set<infer F> ? F : never];
    const message = { channel: 'room:1', event: 'n', data: 0 };
    handlers.onConnect?.({ resumed: true });
    handlers.onMessage?.(message);
    expect(details).toEqual([
      ['rt-connect:room:1', { channel: 'room:1', resumed: true }],
      ['rt-message', message],
      ['rt-message:room:1', message],
    ]);
    details.length = 0;
    handlers.onConnect?.({ resumed: false });
    handlers.onGap?.({ reason: 'evicted' });
    handlers.onError?.({ code: 'accessdenied' });
    expect(details).toEqual([
      ['rt-connect:room:1', { channel: 'room:1', resumed: false }],
      ['rt-gap:room:1', { channel: 'room:1', reason: 'fresh' }],
      ['rt-gap:room:1', { channel: 'room:1', reason: 'evicted' }],
      ['rt-denied:room:1', { channel: 'room:1', code: 'accessdenied' }],
    ]);
  });

  test('the state of the connection stands on the root element', () => {
    page('');
    const heard = hear('rt-status');
    expect(document.documentElement.dataset.realtime).toBe('connecting');
    server.become('open');
    expect(document.documentElement.dataset.realtime).toBe('open');
    expect(heard).toEqual(['rt-status']);
  });

  test('undone, nothing of it is left', () => {
    page('<div data-channels="room:1"></div>');
    undo();
    expect(server.listening()).toBe(0);
  });
});

describe('data-revalidate', () => {
  test('an element is read again from the page, found by its id', async () => {
    page('<ul id="posts" data-revalidate="posts.list"><li>old</li></ul><p id="rest">kept</p>');
    server.stale('posts');
    const { url, answer } = await request(0);
    expect(url).toBe(location.href);
    expect(document.getElementById('posts')?.dataset.stale).toBe('');
    answer('<!doctype html><title>x</title><p id="rest">new</p><ul id="posts"><li>new</li></ul>');
    await until(() => expect(shown('posts')).toBe('<li>new</li>'));
    expect(shown('rest')).toBe('kept');
    expect(document.getElementById('posts')?.dataset.stale).toBeUndefined();
  });

  test('without an id it is found by its place among those of its kind', async () => {
    page('<p data-revalidate="a">1</p><p data-revalidate="b">x</p><p data-revalidate="a">2</p>');
    server.stale('a');
    (await request(0)).answer('<p data-revalidate="a">one</p><p data-revalidate="a">two</p>');
    await until(() => expect(document.body.textContent).toBe('onextwo'));
  });

  test('elements of one address share a request', async () => {
    page(`<p id="a" data-revalidate="x"></p><p id="b" data-revalidate="y"></p>
      <p id="c" data-revalidate="x" data-src="/part"></p><p id="d" data-revalidate="y" data-src="/part"></p>`);
    server.stale('x', 'y');
    (await request(1)).answer('<p id="c">c</p><p id="d">d</p>');
    (await request(0)).answer('<p id="a">a</p><p id="b">b</p>');
    await until(() => expect(['a', 'b', 'c', 'd'].map(shown)).toEqual(['a', 'b', 'c', 'd']));
    expect(asked.map(({ url }) => new URL(url).pathname)).toEqual([location.pathname, '/part']);
  });

  test('an address of its own may answer with the content alone, rows of a table too', async () => {
    page('<table><tbody id="rows" data-revalidate="rows" data-src="/rows"></tbody></table>');
    server.stale('rows');
    (await request(0)).answer('<tr><td>1</td></tr><tr><td>2</td></tr>');
    await until(() => expect(shown('rows')).toBe('<tr><td>1</td></tr><tr><td>2</td></tr>'));
  });

  test('what becomes stale during a request is read once more after it, and nothing is aborted', async () => {
    page('<p id="a" data-revalidate="a">0</p>');
    server.stale('a');
    const first = await request(0);
    server.stale('a');
    server.stale('a');
    await settled();
    expect(asked.length).toBe(1);
    first.answer('<p id="a">1</p>');
    const second = await request(1);
    expect([shown('a'), document.getElementById('a')?.dataset.stale]).toEqual(['1', '']);
    second.answer('<p id="a">2</p>');
    await until(() => expect(shown('a')).toBe('2'));
    await settled();
    expect(asked.length).toBe(2);
    expect(document.getElementById('a')?.dataset.stale).toBeUndefined();
  });

  test('a request that fails is made again, later each time and at most 30 s, until it works', async () => {
    vi.useFakeTimers();
    vi.spyOn(Math, 'random').mockReturnValue(0.999);
    page('<p id="a" data-revalidate="a">0</p>');
    server.stale('a');
    for (const [index, wait] of [1, 2, 4, 8, 16, 30, 30].entries()) {
      await vi.advanceTimersByTimeAsync(0);
      expect(asked.length).toBe(index + 1);
      if (index % 2) asked[index]?.fail();
      else asked[index]?.answer('no', 503);
      await vi.advanceTimersByTimeAsync(wait * 999 - 10);
      expect(asked.length).toBe(index + 1);
      await vi.advanceTimersByTimeAsync(10);
    }
    asked[7]?.answer('<p id="a">1</p>');
    await vi.advanceTimersByTimeAsync(0);
    expect(shown('a')).toBe('1');
    await vi.advanceTimersByTimeAsync(120_000);
    expect(asked.length).toBe(8);
  });

  test('a connection that opens ends the wait', async () => {
    vi.useFakeTimers();
    vi.spyOn(Math, 'random').mockReturnValue(0.999);
    page('<p id="a" data-revalidate="a">0</p>');
    server.stale('a');
    await vi.advanceTimersByTimeAsync(0);
    asked[0]?.fail();
    await vi.advanceTimersByTimeAsync(0);
    server.become('open');
    await vi.advanceTimersByTimeAsync(0);
    expect(asked.length).toBe(2);
  });

  test('what the server refuses for good is told, and asked again at the next news', async () => {
    vi.useFakeTimers();
    const warn = vi.spyOn(console, 'warn').mockReturnValue();
    page('<p id="a" data-revalidate="a">0</p>');
    server.stale('a');
    await vi.advanceTimersByTimeAsync(0);
    asked[0]?.answer('', 403);
    await vi.advanceTimersByTimeAsync(120_000);
    expect([asked.length, warn.mock.calls.length, shown('a')]).toEqual([1, 1, '0']);
    server.stale('a');
    await vi.advanceTimersByTimeAsync(0);
    expect(asked.length).toBe(2);
  });

  test('a hidden page reads when it is seen', async () => {
    page('<p id="a" data-revalidate="a">0</p>');
    hide(true);
    server.stale('a');
    await settled();
    expect(asked.length).toBe(0);
    hide(false);
    (await request(0)).answer('<p id="a">1</p>');
    await until(() => expect(shown('a')).toBe('1'));
  });

  test('an element that was added later is read like any other', async () => {
    page('');
    document.body.innerHTML = '<p id="late" data-revalidate="a">0</p>';
    server.stale('a');
    (await request(0)).answer('<p id="late">1</p>');
    await until(() => expect(shown('late')).toBe('1'));
  });

  test('an element that the page has no more stays as it is', async () => {
    const warn = vi.spyOn(console, 'warn').mockReturnValue();
    page('<p id="a" data-revalidate="a">0</p>');
    server.stale('a');
    (await request(0)).answer('<h1>Sign in</h1>');
    await until(() => expect(warn).toHaveBeenCalledOnce());
    expect(shown('a')).toBe('0');
  });

  test('scripts of what was read do not run', async () => {
    page('<div id="a" data-revalidate="a"></div>');
    server.stale('a');
    (await request(0)).answer('<div id="a"><script>globalThis.ran = true</script><b>1</b></div>');
    await until(() => expect(document.querySelector('#a b')?.textContent).toBe('1'));
    await settled();
    expect(globalThis).not.toHaveProperty('ran');
  });

  test('htmx is shown what came', async () => {
    const process = vi.fn();
    vi.stubGlobal('htmx', { process });
    page('<div id="a" data-revalidate="a"></div>');
    const heard = hear('rt-swap');
    server.stale('a');
    (await request(0)).answer('<div id="a"><b hx-get="/b"></b></div>');
    await until(() => expect(heard).toEqual(['rt-swap']));
    expect(process).toHaveBeenCalledExactlyOnceWith(document.getElementById('a'));
  });
});

describe('what the user does', () => {
  const form = (list: string, value = '') =>
    `<div id="a" data-revalidate="a"><ul>${list}</ul>
      <form><input name="title" value="${value}"><button>Go</button></form></div>`;
  const field = () => document.querySelector<HTMLInputElement>('#a input')!;
  const list = () => document.querySelector('#a ul')!.innerHTML;

  test('nothing is put in place while the user types; then the newest is', async () => {
    page(form('<li>0</li>'));
    field().focus();
    field().value = 'half a sen';
    server.stale('a');
    (await request(0)).answer(form('<li>1</li>'));
    await settled();
    server.stale('a');
    (await request(1)).answer(form('<li>2</li>'));
    await settled();
    expect(list()).toBe('<li>0</li>');
    expect(document.getElementById('a')?.dataset.stale).toBe('');
    const typedIn = field();
    document.querySelector('button')?.focus();
    await until(() => expect(list()).toBe('<li>2</li>'));
    expect(field()).toBe(typedIn);
    expect(field().value).toBe('half a sen');
    expect(document.activeElement).toBe(document.querySelector('button'));
    expect(document.getElementById('a')?.dataset.stale).toBeUndefined();
  });

  test.each([
    ['a box', '<input type="checkbox">', (box: HTMLInputElement) => (box.checked = true)],
    ['a choice', '<select><option>1<option>2</select>', (select: HTMLInputElement) => (select.value = '2')],
    ['a text', '<textarea></textarea>', (text: HTMLInputElement) => (text.value = 'x')],
  ])('%s that was changed is a field too', async (_, html, change) => {
    page(`<div id="a" data-revalidate="a"><b>0</b>${html}</div>`);
    const input = document.querySelector<HTMLInputElement>('#a > :last-child')!;
    input.focus();
    change(input);
    server.stale('a');
    (await request(0)).answer(`<div id="a"><b>1</b>${html}</div>`);
    await settled();
    expect(document.querySelector('#a b')?.textContent).toBe('0');
    input.blur();
    await until(() => expect(document.querySelector('#a b')?.textContent).toBe('1'));
  });

  test('a field that only holds the focus keeps it, and its selection', async () => {
    page(form('<li>0</li>', 'a title'));
    const before = field();
    before.focus();
    before.setSelectionRange(2, 4);
    server.stale('a');
    (await request(0)).answer(form('<li>1</li><li>2</li>', 'a title'));
    await until(() => expect(list()).toBe('<li>1</li><li>2</li>'));
    expect(document.activeElement).toBe(before);
    expect([before.selectionStart, before.selectionEnd]).toEqual([2, 4]);
  });

  test('a box that only holds the focus defers nothing', async () => {
    page('<div id="a" data-revalidate="a"><b>0</b><input type="checkbox"></div>');
    document.querySelector<HTMLInputElement>('#a input')!.focus();
    server.stale('a');
    (await request(0)).answer('<div id="a"><b>1</b><input type="checkbox"></div>');
    await until(() => expect(document.querySelector('#a b')?.textContent).toBe('1'));
  });

  test('what the user opened stays open', async () => {
    page('<div id="a" data-revalidate="a"><details><summary>s</summary>0</details></div>');
    document.querySelector('details')!.open = true;
    server.stale('a');
    (await request(0)).answer('<div id="a"><details><summary>s</summary>1</details></div>');
    await until(() => expect(shown('a')).toBe('<details open=""><summary>s</summary>1</details>'));
  });
});

describe('morph', () => {
  const element = (html: string) => {
    const made = document.createElement('div');
    made.innerHTML = html;
    return made;
  };
  const texts = fc.constantFrom('', 'x', 'y z', '&amp;');
  const { tree } = fc.letrec<{ tree: string; node: string }>((tie) => ({
    node: fc.oneof(
      { depthSize: 'small' },
      texts,
      fc
        .tuple(
          fc.constantFrom('b', 'i', 'div', 'span'),
          fc.constantFrom('', ' id="1"', ' id="2"', ' id="3"', ' class="c"', ' name="n"'),
          tie('tree'),
        )
        .map(([name, attributes, inner]) => `<${name}${attributes}>${inner}</${name}>`),
    ),
    tree: fc.array(tie('node') as fc.Arbitrary<string>, { maxLength: 5 }).map((nodes) => nodes.join('')),
  }));

  test('afterwards it is equal, whatever it was', () => {
    fc.assert(
      fc.property(tree, tree, (before, after) => {
        const morphed = element(before);
        morph(morphed, element(after));
        expect(morphed.innerHTML).toBe(element(after).innerHTML);
      }),
      { numRuns: 500 },
    );
  });

  test('elements with an id stay themselves, in any order, and hold their focus', () => {
    const order = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd', 'e'), { minLength: 1 });
    const buttons = (ids: string[]) => ids.map((id) => `<button id="${id}"></button>`).join('');
    fc.assert(
      fc.property(order, order, fc.nat(), (before, after, pick) => {
        const morphed = element(buttons(before));
        document.body.replaceChildren(morphed);
        const known = new Map([...morphed.children].map((one) => [one.id, one]));
        const focused = morphed.children[pick % morphed.children.length] as HTMLElement;
        focused.focus();
        morph(morphed, element(buttons(after)));
        for (const one of morphed.children) if (known.has(one.id)) expect(one).toBe(known.get(one.id));
        if ((after as string[]).includes(focused.id)) expect(document.activeElement).toBe(focused);
      }),
      { numRuns: 300 },
    );
  });

  test('a field does not become another one, with what was typed', () => {
    const morphed = element('<input name="a">');
    morphed.querySelector('input')!.value = 'secret';
    morph(morphed, element('<input name="b">'));
    expect(morphed.querySelector('input')?.value).toBe('');
  });
});

describe('liveQuery', () => {
  const start = (read: () => unknown) => {
    page('');
    return live(server.realtime, gateOf(document), 'posts.list', read);
  };

  test('reads now, also while hidden, and when its key becomes stale', async () => {
    hide(true);
    const read = vi.fn();
    const stop = start(read);
    await until(() => expect(read).toHaveBeenCalledTimes(1));
    await settled();
    server.stale('users');
    server.stale('posts');
    await settled();
    expect(read).toHaveBeenCalledTimes(1);
    hide(false);
    await until(() => expect(read).toHaveBeenCalledTimes(2));
    hide(true);
    server.stale('posts');
    await settled();
    stop();
    hide(false);
    server.stale('posts');
    await settled();
    expect(read).toHaveBeenCalledTimes(2);
    undo();
    expect(server.listening()).toBe(0);
  });

  test('never twice at once, and once more after what came in between', async () => {
    const ends: (() => void)[] = [];
    start(() => new Promise<void>((resolve) => ends.push(resolve)));
    await until(() => expect(ends.length).toBe(1));
    for (let i = 0; i < 5; i++) server.stale('posts.list');
    await settled();
    expect(ends.length).toBe(1);
    ends[0]?.();
    await until(() => expect(ends.length).toBe(2));
    ends[1]?.();
    await settled();
    expect(ends.length).toBe(2);
  });

  test('tries again what threw, unless it is final, and not once it was stopped', async () => {
    vi.useFakeTimers();
    const warn = vi.spyOn(console, 'warn').mockReturnValue();
    const read = vi.fn<() => Promise<void>>();
    read.mockRejectedValueOnce(new Error('x')).mockRejectedValueOnce(new Final('for good'));
    const stop = start(read);
    await vi.advanceTimersByTimeAsync(120_000);
    expect(read).toHaveBeenCalledTimes(2);
    expect(warn).toHaveBeenCalledExactlyOnceWith('for good');
    read.mockRejectedValue(new Error('x'));
    server.stale('posts');
    await vi.advanceTimersByTimeAsync(0);
    expect(read).toHaveBeenCalledTimes(3);
    stop();
    await vi.advanceTimersByTimeAsync(120_000);
    expect(read).toHaveBeenCalledTimes(3);
  });
});
