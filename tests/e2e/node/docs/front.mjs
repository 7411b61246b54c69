// A server for a page of the documentation: in front of the axum example, which has the data and the mount. What the
// example says as JSON it renders as HTML where HTML is asked for, as an app of htmx or of forms would.

import { createServer, request } from 'node:http';

const escaped = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt()};`);
const rows = (posts, row = '<li>{{ post.title }}</li>') =>
  posts.map(({ title }) => row.replaceAll('{{ post.title }}', escaped(title))).join('');

/** `script`: what is served as `/main.js`. `example`: the address of the example. */
export async function front({ page, script, example }) {
  const asked = [];

  const posts = async () => {
    const response = await fetch(new URL('/posts', example));
    return { cursor: response.headers.get('x-revalidate-cursor'), ...(await response.json()) };
  };

  const render = async () => {
    if (!page.includes('{{ cursor }}')) return page;
    const { cursor, posts: list } = await posts();
    return page
      .replace('{{ cursor }}', cursor)
      .replace(/\{% for post in posts %\}(.*?)\{% endfor %\}/s, (_, row) => rows(list, row));
  };

  const answer = async (incoming, outgoing) => {
    const { pathname } = new URL(incoming.url, 'http://front');
    const html = (text) => outgoing.setHeader('content-type', 'text/html; charset=utf-8').end(text);
    const form = incoming.headers['content-type']?.startsWith('application/x-www-form-urlencoded');
    // htmx 4 asks so; htmx 2 for anything.
    const wantsHtml = /text\/html/.test(incoming.headers.accept) || incoming.headers['hx-request'];
    asked.push(`${incoming.method} ${pathname}`);

    if (pathname === '/') return html(await render());
    if (pathname === '/main.js') return outgoing.setHeader('content-type', 'text/javascript').end(script);
    if (pathname === '/posts' && incoming.method === 'GET' && wantsHtml) return html(rows((await posts()).posts));
    if (pathname === '/posts' && form) {
      const chunks = await incoming.toArray();
      const { title } = Object.fromEntries(new URLSearchParams(Buffer.concat(chunks).toString()));
      const { status } = await fetch(new URL('/posts', example), {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ title }),
      });
      // After a form of the browser's own comes the page again.
      if (incoming.headers['hx-request']) return outgoing.writeHead(status).end();
      return outgoing.writeHead(303, { location: '/' }).end();
    }
    pass(incoming, outgoing);
  };

  const pass = (incoming, outgoing) => {
    const { method, url, headers } = incoming;
    const on = request(new URL(url, example), { method, headers }, (response) => {
      outgoing.writeHead(response.statusCode, response.headers);
      response.pipe(outgoing);
    });
    on.on('error', () => outgoing.destroy());
    outgoing.on('close', () => on.destroy());
    incoming.pipe(on);
  };

  const server = createServer((incoming, outgoing) => {
    answer(incoming, outgoing).catch((error) => outgoing.writeHead(500).end(String(error)));
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    asked,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
