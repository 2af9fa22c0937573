/** The list of conversations: long lists by keyboard, in order, and correct after changes elsewhere. */
import type { Conversation } from '../src/contract';
import { App, expect, test } from './fixtures';
import { gate, ModelEndpoint } from './model';
import { Stack } from './stack';

const COUNT = 500;
const HOUR = 3_600_000;

/** Answers in the server's place with a long list. Renames and deletions are kept. */
async function longList(app: App): Promise<{ reads: string[]; items: Conversation[] }> {
  const items = Array.from({ length: COUNT }, (_, index): Conversation => {
    const at = new Date(Date.now() - index * 2 * HOUR).toISOString();
    return { id: `c${index}`, title: `Talk ${index}.`, createdAt: at, updatedAt: at };
  });
  const reads: string[] = [];
  await app.page.route('**/api/conversations?*', (route) => {
    const cursor = new URL(route.request().url()).searchParams.get('cursor');
    reads.push(cursor ?? '');
    const start = cursor === null ? 0 : items.findIndex(({ id }) => id === cursor) + 1;
    const page = items.slice(start, start + 100);
    return route.fulfill({ json: { items: page, ...(start + 100 < items.length ? { nextCursor: page.at(-1)?.id } : {}) } });
  });
  await app.page.route('**/api/conversations/c*', async (route) => {
    const id = new URL(route.request().url()).pathname.split('/')[3];
    const at = items.findIndex((item) => item.id === id);
    if (at < 0) return route.fulfill({ status: 404, json: {} });
    if (route.request().method() !== 'PATCH') return route.fulfill({ json: { items: [] } });
    const [before] = items.splice(at, 1);
    const after = { ...before, ...(route.request().postDataJSON() as { title: string }), updatedAt: new Date().toISOString() } as Conversation;
    items.unshift(after);
    return route.fulfill({ json: after });
  });
  await app.page.route('**/api/conversations/c*/messages?*', (route) => route.fulfill({ json: { items: [] } }));
  return { reads, items };
}

test('a long list is gone through by keyboard, has its headings, and shows the chosen one', async ({ app }) => {
  const { page } = app;
  const { reads } = await longList(app);
  await page.goto('/c/c300');
  const links = page.locator('[data-conversation] a');
  const chosen = page.getByRole('link', { name: 'Talk 300.' });
  await expect(chosen).toBeInViewport();
  await expect(chosen).toHaveAttribute('aria-current', 'page');
  expect(await links.count()).toBeLessThan(60);
  expect(reads).toContain('c399');

  // Goes by Tab through more rows than are mounted at once, and back, faster than rows are drawn.
  const press = (key: string, times: number) => Promise.all(Array.from({ length: times }, () => page.keyboard.press(key)));
  await chosen.focus();
  await press('Tab', 2 * 40);
  await expect(page.getByRole('link', { name: 'Talk 340.' })).toBeFocused();
  await expect(page.getByRole('link', { name: 'Talk 340.' })).toBeInViewport();
  await press('Shift+Tab', 2 * 20);
  await expect(page.getByRole('link', { name: 'Talk 320.' })).toBeFocused();
  await expect(page.getByRole('link', { name: 'Talk 320.' })).toBeInViewport();
  // The row with focus stays, however far the reader scrolls.
  await page.locator('nav .list').hover();
  await page.mouse.wheel(0, -100_000);
  await expect(page.getByRole('link', { name: 'Talk 0.' })).toBeInViewport();
  await expect(page.getByRole('link', { name: 'Talk 320.' })).toBeFocused();
  await expect(page.getByRole('heading', { name: 'Today' })).toBeInViewport();
  await page.mouse.wheel(0, 100_000);
  await expect(page.getByRole('link', { name: 'Talk 499.' })).toBeInViewport();
  await page.mouse.wheel(0, -100_000);
  await expect(page.getByRole('heading', { name: 'Today' })).toBeInViewport();
  await page.mouse.wheel(0, 3_200);
  await expect(page.getByRole('heading', { name: 'Older' })).toHaveCount(1);

  // The palette chooses another one.
  await page.keyboard.press('Control+k');
  await page.keyboard.type('Talk 200.');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('link', { name: 'Talk 200.' })).toBeInViewport();

  // A rename moves it to the front, and the focus goes with it.
  await page.getByRole('link', { name: 'Talk 200.' }).focus();
  reads.length = 0;
  await page.keyboard.press('F2');
  await page.getByLabel('Title of the conversation').fill('Renamed');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('link', { name: 'Renamed' })).toBeFocused();
  await expect(page.locator('[aria-posinset="1"]').getByRole('link', { name: 'Renamed' })).toHaveCount(1);
  expect(reads).toEqual([]);
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('menuitem', { name: 'Rename' })).toBeFocused();
  await page.keyboard.press('Escape');

  // A search finds a conversation that is far away.
  await page.getByLabel('Search titles').fill('talk 49');
  await expect(links).toHaveText([/49/, /490/, /491/, /492/, /493/, /494/, /495/, /496/, /497/, /498/, /499/]);
});

test('coming back reads only the first page of a long list where no more is new', async ({ app }) => {
  const { page } = app;
  const { reads, items } = await longList(app);
  await page.reload();
  await app.connected();
  await expect.poll(() => reads).toContain('c399');
  await app.context.setOffline(true);
  await expect(app.phase).toHaveAttribute('data-phase', 'offline');
  reads.length = 0;
  for (const index of [400, 450]) {
    const [before] = items.splice(index, 1);
    items.unshift({ ...before, updatedAt: new Date().toISOString(), title: `Changed ${index}` } as Conversation);
  }
  await app.context.setOffline(false);
  await expect(page.getByRole('link', { name: 'Changed 450' })).toBeVisible();
  await expect(page.getByRole('link', { name: 'Changed 400' })).toBeVisible();
  await app.connected();
  expect(new Set(reads)).toEqual(new Set(['']));
});

test('a rename and a deletion during the reading of the list are kept', async ({ app, stack, user }) => {
  const { page } = app;
  for (const title of ['One', 'Two', 'Three']) await stack.call(user, 'POST', '/api/conversations', { title });
  await page.reload();
  await app.connected();
  const items = page.locator('[data-conversation]');
  await expect(items).toHaveText([/Three/, /Two/, /One/]);
  // The list for the next connection is read before the changes and arrives after them.
  const held = gate();
  const read = gate();
  await page.route('**/api/conversations?*', async (route) => {
    const response = await route.fetch();
    read.open();
    await held.opened;
    await route.fulfill({ response });
  });
  await app.context.setOffline(true);
  await expect(app.phase).toHaveAttribute('data-phase', 'offline');
  await app.context.setOffline(false);
  await read.opened;
  await page.getByRole('link', { name: 'One' }).focus();
  await page.keyboard.press('F2');
  await page.getByLabel('Title of the conversation').fill('Renamed');
  await page.keyboard.press('Enter');
  await expect(items).toHaveText([/Renamed/, /Three/, /Two/]);
  await page.getByRole('link', { name: 'Two' }).focus();
  await page.keyboard.press('Delete');
  await page.locator('.toast').getByRole('button', { name: 'Close' }).click();
  await expect
    .poll(async () => (await stack.call<{ items: unknown[] }>(user, 'GET', '/api/conversations')).items.length)
    .toBe(2);
  const loaded = page.waitForResponse('**/api/conversations?*');
  held.open();
  await loaded;
  await app.connected();
  await expect(items).toHaveText([/Renamed/, /Three/]);
  await page.reload();
  await expect(items).toHaveText([/Renamed/, /Three/]);
});

test('the mark of an answer goes when the answer ended while this browser was away', async ({ browser, user }) => {
  test.setTimeout(180_000);
  const model = await ModelEndpoint.start();
  const stack = await Stack.start({ params: model.params });
  const rest = gate();
  model.script = async function* () {
    yield 'It begins ';
    await rest.opened;
    yield 'and ends.';
  };
  const app = await App.open(browser, stack, user);
  const { page } = app;
  await app.say('Go on without me');
  const mark = page.getByRole('img', { name: 'Answering' });
  await expect(mark).toHaveCount(1);
  const path = `/api/conversations/${new URL(page.url()).pathname.split('/')[2]}/messages`;
  // The user looks at another conversation meanwhile.
  await page.getByRole('button', { name: 'New chat' }).first().click();
  await expect(app.messages).toHaveCount(0);
  await expect(mark).toHaveCount(1);
  await app.context.setOffline(true);
  await expect(app.phase).toHaveAttribute('data-phase', 'offline');
  rest.open();
  await expect.poll(async () => (await stack.call<{ items: unknown[] }>(user, 'GET', path)).items.length).toBe(2);
  await app.context.setOffline(false);
  await app.connected();
  await expect(mark).toHaveCount(0);
  await expect(page.getByRole('img', { name: 'New answer' })).toHaveCount(1);
  await app.close();
  await stack.stop();
  model.stop();
});
