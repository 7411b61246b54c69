/**
 * Makes what an element holds equal to other HTML, and keeps the nodes that are the same in both: with them stay
 * focus, selection, scroll positions, and what was typed, for a browser changes a field that the user has changed
 * no more when its attributes do.
 */

/** What the user or htmx does to an element, and the server's HTML does not know. */
const kept = (element: Element, attribute: string): boolean =>
  attribute === 'data-stale' ||
  attribute.startsWith('data-htmx-') ||
  (attribute === 'open' && /^(DETAILS|DIALOG)$/.test(element.nodeName));

/** Takes the nodes of `now` over into `element`. */
export function morph(element: Element, now: ParentNode): void {
  const { activeElement } = element.ownerDocument;
  const range = selectionOf(activeElement);
  children(element, now);
  // Where the browser cannot move a node and leave it its focus.
  if (activeElement !== element.ownerDocument.activeElement && element.contains(activeElement)) {
    (activeElement as HTMLElement).focus({ preventScroll: true });
    if (range) (activeElement as HTMLInputElement).setSelectionRange(...range);
  }
}

function children(old: ParentNode, now: ParentNode): void {
  const named = new Map<string, Element>();
  for (const child of old.children) {
    if (child.id && !named.has(child.id)) named.set(child.id, child);
  }
  const wanted = new Set<string>();
  for (const child of now.children) wanted.add(child.id);

  let next = old.firstChild;
  for (const node of [...now.childNodes]) {
    const same = isElement(node) && node.id ? named.get(node.id) : nextLike(next, node);
    if (same && like(same, node)) {
      if (isElement(node)) named.delete(node.id);
      if (same === next) next = next.nextSibling;
      else move(old, same, next);
      take(same, node);
    } else {
      old.insertBefore(node, next);
    }
    // What the new HTML has no more goes as soon as it is met, so that what follows need not be moved.
    while (next && isElement(next) && next.id && !wanted.has(next.id)) next = drop(next);
  }
  while (next) next = drop(next);
}

/** The next one of the same kind that nobody knows by name. */
function nextLike(from: ChildNode | null, node: Node): ChildNode | undefined {
  for (let old = from; old; old = old.nextSibling) {
    if (!(isElement(old) && old.id) && like(old, node)) return old;
  }
  return undefined;
}

const like = (old: Node, node: Node): boolean =>
  old.nodeName === node.nodeName &&
  // A field that was typed into must not become another field.
  (!isElement(old) || !isElement(node) || ['type', 'name'].every((a) => old.getAttribute(a) === node.getAttribute(a)));

function take(old: Node, node: Node): void {
  if (isElement(old) && isElement(node)) {
    for (const { name, value } of node.attributes) {
      if (old.getAttribute(name) !== value && !kept(old, name)) old.setAttribute(name, value);
    }
    for (const name of old.getAttributeNames()) {
      if (!node.hasAttribute(name) && !kept(old, name)) old.removeAttribute(name);
    }
    children(old, node);
  } else if (old.nodeValue !== node.nodeValue) {
    old.nodeValue = node.nodeValue;
  }
}

function move(parent: ParentNode, node: ChildNode, before: ChildNode | null): void {
  // https://dom.spec.whatwg.org/#dom-parentnode-movebefore: keeps focus, scroll positions, frames.
  const mover = parent as ParentNode & { moveBefore?(node: Node, before: Node | null): void };
  if (mover.moveBefore) mover.moveBefore(node, before);
  else parent.insertBefore(node, before);
}

function drop(node: ChildNode): ChildNode | null {
  const next = node.nextSibling;
  node.remove();
  return next;
}

/** Of fields that have one; the others say null, or throw. */
function selectionOf(element: Element | null): [number, number] | undefined {
  try {
    const { selectionStart, selectionEnd } = element as HTMLInputElement;
    if (typeof selectionStart === 'number' && typeof selectionEnd === 'number') return [selectionStart, selectionEnd];
  } catch {
    // Not of this kind of field.
  }
  return undefined;
}

const isElement = (node: Node): node is Element => node.nodeType === 1;
