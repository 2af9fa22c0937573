/** Signing in at an OpenID provider: a real one, which knows nothing of Parley. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import Provider from 'oidc-provider';
import { App, expect, test } from './fixtures';
import { Stack } from './stack';

const CLIENT = 'parley-web';
/** A little longer than the client wants a token to be good for: each is renewed soon. */
const TOKEN_SECONDS = 66;

async function startProvider(): Promise<{ issuer: string; server: Server; grants: string[] }> {
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
        // A port of the loopback is free to choose for a native client, as RFC 8252 has it.
        redirect_uris: ['http://127.0.0.1/'],
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
  return { issuer, server, grants };
}

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
  await page.getByRole('button', { name: 'Sign in with your account' }).click();
  await page.getByPlaceholder('Enter any login').fill('alice');
  await page.getByPlaceholder('and password').fill('any');
  await page.getByRole('button', { name: 'Sign-in' }).click();
  await page.getByRole('button', { name: 'Continue' }).click();
  await expect(app.composer).toBeVisible();
  await expect(page).toHaveURL(`${stack.url}/`);
  expect(asked[0]?.searchParams.get('code_challenge_method')).toBe('S256');
  expect(asked[0]?.searchParams.get('response_type')).toBe('code');
  await expect(page.getByText('Hello alice, what would you like')).toBeVisible();
  await app.ask('Signed in');

  await expect.poll(async () => (await page.reload(), provider.grants.includes('refresh_token')), { timeout: 60_000, intervals: [3000] }).toBe(true);
  await expect(app.composer).toBeVisible();
  await app.connected();

  // A provider that cannot be reached has signed nobody out.
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

  await page.getByRole('button', { name: /Account and settings/ }).click();
  await page.getByRole('menuitem', { name: 'Sign out' }).click();
  await expect(page.getByRole('button', { name: 'Sign in with your account' })).toBeVisible();
  await page.reload();
  await expect(page.getByRole('button', { name: 'Sign in with your account' })).toBeVisible();
  await app.close();
  await stack.stop();
  provider.server.closeAllConnections();
  provider.server.close();
});
