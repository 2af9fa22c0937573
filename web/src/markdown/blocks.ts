import type { MarkdownLabels } from './index.ts';

import { codeFigure, languageOf } from './code.ts';
import { appendText, h, shell, wall } from './dom.ts';
import { Inline, type Refs, takeDefinitions } from './inline.ts';

interface Block {
  /** Where children go: the element of a container, or the element itself. */
  el: HTMLElement;
  type: 'doc' | 'quote' | 'list' | 'item' | 'para' | 'head' | 'fence' | 'indented' | 'table';
  /** The last line that is not blank. */
  end: number;
  /** item: columns of its content; fence: columns of its indentation */
  indent: number;
  /** The number of children. For a paragraph: 1 once its task box was looked for. */
  kids: number;
  leaf?: Leaf;
  /** list: the kind of marker */
  marker?: string;
  fence?: RegExp;
}

/** A block that holds text. It gets its lines (or parts of one, as they come), shows them once per frame, and ends. */
interface Leaf {
  line(text: string): void;
  more(text: string): void;
  blank?(): void;
  show(): void;
  close(): void;
}

export interface Hooks {
  labels: MarkdownLabels;
  /** Called when a code block is whole. */
  code(code: HTMLElement, lang: string): void;
  /** Called for an element that may scroll sideways. */
  scrolls(el: HTMLElement): void;
}

const DEPTH = 60;
const PART = 2048;

/**
 * The start of a line decides its kind. As soon as this matches, the rest of the line can't change which blocks it
 * continues or opens, so it can be shown as it comes. (This is not so for rules, fences, setext underlines and
 * delimiter rows.)
 */
const DECIDED = new RegExp('^(?:[ \\t]*(?:>|[-+*](?=[ \\t])|\\d{1,9}[.)](?=[ \\t])|#{1,6}(?=[ \\t])))*[ \\t]*(?:'
  + '[^ \\t\\d`~#>|:=_*+\\-]|`{1,2}[^`]|~{1,2}[^~]|#+[^# \\t]|\\*+[^* \\t]|_+[^_ \\t]|\\+[^ \\t]|-[-|:]*[^-|: \\t]|[|:=][|:=\\- \\t]*[^|:=\\- \\t]'
  + '|\\d{1,9}[.)][^ \\t]|\\d{1,9}[^\\d.)]|\\d{10})');
const RULE = /^(?:(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|(?:-[ \t]*){3,})$/;
const FENCE = /^(?:`{3,}(?=[^`]*$)|~{3,})/;
const MARKER = /^(?:[-+*]|(\d{1,9})([.)]))(?=[ \t]|$)/;
const DELIMITERS = /^\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;

/**
 * Reads blocks by the algorithm of the CommonMark specification. It looks at each line once. The line continues some of
 * the open blocks, closes the others and may open new ones. A closed block is never touched again, except when its
 * links waited for a definition.
 */
export class Blocks {
  readonly open: Block[];
  private readonly refs: Refs = Object.create(null) as Refs;
  private waiting = new Map<string, Set<Inline>>();
  private buf = '';
  private live = false;
  private no = 0;
  // The present line, and the position in it
  private line = '';
  private at = 0;
  private col = 0;
  private next = 0;
  private indent = 0;
  private rest = 0; // columns left of a tab that was used in part

  constructor(root: HTMLElement, private hooks: Hooks) {
    this.open = [{ el: root, type: 'doc', end: 0, indent: 0, kids: 0 }];
  }

  /** Text with \n as its only line end. */
  feed(text: string): void {
    for (let i = 0; i < text.length;) {
      const nl = text.indexOf('\n', i);
      const part = text.slice(i, nl < 0 ? undefined : nl);
      if (this.live) {
        if (part) this.tip.leaf?.more(part);
      } else {
        this.buf += part;
        if (nl >= 0 || DECIDED.test(this.buf)) {
          this.incorporate(this.buf);
          this.buf = '';
          this.live = true;
        }
      }
      if (nl < 0) break;
      this.live = false;
      if (this.tip.type === 'head') this.pop();
      i = nl + 1;
    }
  }

  show(): void {
    this.tip.leaf?.show();
  }

  end(): void {
    if (this.buf) this.incorporate(this.buf);
    this.buf = '';
    this.truncate(1);
  }

  private get tip(): Block {
    return this.open[this.open.length - 1] as Block;
  }

  private find(): void {
    let col = this.col;
    let i = this.rest ? this.at + 1 : this.at;
    for (; ; i++) {
      const ch = this.line[i];
      if (ch === ' ') col++;
      else if (ch === '\t') col += 4 - (col % 4);
      else break;
    }
    this.next = i;
    this.indent = col - this.col + this.rest;
  }

  private get isBlank(): boolean {
    return this.next >= this.line.length;
  }

  private advance(columns: number): void {
    for (; columns > 0 && this.at < this.line.length;) {
      if (this.line[this.at] === '\t') {
        const width = this.rest || 4 - (this.col % 4);
        const take = Math.min(width, columns);
        if (!this.rest) this.col += width;
        this.rest = width - take;
        if (!this.rest) this.at++;
        columns -= take;
      } else {
        this.at++;
        this.col++;
        columns--;
      }
    }
  }

  private skip(): void {
    this.advance(this.indent);
  }

  private incorporate(line: string): void {
    this.line = line;
    this.at = this.col = this.rest = 0;
    this.no++;
    const { open } = this;
    let depth = 1;
    walk: for (; depth < open.length; depth++) {
      const block = open[depth] as Block;
      this.find();
      switch (block.type) {
        case 'quote':
          if (!this.quoteMark()) break walk;
          // To the blocks around the quote this is not a blank line, even if nothing follows the mark.
          for (let i = 0; i <= depth; i++) (open[i] as Block).end = this.no;
          break;
        case 'item':
          if (this.isBlank) {
            if (!block.kids) break walk;
            this.skip();
          } else if (this.indent >= block.indent) {
            this.advance(block.indent);
          } else {
            break walk;
          }
          break;
        case 'fence':
          if (this.indent < 4 && block.fence?.test(line.slice(this.next))) {
            this.touch();
            this.truncate(depth);
            return;
          }
          this.advance(Math.min(this.indent, block.indent));
          break;
        case 'indented':
          if (this.indent >= 4) this.advance(4);
          else if (this.isBlank) this.skip();
          else break walk;
          break;
        case 'para': case 'table':
          if (this.isBlank) break walk;
          break;
        case 'head':
          break walk;
        default:
      }
    }
    const matched = depth;
    this.find();
    const leaf = open[depth - 1] as Block;
    if (leaf.type !== 'fence' && leaf.type !== 'indented') {
      for (; ;) {
        const started = this.start(depth);
        if (started === 2) return;
        if (!started) break;
        depth = open.length;
        this.find();
        if (this.tip.type === 'indented') break;
      }
    }
    const lazy = matched < open.length && depth === matched && !this.isBlank && this.tip.type === 'para';
    if (!lazy) this.truncate(depth);
    const tip = this.tip;
    if (tip.type === 'fence' || tip.type === 'indented') {
      if (this.isBlank && tip.type === 'indented') {
        tip.leaf?.blank?.();
      } else {
        this.touch();
        tip.leaf?.line(' '.repeat(this.rest) + line.slice(this.rest ? this.at + 1 : this.at));
      }
    } else if (!this.isBlank) {
      if (tip.type !== 'para' && tip.type !== 'table') this.push('para', shell('p'), 0, (block) => this.para(block));
      this.tip.leaf?.line(line.slice(this.next));
      this.touch();
    }
  }

  private touch(): void {
    for (const block of this.open) block.end = this.no;
  }

  private quoteMark(): boolean {
    if (this.indent > 3 || this.line[this.next] !== '>') return false;
    this.advance(this.indent + 1);
    if (this.line[this.at] === ' ' || this.line[this.at] === '\t') this.advance(1);
    return true;
  }

  /**
   * Opens the block that starts here, if there is one. 1: a container, or a leaf that takes the rest. 2: the line is
   * done.
   */
  private start(depth: number): 0 | 1 | 2 {
    if (this.isBlank) return 0;
    const { indent } = this, rest = this.line.slice(this.next);
    const into = this.open[depth - 1] as Block;
    const inPara = into.type === 'para';
    if (indent > 3) {
      // Not in a paragraph, nor where a lazy line could continue one
      if (this.tip.type === 'para') return 0;
      this.advance(4);
      this.truncate(depth);
      this.push('indented', this.figure(''), 0, (block) => this.code(block, ''));
      return 1;
    }
    let match: RegExpExecArray | null;
    if (rest[0] === '>' && depth < DEPTH) {
      this.quoteMark();
      this.truncate(depth);
      this.push('quote', shell('blockquote'));
      return 1;
    }
    if ((match = /^(#{1,6})(?:[ \t]+|$)/.exec(rest))) {
      this.truncate(depth);
      this.push('head', heading((match[1] as string).length), 0, (block) => this.head(block));
      this.tip.leaf?.line(rest.slice(match[0].length));
      this.touch();
      // The rest of the line may still be on its way. The heading closes at the end of the line.
      return 2;
    }
    if ((match = FENCE.exec(rest))) {
      const marks = match[0], info = rest.slice(marks.length).trim();
      this.truncate(depth);
      this.push('fence', this.figure(info), indent, (block) => this.code(block, info));
      this.tip.fence = new RegExp(`^${marks[0]}{${marks.length},}[ \\t]*$`);
      this.touch();
      return 2;
    }
    if (inPara && depth === this.open.length) {
      const done = this.setext(into, rest) || this.table(into, rest);
      if (done) return 2;
    }
    if (RULE.test(rest)) {
      this.truncate(depth);
      this.push('head', shell('hr'));
      this.touch();
      this.pop();
      return 2;
    }
    if ((match = MARKER.exec(rest)) && depth < DEPTH) {
      const empty = !rest.slice(match[0].length).trim();
      if (inPara && (empty || (match[1] && Number(match[1]) !== 1))) return 0;
      const marker = match[2] ?? match[0];
      this.advance(indent + match[0].length);
      const before = { at: this.at, col: this.col, rest: this.rest };
      this.find();
      let width = this.indent;
      if (empty || width > 4) {
        Object.assign(this, before);
        width = 1;
        this.advance(1);
      } else {
        this.advance(width);
      }
      this.truncate(depth);
      if (this.tip.type !== 'list' || this.tip.marker !== marker) {
        const first = Number(match[1]);
        this.push('list', match[1] && first !== 1 ? wall(h('ol', { class: 'tight', start: String(first) })) : shell(match[1] ? 'ol' : 'ul', { class: 'tight' }));
        this.tip.marker = marker;
      }
      this.push('item', shell('li'), indent + match[0].length + width);
      this.touch();
      return 1;
    }
    return 0;
  }

  private push(type: Block['type'], el: HTMLElement, indent = 0, leaf?: (block: Block) => Leaf): Block {
    while (this.tip.leaf || (this.tip.type === 'list' && type !== 'item')) this.pop();
    const parent = this.tip;
    if (parent.kids && this.no - parent.end > 1) {
      // A blank line between two items, or between two blocks of an item: the list is loose.
      const list = type === 'item' ? parent : parent.type === 'item' ? this.open[this.open.length - 2] : undefined;
      if (list) list.el.removeAttribute('class');
    }
    parent.kids++;
    parent.el.append(el);
    const block: Block = { type, el, end: this.no, indent, kids: 0 };
    if (leaf) block.leaf = leaf(block);
    this.open.push(block);
    return block;
  }

  private pop(): void {
    this.open.pop()?.leaf?.close();
  }

  private truncate(depth: number): void {
    while (this.open.length > depth) this.pop();
  }

  private figure(info: string): HTMLElement {
    return codeFigure(info, this.hooks.labels);
  }

  // Leaves

  private inline(el: Element): Inline {
    return new Inline(el, this.refs);
  }

  /** The final rendering. Links whose definition may still come are noted. */
  private settle(inline: Inline): void {
    inline.render(true);
    for (const label of inline.missed) {
      let set = this.waiting.get(label);
      if (!set) this.waiting.set(label, (set = new Set()));
      set.add(inline);
    }
  }

  private define(text: string): string {
    const labels: string[] = [];
    text = takeDefinitions(text, this.refs, (label) => labels.push(label));
    for (const label of labels) {
      const set = this.waiting.get(label);
      this.waiting.delete(label);
      for (const inline of set ?? []) {
        inline.again();
        this.settle(inline);
      }
    }
    return text;
  }

  private para(block: Block): Leaf & Para {
    const parent = this.tip;
    const first = parent.type === 'item' && parent.kids === 1;
    const inline = this.inline(block.el);
    // The text is held back until it is clear that it starts neither with a task box nor with a definition.
    let held: string | undefined = '';
    const decide = (final: boolean): void => {
      if (held === undefined) return;
      if (first && block.kids === 0) {
        if (!final && /^\[(?:[ xX](?:\][ \t]*)?)?$/.test(held)) return;
        const task = /^\[([ xX])\][ \t]+(?=\S)/.exec(held);
        block.kids = 1;
        if (task) {
          held = held.slice(task[0].length);
          const box = h('input', { type: 'checkbox', disabled: '', ...(task[1] === ' ' ? {} : { checked: '' }) });
          const text = h('span');
          parent.el.setAttribute('class', 'task');
          block.el.append(wall(h('label', {}, box, text)));
          inline.el = text;
          inline.push(held);
          held = undefined;
          return;
        }
      }
      if (final) held = this.define(held);
      else if (held.length < 3000 && /^\[(?!\])(?:\\[^]|[^[\]\\])*(?:\\?$|\](?:$|:[ \t]*(?:\n[ \t]*)?(?:$|(?:<(?:\\.|[^\n<>\\])*>?|[^<\s]\S*)[ \t]*(?:$|\n|[ \t]["'(]))))/.test(held)) return;
      inline.push(held);
      held = undefined;
    };
    const add = (text: string): void => {
      if (held === undefined) {
        inline.push(text);
      } else {
        held += text;
        decide(false);
      }
    };
    return {
      line: (text) => {
        add(held ?? inline.src ? '\n' + text : text);
      },
      more: add,
      show: () => {
        if (held === undefined) inline.render(false);
      },
      close: () => {
        decide(true);
        if (!inline.src.trim()) block.el.remove();
        else this.settle(inline);
      },
      resolve: () => {
        decide(true);
        return inline;
      },
    };
  }

  private setext(block: Block, rest: string): boolean {
    if (!/^(?:=+|-+)[ \t]*$/.test(rest)) return false;
    const inline = (block.leaf as Leaf & Para).resolve();
    if (!inline.src) return false;
    const el = heading(rest[0] === '=' ? 1 : 2);
    el.append(...block.el.childNodes);
    block.el.replaceWith(el);
    if (inline.el === block.el) inline.el = el;
    block.el = el;
    this.touch();
    this.pop();
    return true;
  }

  private table(block: Block, rest: string): boolean {
    if (!DELIMITERS.test(rest) || !/[|:]/.test(rest)) return false;
    const inline = (block.leaf as Leaf & Para).resolve();
    const cut = inline.src.lastIndexOf('\n');
    const head = cells(inline.src.slice(cut + 1));
    const aligns = cells(rest).map((cell) => `${cell.startsWith(':') ? 'l' : ''}${cell.endsWith(':') ? 'r' : ''}`);
    if (head.length !== aligns.length) return false;
    // The text before the table's head stays a paragraph.
    if (cut < 0) inline.again('');
    else inline.again(inline.src.slice(0, cut));
    this.pop();
    const body = shell('tbody');
    const row = shell('tr');
    const table = shell('table'), thead = shell('thead'), wrap = shell('div', { class: 'table' });
    wrap.append(table);
    table.append(thead);
    thead.append(row);
    const classes = aligns.map((align) => (align === 'r' ? 'right' : align === 'lr' ? 'center' : align === 'l' ? 'left' : ''));
    const cell = (tag: 'th' | 'td', i: number): HTMLElement => shell(tag, { ...(tag === 'th' ? { scope: 'col' } : {}), ...(classes[i] ? { class: classes[i] } : {}) });
    this.push('table', wrap, 0, () => {
      let text = '', line: Inline[] = [], was: string[] = [], shown = false;
      const render = (final: boolean): void => {
        if (!line.length) return;
        const now = cells(text);
        line.forEach((one, i) => {
          const value = now[i] ?? '';
          const before = was[i] ?? '';
          if (value.startsWith(before)) one.push(value.slice(before.length));
          else one.again(value);
          was[i] = value;
          if (final) this.settle(one);
          else if (value) one.render(false);
        });
        shown = true;
      };
      const finish = (): void => {
        render(true);
        line = [];
      };
      return {
        line: (value) => {
          finish();
          if (!body.parentNode) table.append(body);
          text = value;
          was = [];
          shown = false;
          const tr = shell('tr');
          tr.append(...aligns.map((_, i) => cell('td', i)));
          body.append(tr);
          line = [...tr.children].map((el) => this.inline(el));
        },
        more: (value) => {
          text += value;
          shown = false;
        },
        show: () => {
          if (!shown) render(false);
        },
        close: finish,
      };
    });
    head.forEach((value, i) => {
      const th = cell('th', i);
      row.append(th);
      const one = this.inline(th);
      one.push(value);
      this.settle(one);
    });
    this.hooks.scrolls(wrap);
    this.touch();
    return true;
  }

  private head(block: Block): Leaf {
    const inline = this.inline(block.el);
    let tail = '';
    const more = (text: string): void => {
      // Marks that close the heading are not part of it, so they are held back until that is clear.
      const cut = tail.length + text.length - (/[ \t#]*$/.exec(tail + text) as RegExpExecArray)[0].length;
      text = tail + text;
      inline.push(text.slice(0, cut));
      tail = text.slice(cut);
    };
    return {
      line: more,
      more,
      show: () => inline.render(false),
      close: () => {
        if (!/^[ \t]+#+[ \t]*$/.test(tail) && (inline.src || !/^#+[ \t]*$/.test(tail))) inline.push(tail.trimEnd());
        this.settle(inline);
      },
    };
  }

  private code(block: Block, info: string): Leaf {
    const code = block.el.querySelector('code') as HTMLElement;
    let text = '', any = false, blanks = '';
    // Parts of whole lines, each a block: when the text grows, the browser lays out only the last part again.
    let part: HTMLElement | undefined, size = 0;
    const show = (): void => {
      for (let at = 0; at < text.length;) {
        if (!part) code.append((part = shell('span', { class: 'part' })));
        const nl = text.indexOf('\n', at + Math.max(0, PART - size));
        const end = nl < 0 ? text.length : nl + 1;
        appendText(part, text.slice(at, end));
        size += end - at;
        if (nl >= 0) {
          part = undefined;
          size = 0;
        }
        at = end;
      }
      text = '';
    };
    this.hooks.scrolls(block.el.querySelector('pre') as HTMLElement);
    return {
      line: (value) => {
        text += blanks + (any ? '\n' : '') + value;
        blanks = '';
        any = true;
      },
      more: (value) => {
        text += value;
      },
      blank: () => {
        if (any) blanks += '\n';
      },
      show,
      close: () => {
        show();
        this.hooks.code(code, languageOf(info).toLowerCase());
      },
    };
  }
}

interface Para {
  resolve(): Inline;
}

/** The page has headings of its own, so those of a text start at the third level. */
const heading = (level: number): HTMLElement => shell(`h${Math.min(level + 2, 6)}` as 'h3');

export function cells(row: string): string[] {
  const out: string[] = [];
  let cell = '';
  row = row.trim();
  for (let i = row[0] === '|' ? 1 : 0; i < row.length; i++) {
    const ch = row[i] as string;
    if (ch === '\\' && i + 1 < row.length) {
      cell += row[i + 1] === '|' ? '|' : ch + (row[i + 1] as string);
      i++;
    } else if (ch === '|') {
      out.push(cell.trim());
      cell = '';
      if (i === row.length - 1) return out;
    } else {
      cell += ch;
    }
  }
  out.push(cell.trim());
  return out;
}
