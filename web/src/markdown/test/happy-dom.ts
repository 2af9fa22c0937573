/**
 * In happy-dom, `Node.prototype.nodeName` is always empty (its subclasses have getters of their own). DOMPurify reads
 * names through that very getter, so that no page can lie to it. Tests that render Markdown import this file.
 */
if (typeof Node !== 'undefined' && typeof HTMLElement !== 'undefined') {
  Object.defineProperty(Node.prototype, 'nodeName', {
    configurable: true,
    get(this: Node) {
      for (let proto: object | null = Object.getPrototypeOf(this) as object; proto && proto !== Node.prototype; proto = Object.getPrototypeOf(proto) as object | null) {
        const name = Object.getOwnPropertyDescriptor(proto, 'nodeName')?.get?.call(this) as string | undefined;
        if (name) return name;
      }
      return '';
    },
  });
}
export {};
