/** Focus is never lost. An element that takes the focus gives it back, so the next key goes where the user is. */
import type { Page } from '@playwright/test';
import { App, expect, test } from './fixtures';

const isNowhere = (page: Page) => page.evaluate(() => document.activeElement === document.body);

test('focus stays on the arrow that goes through versions, and the message stays in sight', async ({ app }) => {
  test.setTimeout(180_000);
  const { page } = app;
  for (let turn = 0; turn < 8; turn++) await app.ask(`Question ${turn}\n${'and a line\n'.repeat(8)}`);
  await page.locator('.scroller').hover();
  await page.mouse.wheel(0, -100_000);
  const first = app.messages.first();
  await expect(first).toContainText('Question 0');
  for (const edit of ['better', 'best']) {
    await first.hover();
    await first.getByRole('button', { name: 'Edit' }).click();
    await page.getByLabel('Edit your message').fill(`Question 0, ${edit}`);
    await page.keyboard.press('Enter');
    await expect(app.answers.first()).toContainText(`response for Question 0, ${edit}`);
  }
  await expect(first.getByRole('group', { name: 'Version 3 of 3' })).toBeVisible();
  const previous = first.getByRole('button', { name: 'Previous version' });
  const next = first.getByRole('button', { name: 'Next version' });
  await previous.focus();
  await page.keyboard.press('Enter');
  await expect(first.getByRole('group', { name: 'Version 2 of 3' })).toBeVisible();
  await expect(previous).toBeFocused();
  // The first branch is long. The view stays at the arrow and does not go to the end of the branch.
  await page.keyboard.press('Enter');
  await expect(first.getByRole('group', { name: 'Version 1 of 3' })).toBeVisible();
  await expect(next).toBeFocused();
  await expect(next).toBeInViewport();
  await expect(page.getByRole('button', { name: 'Go to the latest message' })).toBeVisible();
  await page.keyboard.press('Enter');
  await expect(first.getByRole('group', { name: 'Version 2 of 3' })).toBeVisible();
  await expect(next).toBeFocused();
  await expect(page.getByRole('button', { name: 'Go to the latest message' })).toHaveCount(0);

  // The same through the attempts at an answer.
  const answer = app.answers.first();
  await answer.getByRole('button', { name: 'Ask again' }).click();
  await expect(answer.getByRole('group', { name: 'Answer 2 of 2' })).toBeVisible();
  await expect(app.composer).toBeFocused();
  await answer.getByRole('button', { name: 'Previous version' }).focus();
  await page.keyboard.press('Enter');
  await expect(answer.getByRole('group', { name: 'Answer 1 of 2' })).toBeVisible();
  await expect(answer.getByRole('button', { name: 'Next version' })).toBeFocused();
});

test('an editor opens in its row, and closing it gives focus back', async ({ app }) => {
  const { page } = app;
  await app.ask('A question');
  const row = app.messages.first();
  const before = await row.elementHandle();
  await row.hover();
  await row.getByRole('button', { name: 'Edit' }).click();
  await expect(page.getByLabel('Edit your message')).toBeFocused();
  expect(await before?.evaluate((element) => element.isConnected)).toBe(true);
  await page.keyboard.press('Escape');
  await expect(row.getByRole('button', { name: 'Edit' })).toBeFocused();
  await app.composer.press('ArrowUp');
  await expect(page.getByLabel('Edit your message')).toBeFocused();
  await page.keyboard.press('Escape');
  await expect(app.composer).toBeFocused();
  await page.keyboard.press('ArrowUp');
  await expect(page.getByLabel('Edit your message')).toBeFocused();
  await page.keyboard.press('Control+a');
  await page.keyboard.type('A better question');
  await page.keyboard.press('Enter');
  await expect(app.answers.first()).toContainText('response for A better question');
  await expect(app.composer).toBeFocused();
});

test('renaming goes back to the conversation, wherever it has moved', async ({ app, stack, user }) => {
  const { page } = app;
  for (const title of ['One', 'Two', 'Three']) await stack.call(user, 'POST', '/api/conversations', { title });
  await page.reload();
  const items = page.locator('[data-conversation]');
  await expect(items).toHaveText([/Three/, /Two/, /One/]);
  const field = page.getByLabel('Title of the conversation');
  const last = page.getByRole('link', { name: 'One' });
  await last.focus();
  await page.keyboard.press('F2');
  await expect(field).toBeFocused();
  await page.keyboard.press('Escape');
  await expect(last).toBeFocused();
  await page.keyboard.press('F2');
  await field.fill('First');
  await page.keyboard.press('Enter');
  await expect(items).toHaveText([/First/, /Three/, /Two/]);
  await expect(page.getByRole('link', { name: 'First' })).toBeFocused();
});

test('hiding and showing the sidebar goes from button to button', async ({ app }) => {
  const { page } = app;
  const hide = page.getByRole('button', { name: 'Hide conversations' });
  const show = page.getByRole('button', { name: 'Show conversations' });
  await hide.focus();
  await page.keyboard.press('Enter');
  await expect(show).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(hide).toBeFocused();
  // If the focus is elsewhere, it stays there.
  await app.composer.focus();
  await page.keyboard.press('Control+b');
  await expect(page.getByRole('navigation')).toHaveCount(0);
  await expect(app.composer).toBeFocused();
  await page.keyboard.press('Control+b');
  await expect(page.getByRole('navigation')).toBeVisible();
  await expect(app.composer).toBeFocused();
});

test('a command of the palette gives focus back, unless it puts it elsewhere', async ({ app }) => {
  const { page } = app;
  const account = page.getByRole('button', { name: 'Account and settings' });
  const command = async (name: string) => {
    await page.keyboard.press('Control+k');
    await page.keyboard.type(name);
    await page.keyboard.press('Enter');
    await expect(page.getByRole('dialog', { name: 'Commands' })).toHaveCount(0);
  };
  await account.focus();
  await command('Appearance');
  await expect(account).toBeFocused();
  await page.keyboard.press('Control+k');
  await expect(page.getByRole('dialog', { name: 'Commands' })).toBeVisible();
  await page.keyboard.press('Control+k');
  await expect(account).toBeFocused();
  await command('Keyboard shortcuts');
  await expect(page.getByRole('dialog', { name: 'Keyboard shortcuts' })).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(account).toBeFocused();
  await command('New chat');
  await expect(app.composer).toBeFocused();
  await account.focus();
  await command('Hide conversations');
  await expect(page.getByRole('button', { name: 'Show conversations' })).toBeFocused();
});

test('on a narrow screen the sidebar takes focus, keeps it, and gives it back', async ({ browser, stack, user }) => {
  const app = await App.open(browser, stack, user, { context: { viewport: { width: 360, height: 740 } } });
  const { page } = app;
  const sidebar = page.getByRole('navigation');
  const show = page.getByRole('button', { name: 'Show conversations' });
  await show.click();
  await expect(page.getByRole('button', { name: 'Hide conversations' })).toBeFocused();
  await expect(page.locator('main')).toHaveJSProperty('inert', true);
  for (let press = 0; press < 12; press++) {
    await page.keyboard.press('Tab');
    expect(await page.evaluate(() => document.activeElement?.closest('main') ?? null)).toBeNull();
  }
  // The first Escape belongs to the search.
  await page.getByLabel('Search titles').fill('something');
  await page.keyboard.press('Escape');
  await expect(page.getByLabel('Search titles')).toHaveValue('');
  await expect(sidebar).toBeVisible();
  // A menu, and a dialog over it, get their own Escape.
  await page.getByRole('button', { name: 'Account and settings' }).click();
  await page.keyboard.press('Escape');
  await expect(page.getByRole('menu')).toHaveCount(0);
  await page.keyboard.press('Control+k');
  await expect(page.getByRole('dialog')).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(page.getByRole('dialog')).toHaveCount(0);
  await expect(sidebar).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(sidebar).toHaveCount(0);
  await expect(show).toBeFocused();

  await app.composer.focus();
  await page.keyboard.press('Control+b');
  await expect(page.getByRole('button', { name: 'Hide conversations' })).toBeFocused();
  await page.keyboard.press('Escape');
  await expect(app.composer).toBeFocused();

  await show.click();
  await sidebar.getByRole('button', { name: 'New chat' }).click();
  await expect(sidebar).toHaveCount(0);
  await expect(app.composer).toBeFocused();
  await app.close();
});

test('a toast stays while somebody is at it, and gives focus back', async ({ app }) => {
  const { page } = app;
  await page.clock.install();
  for (const title of ['One', 'Two']) {
    await app.ask(title);
    await page.getByRole('button', { name: 'New chat' }).first().click();
  }
  const items = page.locator('[data-conversation]');
  const undo = page.getByRole('button', { name: 'Undo' });
  for (const count of [1, 0]) {
    await items.first().getByRole('link').focus();
    await page.keyboard.press('Delete');
    await expect(items).toHaveCount(count);
  }
  // Toasts that come meanwhile do not push it out.
  await app.page.locator('input[type=file]').setInputFiles(
    ['a', 'b', 'c'].map((name) => ({ name: `${name}.txt`, mimeType: 'text/plain', buffer: Buffer.from('x') })),
  );
  await expect(page.locator('.toast')).toHaveText([/One|Two/, /One|Two/, /c.txt/]);
  await app.composer.focus();
  await undo.first().focus();
  await page.clock.runFor(20_000);
  await page.keyboard.press('Enter');
  await expect(items).toHaveCount(1);
  expect(await isNowhere(page)).toBe(false);
  // The focus is on the next toast now. A key closes that one, and the focus goes back to where it was.
  await page.getByRole('button', { name: 'Close' }).last().focus();
  await page.keyboard.press('Enter');
  await undo.focus();
  await page.keyboard.press('Enter');
  await expect(items).toHaveCount(2);
  await expect(page.locator('.toast')).toHaveCount(0);
  await expect(app.composer).toBeFocused();

  // The pointer stops the clock too.
  await items.first().getByRole('link').focus();
  await page.keyboard.press('Delete');
  await page.locator('.toast').hover();
  await page.clock.runFor(20_000);
  await expect(undo).toBeVisible();
  await page.mouse.move(600, 100);
  await page.clock.runFor(8_000);
  await expect(page.locator('.toast')).toHaveCount(0);
});

for (const [name, width] of [['wide', 1280], ['narrow', 360]] as const) {
  test(`toasts do not cover the buttons of the ${name} page's message field`, async ({ browser, stack, user }) => {
    const app = await App.open(browser, stack, user, { context: { viewport: { width, height: 740 } } });
    const { page } = app;
    await page.locator('input[type=file]').setInputFiles(
      ['a', 'b', 'c'].map((file) => ({ name: `${file}.txt`, mimeType: 'text/plain', buffer: Buffer.from('x') })),
    );
    await expect(page.locator('.toast')).toHaveCount(3);
    await app.composer.fill('A line\n'.repeat(40));
    // A trial click fails if another element would get it.
    for (const button of ['Send', 'Attach a file']) await page.getByRole('button', { name: button, exact: true }).click({ trial: true });
    await expect(page.locator('.toast')).toHaveCount(3);
    await app.close();
  });
}
