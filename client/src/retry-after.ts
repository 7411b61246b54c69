/** `Retry-After` in ms: seconds or a date (RFC 9110, 10.2.3). */
export const retryAfter = (headers: Headers): number | undefined => {
  const value = headers.get('retry-after');
  const ms = value ? +value * 1_000 || Date.parse(value) - Date.now() : 0;
  // No timer can wait for longer than 24 days.
  return ms > 0 ? Math.min(ms, 1e9) : undefined;
};
