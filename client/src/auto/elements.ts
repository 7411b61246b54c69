/** Elements with `data-revalidate`: when what they show is stale, it is read again as HTML and put in place. */

import type { Realtime, Stale } from '../types';
import type { Gate } from './gate';
import { type Concern, ofRevalidate } from './keys';
import { morph } from './morph';
import { Final, type Refetch, refetching } from './refetch';

/** The page itself, whose address may change under it. */
const PAGE = '';

/** One for all elements that are read from the same address: they share its requests. */
interface Source {
  readonly stale: Set<HTMLElement>;
  readonly refetch: Refetch;
}

/** Returns what to call with stale keys. */
export function staleElements(document: Document, realtime: Pick<Realtime, 'status'>, gate: Gate) {
  const sources = new Map<string, Source>();

  const source = (address: string): Source => {
    let found = sources.get(address);
    if (!found) {
      const stale = new Set<HTMLElement>();
      found = { stale, refetch: refetching(realtime, gate, () => refresh(address, stale)) };
      sources.set(address, found);
    }
    return found;
  };

  const refresh = async (address: string, stale: Set<HTMLElement>) => {
    const taken = [...stale].filter((element) => element.isConnected);
    stale.clear();
    if (taken.length === 0) return;
    const asked = address === PAGE ? page(document) : new URL(address, document.baseURI).href;
    try {
      const content = await read(document, asked);
      if (address === PAGE && page(document) !== asked) throw new Error('another page by now');
      for (const element of taken) {
        // What became stale since is read once more; till then this is the newest there is.
        if (element.isConnected) put(element, find(element, content, address), () => !stale.has(element));
      }
    } catch (error) {
      if (!(error instanceof Final)) for (const element of taken) stale.add(element);
      throw error;
    }
  };

  return ({ keys }: Stale, isMeant: (element: Element, what: string) => boolean = () => true) => {
    for (const element of revalidated(document)) {
      const what = element.dataset.revalidate ?? '';
      if (!keys.some(concernOf(what)) || !isMeant(element, what)) continue;
      element.dataset.stale = '';
      const { stale, refetch } = source(element.dataset.src ?? PAGE);
      stale.add(element);
      refetch();
    }
  };
}

/** Those of a document that it has now. */
export const revalidated = (document: Document) => document.querySelectorAll<HTMLElement>('[data-revalidate]');

const parsed = new Map<string, Concern>();
function concernOf(value: string): Concern {
  let concern = parsed.get(value);
  if (!concern) {
    // A page that makes up values without end must not fill the memory.
    if (parsed.size > 1_000) parsed.clear();
    parsed.set(value, (concern = ofRevalidate(value)));
  }
  return concern;
}

const page = ({ location }: Document): string => location.href.replace(/#.*/, '');

async function read(document: Document, url: string): Promise<DocumentFragment> {
  const response = await fetch(url, {
    headers: { accept: 'text/html' },
    // What the browser has may be what became stale; with an ETag it is asked for and not sent.
    cache: 'no-cache',
    signal: AbortSignal.timeout(60_000),
  });
  if (!response.ok) {
    const transient = response.status >= 500 || [408, 425, 429].includes(response.status);
    throw new (transient ? Error : Final)(`data-revalidate: ${url} answered ${response.status}`);
  }
  // A template takes pages as well as parts, also rows of a table, and its document runs no scripts and loads nothing.
  const template = document.createElement('template');
  template.innerHTML = await response.text();
  return template.content;
}

/** The same element in what was read. An address of its own may answer with its content alone. */
function find(element: HTMLElement, content: DocumentFragment, address: string): ParentNode | undefined {
  const same = element.id
    ? content.querySelector(`[id=${CSS.escape(element.id)}]`)
    : alike(element, content)[alike(element, element.ownerDocument).indexOf(element)];
  if (same) return same.cloneNode(true) as Element;
  if (address !== PAGE) return content.cloneNode(true) as DocumentFragment;
  console.warn('data-revalidate: the page as it is now has no such element', element);
  return undefined;
}

const alike = (element: HTMLElement, within: ParentNode): Element[] =>
  [...within.querySelectorAll(`[data-revalidate=${CSS.escape(element.dataset.revalidate ?? '')}]`)].filter(
    (other) => !other.id && other.getAttribute('data-src') === element.getAttribute('data-src'),
  );

const deferred = new WeakMap<Element, () => void>();

/** Puts it in place; while the user types into a field of the element, not before the field is left. */
function put(element: HTMLElement, content: ParentNode | undefined, isFresh: () => boolean): void {
  const now = () => {
    if (content) {
      morph(element, content);
      (globalThis as { htmx?: { process?(element: Element): void } }).htmx?.process?.(element);
    }
    if (isFresh()) delete element.dataset.stale;
    element.dispatchEvent(new CustomEvent('rt-swap', { bubbles: true }));
  };
  if (!typing(element)) {
    deferred.delete(element);
    return now();
  }
  const waits = deferred.has(element);
  deferred.set(element, now);
  if (waits) return;
  const left = () =>
    // The focus is nowhere during this event.
    setTimeout(() => {
      if (typing(element)) return;
      element.removeEventListener('focusout', left);
      const newest = deferred.get(element);
      deferred.delete(element);
      newest?.();
    });
  element.addEventListener('focusout', left);
}

/** Whether the focus is in a field of the element that the user has changed. */
function typing(element: Element): boolean {
  const field = element.ownerDocument.activeElement;
  if (!field || !element.contains(field)) return false;
  if ((field as HTMLElement).isContentEditable) return true;
  if (field.nodeName === 'SELECT') {
    return [...(field as HTMLSelectElement).options].some((option) => option.selected !== option.defaultSelected);
  }
  if (!/^(INPUT|TEXTAREA)$/.test(field.nodeName)) return false;
  const { type, value, defaultValue, checked, defaultChecked } = field as HTMLInputElement;
  return type === 'checkbox' || type === 'radio' ? checked !== defaultChecked : value !== defaultValue;
}
