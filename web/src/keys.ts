/** The keys: shortcuts that work everywhere on the page, and Enter in a field. */

export const isMac = /Mac|iPhone|iPad/.test(navigator.platform);

/** The name of the key beside the space bar on this machine. */
export const modifier = isMac ? '⌘' : 'Ctrl';

export type Shortcut = 'palette' | 'newChat' | 'sidebar' | 'focus' | 'help';

/** Devices whose first pointer is a finger. Their keyboards are on the screen. */
export const isTouch = () => matchMedia('(pointer: coarse)').matches;

/**
 * Whether the key belongs to an input method, which uses it to write: Enter accepts a word, Escape leaves it, arrows
 * choose one. Every handler of such keys in a field must ignore them. Safari reports this only by the code 229.
 */
export function isComposing(event: KeyboardEvent): boolean {
  return event.isComposing || event.keyCode === 229;
}

/**
 * Whether the key sends the text of a field with many lines. Keyboards on a screen have no Shift + Enter, so there
 * Enter makes a new line, and a button sends.
 */
export function isSending(event: KeyboardEvent): boolean {
  return event.key === 'Enter' && !event.shiftKey && !isTouch() && !isComposing(event);
}

/** The label of the Enter key on a screen's keyboard, in such a field. */
export const enterHint = () => (isTouch() ? 'enter' : 'send');

/** The shortcut of a key press, if it is one. */
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
