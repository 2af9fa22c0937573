/** The element that has focus, and whether focus was lost. */

export function focused(): HTMLElement | undefined {
  const element = document.activeElement;
  return element instanceof HTMLElement && element !== document.body ? element : undefined;
}

/** The focused element is gone, so the next Tab would begin at the top of the page. */
export function isLost(): boolean {
  return focused() === undefined;
}
