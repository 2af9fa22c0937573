// @vitest-environment happy-dom
import './happy-dom.ts';

import { describe, expect, test } from 'vitest';

import { ATTRS, h, TAGS, wall } from '../dom.ts';
import { renderMarkdown, View } from '../index.ts';
import { xssCorpus } from '../xss-corpus.ts';

const LABELS = { copy: 'Copy', copied: 'Copied', copyFailed: 'Not copied', code: 'Code' };

/** The forbidden parts of a tree. (scripts/markdown-bench.mjs checks the same in Chromium.) */
function wrongs(root: Element, tags: string[], attrs: string[]): string[] {
  const out: string[] = [];
  for (const el of root.querySelectorAll('*')) {
    if (!tags.includes(el.tagName.toLowerCase())) out.push(`element ${el.tagName}`);
    for (const { name, value } of el.attributes) {
      if (!attrs.includes(name)) out.push(`attribute ${name}`);
      if (name === 'class' && !/^(tight|task|code|part|table|left|right|center|image)$/.test(value)) out.push(`class ${value}`);
    }
    if (el.tagName === 'A') {
      const href = el.getAttribute('href') ?? '';
      if (!/^(https?:\/\/|mailto:)/.test(href) || !['http:', 'https:', 'mailto:'].includes(new URL(href).protocol)) out.push(`href ${href}`);
      if (new URL(href).username) out.push(`user in ${href}`);
      if (el.getAttribute('target') !== '_blank' || el.getAttribute('rel') !== 'noopener noreferrer nofollow') out.push('target or rel');
      if (/[\u202a-\u202e\u2066-\u2069]/.test(href + (el.textContent ?? ''))) out.push(`direction marks in a link: ${href}`);
      if (el.querySelector('a')) out.push('link in a link');
    } else if (el.hasAttribute('href')) {
      out.push(`href on ${el.tagName}`);
    }
  }
  return out;
}

describe('hostile texts', () => {
  test('there are enough of them', () => expect(xssCorpus.length).toBeGreaterThanOrEqual(80));

  test.each(xssCorpus.map((text) => [JSON.stringify(text).slice(0, 80), text]))('%s', (_, text) => {
    const root = document.createElement('div');
    renderMarkdown(root, text, LABELS);
    expect(wrongs(root, TAGS, ATTRS)).toEqual([]);
    // The same while it streams
    const host = document.createElement('div');
    const view = new View(host, LABELS);
    for (const ch of text) {
      view.append(ch);
      view.flush();
      const found = wrongs(host, TAGS, ATTRS);
      if (found.length) expect(found).toEqual([]);
    }
    view.finish();
    expect(host.innerHTML).toBe(root.innerHTML);
  });

  test('links among them that are good stay', () => {
    const root = document.createElement('div');
    renderMarkdown(root, '[a](https://a.example/?x=1&amp;y=2) <mailto:x@y.example> ![alt](https://i.example/i.png)', LABELS);
    expect([...root.querySelectorAll('a')].map((a) => [a.getAttribute('href'), a.textContent])).toEqual([
      ['https://a.example/?x=1&y=2', 'a'], ['mailto:x@y.example', 'mailto:x@y.example'], ['https://i.example/i.png', 'alt'],
    ]);
    expect(root.querySelector('img')).toBeNull();
  });

  test('HTML is shown as it was written', () => {
    const root = document.createElement('div');
    renderMarkdown(root, 'a <b onclick="x">b</b> <!-- c -->', LABELS);
    expect(root.textContent).toBe('a <b onclick="x">b</b> <!-- c -->');
  });

  test('the second wall stands by itself', () => {
    const p = h('p', { onclick: 'x', style: 'color: red', id: 'y', 'data-x': '1' }, h('a', { href: 'javascript:alert(1)' }, 'x'), h('img', { src: 'x' }), h('a', { href: 'https://a.example/', target: '_blank' }, 'y'));
    wall(p);
    expect(p.outerHTML).toBe('<p><a>x</a><a href="https://a.example/" target="_blank">y</a></p>');
    expect(() => wall(h('script'))).toThrow();
  });
});
