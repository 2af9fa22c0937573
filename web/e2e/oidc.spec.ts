/** Signing in at a real OpenID provider that knows nothing of Parley. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Page } from '@playwright/test';
import Provider from 'oidc-provider';
import { App, expect, test } from './fixtures';
import { Stack } from './stack';

const CLIENT = 'parley-web';
/** A little longer than the client wants a token to be valid, so each is renewed soon. */
const TOKEN_SECONDS = 66;

interface TestProvider {
  issuer: string;
  grants: string[];
  stop(): void;
}

/** `endsSessions`: it has an `end_session_endpoint`. */
async function startProvider({ endsSessions = true } = {}): Promise<TestProvider> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const grants: string[] = [];
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: CLIENT,
        application_type: 'native',
        token_endpoint_auth_method: 'none',
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
        // A native client may use any port of the loopback address (RFC 8252).
        redirect_uris: ['http://127.0.0.1/'],
        post_logout_redirect_uris: ['http://127.0.0.1/'],
      },
    ],
    clientBasedCORS: () => true,
    pkce: { required: () => true },
    issueRefreshToken: async () => true,
    scopes: ['openid', 'profile', 'email'],
    extraTokenClaims: async (_context, token) => ({ username: 'accountId' in token ? token.accountId : '' }),
    ttl: { AccessToken: TOKEN_SECONDS, Session: 3600, Grant: 3600, RefreshToken: 3600, IdToken: 3600, Interaction: 600 },
    features: {
      devInteractions: { enabled: true },
      rpInitiatedLogout: { enabled: endsSessions },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'urn:parley',
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: 'openid profile email',
          audience: CLIENT,
          accessTokenTTL: TOKEN_SECONDS,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
  });
  provider.on('grant.success', (context) => grants.push(String(context.oidc.params?.['grant_type'])));
  server.on('request', provider.callback());
  const stop = () => {
    server.closeAllConnections();
    server.close();
  };
  return { issuer, grants, stop };
}

/** Signs in at the provider's page. */
async function enter(page: Page, login: string): Promise<void> {
  await page.getByPlaceholder('Enter any login').fill(login);
  await page.getByPlaceholder('and password').fill('any');
  await page.getByRole('button', { name: 'Sign-in' }).click();
  await page.getByRole('button', { name: 'Continue' }).click();
}

async function signOut(page: Page): Promise<void> {
  await page.getByRole('button', { name: /Account and settings/ }).click();
  await page.getByRole('menuitem', { name: 'Sign out' }).click();
}

const go = (page: Page) => page.getByRole('button', { name: 'Sign in with your account' });

test('the code flow with PKCE, a renewed token, and signing out', async ({ browser }) => {
  test.setTimeout(180_000);
  const provider = await startProvider();
  const stack = await Stack.start({ params: { OidcIssuer: provider.issuer, OidcAudience: CLIENT } });
  const context = await browser.newContext({ baseURL: stack.url, serviceWorkers: 'block' });
  const app = await App.on(context, stack);
  const { page } = app;
  const asked: URL[] = [];
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (url.pathname === '/auth') asked.push(url);
  });
  await page.goto('/');
  await go(page).click();
  await enter(page, 'alice');
  await expect(app.composer).toBeVisible();
  await expect(page).toHaveURL(`${stack.url}/`);
  expect(asked[0]?.searchParams.get('code_challenge_method')).toBe('S256');
  expect(asked[0]?.searchParams.get('response_type')).toBe('code');
  await expect(page.getByText('Hello alice, what would you like')).toBeVisible();
  await app.ask('Signed in');

  await expect.poll(async () => (await page.reload(), provider.grants.includes('refresh_token')), { timeout: 60_000, intervals: [3000] }).toBe(true);
  await expect(app.composer).toBeVisible();
  await app.connected();

  // A provider that can't be reached has not signed the user out.
  await page.route(`${provider.issuer}/**`, (route) => route.abort());
  await page.waitForFunction(() => {
    const key = Object.keys(localStorage).find((name) => name.startsWith('oidc.user:')) ?? '';
    const { expires_at } = JSON.parse(localStorage.getItem(key) ?? '{}') as { expires_at: number };
    return expires_at - Date.now() / 1000 < 58;
  });
  await page.reload();
  await expect(page.getByText('Parley cannot be reached right now.')).toBeVisible();
  await page.unroute(`${provider.issuer}/**`);
  await expect(app.composer).toBeVisible();
  await app.connected();

  // The session at the provider ends too.
  await signOut(page);
  await page.getByRole('button', { name: 'Yes, sign me out' }).click();
  await expect(go(page)).toBeVisible();
  await expect(page).toHaveURL(`${stack.url}/`);
  await page.reload();
  await go(page).click();
  await enter(page, 'bob');
  await expect(page.getByText('Hello bob, what would you like')).toBeVisible();
  await app.close();
  await stack.stop();
  provider.stop();
});

test('a link leads to its conversation after signing in, also when signing in is cancelled first', async ({ browser }) => {
  test.setTimeout(180_000);
  const provider = await startProvider({ endsSessions: false });
  const stack = await Stack.start({ params: { OidcIssuer: provider.issuer, OidcAudience: CLIENT } });
  const context = await browser.newContext({ baseURL: stack.url, serviceWorkers: 'block' });
  const app = await App.on(context, stack);
  const { page } = app;
  await page.goto('/');
  await go(page).click();
  await enter(page, 'alice');
  await app.ask('Where the link leads');
  const link = page.url();

  // This provider has no page for signing out, so signing in asks which account to use.
  await signOut(page);
  await expect(page).toHaveURL(`${stack.url}/`);
  await page.goto(link);
  await go(page).click();
  await page.getByRole('link', { name: 'Cancel' }).click();
  await expect(page.getByRole('status')).toHaveText('The sign-in was cancelled or refused. You can try again.');
  await expect(page).toHaveURL(link);
  await go(page).click();
  await enter(page, 'alice');
  await expect(page).toHaveURL(link);
  await expect(app.messages).toHaveText([/Where the link leads/]);

  // It asks once. Then the session at the provider is used again. A manipulated way back never leads elsewhere.
  await page.evaluate(() => {
    for (const name of Object.keys(localStorage)) if (name.startsWith('oidc.user:')) localStorage.removeItem(name);
  });
  await page.addInitScript(() => {
    for (const [name, text] of Object.entries(localStorage) as [string, string][]) {
      const kept = name.startsWith('oidc.') ? (JSON.parse(text) as { data?: { path: string } }) : {};
      if (kept.data) localStorage.setItem(name, JSON.stringify({ ...kept, data: { path: '//evil.example/c/1' } }));
    }
  });
  await page.reload();
  await go(page).click();
  await page.getByRole('button', { name: 'Continue' }).click();
  await expect(app.composer).toBeVisible();
  await expect(page).toHaveURL(`${stack.url}/`);
  await app.close();
  await stack.stop();
  provider.stop();
});
