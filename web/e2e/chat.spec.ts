import { readFileSync } from 'node:fs';
import { App, expect, test } from './fixtures';

test('a first conversation: sign in, say hello, get an answer', async ({ app }) => {
  const { page } = app;
  await expect(page.getByText('what would you like to talk about?')).toBeVisible();
  await app.ask('Hello there, how are you today?');
  await expect(app.answers).toHaveText(/response for Hello there/);
  await expect(page.getByRole('link', { name: 'Hello there, how are you today?' })).toHaveAttribute('aria-current', 'page');
  await expect(page).toHaveTitle(/^Hello there/);
  await expect(page).toHaveURL(/\/c\//);
  await app.connected();

  await page.reload();
  await expect(app.messages).toHaveText([/Hello there/]);
  await expect(app.answers).toHaveText([/response for Hello there/]);
});

test('an answer with code has highlighting and a copy button', async ({ app }) => {
  const { page } = app;
  await app.ask('Look:\n\n```js\nconst answer = "forty-two"; // yes\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n- one\n- two\n');
  const code = app.answers.locator('figure.code');
  await expect(code.locator('code')).toHaveText('const answer = "forty-two"; // yes\n');
  await expect(code.locator('code span').first()).toBeVisible();
  await code.getByRole('button', { name: /copy/i }).click();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toContain('const answer = "forty-two"; // yes');
  await expect(app.answers.locator('table td')).toHaveText(['1', '2']);
  await expect(app.answers.locator('li')).toHaveText(['one', 'two']);
});

test('without the clipboard interface texts are copied all the same, and when that fails it is said', async ({ app }) => {
  const { page } = app;
  await app.ask('Copy this:\n\n```\ncode\n```\n');
  // Plain http is like this: only secure contexts have the clipboard interface.
  await page.evaluate(() => {
    const { clipboard } = navigator;
    Object.assign(window, { pasted: () => clipboard.readText() });
    Object.defineProperty(navigator, 'clipboard', { value: undefined });
  });
  const pasted = () => page.evaluate(() => (window as unknown as { pasted(): Promise<string> }).pasted());
  const message = app.messages.first();
  await message.hover();
  await message.getByRole('button', { name: 'Copy' }).click();
  await expect(message.getByRole('button', { name: 'Copied' })).toBeFocused();
  expect(await pasted()).toContain('Copy this:');
  const code = app.answers.first().locator('figure.code');
  await code.getByRole('button', { name: 'Copy' }).click();
  await expect(code.getByRole('button', { name: 'Copied' })).toBeVisible();
  expect((await pasted()).trim()).toBe('code');
  const item = page.locator('[data-conversation]').first();
  await item.hover();
  await item.getByRole('button', { name: /Actions for/ }).click();
  await page.getByRole('menuitem', { name: 'Copy as Markdown' }).click();
  await expect(page.locator('.toast', { hasText: 'Copied' })).toBeVisible();
  expect(await pasted()).toMatch(/^# Copy this/);

  await page.evaluate(() => (document.execCommand = () => false));
  const answer = app.answers.first();
  await answer.hover();
  await answer.locator('footer').getByRole('button', { name: 'Copy' }).click();
  await expect(page.locator('.toast', { hasText: 'The text could not be copied.' })).toBeVisible();
  await code.getByRole('button', { name: /^(Copy|Copied)$/ }).click();
  await expect(code.getByRole('button', { name: 'The text could not be copied.' })).toBeVisible();
});

test('renaming, searching and exporting', async ({ app }) => {
  const { page } = app;
  await app.ask('About the harvest');
  await page.getByRole('button', { name: 'New chat' }).first().click();
  await app.ask('About the winter');

  const item = page.locator('[data-conversation]', { hasText: 'About the harvest' });
  await item.hover();
  await item.getByRole('button', { name: /Actions for/ }).click();
  await page.getByRole('menuitem', { name: 'Rename' }).click();
  await page.getByLabel('Title of the conversation').fill('Grain and apples');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('link', { name: 'Grain and apples' })).toBeVisible();

  await page.getByLabel('Search titles').fill('grain');
  await expect(page.locator('[data-conversation]')).toHaveCount(1);
  await page.getByLabel('Search titles').fill('nonsense');
  await expect(page.getByText('No title has “nonsense” in it.')).toBeVisible();
  await page.getByLabel('Search titles').fill('');
  await page.reload();
  await expect(page.locator('[data-conversation]')).toHaveText([/Grain and apples/, /About the winter/]);

  await page.getByRole('link', { name: 'Grain and apples' }).click();
  await expect(app.answers).toHaveCount(1);
  for (const [name, extension] of [
    ['Export as Markdown', 'md'],
    ['Export as JSON', 'json'],
  ] as const) {
    await page.locator('header').getByRole('button', { name: /Actions for/ }).click();
    const download = page.waitForEvent('download');
    await page.getByRole('menuitem', { name }).click();
    const file = await download;
    expect(file.suggestedFilename()).toBe(`Grain and apples.${extension}`);
    const text = readFileSync(await file.path(), 'utf8');
    expect(text).toContain('response for About the harvest');
    if (extension === 'json') expect((JSON.parse(text) as { messages: unknown[] }).messages).toHaveLength(2);
  }
});

test('deleting, and undoing it', async ({ app, stack, user }) => {
  const { page } = app;
  await app.ask('Keep me');
  const item = page.locator('[data-conversation]');
  const remove = async () => {
    await item.hover();
    await item.getByRole('button', { name: /Actions for/ }).click();
    await page.getByRole('menuitem', { name: 'Delete' }).click();
    await expect(item).toHaveCount(0);
  };
  await remove();
  await page.getByRole('button', { name: 'Undo', exact: true }).click();
  await expect(item).toHaveCount(1);
  await remove();
  // The page is closed while the deletion can still be undone. The conversation stays deleted.
  await page.goto('about:blank');
  await expect
    .poll(async () => (await stack.call<{ items: unknown[] }>(user, 'GET', '/api/conversations')).items.length)
    .toBe(0);
});

test('editing a message and asking again make branches that can be gone through', async ({ app }) => {
  const { page } = app;
  await app.ask('First question');
  await app.ask('Second question');

  const second = app.messages.nth(1);
  await second.hover();
  await second.getByRole('button', { name: 'Edit' }).click();
  await page.getByLabel('Edit your message').fill('Second question, better');
  await page.getByLabel('Edit your message').press('Enter');
  await expect(app.messages).toHaveText([/First question/, /better/]);
  await expect(app.answers.nth(1)).toHaveText(/response for Second question, better/);
  await expect(second.getByRole('group', { name: 'Version 2 of 2' })).toBeVisible();

  await second.getByRole('button', { name: 'Previous version' }).click();
  await expect(app.answers.nth(1)).toHaveText(/response for Second question(?!, better)/);
  await second.getByRole('button', { name: 'Next version' }).click();
  await expect(app.messages.nth(1)).toHaveText(/better/);

  const answer = app.answers.nth(1);
  await answer.hover();
  await answer.getByRole('button', { name: 'Ask again' }).click();
  await expect(answer.getByRole('group', { name: 'Answer 2 of 2' })).toBeVisible();
  await expect(app.messages).toHaveCount(2);

  // After a reload everything is there.
  await page.reload();
  await expect(app.answers.nth(1).getByRole('group', { name: 'Answer 2 of 2' })).toBeVisible();
  await app.messages.nth(1).getByRole('button', { name: 'Previous version' }).click();
  await expect(app.messages.nth(1)).toHaveText(/Second question(?!, better)/);
  await app.ask('And on from here');
  await expect(app.messages).toHaveText([/First question/, /Second question(?!, better)/, /And on from here/]);
});

test('a message that the model could not answer can be tried again', async ({ app }) => {
  await app.say('!fail please');
  const answer = app.answers.first();
  await expect(answer).toHaveAttribute('data-progress', 'failed');
  await expect(answer).toContainText('The model could not answer.');
  await answer.getByRole('button', { name: 'Try again' }).click();
  await expect(answer.getByRole('group', { name: 'Answer 2 of 2' })).toBeVisible();
  await expect(answer).toHaveAttribute('data-progress', 'failed');
});

test('a text that is too long is not sent and says so', async ({ app }) => {
  await app.composer.fill('x'.repeat(16_385));
  await expect(app.page.getByText('16385 of 16384 bytes')).toBeVisible();
  await expect(app.page.getByRole('button', { name: 'Send' })).toBeDisabled();
});

test('drafts are kept for each conversation, over a reload', async ({ app }) => {
  const { page } = app;
  await app.ask('One');
  await app.composer.fill('a draft for one');
  await page.getByRole('button', { name: 'New chat' }).first().click();
  await expect(app.composer).toHaveValue('');
  await app.composer.fill('a draft for a new one');
  await page.getByRole('link', { name: 'One' }).click();
  await expect(app.composer).toHaveValue('a draft for one');
  await page.waitForFunction(() => Object.keys(localStorage).filter((key) => key.startsWith('parley.draft.')).length === 2);
  await page.reload();
  await expect(app.composer).toHaveValue('a draft for one');
  await page.getByRole('button', { name: 'New chat' }).first().click();
  await expect(app.composer).toHaveValue('a draft for a new one');
});

test('a draft that is sent in one tab is gone in the other, and what is typed there stays', async ({ app }) => {
  const first = app;
  const second = await app.tab();
  await expect(second.composer).toBeFocused();
  // Only one of two windows has the focus, but both of these pages believe that they have it.
  await second.composer.blur();
  await first.composer.fill('Say it once');
  await expect(second.composer).toHaveValue('Say it once');
  await second.say('Say it once');
  await expect(second.answers.first()).toHaveAttribute('data-progress', 'done');
  await expect(first.composer).toHaveValue('');

  await first.page.getByRole('link', { name: 'Say it once' }).click();
  await first.composer.fill('Mine');
  await second.composer.fill('Theirs');
  await second.composer.press('Enter');
  await expect(first.messages).toHaveText([/Say it once/, /Theirs/]);
  await expect(first.composer).toHaveValue('Mine');
});

test('another user of the same browser sees nothing of the one before', async ({ app, user }) => {
  const { page } = app;
  await app.ask('Private matters');
  await app.composer.fill('a private draft');
  await page.getByRole('button', { name: 'New chat' }).first().click();
  await app.composer.fill('another private draft');
  await page.getByRole('link', { name: 'Private matters' }).click();
  await page.getByRole('button', { name: 'Account and settings' }).click();
  await page.getByRole('menuitem', { name: 'Sign out' }).click();
  await expect(page).toHaveURL(/\/$/);
  await app.signIn(`${user}-other`);
  await expect(page.locator('[data-conversation]')).toHaveCount(0);
  await expect(app.composer).toHaveValue('');
  await app.ask('My own');
  await page.getByRole('button', { name: 'Account and settings' }).click();
  await page.getByRole('menuitem', { name: 'Sign out' }).click();
  await app.signIn(user);
  await expect(page.locator('[data-conversation]')).toHaveText([/Private matters/]);
  await app.connected();
});

test('a deletion outlives a sign-out, and what is being deleted takes no messages', async ({ app, user }) => {
  const { page } = app;
  await app.ask('Let it go');
  await page.locator('[data-conversation]').getByRole('link').focus();
  await page.keyboard.press('Backspace');
  await expect(page.locator('[data-conversation]')).toHaveCount(1);
  await page.keyboard.press('Delete');
  await expect(page.locator('[data-conversation]')).toHaveCount(0);
  await page.goBack();
  await expect(page.getByText('This conversation does not exist.')).toBeVisible();
  await expect(app.composer).toHaveCount(0);
  await page.getByRole('button', { name: 'Undo' }).click();
  await expect(app.composer).toBeVisible();
  await page.locator('[data-conversation]').getByRole('link').focus();
  await page.keyboard.press('Delete');
  await page.getByRole('button', { name: 'Account and settings' }).click();
  await page.getByRole('menuitem', { name: 'Sign out' }).click();
  await expect(page).toHaveTitle('Parley');
  await app.signIn(user);
  await expect(page.getByText('Your conversations will be listed here.')).toBeVisible();
});

test('the versions of an early message are there after a reload, however long the conversation is', async ({ app }) => {
  test.setTimeout(180_000);
  const { page } = app;
  for (let turn = 0; turn < 27; turn++) await app.ask(`Question ${turn}`);
  await page.locator('.scroller').hover();
  await page.mouse.wheel(0, -100_000);
  const first = page.locator('article[data-message]').first();
  await expect(first).toContainText('Question 0');
  await first.hover();
  await first.getByRole('button', { name: 'Edit' }).click();
  await page.getByLabel('Edit your message').fill('Question 0, edited');
  await page.keyboard.press('Enter');
  await expect(first.getByRole('group', { name: 'Version 2 of 2' })).toBeVisible();
  await page.reload();
  await expect(first).toContainText('Question 0, edited');
  await first.getByRole('button', { name: 'Previous version' }).click();
  await page.getByRole('button', { name: 'Go to the latest message' }).click();
  await expect(app.messages.last()).toContainText('Question 26');
});

test('signing in that fails says so', async ({ browser, stack, user }) => {
  const context = await browser.newContext({ baseURL: stack.url, serviceWorkers: 'block' });
  const app = await App.on(context, stack);
  await app.page.route('**/api/me', (route) => route.fulfill({ status: 500, json: {} }));
  await app.page.goto('/c/%E0%A4%A');
  await app.page.getByLabel('User name').fill(user);
  await app.page.getByRole('button', { name: 'Sign in' }).click();
  await expect(app.page.getByRole('alert')).toContainText('Signing in did not work.');
  await app.close();
});

test('messages can be sent while an answer is running, and are answered in order', async ({ app }) => {
  await app.say('!slow 1500 first');
  await app.say('second');
  await app.say('third');
  await expect(app.messages).toHaveCount(3);
  for (const index of [0, 1, 2]) await expect(app.answers.nth(index)).toHaveAttribute('data-progress', 'done');
  await expect(app.answers).toHaveText([/first/, /second/, /third/]);
});

test('an answer that is asked for is stopped', async ({ app }) => {
  await app.say('!slow 30000 never');
  await expect(app.answers.first()).toHaveAttribute('data-progress', /queued|answering/);
  await app.page.getByRole('button', { name: 'Stop the answer' }).click();
  await expect(app.answers.first()).toHaveAttribute('data-progress', 'cancelled');
  await expect(app.answers.first()).toContainText('Stopped');
  await app.ask('And now?');
});

test('the page speaks German', async ({ browser, stack, user }) => {
  const context = await browser.newContext({ baseURL: stack.url, locale: 'de-DE', serviceWorkers: 'block' });
  const app = await App.on(context, stack);
  await app.page.goto('/');
  await expect(app.page.locator('html')).toHaveAttribute('lang', 'de');
  await app.page.getByLabel('Benutzername').fill(user);
  await app.page.getByRole('button', { name: 'Anmelden' }).click();
  await expect(app.page.getByRole('textbox', { name: 'Ihre Nachricht' })).toBeVisible();
  await app.page.getByRole('button', { name: /Konto und Einstellungen/ }).click();
  await app.page.getByRole('menuitemradio', { name: 'English' }).click();
  await expect(app.page.getByRole('textbox', { name: 'Your message' })).toBeVisible();
  await app.page.reload();
  await expect(app.page.getByRole('textbox', { name: 'Your message' })).toBeVisible();
  await app.close();
});

test('a conversation that does not exist says so', async ({ app }) => {
  await app.page.goto('/c/00000000-0000-4000-8000-000000000000');
  await expect(app.page.getByText('This conversation does not exist.')).toBeVisible();
});
