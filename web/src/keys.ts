/** What keys do: the shortcuts that work everywhere on the page, and Enter where one writes. */

export const isMac = /Mac|iPhone|iPad/.test(navigator.platform);

/** How the key beside the space bar is called here. */
export const modifier = isMac ? '⌘' : 'Ctrl';

export type Shortcut = 'palette' | 'newChat' | 'sidebar' | 'focus' | 'help';

/** Devices of which a finger is the first pointer: their keyboards are on the screen. */
export const isTouch = () => matchMedia('(pointer: coarse)').matches;

/**
 * The key belongs to an input method, which writes with it: Enter takes over a word, Escape leaves it, arrows choose one.
 * Every handler of such keys in a field leaves them alone. Safari says it by the code 229 and nothing else.
 */
export function isComposing(event: KeyboardEvent): boolean {
  return event.isComposing || event.keyCode === 229;
}

/**
 * In a field of many lines: whether the key sends what was written. Keyboards on a screen have no Shift + Enter, so Enter
 * makes a new line there, and a button sends.
 */
export function isSending(event: KeyboardEvent): boolean {
  return event.key === 'Enter' && !event.shiftKey && !isTouch() && !isComposing(event);
}

/** How a keyboard on the screen labels its Enter key in such a field. */
export const enterHint = () => (isTouch() ? 'enter' : 'send');

/** The shortcut that a key press is, if it is one. */
export function shortcutOf(event: KeyboardEvent): Shortcut | undefined {
  const withModifier = isMac ? event.metaKey : event.ctrlKey;
  const key = event.key.toLowerCase();
  if (withModifier && !event.altKey) {
    if (key === 'k' && !event.shiftKey) return 'palette';
    if (key === 'o' && event.shiftKey) return 'newChat';
    if (key === 'b' && !event.shiftKey) return 'sidebar';
    return undefined;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return undefined;
  if (key === '/') return 'focus';
  if (key === '?') return 'help';
  return undefined;
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || ['INPUT', 'TEXTAREA', 'SELECT'].includes(target.tagName));
}
