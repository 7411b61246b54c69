/** Times and dates, in the words of the reader's language. */

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const day = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });

export const timeOf = (at: number) => clock.format(at);

export function dayOf(at: number): string {
  const midnight = new Date().setHours(0, 0, 0, 0);
  if (at >= midnight) return 'Today';
  return at >= midnight - 86_400_000 ? 'Yesterday' : day.format(at);
}

/** `Bob`, `Bob and Carol`, `Bob, Carol and Dave`. */
export const list = (names: string[]) => new Intl.ListFormat('en').format(names);
