import type { MarkdownLabels } from './index.ts';

import { copyText } from '../clipboard.ts';
import { shell } from './dom.ts';

/** The language a fence names; what follows, or is no name, is not shown. */
export const languageOf = (info: string): string => /^[\w+#.-]{1,30}(?![^\s{,:])/.exec(info)?.[0] ?? '';

export function codeFigure(info: string, labels: MarkdownLabels): HTMLElement {
  const figure = shell('figure', { class: 'code' }), head = shell('figcaption'), name = shell('span'), pre = shell('pre');
  const button = shell('button', { type: 'button', 'data-copy': '', 'aria-label': labels.copy });
  name.append(languageOf(info) || labels.code);
  button.append(labels.copy);
  head.append(name, button);
  pre.append(shell('code'));
  figure.append(head, pre);
  return figure;
}

/** The text of the figure whose button was pressed goes to the clipboard; the button says for two seconds whether it did. */
export async function copyCode(button: HTMLElement, labels: MarkdownLabels): Promise<void> {
  const text = button.closest('figure')?.querySelector('code')?.textContent ?? '';
  const done = await copyText(text);
  const say = (what: string): void => {
    button.textContent = what;
    button.setAttribute('aria-label', what);
  };
  say(done ? labels.copied : labels.copyFailed);
  setTimeout(() => say(labels.copy), 2000);
}
