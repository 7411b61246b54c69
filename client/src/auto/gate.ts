/** When a page may refetch: when it is there, and somebody can see it. */

/** Calls back once the page is whole and visible; at once, if it is. */
export type Gate = (then: () => void) => void;

/** The gate of a document. Calls in the order in which it was asked. */
export function gateOf(document: Document): Gate {
  const waiting: (() => void)[] = [];
  let whole = document.readyState === 'complete';
  const open = () => whole && !document.hidden;
  const look = () => {
    while (open() && waiting.length > 0) waiting.shift()?.();
  };
  if (!whole) {
    // Modules run before DOMContentLoaded, and htmx listens from then on, or from the task after it. Who was imported
    // between DOMContentLoaded and load hears the latter alone.
    const began = () => setTimeout(() => { whole = true; look(); });
    document.addEventListener('DOMContentLoaded', began, { once: true });
    document.defaultView?.addEventListener('load', began, { once: true });
  }
  document.addEventListener('visibilitychange', look);
  return (then) => {
    waiting.push(then);
    look();
  };
}
