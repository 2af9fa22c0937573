// @vitest-environment happy-dom
import './happy-dom.ts';

import { describe, expect, test } from 'vitest';

import { renderMarkdown, View } from '../index.ts';
import { CORPUS } from './corpus.ts';

const LABELS = { copy: 'Copy', copied: 'Copied', copyFailed: 'Not copied', code: 'Code' };

export function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function whole(text: string): HTMLElement {
  const root = document.createElement('div');
  renderMarkdown(root, text, LABELS);
  return root;
}

/** Streams the text in random pieces. After each piece it checks that no final part changed. */
function stream(text: string, next: () => number, most: number): HTMLElement {
  const root = document.createElement('div');
  const view = new View(root, LABELS);
  let final: [Element, string][] = [];
  const hasDefinitions = /\]:/.test(text);
  for (let i = 0; i < text.length;) {
    const end = i + 1 + Math.floor(next() * next() * most);
    view.append(text.slice(i, end));
    i = end;
    if (next() < 0.3) continue;
    view.flush();
    for (const [at, [el, html]] of final.entries()) {
      if (root.children[at] !== el) throw new Error(`a final block went: ${html}`);
      if (el.outerHTML !== html && !(hasDefinitions && html.includes('['))) throw new Error(`a final block changed:\n${html}\n${el.outerHTML}`);
    }
    const open = view.blocks.open[1]?.el;
    const top = [...root.children];
    const count = open ? top.findIndex((el) => el.contains(open)) : top.length;
    final = top.slice(0, count).map((el, at) => (final[at]?.[0] === el && !hasDefinitions ? final[at] : [el, el.outerHTML]) as [Element, string]);
  }
  view.finish();
  view.destroy();
  return root;
}

describe('any cut gives the same DOM', () => {
  test.each(Object.entries(CORPUS))('%s', { timeout: 30_000 }, (name, text) => {
    const want = whole(text);
    const html = want.innerHTML;
    const large = text.length > 2500;
    for (let seed = 0; seed < (large ? 3 : 30); seed++) {
      const got = stream(text, random(seed * 7919 + name.length), large ? 40 + seed * 200 : seed % 2 ? 6 : 60);
      if (got.innerHTML !== html) expect(got.innerHTML, `seed ${String(seed)}`).toBe(html);
      expect(got.isEqualNode(want)).toBe(true);
    }
    if (!large) {
      // Each character alone
      expect(stream(text, () => 0.3, 1).innerHTML).toBe(html);
    }
  });

  test('random mixtures', () => {
    const bits = ['a', 'b ', ' ', '  ', '\n', '\n', '\n\n', '    ', '\t', '- ', '* ', '1. ', '2) ', '> ', '#', '## ', '```', '~~~', '`', '**', '*', '_', '~~', '[', ']', '](', ')', '](https://x.y)', ']: ', ']: https://u.v\n', '[a]', '|', ' | ', '|-|', '|-|-|\n', '---', '===', '--', ':', '\\', '<', '<b>', '!', '![', '\r\n', '\r', '𝒳', '日本', '[ ] ', '[x] ', 'x', '1', '.', '"', '\'t\'', '&amp;', '+', '=', '-'];
    for (let seed = 0; seed < 2500; seed++) {
      const next = random(seed);
      const text = Array.from({ length: 2 + Math.floor(next() * 24) }, () => bits[Math.floor(next() * bits.length)] as string).join('');
      const html = whole(text).innerHTML;
      for (const most of [1, 4, 12]) {
        const got = stream(text, next, most).innerHTML;
        if (got !== html) expect(got, JSON.stringify([seed, text])).toBe(html);
      }
    }
  }, 60_000);
});
