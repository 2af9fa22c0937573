import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { expect, test as base, type Browser, type BrowserContext, type Page } from '@playwright/test';
import { Stack } from './stack';

export { expect };

const pictures = path.resolve(import.meta.dirname, '../../target/web-tests/screenshots');

/** Faults that a page must never have. */
interface Watch {
  violations: string[];
}

export const test = base.extend<{ user: string; app: App }, { stack: Stack }>({
  stack: [
    // eslint-disable-next-line no-empty-pattern -- Playwright reads the names from it
    async ({}, use) => {
      const stack = await Stack.start();
      await use(stack);
      await stack.stop();
    },
    { scope: 'worker', timeout: 180_000 },
  ],
  // eslint-disable-next-line no-empty-pattern -- as above
  user: async ({}, use, info) => {
    await use(`${info.title.replaceAll(/\W+/g, '-').slice(0, 40)}-${info.workerIndex}-${info.repeatEachIndex}-${info.retry}`);
  },
  /** A page that is signed in as a user of its own. */
  app: async ({ browser, stack, user }, use, info) => {
    const app = await App.open(browser, stack, user);
    await use(app);
    if (info.status !== info.expectedStatus) await info.attach('stack', { body: stack.output() });
    await app.close();
  },
});

/** The client, used as a person uses it. */
export class App {
  private constructor(
    readonly context: BrowserContext,
    readonly page: Page,
    readonly stack: Stack,
    readonly watch: Watch,
  ) {}

  static async open(browser: Browser, stack: Stack, user: string, options: { admin?: boolean; context?: Parameters<Browser['newContext']>[0] } = {}) {
    const context = await browser.newContext({ baseURL: stack.url, serviceWorkers: 'block', ...options.context });
    const app = await App.on(context, stack);
    await app.page.goto('/');
    await app.signIn(user, options.admin);
    return app;
  }

  /** A page that is watched: it asks no third party for anything, violates no policy, and no script fails. */
  static async on(context: BrowserContext, stack: Stack): Promise<App> {
    const watch: Watch = { violations: [] };
    await context.grantPermissions(['clipboard-read', 'clipboard-write', 'microphone']);
    const page = await context.newPage();
    watchPage(page, stack, watch);
    return new App(context, page, stack, watch);
  }

  /** Another tab of the same browser. */
  async tab(): Promise<App> {
    const page = await this.context.newPage();
    watchPage(page, this.stack, this.watch);
    await page.goto('/');
    return new App(this.context, page, this.stack, this.watch);
  }

  async signIn(user: string, admin = false): Promise<void> {
    await this.page.getByLabel('User name').fill(user);
    if (admin) await this.page.getByLabel('Sign in as an administrator').check();
    await this.page.getByRole('button', { name: 'Sign in' }).click();
    await expect(this.composer).toBeVisible();
  }

  get composer() {
    return this.page.getByRole('textbox', { name: 'Your message' });
  }
  get messages() {
    return this.page.locator('article[data-message]');
  }
  get answers() {
    return this.page.locator('article[data-answer]');
  }
  /** The phase of the line. */
  get phase() {
    return this.page.locator('.holder[data-phase]');
  }

  async connected(): Promise<void> {
    await expect(this.phase).toHaveAttribute('data-phase', 'open');
  }

  async say(text: string): Promise<void> {
    await this.composer.fill(text);
    await this.composer.press('Enter');
    await expect(this.composer).toHaveValue('');
  }

  /** Sends a text and waits for its whole answer. In a long conversation only the rows in sight can be counted. */
  async ask(text: string): Promise<void> {
    const log = this.page.locator('.thread');
    const rows = log.getByRole('listitem').and(this.page.locator('[aria-setsize]'));
    const total = async () => ((await rows.count()) > 0 ? Number(await rows.last().getAttribute('aria-setsize')) : 0);
    const before = await total();
    await this.say(text);
    const answer = log.locator(`[aria-posinset="${before + 2}"] article[data-answer]`);
    await expect(answer).toHaveAttribute('data-progress', 'done');
  }

  async screenshot(name: string): Promise<void> {
    mkdirSync(pictures, { recursive: true });
    await this.page.screenshot({ path: path.join(pictures, `${name}.png`) });
  }

  async close(): Promise<void> {
    await this.context.close();
    expect(this.watch.violations).toEqual([]);
  }
}

function watchPage(page: Page, stack: Stack, watch: Watch): void {
  page.on('pageerror', (error) => watch.violations.push(`error: ${error.message}`));
  page.on('console', (message) => {
    if (/Content Security Policy|Refused to/.test(message.text())) watch.violations.push(message.text());
  });
  page.on('request', (request) => {
    const { hostname, protocol } = new URL(request.url());
    // A provider's page, where a user signs in, is not part of the client.
    const ours = page.url() === 'about:blank' || new URL(page.url()).origin === stack.url;
    if (ours && protocol.startsWith('http') && !['127.0.0.1', 'localhost'].includes(hostname)) {
      watch.violations.push(`third party: ${request.url()}`);
    }
  });
}
