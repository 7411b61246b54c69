// Draws that come again with the same seed, here and in the page.

/** mulberry32. */
export function random(seed) {
  let state = seed >>> 0;
  function draw() {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
  const below = (bound) => Math.floor(draw() * bound);
  return {
    below,
    between: (least, most) => least + below(most - least + 1),
    chance: (likely) => draw() < likely,
    pick: (list) => list[below(list.length)],
    /** One name of `{ name: weight }`. */
    weighted(weights) {
      const names = Object.keys(weights);
      let left = draw() * names.reduce((sum, name) => sum + weights[name], 0);
      return names.find((name) => (left -= weights[name]) < 0) ?? names.at(-1);
    },
  };
}
