// Which queries there are, and where the app answers them.

/** `paths` of a query in the order of its pages; one page where it is not `infinite`. */
export const QUERIES = [
  ...['a', 'b', 'c', 'd'].map((name) => ({ queryKey: ['counter', name], paths: [`/counter/${name}`] })),
  // As the app says them with the parameters in another order, and longer than what it says.
  ...[0, 1, 2].map((page) => ({ queryKey: ['items', { size: 2, page }], paths: [`/items/${page}`] })),
  { queryKey: ['items', { page: 0, size: 2 }, 'count'], paths: ['/items/0'] },
  { queryKey: ['feed'], paths: ['/feed/0', '/feed/1', '/feed/2'], infinite: true },
  { queryKey: ['users', 'me'], paths: ['/me'] },
  { queryKey: ['users', 'me', 'name'], paths: ['/me'] },
  { queryKey: ['reports'], paths: ['/reports'] },
];

/** What changes them. */
export const CHANGES = [
  ...['a', 'b', 'c', 'd'].map((name) => `/counter/${name}`),
  ...[0, 1, 2].map((page) => `/items/${page}`),
  '/items',
  ...[0, 1, 2].map((page) => `/feed/${page}`),
  '/users/alice',
  '/users/bob',
  '/reports',
];

/** What is in the cache of it, when `answers` are what the app answers. */
export const cached = ({ paths, infinite }, answers) =>
  (infinite ? { pages: paths.map((path) => answers[path]) } : answers[paths[0]]);

export const queryOf = (queryKey) => {
  const text = JSON.stringify(queryKey);
  return QUERIES.find((query) => JSON.stringify(query.queryKey) === text);
};
