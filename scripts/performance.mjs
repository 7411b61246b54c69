// The tables of docs/performance.md and the chart of the README, out of figures.
//
//   node scripts/performance.mjs DIRECTORY   takes the medians of a run of the load rig: files named
//                                            {server}.{workload}.{round}.json; keeps them in docs/performance.json
//   node scripts/performance.mjs             writes tables and chart anew from what is kept
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';

const KEPT = new URL('../docs/performance.json', import.meta.url);
const PAGE = new URL('../docs/performance.md', import.meta.url);
const CHART = new URL('../docs/performance.svg', import.meta.url);

/** By name in the rig, in the order in which they are shown. */
const SERVERS = {
  ours: 'tower-revalidate on hyper',
  'ours-flat': 'tower-revalidate on hyper, `writev(false)`',
  'ours-axum': 'tower-revalidate on axum',
  'hyper-floor': 'bare hyper',
  'hyper-floor-flat': 'bare hyper, `writev(false)`',
  'hyper-floor-multi': 'bare hyper, joining',
  rawlimit: 'epoll and `write`, no HTTP library',
  'rawlimit-coalesce': 'epoll and `write`, joining',
  'axum-broadcast': 'axum `Sse` and `tokio::sync::broadcast`',
  nchan: 'nchan (nginx)',
  pushpin: 'pushpin',
  'better-sse': 'better-sse (Node.js)',
  'sse-starlette': 'sse-starlette (Python)',
};

const FIGURES = {
  deliveries: (run) => run.rate_per_s.deliveries,
  cpu: (run) => run.server.cpu_s_per_million,
  events: (run) => run.deliveries.events_per_read,
  p50: (run) => run.latency.p50_us,
  p99: (run) => run.latency.p99_us,
  missing: (run) => run.deliveries.missing,
  bytes: (run) => run.server.pss_per_conn_bytes,
  connect: (run) => run.connect.server_cpu_us_per_conn,
  cycle: (run) => run.churn.server_cpu_us_per_cycle,
  errors: (run) => run.churn.errors,
};

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 ? sorted[Math.floor(middle)] : (sorted[middle - 1] + sorted[middle]) / 2;
};
const precise = (value) => Number(value.toPrecision(4));

const collect = (directory) => {
  const runs = {};
  for (const file of readdirSync(directory).sort()) {
    const [, server, workload] = /^(.+)\.(\w+)\.\d+\.json$/.exec(file) ?? [];
    if (!SERVERS[server]) continue;
    const run = JSON.parse(readFileSync(`${directory}/${file}`, 'utf8'));
    const { duplicates, reordered, cut_off: cut } = run.deliveries;
    if (duplicates || reordered || cut) throw new Error(`${file}: ${JSON.stringify({ duplicates, reordered, cut })}`);
    ((runs[workload] ??= {})[server] ??= []).push(run);
  }
  const shorten = (all) => {
    const figures = Object.entries(FIGURES).map(([name, of]) => [name, all.map(of).map((value) => value ?? 0)]);
    return {
      rounds: all.length,
      ...Object.fromEntries(figures.map(([name, values]) => [name, [median(values), Math.min(...values), Math.max(...values)].map(precise)])),
    };
  };
  const each = (object, then) => Object.fromEntries(Object.entries(object).map(([name, value]) => [name, then(value)]));
  return each(runs, (servers) => each(servers, shorten));
};

/** The median, and from where to where the rounds went. */
const cell = ([middle, least, most], digits = 0, scale = 1) => {
  const said = (value) => (value * scale).toFixed(digits);
  return said(least) === said(most) ? said(middle) : `${said(middle)} (${said(least)}–${said(most)})`;
};

const FLOW = {
  'deliveries/s, thousands': ({ deliveries }) => cell(deliveries, 0, 1e-3),
  'CPU, µs a delivery': ({ cpu }) => cell(cpu, 2),
  'events a read': ({ events }) => cell(events, 1),
  'p50, ms': ({ p50 }) => cell(p50, 1, 1e-3),
  'p99, ms': ({ p99 }) => cell(p99, 1, 1e-3),
  missing: ({ missing }) => cell(missing),
};
const COLUMNS = {
  W3: {
    'bytes a connection': ({ bytes }) => cell(bytes),
    'CPU, µs a connect': ({ connect }) => cell(connect),
  },
  W6: { 'CPU, µs a cycle': ({ cycle }) => cell(cycle), errors: ({ errors }) => cell(errors) },
};

const table = (workload, servers) => {
  const columns = COLUMNS[workload] ?? FLOW;
  const rows = Object.keys(SERVERS).filter((server) => servers[server]);
  return [
    `| | rounds | ${Object.keys(columns).join(' | ')} |`,
    `|---|${'---|'.repeat(1 + Object.keys(columns).length)}`,
    ...rows.map((server) => {
      const cells = Object.values(columns).map((of) => of(servers[server]));
      return `| ${SERVERS[server]} | ${servers[server].rounds} | ${cells.join(' | ')} |`;
    }),
  ].join('\n');
};

// --- The chart -----------------------------------------------------------------------------------------------

const WIDTH = 760;
const LABEL = 260;
const BAR = 20;
const STEP = 26;
const OURS = /^ours/;
const CHARTED = ['ours', 'ours-axum', 'hyper-floor-multi', 'hyper-floor', 'axum-broadcast', 'nchan', 'pushpin', 'better-sse', 'sse-starlette'];
const PANELS = [
  { title: 'Deliveries a second, thousands: 1 000 clients, one publisher flat out', workload: 'W1', of: ({ deliveries }) => deliveries[0] / 1000 },
  { title: 'Memory of an idle connection, KiB', workload: 'W3', of: ({ bytes }) => bytes[0] / 1024 },
];

const escape = (text) => text.replaceAll('`', '').replaceAll('&', '&amp;').replaceAll('<', '&lt;');

const panel = ({ title, workload, of }, runs, top) => {
  const servers = CHARTED.filter((server) => runs[workload]?.[server]);
  const values = servers.map((server) => of(runs[workload][server]));
  const scale = (WIDTH - LABEL - 80) / Math.max(...values);
  const bars = servers.map((server, row) => {
    const [y, length] = [top + 18 + row * STEP, Math.max(1, values[row] * scale).toFixed(1)];
    const said = values[row] >= 100 ? Math.round(values[row]).toLocaleString('en') : values[row].toFixed(1);
    return [
      `<text x="${LABEL - 10}" y="${y + 15}" text-anchor="end">${escape(SERVERS[server])}</text>`,
      `<rect x="${LABEL}" y="${y}" width="${length}" height="${BAR}" rx="2" class="${OURS.test(server) ? 'ours' : 'other'}"/>`,
      `<text x="${LABEL + Number(length) + 6}" y="${y + 15}">${said}</text>`,
    ].join('');
  });
  const svg = [`<text x="0" y="${top}" class="title">${escape(title)}</text>`, ...bars].join('\n');
  return { svg, bottom: top + 18 + servers.length * STEP };
};

const chart = (runs) => {
  let top = 20;
  const panels = PANELS.map((each) => {
    const { svg, bottom } = panel(each, runs, top);
    top = bottom + 36;
    return svg;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${top - 26}" width="${WIDTH}" role="img" aria-label="${PANELS.map(({ title }) => title).join('; ')}">
<style>
text { font: 13px system-ui, sans-serif; fill: #24292f; }
.title { font-weight: 600; }
.ours { fill: #c2410c; }
.other { fill: #8b98a5; }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3; } .ours { fill: #fb923c; } .other { fill: #6e7b88; } }
</style>
${panels.join('\n')}
</svg>
`;
};

// --- ---------------------------------------------------------------------------------------------------------

const [directory] = process.argv.slice(2);
if (directory) writeFileSync(KEPT, `${JSON.stringify(collect(directory), null, 1)}\n`);
const runs = JSON.parse(readFileSync(KEPT, 'utf8'));
const page = readFileSync(PAGE, 'utf8').replace(
  /(<!-- table (\w+) -->\n)[^]*?(<!-- end -->)/g,
  (_, begin, workload, end) => `${begin}${runs[workload] ? `${table(workload, runs[workload])}\n` : ''}${end}`,
);
writeFileSync(PAGE, page);
writeFileSync(CHART, chart(runs));
