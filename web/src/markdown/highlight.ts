import type { ShjLanguageData } from '@speed-highlight/core/tokenize';

import { h } from './dom.ts';

type Load = () => Promise<{ default: unknown }>;
const LANGUAGES: Record<string, Load> = {
  asm: () => import('@speed-highlight/core/languages/asm.js'),
  bash: () => import('@speed-highlight/core/languages/bash.js'),
  c: () => import('@speed-highlight/core/languages/c.js'),
  css: () => import('@speed-highlight/core/languages/css.js'),
  csv: () => import('@speed-highlight/core/languages/csv.js'),
  diff: () => import('@speed-highlight/core/languages/diff.js'),
  docker: () => import('@speed-highlight/core/languages/docker.js'),
  go: () => import('@speed-highlight/core/languages/go.js'),
  html: () => import('@speed-highlight/core/languages/html.js'),
  http: () => import('@speed-highlight/core/languages/http.js'),
  ini: () => import('@speed-highlight/core/languages/ini.js'),
  java: () => import('@speed-highlight/core/languages/java.js'),
  js: () => import('@speed-highlight/core/languages/js.js'),
  jsdoc: () => import('@speed-highlight/core/languages/jsdoc.js'),
  json: () => import('@speed-highlight/core/languages/json.js'),
  lua: () => import('@speed-highlight/core/languages/lua.js'),
  make: () => import('@speed-highlight/core/languages/make.js'),
  pl: () => import('@speed-highlight/core/languages/pl.js'),
  py: () => import('@speed-highlight/core/languages/py.js'),
  regex: () => import('@speed-highlight/core/languages/regex.js'),
  rs: () => import('@speed-highlight/core/languages/rs.js'),
  sql: () => import('@speed-highlight/core/languages/sql.js'),
  todo: () => import('@speed-highlight/core/languages/todo.js'),
  toml: () => import('@speed-highlight/core/languages/toml.js'),
  ts: () => import('@speed-highlight/core/languages/ts.js'),
  uri: () => import('@speed-highlight/core/languages/uri.js'),
  xml: () => import('@speed-highlight/core/languages/xml.js'),
  yaml: () => import('@speed-highlight/core/languages/yaml.js'),
};
const ALIASES: Record<string, string> = Object.fromEntries(
  ('javascript:js jsx:js mjs:js cjs:js node:js typescript:ts tsx:ts mts:ts cts:ts python:py python3:py py3:py rust:rs golang:go sh:bash shell:bash zsh:bash console:bash '
    + 'shellscript:bash dockerfile:docker containerfile:docker makefile:make mk:make yml:yaml jsonc:json json5:json jsonl:json htm:html vue:html svelte:html svg:xml xhtml:xml '
    + 'plist:xml cpp:c c++:c cc:c h:c hpp:c cxx:c objc:c cs:java csharp:java c#:java kotlin:java kt:java scala:java swift:java dart:java scss:css less:css '
    + 'perl:pl patch:diff postgresql:sql postgres:sql psql:sql mysql:sql sqlite:sql plsql:sql properties:ini conf:ini env:ini cfg:ini regexp:regex nasm:asm url:uri')
    .split(' ').map((pair) => pair.split(':') as [string, string]),
);
// Maps the library's tokens to our classes. The styles are in markdown.css.
const CLASSES: Record<string, string> = {
  kwd: 'keyword', bool: 'keyword', section: 'keyword', str: 'string', insert: 'string', num: 'number', esc: 'number',
  cmnt: 'comment', func: 'function', class: 'type', type: 'type', var: 'variable', err: 'variable', deleted: 'variable', oper: 'operator',
};

const language = (name: string): string | undefined => {
  name = Object.hasOwn(ALIASES, name) ? ALIASES[name] as string : name;
  return Object.hasOwn(LANGUAGES, name) ? name : undefined;
};

const MOST = 50_000;
// The library's patterns may cost the square of a line's length, and nobody needs colours in a very long line.
const LONGEST_LINE = 2000;
const BUDGET_MS = 40;

type Job = { code: HTMLElement; lang: string; done: () => boolean };
const queue: Job[] = [];
let running = false;

const idle = (): Promise<unknown> => new Promise((resolve) => {
  if ('requestIdleCallback' in window) window.requestIdleCallback(resolve, { timeout: 2000 });
  else setTimeout(resolve, 50);
});

/** Colours a finished block when there is time. `done` says that it is no longer on the page. */
export function highlightLater(code: HTMLElement, lang: string, done: () => boolean): void {
  const name = language(lang), text = code.textContent ?? '';
  if (!name || text.length > MOST || text.split('\n').some((line) => line.length > LONGEST_LINE)) return;
  queue.push({ code, lang: name, done });
  if (!running) void run();
}

async function run(): Promise<void> {
  running = true;
  for (let job; (job = queue.shift());) {
    await idle();
    if (job.done()) continue;
    const selection = document.getSelection();
    if (selection && !selection.isCollapsed && selection.containsNode(job.code, true)) {
      // New nodes would end the reader's selection, so this waits.
      const again = job;
      setTimeout(() => highlightLater(again.code, again.lang, again.done), 1000);
      continue;
    }
    try {
      await highlight(job.code, job.lang);
    } catch {
      // The file did not load, so the code stays without colours.
    }
  }
  running = false;
}

const loaded = new Map<string, ShjLanguageData>();

async function highlight(code: HTMLElement, name: string): Promise<void> {
  const { tokenizer } = await import('@speed-highlight/core/tokenize');
  const text = code.textContent ?? '';
  // Reads the tokens again after each load, so that the page waits only for its own network.
  for (;;) {
    const out: Node[] = [], until = performance.now() + BUDGET_MS;
    let at = 0, from = 0, last: string | undefined;
    const put = (end: number): void => {
      const part = text.slice(from, end);
      if (part) out.push(last ? h('span', { class: `hl-${last}` }, part) : document.createTextNode(part));
      from = end;
    };
    const tokens = tokenizer(text, name, (part, type) => {
      if (performance.now() > until) throw new Error('too long');
      const cls = part.trim() ? type && CLASSES[type] : last;
      if (cls !== last) put(at);
      last = cls;
      at += part.length;
    });
    let missing: string | undefined;
    try {
      for (let step = tokens.next(); !step.done;) {
        const need = language(step.value), data = need && loaded.get(need);
        if (need && !data) {
          missing = need;
          break;
        }
        step = tokens.next(data || undefined);
      }
    } catch {
      // The time is up. The rest stays plain.
      put(at);
      last = undefined;
    }
    if (!missing) {
      put(text.length);
      code.replaceChildren(...out);
      return;
    }
    loaded.set(missing, (await (LANGUAGES[missing] as Load)()).default as ShjLanguageData);
  }
}
