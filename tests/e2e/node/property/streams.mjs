// How many streams each relay has: it says in a header which one it is.

/** Tells of each change. */
export function counted(tell) {
  const open = new Map();
  const inner = globalThis.fetch;
  const change = (relay, by) => {
    open.set(relay, (open.get(relay) ?? 0) + by);
    tell(relay, open.get(relay));
  };
  globalThis.fetch = (url, init) => {
    const relay = init?.headers?.['x-relay'];
    if (!relay) return inner(url, init);
    change(relay, 1);
    // The client lets go of each in the end, also of those that broke.
    init.signal.addEventListener('abort', () => change(relay, -1), { once: true });
    return inner(url, init);
  };
}
