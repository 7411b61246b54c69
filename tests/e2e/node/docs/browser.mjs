// Chromium, and htmx in it without the network.

import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const require = createRequire(import.meta.url);
const HTMX = { 2: require.resolve('htmx2/dist/htmx.min.js'), 4: require.resolve('htmx.org/dist/htmx.min.js') };

export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    // No sandbox: it does not start as root, which containers are. The pages are ours.
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking', '--disable-sync'],
  });

/** A context of its own, in which whatever pages load from elsewhere is htmx of this version. */
export async function contextOf(browser, htmx) {
  const context = await browser.newContext();
  // Long enough for the slowest machine; nothing that works comes near it.
  context.setDefaultTimeout(60_000);
  await context.route(/^https:/, (route) =>
    htmx ? route.fulfill({ path: HTMX[htmx], contentType: 'text/javascript' }) : route.abort(),
  );
  return context;
}
