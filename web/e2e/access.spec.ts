/** The page works for everybody: by keyboard alone, with a screen reader, in both themes, on a narrow screen. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { AxeResults } from 'axe-core';
import type { Locator, Page } from '@playwright/test';
import { App, expect, test } from './fixtures';
import { Stack } from './stack';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** The serious findings of axe. */
async function findings(page: Page): Promise<string[]> {
  // axe gets past the page's policy as the browser's own tools do.
  const session = await page.context().newCDPSession(page);
  await session.send('Runtime.evaluate', { expression: axe });
  const results = await page.evaluate(
    () => (window as unknown as { axe: { run(options: object): Promise<AxeResults> } }).axe.run({ resultTypes: ['violations'] }),
  );
  return results.violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html).join(' | ')}`);
}

const RICH = 'Everything:\n\n## Heading\n\nSome `code` and a [link](https://example.com).\n\n```js\nlet a = 1; // one\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n> quote\n\n- [ ] open\n- [x] done\n';

for (const colorScheme of ['light', 'dark'] as const) {
  test(`axe has nothing serious to say about the ${colorScheme} theme`, async ({ browser, stack, user }) => {
    test.setTimeout(180_000);
    const context = await browser.newContext({ baseURL: stack.url, colorScheme, reducedMotion: 'reduce', serviceWorkers: 'block' });
    const app = await App.on(context, stack);
    const { page } = app;
    await page.goto('/');
    await expect(page.getByLabel('User name')).toBeVisible();
    expect(await findings(page)).toEqual([]);
    await app.signIn(user, true);
    expect(await findings(page)).toEqual([]);
    await app.ask(RICH);
    await app.say('!fail');
    await expect(app.answers.nth(1)).toHaveAttribute('data-progress', 'failed');
    await app.messages.first().hover();
    expect(await findings(page)).toEqual([]);
    await page.getByRole('button', { name: /Account and settings/ }).click();
    expect(await findings(page)).toEqual([]);
    await page.keyboard.press('Escape');
    await page.keyboard.press('Control+k');
    expect(await findings(page)).toEqual([]);
    await page.keyboard.press('Escape');
    await page.goto('/admin');
    await expect(page.locator(`tr[data-client="${user}"]`)).toBeVisible();
    expect(await findings(page)).toEqual([]);
    await app.close();
  });
}

test('everything can be done by keyboard alone', async ({ browser, stack, user }) => {
  const context = await browser.newContext({ baseURL: stack.url, serviceWorkers: 'block' });
  const app = await App.on(context, stack);
  const { page } = app;
  const { keyboard } = page;
  await page.goto('/');
  await expect(page.getByLabel('User name')).toBeFocused();
  await keyboard.type(user);
  await keyboard.press('Enter');
  await expect(app.composer).toBeFocused();

  await keyboard.type('One line');
  await keyboard.press('Shift+Enter');
  await keyboard.type('and another');
  await keyboard.press('Enter');
  await expect(app.messages).toHaveText([/One line\s+and another/]);
  await expect(app.answers.first()).toHaveAttribute('data-progress', 'done');

  // Edit the last message.
  await expect(app.composer).toBeFocused();
  await keyboard.press('ArrowUp');
  await expect(page.getByLabel('Edit your message')).toBeFocused();
  await keyboard.press('Control+a');
  await keyboard.type('Edited');
  await keyboard.press('Enter');
  await expect(app.messages).toHaveText([/Edited/]);
  await expect(app.answers.first()).toHaveText(/response for Edited/);

  await expect(app.composer).toBeFocused();

  // Stop an answer.
  await page.getByRole('button', { name: 'Hide conversations' }).focus();
  await keyboard.press('/');
  await expect(app.composer).toBeFocused();
  await keyboard.type('!slow 30000 never');
  await keyboard.press('Enter');
  await expect(app.answers.nth(1)).toHaveAttribute('data-progress', /queued|answering/);
  await keyboard.press('Escape');
  await expect(app.answers.nth(1)).toHaveAttribute('data-progress', 'cancelled');

  // A new chat, and back by the palette.
  await keyboard.press('Control+Shift+O');
  await expect(page).toHaveURL(/\/$/);
  await expect(app.composer).toBeFocused();
  await keyboard.type('Second');
  await keyboard.press('Enter');
  await expect(app.answers.first()).toHaveText(/response for Second/);
  await keyboard.press('Control+k');
  await keyboard.type('One line');
  await keyboard.press('Enter');
  await expect(app.messages.first()).toHaveText(/Edited/);

  // The menu of a conversation: renames with F2, deletes by the menu, and undoes that.
  await page.locator('[data-conversation]').first().getByRole('link').focus();
  await keyboard.press('F2');
  await expect(page.getByLabel('Title of the conversation')).toBeFocused();
  await keyboard.press('Control+a');
  await keyboard.type('Renamed');
  await keyboard.press('Enter');
  const renamed = page.getByRole('link', { name: 'Renamed' });
  await expect(renamed).toBeFocused();
  await keyboard.press('Tab');
  await keyboard.press('Enter');
  await expect(page.getByRole('menuitem', { name: 'Rename' })).toBeFocused();
  await keyboard.press('d');
  await expect(page.getByRole('menuitem', { name: 'Delete' })).toBeFocused();
  await keyboard.press('Escape');
  await keyboard.press('Shift+Tab');
  await keyboard.press('Delete');
  await expect(renamed).toHaveCount(0);
  await page.getByRole('button', { name: 'Undo' }).focus();
  await keyboard.press('Enter');
  await expect(renamed).toHaveCount(1);

  await page.locator('h1').click();
  await keyboard.press('?');
  await expect(page.getByRole('dialog', { name: 'Keyboard shortcuts' })).toBeVisible();
  await keyboard.press('Escape');
  await keyboard.press('Control+b');
  await expect(page.getByRole('navigation')).toHaveCount(0);
  await keyboard.press('Control+b');
  await expect(page.getByRole('navigation')).toBeVisible();
  await app.close();
});

test('a narrow screen has everything, without scrolling sideways', async ({ browser, stack, user }) => {
  const context = await browser.newContext({ baseURL: stack.url, viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true, serviceWorkers: 'block' });
  const app = await App.on(context, stack);
  const { page } = app;
  await page.goto('/');
  await app.signIn(user);
  await expect(page.getByRole('navigation')).toHaveCount(0);
  await app.composer.fill(`Narrow ${RICH} ${'unbreakable'.repeat(20)}`);
  await page.getByRole('button', { name: 'Send', exact: true }).click();
  await expect(app.answers.first()).toHaveAttribute('data-progress', 'done');
  await app.screenshot('narrow');
  const wide = await page.evaluate(() => [...document.querySelectorAll('.page, .main, .scroller, .bottom')].filter((element) => element.scrollWidth > element.clientWidth).map((element) => element.className));
  expect(wide).toEqual([]);
  await page.getByRole('button', { name: 'Show conversations' }).tap();
  await expect(page.getByRole('navigation')).toBeVisible();
  await app.screenshot('narrow-sidebar');
  await page.getByRole('link', { name: /Narrow/ }).tap();
  await expect(page.getByRole('navigation')).toHaveCount(0);
  await app.close();
});

test('a text that counts seconds is read out once, and the day of a message can be read', async ({ browser, user }) => {
  test.setTimeout(180_000);
  const stack = await Stack.start();
  const app = await App.open(browser, stack, user);
  const { page } = app;
  await page.route('**/messages?*', async (route) => {
    const response = await route.fetch();
    const json = (await response.json()) as { items: { createdAt: string }[] };
    for (const item of json.items) item.createdAt = '2020-02-29T12:00:00.000Z';
    await route.fulfill({ response, json });
  });
  await app.ask('Long ago');
  await page.reload();
  await expect(app.answers.first()).toHaveAttribute('data-progress', 'done');
  await expect(page.getByText('29 February 2020')).toBeVisible();
  expect(await heard(page)).toContain('29 February 2020');

  // The status text, and the visible text beside it.
  const status = page.locator('.holder [role=status]');
  await status.evaluate((element) => {
    const said = new Set<string>();
    Object.assign(window, { said });
    new MutationObserver(() => {
      const copy = element.cloneNode(true) as Element;
      for (const hidden of copy.querySelectorAll('[aria-hidden=true]')) hidden.remove();
      said.add((copy.textContent ?? '').trim());
    }).observe(element, { childList: true, characterData: true, subtree: true });
  });
  await stack.kill();
  const counted = new Set<string>();
  await expect
    .poll(async () => {
      const [text] = /in \d+ s/.exec(await status.innerText()) ?? [];
      if (text) counted.add(text);
      return counted.size;
    })
    .toBeGreaterThanOrEqual(3);
  const said = await page.evaluate(() => [...(window as unknown as { said: Set<string> }).said]);
  expect(said.filter((text) => text !== '')).toEqual(['Connection lost. Trying again.']);
  expect(await heard(page)).not.toMatch(/in \d+ s/);
  await app.close();
});

/** The texts that the browser gives to a screen reader. */
async function heard(page: Page): Promise<string> {
  const session = await page.context().newCDPSession(page);
  const { nodes } = await session.send('Accessibility.getFullAXTree');
  await session.detach();
  return nodes
    .filter((node) => !node.ignored && node.role?.value === 'StaticText')
    .map((node) => String(node.name?.value))
    .join('\n');
}

test('on a touch screen Enter makes a new line, and says so', async ({ browser, stack, user }) => {
  const app = await App.open(browser, stack, user, { context: { hasTouch: true, isMobile: true } });
  const { page } = app;
  await expect(app.composer).toHaveAttribute('enterkeyhint', 'enter');
  await app.composer.pressSequentially('One\nTwo');
  await expect(app.composer).toHaveValue('One\nTwo');
  await page.getByRole('button', { name: 'Send', exact: true }).tap();
  await expect(app.answers.first()).toHaveAttribute('data-progress', 'done');

  await app.messages.first().getByRole('button', { name: 'Edit' }).tap();
  const editor = page.getByLabel('Edit your message');
  await expect(editor).toHaveAttribute('enterkeyhint', 'enter');
  await editor.press('Control+End');
  await editor.press('Enter');
  await expect(editor).toHaveValue('One\nTwo\n');
  await page.getByRole('button', { name: 'Cancel' }).tap();
  await app.close();
});

test('keys of an input method are no orders to the page', async ({ app }) => {
  const { page } = app;
  const composing = async (field: Locator, key: string) => field.dispatchEvent('keydown', { key, isComposing: true });
  await app.ask('Where I was');
  await app.composer.fill('か');
  await composing(app.composer, 'Enter');
  await expect(app.composer).toHaveValue('か');

  await page.keyboard.press('Control+k');
  const palette = page.getByRole('combobox');
  for (const key of ['ArrowDown', 'Enter']) await composing(palette, key);
  await expect(palette).toHaveAttribute('aria-activedescendant', 'palette-0');
  await page.keyboard.press('Escape');

  await page.locator('[data-conversation]').first().getByRole('link').focus();
  await page.keyboard.press('F2');
  const title = page.getByLabel('Title of the conversation');
  await title.fill('か');
  for (const key of ['Enter', 'Escape']) await composing(title, key);
  await expect(title).toHaveValue('か');
  await page.keyboard.press('Escape');

  const search = page.getByRole('searchbox', { name: 'Search titles' });
  await search.fill('か');
  await composing(search, 'Escape');
  await expect(search).toHaveValue('か');
  await search.fill('');

  await app.messages.first().hover();
  await app.messages.first().getByRole('button', { name: 'Edit' }).click();
  const editor = page.getByLabel('Edit your message');
  await editor.fill('か');
  for (const key of ['Enter', 'Escape']) await composing(editor, key);
  await expect(editor).toHaveValue('か');
  await expect(app.messages).toHaveCount(1);
});
