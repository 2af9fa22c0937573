import type { MarkdownLabels } from './index.ts';

import { copyText } from '../clipboard.ts';
import { shell } from './dom.ts';

/** The language that a fence names. Anything after it is not shown, and neither is a text that is not a name. */
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

/** Copies the text of the button's figure. For two seconds the button shows whether that worked. */
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
