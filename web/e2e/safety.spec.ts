/** Texts of people and models are shown and never run, and the page sends requests to no other server. */
import { xssCorpus } from '../src/markdown/xss-corpus';
import { App, expect, test } from './fixtures';

declare global {
  interface Window {
    ran: string[];
  }
}

/** Checks everything that is shown of texts, and notes every part that could run now or after a click. */
function inspect(): void {
  for (const link of document.querySelectorAll<HTMLAnchorElement>('.md a')) {
    if (!['http:', 'https:', 'mailto:'].includes(new URL(link.href, location.href).protocol)) window.ran.push(link.href);
    if (link.target !== '_blank' || !link.rel.includes('noopener')) window.ran.push(`no opener: ${link.href}`);
  }
  const active = ['SCRIPT', 'IFRAME', 'OBJECT', 'EMBED', 'STYLE', 'LINK', 'BASE', 'FORM', 'IMG', 'SVG', 'MATH'];
  for (const element of document.querySelectorAll('.md *, .bubble *')) {
    for (const { name } of element.attributes) if (name.startsWith('on') || ['style', 'srcdoc'].includes(name)) window.ran.push(name);
    if (active.includes(element.tagName.toUpperCase())) window.ran.push(element.tagName);
  }
}

test('nothing of an XSS corpus runs, in texts, titles and file names', async ({ browser, stack, user }) => {
  test.setTimeout(240_000);
  const context = await browser.newContext({ baseURL: stack.url, serviceWorkers: 'block' });
  await context.addInitScript(() => {
    window.ran = [];
    for (const name of ['alert', 'confirm', 'prompt', 'print'] as const) window[name] = (() => window.ran.push(name)) as never;
  });
  const app = await App.on(context, stack);
  const { page } = app;
  page.on('dialog', (dialog) => void dialog.dismiss().then(() => app.watch.violations.push(`dialog: ${dialog.message()}`)));
  await page.goto('/');
  await app.signIn(user);

  // The mock repeats what it gets, so the same text passes through the user's message and the model's answer.
  const texts: string[] = [];
  for (const vector of xssCorpus) {
    const last = texts.length - 1;
    if (last >= 0 && (texts[last] ?? '').length + vector.length < 3000) texts[last] += `\n\n${vector}`;
    else texts.push(vector);
  }
  for (const text of texts) {
    await app.ask(text);
    await page.evaluate(inspect);
  }

  const hostile = ['<img src=x onerror=alert(1)>', '"><script>alert(1)</script>', 'javascript:alert(1)', '{{constructor.constructor("alert(1)")()}}'];
  for (const title of hostile) await stack.call(user, 'POST', '/api/conversations', { title });
  await page.locator('input[type=file]').setInputFiles({ name: '<img src=x onerror=alert(1)>.png', mimeType: 'image/png', buffer: Buffer.from('no picture') });
  await expect(page.locator('.chip .name')).toHaveText('<img src=x onerror=alert(1)>.png');
  await page.reload();
  for (const title of hostile) await expect(page.getByRole('link', { name: title, exact: true })).toHaveCount(1);
  await page.keyboard.press('Control+k');
  await expect(page.getByRole('option', { name: hostile[0] ?? '' })).toBeVisible();
  await page.keyboard.press('Escape');
  await page.getByRole('link', { name: hostile[0] ?? '', exact: true }).click();
  await expect(page).toHaveTitle(`${hostile[0]} · Parley`);

  expect(await page.evaluate(() => window.ran)).toEqual([]);
  await app.close();
});

test('the policy of the page forbids inline scripts, eval and everybody else', async ({ page, stack }) => {
  const response = await page.goto(stack.url);
  const policy = response?.headers()['content-security-policy'] ?? '';
  const rules = new Map(policy.split(';').map((rule) => [rule.trim().split(' ')[0] ?? '', rule]));
  expect(rules.get('default-src')).toMatch(/'none'/);
  expect(rules.get('script-src')?.trim()).toBe("script-src 'self'");
  expect(rules.get('style-src')?.trim()).toBe("style-src 'self'");
  expect(policy).not.toMatch(/unsafe/);
  expect(policy).not.toMatch(/\*/);
  expect(response?.headers()).toMatchObject({ 'x-content-type-options': 'nosniff', 'x-frame-options': 'DENY', 'referrer-policy': 'no-referrer' });
  await page.evaluate(() => document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.inline = 1' })));
  expect(await page.evaluate(() => 'inline' in window)).toBe(false);
});

test('the shell opens without a network, and says so', async ({ browser, stack, user }) => {
  const context = await browser.newContext({ baseURL: stack.url });
  const app = await App.on(context, stack);
  await app.page.goto('/');
  await app.signIn(user);
  await app.page.evaluate(() => navigator.serviceWorker.ready);
  await context.setOffline(true);
  await app.page.reload();
  await expect(app.page.getByText('Parley cannot be reached right now.')).toBeVisible();
  await context.setOffline(false);
  await expect(app.composer).toBeVisible();
  await app.close();
});
