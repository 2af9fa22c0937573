// @vitest-environment happy-dom
import './happy-dom.ts';

import { afterEach, describe, expect, test, vi } from 'vitest';

import { createMarkdownView, plainText, renderMarkdown, View } from '../index.ts';
import { mend } from '../inline.ts';

const LABELS = { copy: 'Copy', copied: 'Copied', copyFailed: 'Not copied', code: 'Code' };
const T = '```';

function html(text: string): string {
  const root = document.createElement('div');
  renderMarkdown(root, text, LABELS);
  return root.innerHTML;
}

/** What a reader sees after each text while it streams. */
function seen(...texts: string[]): string[] {
  const root = document.createElement('div');
  const view = new View(root, LABELS);
  return texts.map((text) => {
    view.append(text);
    view.flush();
    return root.innerHTML;
  });
}

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  document.body.replaceChildren();
});

describe('blocks', () => {
  test.each([
    ['one\ntwo', '<p>one<br>two</p>'],
    ['# A\n\n#### B #', '<h3>A</h3><h6>B</h6>'],
    ['A\n===\nB\n---', '<h3>A</h3><h4>B</h4>'],
    ['- a\n- b', '<ul class="tight"><li><p>a</p></li><li><p>b</p></li></ul>'],
    ['- a\n\n- b', '<ul><li><p>a</p></li><li><p>b</p></li></ul>'],
    ['3. a\n4. b', '<ol class="tight" start="3"><li><p>a</p></li><li><p>b</p></li></ol>'],
    ['> a\nb', '<blockquote><p>a<br>b</p></blockquote>'],
    ['- [x] a\n- [ ] **b**', '<ul class="tight"><li class="task"><p><label><input type="checkbox" disabled="" checked=""><span>a</span></label></p></li><li class="task"><p><label><input type="checkbox" disabled=""><span><strong>b</strong></span></label></p></li></ul>'],
    ['| a | b |\n|--|-:|\n| 1 |', '<div class="table"><table><thead><tr><th scope="col">a</th><th scope="col" class="right">b</th></tr></thead><tbody><tr><td>1</td><td class="right"></td></tr></tbody></table></div>'],
    ['~~x~~ `y` *z*', '<p><del>x</del> <code>y</code> <em>z</em></p>'],
    ['[a](https://b.example/c "t")', '<p><a href="https://b.example/c" target="_blank" rel="noopener noreferrer nofollow">a</a></p>'],
    ['[a](ftp://b.example) [c](/d)', '<p>[a](ftp://b.example) [c](/d)</p>'],
    ['![a](https://b.example/c.png)', '<p><a href="https://b.example/c.png" target="_blank" rel="noopener noreferrer nofollow" class="image">a</a></p>'],
    ['[a]\n\n[a]: https://b.example/', '<p><a href="https://b.example/" target="_blank" rel="noopener noreferrer nofollow">a</a></p>'],
    ['***', '<hr>'],
  ])('%j', (text, want) => expect(html(text)).toBe(want));

  test.each([
    ['[a]: https://b.example/\ntext [a]', ['a']],
    ['[a]: https://b.example/ "t"\n[c]: <https://d.example/>\n\n[c] [A][] [e]', ['c', 'A']],
    ['[a]: two words\n\n[a]', []],
    ['[a]: https://b.example/\n===\n[a]', ['a']],
  ])('definitions: %j', (text, want) => {
    const root = document.createElement('div');
    renderMarkdown(root, text, LABELS);
    expect([...root.querySelectorAll('a')].map((el) => el.textContent)).toEqual(want);
  });

  test('a long paragraph is cut into pieces only where nothing is open', () => {
    const words = 'some words '.repeat(80);
    for (const [open, close, name] of [['**', '**', 'strong'], ['`', '`', 'code'], ['[', '](https://a.example/)', 'a'], ['~~', '~~', 'del']]) {
      const root = document.createElement('div');
      renderMarkdown(root, `${words} ${open as string}${words.trim()}${close as string} ${words}`, LABELS);
      expect([...root.querySelectorAll('p > *')].map((el) => [el.localName, el.textContent])).toEqual([[name, words.trim()]]);
    }
  });

  test('code, also inside of lists and quotes, without their indentation', () => {
    const root = document.createElement('div');
    renderMarkdown(root, `1. x\n   ${T}ts\n   a\n     b\n\n   c\n   ${T}\n\n> ~~~\n> d\n> ~~~\n\n    e\n\n${T}\nf`, LABELS);
    expect([...root.querySelectorAll('figure.code')].map((el) => [el.querySelector('figcaption span')?.textContent, el.querySelector('pre > code')?.textContent])).toEqual([
      ['ts', 'a\n  b\n\nc'], ['Code', 'd'], ['Code', 'e'], ['Code', 'f'],
    ]);
    expect(root.querySelector('button')?.outerHTML).toBe('<button type="button" data-copy="" aria-label="Copy">Copy</button>');
  });
});

describe('while it streams', () => {
  test('what is open looks closed', () => {
    expect(seen('a **bo', 'ld** x')).toEqual(['<p>a <strong>bo</strong></p>', '<p>a <strong>bold</strong> x</p>']);
    expect(seen('see [the docs](htt', 'ps://a.example/) now')[0]).toBe('<p>see the docs</p>');
    expect(seen('a `b')).toEqual(['<p>a <code>b</code></p>']);
    expect(seen(`a\n\n${T}`, 'js', '\nx')[1]).toBe('<p>a</p>');
    expect(seen('| a | b', ' |\n|---|', '---|\n| 1')).toEqual(['<p></p>', '<p></p>', expect.stringContaining('<td>1</td>')]);
    expect(seen('text\n--', '-\n')).toEqual(['<p>text</p>', '<h4>text</h4>']);
  });

  test.each([
    ['*a', '*a*'], ['**a', '**a**'], ['**a*', '**a**'], ['***a', '***a***'], ['a **', 'a'], ['**a *b', '**a *b***'], ['a_b', 'a_b'], ['_a', '_a_'],
    ['~~a', '~~a~~'], ['`a', '`a`'], ['``a`', '``a``'], ['`', ''], ['2 * 3', '2 * 3'], ['\\*a', '\\*a'], ['[a](b', 'a'], ['![a](b', 'a'], ['[a] (b', '[a] (b'],
    ['**[a](https://b', '**a**'], ['`*a', '`*a`'], ['**a** b', '**a** b'], ['*a* **b', '*a* **b**'],
  ])('%j is shown as %j', (text, want) => expect(mend(text)).toBe(want));

  test('an open code block keeps its nodes', () => {
    const root = document.createElement('div');
    const view = new View(root, LABELS);
    view.append(`${T}\none\n`);
    view.flush();
    view.append('two');
    view.flush();
    const text = root.querySelector('code')?.firstChild?.firstChild;
    view.append(' three\nfour');
    view.flush();
    expect(root.querySelector('code')?.firstChild?.firstChild).toBe(text);
    expect(root.querySelector('code')?.textContent).toBe('one\ntwo three\nfour');
  });

  test('appended text is shown with the next frame, or without one after 100 ms', () => {
    vi.useFakeTimers();
    vi.stubGlobal('requestAnimationFrame', () => 1);
    vi.stubGlobal('cancelAnimationFrame', () => undefined);
    const root = document.createElement('div');
    const view = createMarkdownView(root, LABELS);
    view.append('hello');
    expect(root.textContent).toBe('');
    vi.advanceTimersByTime(100);
    expect(root.textContent).toBe('hello');
    view.append(' world');
    view.destroy();
    vi.advanceTimersByTime(1000);
    expect(root.textContent).toBe('hello');
  });

  test('replace goes on from what is there, or starts again', () => {
    const root = document.createElement('div');
    const view = new View(root, LABELS);
    view.append('# A\n\nb');
    view.flush();
    const first = root.firstChild;
    view.replace('# A\n\nb c');
    view.flush();
    expect(root.firstChild).toBe(first);
    view.replace('other');
    view.finish();
    expect(root.innerHTML).toBe('<p>other</p>');
    view.replace('third');
    view.finish();
    expect(root.innerHTML).toBe('<p>third</p>');
  });
});

describe('code blocks', () => {
  test('copy', async () => {
    vi.useFakeTimers();
    const writeText = vi.fn(() => Promise.resolve());
    vi.stubGlobal('navigator', { clipboard: { writeText } });
    const root = document.createElement('div');
    document.body.append(root);
    const view = renderMarkdown(root, `${T}\na\n b\n${T}`, LABELS);
    const button = root.querySelector('button') as HTMLButtonElement;
    button.click();
    await vi.advanceTimersByTimeAsync(1);
    expect(writeText).toHaveBeenCalledWith('a\n b');
    expect([button.textContent, button.getAttribute('aria-label')]).toEqual(['Copied', 'Copied']);
    await vi.advanceTimersByTimeAsync(2000);
    expect([button.textContent, button.getAttribute('aria-label')]).toEqual(['Copy', 'Copy']);
    view.destroy();
    button.click();
    expect(writeText).toHaveBeenCalledTimes(1);
  });

  test('colours come later, as classes, and change no character', async () => {
    const root = document.createElement('div');
    document.body.append(root);
    const source = 'const a: number = 1; // <b>\nfunction f() { return `x${a}`; }';
    // A busy machine would use up the time that colours may take.
    vi.spyOn(performance, 'now').mockReturnValue(0);
    renderMarkdown(root, `${T}TypeScript title="x"\n${source}\n${T}\n\n${T}html\n<p style="color: red">x</p><script>let y = 1;</script>\n${T}\n\n${T}nosuch\nconst\n${T}`, LABELS);
    expect(root.querySelector('[class^=hl-]')).toBeNull();
    await vi.waitFor(() => {
      expect(root.querySelectorAll('code')[0]?.querySelector('.hl-keyword')?.textContent.trim()).toBe('const');
      expect(root.querySelectorAll('code')[1]?.querySelector('.hl-keyword')?.textContent.trim()).toBe('let');
    }, 5000);
    expect(root.querySelectorAll('code')[0]?.textContent).toBe(source);
    expect(root.querySelectorAll('code')[2]?.querySelector('.hl-keyword')).toBeNull();
    for (const el of root.querySelectorAll('code [class], code [style]')) expect(el.outerHTML).toMatch(/^<span class="(hl-(keyword|string|number|comment|function|type|variable|operator)|part)">/);
  });

  test('what takes too long to colour stays plain', async () => {
    const root = document.createElement('div');
    document.body.append(root);
    const source = Array.from({ length: 100 }, (_, line) => `const a${line} = 1;`).join('\n');
    let now = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => now++);
    renderMarkdown(root, `${T}js\n${source}\n${T}`, LABELS);
    const code = root.querySelector('code') as HTMLElement;
    await vi.waitFor(() => expect(code.querySelector('.hl-keyword')).not.toBeNull(), 5000);
    expect(code.textContent).toBe(source);
    const coloured = code.querySelectorAll('.hl-keyword').length;
    expect(coloured).toBeGreaterThan(1);
    expect(coloured).toBeLessThan(100);
    expect(code.lastChild?.nodeType).toBe(Node.TEXT_NODE);
  });
});

test('plainText', () => {
  expect(plainText(`# A **b**\n\nSee [c](https://d.example) \`e\` &amp; ![f](g)\nh\n\n- i\n  - [x] j\n\n> k\n\n| l | m |\n|---|---|\n| n | o |\n\n${T}js\np();\n${T}\n<b>q</b>`))
    .toBe('A b\nSee c e & f\nh\ni\nj\nk\nl m\nn o\np();\n<b>q</b>');
});
