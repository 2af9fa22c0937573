/** Keyboard shortcuts that work everywhere on the page. */

export const isMac = /Mac|iPhone|iPad/.test(navigator.platform);

/** How the key beside the space bar is called here. */
export const modifier = isMac ? '⌘' : 'Ctrl';

export type Shortcut = 'palette' | 'newChat' | 'sidebar' | 'focus' | 'help';

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
