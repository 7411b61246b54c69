// Choices that can be made again: mulberry32.

export function random(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return {
    next,
    /** An integer from 0 on, below `n`. */
    below: (n) => Math.floor(next() * n),
    is: (probability) => next() < probability,
    of: (list) => list[Math.floor(next() * list.length)],
    /** From 1 on, up to `max`, small ones as likely as large ones. */
    size: (max) => Math.ceil(max ** next()),
    /** Others, which do not depend on how often these are made. */
    fork: () => random(Math.floor(next() * 4294967296)),
  };
}
