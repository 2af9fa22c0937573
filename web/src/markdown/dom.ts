import createDOMPurify from 'dompurify';

export const TAGS = ['p', 'br', 'hr', 'h3', 'h4', 'h5', 'h6', 'ul', 'ol', 'li', 'blockquote', 'figure', 'figcaption', 'pre', 'code', 'span', 'button', 'div', 'table', 'thead', 'tbody', 'tr', 'th', 'td', 'a', 'em', 'strong', 'del', 'label', 'input'];
export const ATTRS = ['href', 'target', 'rel', 'class', 'start', 'type', 'checked', 'disabled', 'aria-label', 'tabindex', 'role', 'scope', 'data-copy'];

/** Makes one of the few elements that this module knows. The text never reaches an HTML parser. */
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, attrs: Record<string, string> = {}, ...children: (Node | string)[]): HTMLElementTagNameMap[K] {
  const el = document.createElement(tag);
  for (const name in attrs) el.setAttribute(name, attrs[name] as string);
  el.append(...children);
  return el;
}

let purify: ReturnType<typeof createDOMPurify> | undefined;

/** The second defence: whatever the renderer built, only elements and attributes of the allowlist get into the page. */
export function wall<T extends Element>(el: T): T {
  if (!purify) {
    purify = createDOMPurify(window);
    purify.setConfig({
      IN_PLACE: true,
      ALLOWED_TAGS: [...TAGS, '#text'],
      ALLOWED_ATTR: ATTRS,
      ALLOW_DATA_ATTR: false,
      ALLOW_ARIA_ATTR: false,
      ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
      ADD_URI_SAFE_ATTR: ATTRS.filter((name) => name !== 'href'),
    });
  }
  purify.sanitize(el);
  return el;
}

const shells = new Map<string, Element>();

/**
 * An element whose name and attributes come from the code alone. One of each kind goes through the wall, and the others
 * are its clones.
 */
export function shell<K extends keyof HTMLElementTagNameMap>(tag: K, attrs: Record<string, string> = {}): HTMLElementTagNameMap[K] {
  const key = tag + JSON.stringify(attrs);
  let first = shells.get(key);
  if (!first) shells.set(key, (first = wall(h(tag, attrs))));
  return first.cloneNode() as HTMLElementTagNameMap[K];
}

/** Replaces the children of `el` behind `kept` with those of `next`, and keeps every node that is the same. */
export function patch(el: Element, kept: Node | null, next: Node): void {
  let old = kept ? kept.nextSibling : el.firstChild;
  for (let node = next.firstChild; node;) {
    const after = node.nextSibling, oldAfter: ChildNode | null = old?.nextSibling ?? null;
    if (old instanceof Text && node instanceof Text) {
      if (old.data !== node.data) old.data = node.data;
    } else if (old instanceof Element && node instanceof Element && old.tagName === node.tagName && old.getAttribute('href') === node.getAttribute('href') && old.className === node.className) {
      patch(old, null, node);
    } else {
      if (node instanceof HTMLAnchorElement || (node instanceof Element && node.querySelector('a'))) wall(node);
      if (old) old.replaceWith(node);
      else el.append(node);
    }
    node = after;
    old = oldAfter;
  }
  while (old) {
    const after: ChildNode | null = old.nextSibling;
    old.remove();
    old = after;
  }
}

const PIECE = 4096;

/**
 * Appends text in nodes of a fixed size. To append to a text node, a browser copies all of it, so one growing node
 * would cost the square of the text. The positions of the cuts must not depend on how the text arrived.
 */
export function appendText(el: Element, text: string): void {
  let last = el.lastChild as Text | null;
  for (let at = 0; at < text.length;) {
    let end = at + PIECE - (last?.length ?? PIECE);
    if (end < text.length && isHigh(text.charCodeAt(end - 1))) end--;
    if (end > at) {
      last?.appendData(text.slice(at, end));
      at = end;
    }
    if (at < text.length) el.append((last = document.createTextNode('')));
  }
}

export const isHigh = (code: number): boolean => (code & 0xfc00) === 0xd800;
