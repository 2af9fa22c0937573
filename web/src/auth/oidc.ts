/** Signing in at an OpenID provider: authorization code flow with PKCE, by oidc-client-ts. */
import { ErrorResponse, UserManager, WebStorageStateStore } from 'oidc-client-ts';
import { type Auth, SignedOut } from '.';
import type { Config } from '../contract';

const MARGIN_SECONDS = 60;

function manager(config: Config): UserManager {
  return new UserManager({
    authority: config.auth.issuer,
    client_id: config.auth.clientId,
    redirect_uri: `${location.origin}/`,
    response_type: 'code',
    scope: 'openid profile email',
    userStore: new WebStorageStateStore({ store: localStorage }),
    // Tokens are renewed when one is asked for, with the refresh token: no hidden frames, which the page's policy forbids.
    automaticSilentRenew: false,
    monitorSession: false,
  });
}

/** Finishes a sign-in that has just come back from the provider, or takes up the stored session. */
export async function restore(config: Config): Promise<Auth | undefined> {
  const users = manager(config);
  const query = new URLSearchParams(location.search);
  if (query.has('state') && (query.has('code') || query.has('error'))) {
    try {
      await users.signinCallback();
    } finally {
      // A code is good once: it must not be there when the page is loaded again.
      history.replaceState(null, '', '/');
    }
  }
  const user = await users.getUser();
  return user ? create(users) : undefined;
}

/** Leaves the page for the provider's. */
export async function signIn(config: Config): Promise<void> {
  await manager(config).signinRedirect();
}

function create(users: UserManager): Auth {
  let renewing: Promise<string> | undefined;

  async function renew(): Promise<string> {
    const before = await users.getUser();
    if (!before?.refresh_token) throw new SignedOut();
    try {
      const user = await users.signinSilent();
      if (user) return user.access_token;
    } catch (error) {
      // A provider that can't be reached, or fails, has refused nobody.
      if (!(error instanceof ErrorResponse)) throw error;
      // A refresh token may be good once: another tab may have used it.
      const now = await users.getUser();
      if (now && now.refresh_token !== before.refresh_token) return now.access_token;
    }
    await users.removeUser();
    throw new SignedOut();
  }

  function refresh(): Promise<string> {
    renewing ??= alone(renew).finally(() => (renewing = undefined));
    return renewing;
  }

  return {
    mode: 'oidc',
    token: async () => {
      const user = await users.getUser();
      if (user && (user.expires_in ?? Infinity) > MARGIN_SECONDS) return user.access_token;
      return refresh();
    },
    refresh,
    signOut: () => users.removeUser(),
  };
}

/** One tab at a time, where the browser can tell them to. */
async function alone(run: () => Promise<string>): Promise<string> {
  return 'locks' in navigator ? await navigator.locks.request('parley.renew', run) : run();
}
