/** The README's pictures, and pictures for a look by eye. With PICTURES=1 they are written to docs/. */
import path from 'node:path';
import { App, expect, test } from './fixtures';
import { ModelEndpoint, paced } from './model';
import { Stack } from './stack';

const docs = path.resolve(import.meta.dirname, '../../docs');

const ANSWER = `A **lease** is a place that ends by itself. Nobody has to clean up after a crash, because time does it.

1. Taking one is a single conditional write.
2. Every later write asks whether it still holds.
3. A heartbeat makes it longer; silence lets it go.

\`\`\`rust
let held = item.connection_id == connection && item.expires_at > now;
if !held {
    return Err(Error::LeaseExpired);
}
\`\`\`

| | counter | lease |
|---|---|---|
| after a crash | drifts | ends by itself |
| under a race | one too many | one transaction |`;

for (const colorScheme of ['light', 'dark'] as const) {
  test(`screenshots, ${colorScheme}`, async ({ browser }) => {
    test.setTimeout(180_000);
    const model = await ModelEndpoint.start();
    const stack = await Stack.start({ params: model.params });
    model.script = () => paced('Of course.', 0);
    const context = await browser.newContext({ baseURL: stack.url, colorScheme, serviceWorkers: 'block', viewport: { width: 1200, height: 820 } });
    const app = await App.on(context, stack);
    await app.page.goto('/');
    await expect(app.page.getByLabel('User name')).toBeVisible();
    await app.screenshot(`sign-in-${colorScheme}`);
    await app.signIn('Ada');
    await app.connected();
    await app.screenshot(`empty-${colorScheme}`);
    for (const title of ['A menu for eight guests', 'Rename the release branch', 'Letter to the landlord', 'Why tides come twice a day']) {
      await app.ask(title);
      await app.page.getByRole('button', { name: 'New chat' }).first().click();
    }
    model.script = () => paced(ANSWER, 0);
    await app.ask('Why leases instead of a counter?');
    await expect(app.answers.locator('figure.code code span').first()).toBeVisible();
    await app.page.mouse.move(900, 40);
    await app.screenshot(`chat-${colorScheme}`);
    if (process.env['PICTURES']) await app.page.screenshot({ path: path.join(docs, `web-${colorScheme}.png`) });
    await app.page.keyboard.press('Control+k');
    await expect(app.page.getByRole('dialog')).toBeVisible();
    await app.screenshot(`palette-${colorScheme}`);
    await app.close();
    await stack.stop();
    model.stop();
  });
}

test('screenshots of media, branches, failures and menus', async ({ app }) => {
  const { page } = app;
  const picture = path.join(import.meta.dirname, '../public/icon-512.png');
  await page.locator('input[type=file]').setInputFiles(picture);
  await expect(page.locator('.chip')).toHaveAttribute('data-state', 'done');
  await app.composer.fill('What is on this picture?');
  await app.screenshot('attachment');
  await app.composer.press('Enter');
  await expect(app.answers.first()).toHaveAttribute('data-progress', 'done');
  await expect(app.answers.first().locator('audio')).toBeVisible();
  await app.screenshot('media');
  await app.say('!fail');
  await expect(app.answers.nth(1)).toHaveAttribute('data-progress', 'failed');
  await app.messages.nth(1).hover();
  await app.messages.nth(1).getByRole('button', { name: 'Edit' }).click();
  await app.screenshot('editing');
  await page.getByLabel('Edit your message').fill('!slow 20000 better');
  await page.keyboard.press('Enter');
  await expect(app.messages.nth(1).getByRole('group', { name: 'Version 2 of 2' })).toBeVisible();
  await app.screenshot('waiting');
  await page.getByRole('button', { name: 'Stop the answer' }).click();
  await expect(app.answers.nth(1)).toHaveAttribute('data-progress', 'cancelled');
  await app.messages.nth(1).getByRole('button', { name: 'Previous version' }).click();
  await page.getByRole('button', { name: 'Account and settings' }).click();
  await app.screenshot('failed-and-menu');
  await page.keyboard.press('Escape');
  await page.locator('h1').click();
  await page.keyboard.press('?');
  await app.screenshot('shortcuts');
});
