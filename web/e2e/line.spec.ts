/** The line: reloads in the middle of an answer, crashes of the server, tabs, other browsers, and no free place. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { App, expect, test } from './fixtures';
import { gate, ModelEndpoint, paced } from './model';
import { Stack } from './stack';

const WORDS = Array.from({ length: 120 }, (_, index) => `word${index}`);
const TEXT = WORDS.join(' ');

test.describe('with a model that takes its time', () => {
  let model: ModelEndpoint;
  let slow: Stack;

  test.beforeAll(async () => {
    test.setTimeout(180_000);
    model = await ModelEndpoint.start();
    slow = await Stack.start({ params: model.params });
  });
  test.afterAll(async () => {
    await slow?.stop();
    model?.stop();
  });

  test('a reload at twenty points of an answer loses and doubles no character', async ({ browser, user }) => {
    test.setTimeout(240_000);
    const app = await App.open(browser, slow, user);
    const answer = app.answers.first();
    for (let point = 0; point < 20; point++) {
      const paused = gate();
      const reached = gate();
      const at = Math.floor((point * WORDS.length) / 20);
      model.script = async function* () {
        yield* paced(WORDS.slice(0, at).map((word) => `${word} `).join(''), 0);
        reached.open();
        await paused.opened;
        yield* paced(WORDS.slice(at).join(' '), 2);
      };
      await app.page.getByRole('button', { name: 'New chat' }).first().click();
      await app.say(`Reload at ${point}`);
      await reached.opened;
      const before = WORDS.slice(0, at).join(' ');
      if (at > 0) await expect(answer).toContainText(WORDS[at - 1] ?? '');
      // While the model is silent, and while it talks.
      if (point % 2 === 1) paused.open();
      await app.page.reload();
      await app.connected();
      if (point % 2 === 0 && at > 0) {
        await expect(answer.locator('.md')).toHaveText(before);
        paused.open();
      } else {
        paused.open();
      }
      await expect(answer).toHaveAttribute('data-progress', 'done');
      expect((await answer.locator('.md').innerText()).trim()).toBe(TEXT);
    }
    await app.close();
  });

  test('an answer that runs is there within half a second of coming back', async ({ browser, user }) => {
    const paused = gate();
    model.script = async function* () {
      yield* paced(TEXT, 0);
      await paused.opened;
      yield ' end';
    };
    const app = await App.open(browser, slow, user);
    await app.say('Go on');
    await expect(app.answers.first()).toContainText('word119');
    await app.page.reload();
    await app.connected();
    const opened = Date.now();
    await expect(app.answers.first()).toContainText('word119');
    // Generous for a loaded machine: the promise is half a second.
    expect(Date.now() - opened).toBeLessThan(1500);
    paused.open();
    await expect(app.answers.first()).toHaveAttribute('data-progress', 'done');
    await app.close();
  });

  test('a reload and then stop keeps what there was', async ({ browser, user }) => {
    model.script = async function* () {
      yield* paced(TEXT, 0);
      await new Promise(() => {});
    };
    const app = await App.open(browser, slow, user);
    await app.say('Say a lot');
    await expect(app.answers.first()).toContainText('word119');
    await app.page.reload();
    await expect(app.answers.first()).toContainText('word119');
    await app.page.getByRole('button', { name: 'Stop the answer' }).click();
    await expect(app.answers.first()).toHaveAttribute('data-progress', 'cancelled');
    expect((await app.answers.first().locator('.md').innerText()).trim()).toBe(TEXT);
    await app.close();
  });

  test('one announcement an answer, not one a delta', async ({ browser, user }) => {
    model.script = () => paced(TEXT, 20);
    const app = await App.open(browser, slow, user);
    await app.page.evaluate(() => {
      const said: string[] = [];
      Object.assign(window, { said });
      const region = document.querySelector('[data-announcer]');
      if (region) new MutationObserver(() => said.push(region.textContent ?? '')).observe(region, { childList: true, characterData: true, subtree: true });
    });
    await app.ask('Speak');
    await expect.poll(() => app.page.evaluate(() => (window as unknown as { said: string[] }).said.length)).toBe(1);
    const [said] = await app.page.evaluate(() => (window as unknown as { said: string[] }).said);
    expect(said).toMatch(/^Parley answered: word0 word1/);
    await app.close();
  });

  test('tabs share one connection, and another goes on when the leading one is closed', async ({ browser, user }) => {
    const paused = gate();
    model.script = async function* () {
      yield 'before ';
      await paused.opened;
      yield 'after';
    };
    const first = await App.open(browser, slow, user);
    await first.connected();
    const second = await first.tab();
    await second.connected();
    const held = await slow.call<{ state: string; inUse: number }>(user, 'GET', '/api/admission');
    expect(held.state).toBe('connected');

    await second.say('From the second tab');
    await expect(second.answers.first()).toContainText('before');
    await first.page.getByRole('link', { name: 'From the second tab' }).click();
    await expect(first.answers.first()).toContainText('before');
    await first.page.close();
    await second.connected();
    paused.open();
    await expect(second.answers.first()).toHaveText(/before after/);
    await expect(second.answers.first()).toHaveAttribute('data-progress', 'done');
    model.script = () => paced('Still here.', 0);
    await second.ask('And again');
    await second.close();
  });
});

test('the server is killed and started again: what was sent is answered, once', async ({ browser, user }) => {
  test.setTimeout(180_000);
  const dataDir = await mkdtemp(path.join(tmpdir(), 'parley-e2e-'));
  const stack = await Stack.start({ dataDir });
  const app = await App.open(browser, stack, user);
  await app.ask('Before');
  await app.say('!slow 3000 during');
  await expect(app.answers.nth(1)).toHaveAttribute('data-progress', /queued|answering/);
  await stack.kill();
  await expect(app.phase).not.toHaveAttribute('data-phase', 'open');
  await app.say('while it is away');
  await expect(app.messages).toHaveCount(3);
  await expect(app.messages.nth(2)).toHaveAttribute('data-progress', 'sending');
  const again = await Stack.start({ dataDir, port: stack.port });
  await app.connected();
  for (const index of [0, 1, 2]) await expect(app.answers.nth(index)).toHaveAttribute('data-progress', 'done', { timeout: 90_000 });
  await expect(app.messages).toHaveText([/Before/, /during/, /while it is away/]);
  await app.page.reload();
  await expect(app.messages).toHaveText([/Before/, /during/, /while it is away/]);
  await expect(app.answers).toHaveCount(3);
  await app.close();
  await again.stop();
  await rm(dataDir, { recursive: true });
});

test('the same user in a second browser is told, and can continue there', async ({ browser, stack, user }) => {
  const first = await App.open(browser, stack, user);
  await first.ask('Here');
  const second = await App.open(browser, stack, user);
  await expect(second.phase).toHaveAttribute('data-phase', 'elsewhere');
  await expect(second.page.getByText('You are connected in another browser or device.')).toBeVisible();
  await second.page.getByRole('button', { name: 'Continue here' }).click();
  await second.connected();
  await expect(first.phase).toHaveAttribute('data-phase', 'elsewhere');
  await second.page.getByRole('link', { name: 'Here' }).click();
  await second.ask('There');
  await expect(second.messages).toHaveText([/Here/, /There/]);
  await first.close();
  await second.close();
});

test('a user who comes when all places are taken waits, and gets in when one is free', async ({ browser, user }) => {
  test.setTimeout(180_000);
  const stack = await Stack.start({ params: { MaxClients: 2 } });
  const guests = [await App.open(browser, stack, `${user}-a`), await App.open(browser, stack, `${user}-b`)];
  for (const guest of guests) await guest.ask('I am here');
  const waiting = await App.open(browser, stack, user);
  await expect(waiting.phase).toHaveAttribute('data-phase', 'full');
  await expect(waiting.page.getByText('All 2 places are taken')).toBeVisible();
  // A message that is written meanwhile waits too.
  await waiting.say('When I am in');
  await expect(waiting.messages).toHaveAttribute('data-progress', 'sending');
  await waiting.screenshot('full');
  await guests[0]?.close();
  await waiting.connected();
  await expect(waiting.answers.first()).toHaveAttribute('data-progress', 'done');
  await guests[1]?.close();
  await waiting.close();
  await stack.stop();
});

test('the fifty-first of fifty places waits, too', async ({ browser, user }) => {
  test.setTimeout(180_000);
  const stack = await Stack.start();
  const context = await browser.newContext({ baseURL: stack.url });
  const crowd = await context.newPage();
  await crowd.goto('/');
  const tokens = await Promise.all(Array.from({ length: 50 }, (_, index) => stack.token(`${user}-${index}`)));
  await crowd.evaluate(
    ([url, ...bearers]) =>
      Promise.all(
        bearers.map(
          (bearer) =>
            new Promise<void>((resolve, reject) => {
              const socket = new WebSocket(`${url}`, ['parley.v1', `bearer.${bearer}`]);
              socket.onopen = () => resolve();
              socket.onerror = () => reject(new Error('refused'));
            }),
        ),
      ),
    [`${stack.url.replace('http', 'ws')}/ws`, ...tokens],
  );
  const app = await App.open(browser, stack, user);
  await expect(app.phase).toHaveAttribute('data-phase', 'full');
  await expect(app.page.getByText('All 50 places are taken.')).toBeVisible();
  await context.close();
  await app.connected();
  await app.ask('In at last');
  await app.close();
  await stack.stop();
});

test('a silent client is warned, let go, and back when it writes', async ({ browser, user }) => {
  test.setTimeout(180_000);
  const stack = await Stack.start({ params: { FirstMessageSeconds: 8, LeaseSeconds: 20 } });
  const app = await App.open(browser, stack, user);
  await app.connected();
  await expect(app.page.getByText(/Send a message within \d s to keep your place/)).toBeVisible();
  // The janitor runs once a minute. Until then the place is lost, although the socket is open.
  await expect(app.phase).toHaveAttribute('data-phase', 'resting', { timeout: 90_000 });
  await expect(app.page.getByText('your place was given to others')).toBeVisible();
  await app.ask('Here I am');
  await app.connected();
  await expect(app.page.getByText('to keep your place')).toHaveCount(0);
  await app.close();
  await stack.stop();
});

test('without a network the page says so, keeps what is sent, and sends it later', async ({ app }) => {
  await app.ask('With a network');
  await app.context.setOffline(true);
  await expect(app.phase).toHaveAttribute('data-phase', 'offline');
  await expect(app.page.getByText('You are offline.')).toBeVisible();
  await app.say('Without one');
  await expect(app.messages.nth(1)).toHaveAttribute('data-progress', 'sending');
  // Signing out would lose the message, so the page asks.
  await app.page.getByRole('button', { name: 'Account and settings' }).click();
  await app.page.getByRole('menuitem', { name: 'Sign out' }).click();
  await expect(app.page.getByRole('dialog')).toContainText('One message is not sent yet.');
  await app.page.getByRole('button', { name: 'Cancel' }).click();
  await app.context.setOffline(false);
  await app.connected();
  await expect(app.answers.nth(1)).toHaveAttribute('data-progress', 'done');
});

test('an answer that ends while the network is away is there when it is back, in a new conversation too', async ({ app, stack, user }) => {
  await app.connected();
  await app.say('!slow 3000 new');
  await expect(app.answers.first()).toHaveAttribute('data-progress', /queued|answering/);
  await expect(app.page).toHaveURL(/\/c\//);
  const path = `/api/conversations/${new URL(app.page.url()).pathname.split('/')[2]}/messages`;
  await app.context.setOffline(true);
  await expect(app.phase).toHaveAttribute('data-phase', 'offline');
  await expect.poll(async () => (await stack.call<{ items: unknown[] }>(user, 'GET', path)).items.length).toBe(2);
  await app.context.setOffline(false);
  await app.connected();
  await expect(app.answers.first()).toHaveAttribute('data-progress', 'done');
  await expect(app.page.getByRole('button', { name: 'Stop the answer' })).toHaveCount(0);
  await expect(app.page.getByRole('img', { name: 'Answering' })).toHaveCount(0);
});

test('stopping keeps a message that is not sent yet, and discarding drops it', async ({ app }) => {
  await app.ask('First');
  await app.ask('Second');
  await app.messages.nth(1).hover();
  await app.messages.nth(1).getByRole('button', { name: 'Edit' }).click();
  await app.page.getByLabel('Edit your message').fill('Second, edited');
  await app.page.keyboard.press('Enter');
  await expect(app.answers.nth(1)).toContainText('response for Second, edited');
  await app.messages.nth(1).getByRole('button', { name: 'Previous version' }).click();
  await app.context.setOffline(true);
  await expect(app.phase).toHaveAttribute('data-phase', 'offline');
  await app.say('A long thought');
  await app.composer.press('Escape');
  await expect(app.messages.nth(2)).toContainText('A long thought');
  await app.messages.nth(2).getByRole('button', { name: 'Discard' }).click();
  await expect(app.messages).toHaveText([/First/, /Second(?!, edited)/]);
  await app.context.setOffline(false);
  await app.connected();
});

test('an administrator sees who is there and closes a connection', async ({ browser, stack, user }) => {
  const guest = await App.open(browser, stack, user);
  await guest.ask('Hello');
  const admin = await App.open(browser, stack, `${user}-admin`, { admin: true });
  await admin.page.goto('/admin');
  const row = admin.page.locator(`tr[data-client="${user}"]`);
  await expect(row).toBeVisible();
  await admin.page.getByLabel('Search user names').fill(user.slice(0, -1));
  await expect(admin.page.getByRole('cell', { name: user, exact: true }).last()).toBeVisible();
  await admin.screenshot('admin');
  await row.getByRole('button', { name: `Disconnect ${user}` }).click();
  await expect(row).toHaveCount(0);
  await expect(guest.phase).toHaveAttribute('data-phase', 'closedByAdmin');
  await expect(guest.page.getByText('An administrator has closed your connection.')).toBeVisible();
  await guest.page.getByRole('button', { name: 'Connect' }).click();
  await guest.connected();
  await guest.ask('I am back');
  // Nobody else gets to that page.
  await guest.page.goto('/admin');
  await expect(guest.page.getByText('Only administrators can see this page.')).toBeVisible();
  await guest.close();
  await admin.close();
});
