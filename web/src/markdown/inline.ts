import { Lexer, type Token, Tokenizer, type Tokens } from 'marked';

import { h, isHigh, patch, shell } from './dom.ts';

const tokenizer = new Tokenizer<string, string>();
// Each lexer gets these, so that marked's own defaults stay as they are.
export const options = { gfm: true, breaks: true, tokenizer };

export type Refs = Record<string, { href: string; title: string | undefined }>;

/** Moves link definitions at the start of a paragraph into `refs`, and returns the rest of the text. */
export function takeDefinitions(text: string, refs: Refs, added: (label: string) => void): string {
  new Lexer(options); // gives the tokenizer its rules
  while (text.startsWith('[')) {
    const def = tokenizer.def(text);
    if (!def) break;
    if (!(def.tag in refs)) {
      refs[def.tag] = { href: def.href, title: def.title };
      added(def.tag);
    }
    text = text.slice(def.raw.length).replace(/^\n+/, '');
  }
  return text;
}

function lex(text: string, refs: Refs, missed: Set<string>): Token[] {
  const lexer = new Lexer(options);
  lexer.tokens.links = new Proxy(refs, {
    get(target, key: string) {
      if (!(key in target)) missed.add(key);
      return target[key];
    },
  }) as Lexer['tokens']['links'];
  return lexer.inlineTokens(text);
}

/** The character references that are common in prose. Others stay as written. */
const ENTITIES: Record<string, string> = Object.fromEntries(
  ('amp& lt< gt> quot" apos\' nbsp\u00a0 copy© reg® trade™ hellip… mdash— ndash– lsquo‘ rsquo’ ldquo“ rdquo” laquo« raquo» times× divide÷ deg° plusmn± middot· bull• '
    + 'rarr→ larr← uarr↑ darr↓ harr↔ rArr⇒ lArr⇐ le≤ ge≥ ne≠ asymp≈ infin∞ sum∑ prod∏ radic√ alpha\u03b1 beta\u03b2 gamma\u03b3 delta\u03b4 epsilon\u03b5 lambda\u03bb mu\u03bc pi\u03c0 sigma\u03c3 theta\u03b8 omega\u03c9 Delta\u0394 Sigma\u03a3 Omega\u03a9 '
    + 'euro€ pound£ yen¥ cent¢ sect§ para¶ dagger† permil‰ frac12½ frac14¼ sup2² sup3³ micro\u00b5 ensp\u2002 emsp\u2003 thinsp\u2009 check✓ colon: lpar( rpar) Tab\t NewLine\n auml\u00e4 ouml\u00f6 uuml\u00fc Auml\u00c4 Ouml\u00d6 Uuml\u00dc szlig\u00df eacute\u00e9 egrave\u00e8 agrave\u00e0 ccedil\u00e7 ntilde\u00f1')
    .split(' ').map((pair) => [pair.slice(0, -1), pair.slice(-1)]),
);

export const decode = (text: string): string => text.replace(/&(?:#(\d{1,7})|#[xX]([\da-fA-F]{1,6})|([A-Za-z]\w*));/g, (all, dec?: string, hex?: string, name?: string) => {
  if (name) return Object.hasOwn(ENTITIES, name) ? ENTITIES[name] as string : all;
  const code = dec ? Number(dec) : parseInt(hex as string, 16);
  return code === 0 || code > 0x10ffff || (code & 0x1ff800) === 0xd800 ? '\ufffd' : String.fromCodePoint(code);
});

/**
 * Only absolute addresses of the web and of mail. An address that could pass for another site (a user name before the
 * host) is refused.
 */
export function safeHref(href: string): string | undefined {
  href = decode(href).trim();
  if (!/^(?:https?:\/\/|mailto:)/i.test(href)) return undefined;
  try {
    const url = new URL(href);
    return /^(?:https?|mailto):$/.test(url.protocol) && !url.username && !url.password ? url.href : undefined;
  } catch {
    return undefined;
  }
}

// Removes marks that turn the direction of the text after them: in a link they could make an address look like another.
const noBidi = (text: string): string => text.replace(/[\u202a-\u202e\u2066-\u2069]/g, '');

export const inlineText = (tokens: Token[]): string => tokens.map((token) =>
  'tokens' in token && token.tokens ? inlineText(token.tokens)
    : token.type === 'br' ? '\n'
      : token.type === 'text' ? decode(token.raw)
        : (token as Tokens.Codespan).text ?? '',
).join('');

function build(into: Node, tokens: Token[], inLink = false): void {
  const nest = <T extends Element>(el: T, inner: Token[]): void => {
    build(el, inner, inLink);
    into.appendChild(el);
  };
  const text = (value: string): void => {
    into.appendChild(document.createTextNode(inLink ? noBidi(value) : value));
  };
  for (const token of tokens as (Tokens.Generic & Token)[]) {
    switch (token.type) {
      case 'strong': case 'em': case 'del':
        nest(shell(token.type), token.tokens ?? []);
        break;
      case 'codespan':
        into.appendChild(shell('code')).append(inLink ? noBidi(token.text as string) : token.text as string);
        break;
      case 'br':
        into.appendChild(shell('br'));
        break;
      case 'link': case 'image': {
        const href = safeHref(token.href as string);
        if (inLink) {
          if (token.type === 'image') text(inlineText(token.tokens ?? []));
          else build(into, token.tokens ?? [], true);
        } else if (!href) {
          text(token.raw);
        } else {
          const a = h('a', { href, target: '_blank', rel: 'noopener noreferrer nofollow' });
          // Images are never loaded, so no server learns that the text was read.
          if (token.type === 'image') {
            a.className = 'image';
            a.append(noBidi(inlineText(token.tokens ?? []).trim()) || href);
          } else {
            build(a, token.tokens ?? [], true);
            if (!a.textContent?.trim()) a.append(href);
          }
          into.appendChild(a);
        }
        break;
      }
      case 'html':
        text(token.raw);
        break;
      case 'escape':
        text(token.text as string);
        break;
      default:
        text((token as Tokens.Text).escaped ? token.raw : decode(token.raw));
    }
  }
}

// A piece may be cut off once nothing in it can still pair with later text.
const OPENER = /`|<[a-z/!?]|\*+(?![\s*])|(?<![\p{L}\p{N}_])_+(?![\s_])|~+(?![\s~])/iu;
function closed(tokens: Token[]): boolean {
  let depth = 0;
  const walk = (list: Token[]): boolean => list.every((token) => {
    if ('tokens' in token && token.tokens) return walk(token.tokens);
    if (token.type !== 'text') return true;
    for (const ch of token.raw) {
      if (ch === '[') depth++;
      else if (ch === ']' && depth) depth--;
    }
    return !OPENER.test(token.raw);
  });
  return walk(tokens) && !depth;
}

const FIRST = 512, LAST = 4096, HARD = 8192;
// A cut needs neighbours that mean nothing in Markdown.
const SPECIAL = /[\\`*_~[\]()<>!&:@]/;
const WIDE = /[\u2e80-\ud7ff\uf900-\ufaff\uff00-\uffee]/;

/**
 * Shows text with inline Markdown that may still grow. Long text is cut into pieces at positions that depend only on
 * the text. A piece before a cut is rendered once. So new text renders only the last piece again (some hundred
 * characters). The price: emphasis or a code span longer than 4 KiB inside one paragraph may be cut.
 */
export class Inline {
  src = '';
  readonly missed = new Set<string>();
  private frozen = 0;
  private tries = FIRST;
  private scan = 0;
  private kept: Node | null = null; // the last node before the tail
  private shown = '';

  constructor(public el: Element, private refs: Refs) {}

  push(text: string): void {
    this.src += text;
  }

  render(final: boolean): void {
    this.freeze();
    let tail = this.src.slice(this.frozen);
    tail = final ? tail.trimEnd() : mend(tail);
    if (tail === this.shown) return;
    this.shown = tail;
    this.put(lex(tail, this.refs, this.missed));
  }

  /** Renders from the start again, because the text is another, or because more references are known now. */
  again(src = this.src): void {
    this.el.replaceChildren();
    this.missed.clear();
    this.src = src;
    this.frozen = this.scan = 0;
    this.kept = null;
    this.tries = FIRST;
    this.shown = '';
  }

  private put(tokens: Token[]): void {
    const piece = document.createDocumentFragment();
    build(piece, tokens);
    patch(this.el, this.kept, piece);
  }

  private freeze(): void {
    for (;;) {
      const cut = this.cut();
      if (!cut) return;
      const tokens = lex(this.src.slice(this.frozen, cut), this.refs, this.missed);
      if (this.tries < LAST && !closed(tokens)) {
        this.tries *= 2;
        continue;
      }
      this.put(tokens);
      this.kept = this.el.lastChild;
      this.shown = '';
      this.frozen = cut;
      this.tries = FIRST;
    }
  }

  private cut(): number {
    const { src, frozen } = this;
    let at = Math.max(this.scan, frozen + this.tries);
    for (; at < src.length; at++) {
      const before = src[at - 1] as string, here = src[at] as string;
      if (at >= frozen + HARD) return isHigh(src.charCodeAt(at - 1)) ? at - 1 : at;
      if (/\s/.test(here) ? !/[\s\\]/.test(before) : WIDE.test(here) && WIDE.test(before) && !SPECIAL.test(here + before)) {
        this.scan = at;
        return at;
      }
    }
    this.scan = at;
    return 0;
  }
}

/** Makes growing text presentable: closes what is open, and leaves out half a link target or a bare mark. */
export function mend(text: string): string {
  // The head of a table is held back until the row after it tells what it is.
  text = text.replace(/(?:^|\n)\|[^\n]*$/, '').replace(/[ \t\n]+$/, '');
  const open: string[] = [];
  const RUN = /\\[^]|(`+)|!?\[|\]\(?|\*+|_+|~~/g;
  let bracket = -1, match: RegExpExecArray | null;
  while ((match = RUN.exec(text))) {
    const run = match[0], at = match.index, end = at + run.length;
    if (match[1]) {
      let close: RegExpExecArray | null;
      const ticks = /`+/g;
      ticks.lastIndex = end;
      while ((close = ticks.exec(text)) && close[0] !== run);
      if (!close) {
        const inner = text.slice(end);
        if (!inner.trim()) return seal(text.slice(0, at), open);
        open.push(run);
        // Half of the closing run
        return seal(run.length > 1 ? text.replace(/`+$/, '') : text, open);
      }
      RUN.lastIndex = close.index + run.length;
    } else if (run === '[' || run === '![') {
      bracket = at;
    } else if (run[0] === ']') {
      if (bracket >= 0 && run === '](') {
        const target = /^(?:<[^<>\n]*>|[^\s<()]*(?:\([^\s()]*\)[^\s()]*)*)(?:\s+(?:"[^"]*"|'[^']*'|\([^)]*\)))?\s*\)/.exec(text.slice(end));
        if (target) RUN.lastIndex = end + target[0].length;
        else if (!/[\s][^"'(]|\n/.test(text.slice(end))) return seal(text.slice(0, bracket) + text.slice(bracket, at).replace(/^!?\[/, ''), open);
      }
      bracket = -1;
    } else if (run[0] !== '\\') {
      const before = text[at - 1] ?? ' ', after = text[end];
      const left = after !== undefined && !/\s/.test(after), right = !/\s/.test(before);
      const word = run[0] === '_' && right && left && /[\p{L}\p{N}]/u.test(before) && /[\p{L}\p{N}]/u.test(after);
      if (word) continue;
      if (right && open.at(-1) === run) open.pop();
      else if (right && open.length && open.at(-1) === run[0] && run.length === 2 && run !== '~~') continue;
      else if (left && run.length < 4) open.push(run);
      else if (after === undefined && run !== '_' && (right ? open.at(-1)?.startsWith(run) : true)) return seal(text.slice(0, at), open);
    }
  }
  return seal(text, open);
}

function seal(text: string, open: string[]): string {
  text = text.trimEnd();
  for (const run of open.reverse()) {
    // Nothing is inside the mark yet, so the mark itself is left out.
    if (text.endsWith(run) && !/[`\\]/.test(run)) text = text.slice(0, -run.length).trimEnd();
    else text += run;
  }
  return text;
}
