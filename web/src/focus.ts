/** Where focus is, and whether it has to be put somewhere. */

export function focused(): HTMLElement | undefined {
  const element = document.activeElement;
  return element instanceof HTMLElement && element !== document.body ? element : undefined;
}

/** What had focus is gone: the next press of Tab would begin at the top of the page. */
export function isLost(): boolean {
  return focused() === undefined;
}
