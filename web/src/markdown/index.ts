/**
 * Markdown as DOM, for text that is still being written.
 *
 * Our own block parser (blocks.ts) reads line by line, as CommonMark's reference does, and never looks at a line twice.
 * marked's inline lexer reads the text of each block (inline.ts). `streaming-markdown` 0.2.15 was tried and is not
 * used: it knows no tilde fences, setext headings, reference links, entities, bare links or `1)` lists, leaves the `>`
 * inside fences of a quote, opens a new list after a fence in an item, and links `javascript:` addresses.
 */
import { Lexer, type Token, type Tokens } from 'marked';

import { Blocks } from './blocks.ts';
import { copyCode } from './code.ts';
import { isHigh } from './dom.ts';
import { inlineText, options } from './inline.ts';

export interface MarkdownLabels {
  copy: string;
  copied: string;
  copyFailed: string;
  /** Name of a code block's region, and its head when no language is given */
  code: string;
}

export interface MarkdownView {
  append(text: string): void;
  /** Sets another text. If it continues the present one, only the rest is appended. */
  replace(text: string): void;
  /** The text is whole. */
  finish(): void;
  destroy(): void;
}

export class View implements MarkdownView {
  blocks: Blocks;
  private text = '';
  private queue = '';
  private finished = false;
  private gone = false;
  private frame = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly sizes: ResizeObserver | undefined;

  constructor(private root: HTMLElement, private labels: MarkdownLabels) {
    root.classList.add('md');
    root.addEventListener('click', this.click);
    if ('ResizeObserver' in window) this.sizes = new ResizeObserver((entries) => entries.forEach(({ target }) => this.scrollable(target)));
    this.blocks = this.fresh();
  }

  append(text: string): void {
    if (this.finished || this.gone || !text) return;
    this.text += text;
    this.queue += text;
    if (this.timer !== undefined) return;
    // A frame, or a moment later in a hidden tab, which has no frames
    this.frame = requestAnimationFrame(this.flush);
    this.timer = setTimeout(this.flush, 100);
  }

  replace(text: string): void {
    if (this.gone) return;
    if (!this.finished && text.startsWith(this.text)) {
      this.append(text.slice(this.text.length));
      return;
    }
    this.stop();
    this.sizes?.disconnect();
    this.root.replaceChildren();
    this.text = this.queue = '';
    this.finished = false;
    this.blocks = this.fresh();
    this.append(text);
  }

  finish(): void {
    if (this.finished || this.gone) return;
    this.finished = true;
    this.stop();
    this.take(true);
    this.blocks.end();
  }

  destroy(): void {
    this.gone = true;
    this.stop();
    this.sizes?.disconnect();
    this.root.removeEventListener('click', this.click);
  }

  flush = (): void => {
    this.stop();
    this.take(false);
    this.blocks.show();
  };

  private take(final: boolean): void {
    let text = this.queue;
    this.queue = '';
    // Half a character or half a line end waits for its rest
    if (!final && (text.endsWith('\r') || isHigh(text.charCodeAt(text.length - 1)))) {
      this.queue = text.slice(-1);
      text = text.slice(0, -1);
    }
    this.blocks.feed(text.replace(/\r\n?/g, '\n').replaceAll('\0', '\ufffd'));
  }

  private stop(): void {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private fresh(): Blocks {
    return new Blocks(this.root, {
      labels: this.labels,
      code: (code, lang) => {
        if (lang) void import('./highlight.ts').then(({ highlightLater }) => highlightLater(code, lang, () => this.gone || !code.isConnected), () => undefined);
      },
      scrolls: (el) => this.sizes?.observe(el),
    });
  }

  // An element that scrolls sideways must be reachable without a pointer.
  private scrollable(el: Element): void {
    const pre = el.tagName === 'PRE';
    const attrs: Record<string, string> = { tabindex: '0', role: pre ? 'region' : 'group', ...(pre ? { 'aria-label': this.labels.code } : {}) };
    const on = el.scrollWidth > el.clientWidth + 1;
    if (on === el.hasAttribute('tabindex')) return;
    for (const name in attrs) {
      if (on) el.setAttribute(name, attrs[name] as string);
      else el.removeAttribute(name);
    }
  }

  private click = (event: Event): void => {
    const button = (event.target as Element).closest<HTMLElement>('button[data-copy]');
    if (button) void copyCode(button, this.labels);
  };
}

export function createMarkdownView(root: HTMLElement, labels: MarkdownLabels): MarkdownView {
  return new View(root, labels);
}

/** Renders a whole text at once. */
export function renderMarkdown(root: HTMLElement, text: string, labels: MarkdownLabels): MarkdownView {
  const view = new View(root, labels);
  root.replaceChildren();
  view.append(text);
  view.finish();
  return view;
}

/** The text without its marks, for titles and announcements. */
export function plainText(markdown: string): string {
  const out: string[] = [];
  const walk = (tokens: Token[]): void => {
    for (const token of tokens) {
      if (token.type === 'table') {
        const { header, rows } = token as Tokens.Table;
        for (const row of [header, ...rows]) out.push(row.map((cell) => inlineText(cell.tokens)).join(' '));
      } else if (token.type === 'list') {
        for (const item of (token as Tokens.List).items) walk(item.tokens);
      } else if (token.type === 'blockquote') {
        walk((token as Tokens.Blockquote).tokens);
      } else if (token.type === 'code' || token.type === 'html') {
        out.push((token as Tokens.Code).text.trimEnd());
      } else if ('tokens' in token && token.tokens) {
        out.push(inlineText(token.tokens));
      }
    }
  };
  walk(new Lexer(options).lex(markdown));
  return out.filter(Boolean).join('\n');
}
