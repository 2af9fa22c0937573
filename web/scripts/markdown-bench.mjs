// Measures the cost of streaming Markdown in Chromium: script time from the first append to the end, in updates of 32
// characters, each shown at once (the worst case: an update per frame). A linear cost is 4.0 for 64 KiB against 16 KiB.
// Before that, it runs the XSS corpus in a real browser: nothing outside of the allowlist, no request, no script.
//   node scripts/markdown-bench.mjs [--frames] [--runs=9] [--only=SHAPE]
// With --frames it also runs once with real frames (a minute per shape), and measures style and layout there. The exit
// code is 1 if a fence is above 4.5, or if a vector got through.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { chromium } from '@playwright/test';
import { build } from 'vite';

const root = fileURLToPath(new URL('..', import.meta.url));
const frames = process.argv.includes('--frames');
const runs = Number(process.argv.find((arg) => arg.startsWith('--runs='))?.slice(7) ?? 9);
const LIMIT = 4.5;

const rep = (make, size) => {
  let text = '';
  for (let i = 0; text.length < size; i++) text += make(i);
  return text.slice(0, size);
};
const codeLine = (i) => `const value${i} = compute(${i}, "text") + other[${i % 7}]; // why\n`;
const words = (i) => `Some words, then a *marked* one and \`code ${i}\`, a [link](https://example.org/${i}) and more. `;
const only = process.argv.find((arg) => arg.startsWith('--only='))?.slice(7);
const SHAPES = {
  'fence': (n) => '```js\n' + rep(codeLine, n),
  'fence, one line': (n) => '```\n' + rep((i) => `${i},`, n),
  'fence in a list': (n) => '1. First:\n\n   ```js\n' + rep((i) => '   ' + codeLine(i), n),
  'fence in a quote': (n) => '> text\n>\n> ~~~js\n' + rep((i) => '> ' + codeLine(i), n),
  'paragraph': (n) => rep(words, n),
  'paragraph, plain': (n) => rep(() => 'only words and nothing else, ', n),
  'paragraph, open mark': (n) => '**open ' + rep(() => 'words that are never closed ', n),
  'paragraph, no space': (n) => rep((i) => String(i), n),
  'paragraph, lines': (n) => rep((i) => `line ${i} with **bold** text\n`, n),
  'list': (n) => rep((i) => `- item ${i} with *some* words in it\n`, n),
  'list, nested': (n) => rep((i) => '  '.repeat(i % 4) + `- item ${i} with *some* words in it\n`, n),
  'table': (n) => '| a | b | c |\n|---|---|--:|\n' + rep((i) => `| cell ${i} | *other* words | ${i} |\n`, n),
  'answer': (n) => rep((i) => `## Part ${i}\n\n${words(i)}\n\n1. one\n   \`\`\`js\n   ${codeLine(i)}   \`\`\`\n2. two\n\n| a | b |\n|---|---|\n| ${i} | x |\n\n`, n),
};

const dir = await mkdtemp(join(tmpdir(), 'markdown-bench-'));
let browser, server;
try {
  const entry = join(dir, 'entry.js');
  const from = (name) => JSON.stringify(join(root, 'src/markdown', name));
  await writeFile(entry, `export * from ${from('index.ts')}; export * from ${from('dom.ts')}; export * from ${from('xss-corpus.ts')};`);
  await build({
    root, configFile: false, logLevel: 'error',
    build: { target: 'es2022', outDir: dir, emptyOutDir: false, copyPublicDir: false, lib: { entry, formats: ['es'], fileName: 'markdown' } },
  });
  const css = await readFile(join(root, 'src/markdown/markdown.css'), 'utf8');
  server = createServer(async (req, res) => {
    try {
      if (req.url === '/') return res.setHeader('content-type', 'text/html').end(`<!doctype html><style>${css}</style><main></main>`);
      const body = await readFile(join(dir, req.url.slice(1)));
      res.setHeader('content-type', extname(req.url).includes('js') ? 'text/javascript' : 'text/plain').end(body);
    } catch {
      res.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  const page = await browser.newPage();
  page.on('pageerror', (error) => console.error(error));
  const bad = [];
  page.on('request', (request) => {
    if (!request.url().startsWith(`http://127.0.0.1:${server.address().port}/`)) bad.push(`request: ${request.url()}`);
  });
  page.on('dialog', (dialog) => void (bad.push(`dialog: ${dialog.message()}`), dialog.dismiss()));
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await page.evaluate(async () => {
    const { createMarkdownView } = await import('/markdown.js');
    const raf = window.requestAnimationFrame.bind(window);
    window.stream = (text, real) => {
      const host = document.createElement('div');
      document.querySelector('main').replaceChildren(host);
      const view = createMarkdownView(host, { copy: 'Copy', copied: 'Copied', copyFailed: 'Not copied', code: 'Code' });
      if (real) {
        window.requestAnimationFrame = raf;
        return (async () => {
          for (let i = 0; i < text.length; i += 32) {
            view.append(text.slice(i, i + 32));
            await new Promise(raf);
          }
          view.finish();
          view.destroy();
        })();
      }
      let frame;
      window.requestAnimationFrame = (callback) => ((frame = callback), 1);
      const start = performance.now();
      for (let i = 0; i < text.length; i += 32) {
        view.append(text.slice(i, i + 32));
        frame(0);
      }
      view.finish();
      const ms = performance.now() - start;
      view.destroy();
      return ms;
    };
  });
  bad.push(...await page.evaluate(async () => {
    const { xssCorpus, renderMarkdown, createMarkdownView, TAGS, ATTRS } = await import('/markdown.js');
    const out = [], labels = { copy: 'Copy', copied: 'Copied', copyFailed: 'Not copied', code: 'Code' };
    const host = document.querySelector('main');
    const check = (text) => {
      for (const el of host.firstChild.querySelectorAll('*')) {
        const names = [...el.attributes].map(({ name }) => name).filter((name) => !ATTRS.includes(name));
        if (!TAGS.includes(el.localName) || names.length || (el.localName === 'a' ? !/^(https?|mailto):$/.test(el.protocol) || el.rel !== 'noopener noreferrer nofollow' : el.hasAttribute('href'))) out.push(`${JSON.stringify(text)}: ${el.outerHTML}`);
      }
    };
    for (const text of xssCorpus) {
      host.replaceChildren(document.createElement('div'));
      renderMarkdown(host.firstChild, text, labels);
      check(text);
      const whole = host.firstChild.innerHTML;
      host.replaceChildren(document.createElement('div'));
      const view = createMarkdownView(host.firstChild, labels);
      for (const part of text.match(/[^]{1,7}/g)) {
        view.append(part);
        view.flush();
        check(text);
      }
      view.finish();
      if (host.firstChild.innerHTML !== whole) out.push(`${JSON.stringify(text)}: streamed is not whole`);
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
    return out;
  }));
  console.log(bad.length ? bad.join('\n') : 'XSS corpus: nothing got through');
  const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Performance.enable');
  const metrics = async () => Object.fromEntries((await cdp.send('Performance.getMetrics')).metrics.map(({ name, value }) => [name, value * 1000]));

  let failed = bad.length > 0;
  console.log(`${'shape'.padEnd(24)}${'16 KiB ms'.padStart(10)}${'64 KiB ms'.padStart(10)}${'ratio'.padStart(7)}${frames ? '   frames, 64 KiB: script / style / layout ms (and their ratios)' : ''}`);
  for (const [name, make] of Object.entries(SHAPES)) {
    if (only && !name.startsWith(only)) continue;
    const small = make(16384), large = make(65536);
    // Warms up, so that the small text does not pay for the compiler
    for (let i = 0; i < 3; i++) await page.evaluate((text) => window.stream(text), large);
    const a = [], b = [];
    for (let i = 0; i < runs; i++) {
      a.push(await page.evaluate((text) => { let ms = 0; for (let k = 0; k < 4; k++) ms += window.stream(text); return ms / 4; }, small));
      b.push(await page.evaluate((text) => window.stream(text), large));
    }
    const [x, y] = [median(a), median(b)];
    const over = name.startsWith('fence') && y / x > LIMIT;
    failed ||= over;
    let more = '';
    if (frames) {
      const cost = [];
      for (const text of [small, large]) {
        const before = await metrics();
        await page.evaluate((value) => window.stream(value, true), text);
        const after = await metrics();
        cost.push(['ScriptDuration', 'RecalcStyleDuration', 'LayoutDuration'].map((key) => after[key] - before[key]));
      }
      more = '   ' + cost[1].map((ms, i) => `${ms.toFixed(0)} (${(ms / cost[0][i]).toFixed(1)})`).join(' / ');
    }
    console.log(`${name.padEnd(24)}${x.toFixed(1).padStart(10)}${y.toFixed(1).padStart(10)}${(y / x).toFixed(2).padStart(7)}${over ? '  TOO MUCH' : ''}${more}`);
  }
  if (failed) process.exitCode = 1;
} finally {
  await browser?.close();
  server?.close();
  await rm(dir, { recursive: true, force: true });
}
