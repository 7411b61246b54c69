/**
 * The order of two cursors, `{epoch}-{offset}` with an offset in hex: below 0, 0, above 0; NaN where they have no
 * order, being of different epochs, or not being cursors. No comparison with NaN holds.
 */
export const compare = (one: string | undefined, other: string | undefined): number => {
  const [a, x] = split(one);
  const [b, y] = split(other);
  if (a !== b || !x || !y) return NaN;
  return x.length - y.length || (x < y ? -1 : x > y ? 1 : 0);
};

const split = (cursor = ''): string[] => cursor.split('-');
