/** Signing in at an OpenID provider: authorization code flow with PKCE, by oidc-client-ts. */
import { ErrorResponse, UserManager, WebStorageStateStore } from 'oidc-client-ts';
import { type Auth, SignedOut, SignInFailed } from '.';
import type { Config } from '../contract';
import { go, routeOf } from '../router';
import { readJson, remove, writeJson } from '../storage';

const MARGIN_SECONDS = 60;
/** A user has signed out here, and the provider could not be told. So the next sign-in asks which account to use. */
const ASK = 'parley.askWho';

/** Belongs to one sign-in. It stays in this browser's storage until the sign-in comes back. */
interface SignInState {
  /** The page that the user wanted to see. */
  path: string;
}

function manager(config: Config): UserManager {
  const here = `${location.origin}/`;
  return new UserManager({
    authority: config.auth.issuer,
    client_id: config.auth.clientId,
    redirect_uri: here,
    post_logout_redirect_uri: here,
    response_type: 'code',
    scope: 'openid profile email',
    userStore: new WebStorageStateStore({ store: localStorage }),
    // Tokens are renewed with the refresh token when one is needed. The page's policy forbids hidden frames.
    automaticSilentRenew: false,
    monitorSession: false,
  });
}

/** Finishes a sign-in that has just come back from the provider, or restores the stored session. */
export async function restore(config: Config): Promise<Auth | undefined> {
  const users = manager(config);
  const query = new URLSearchParams(location.search);
  if (query.has('state') && (query.has('code') || query.has('error'))) {
    // A code works once, so it must not be in the address when the page is loaded again.
    const url = location.href;
    history.replaceState(null, '', '/');
    try {
      comeBack((await users.signinCallback(url))?.state);
    } catch (error) {
      if (!(error instanceof ErrorResponse)) throw error;
      comeBack(error.state);
      throw new SignInFailed(error.error === 'access_denied');
    }
    remove(ASK);
  }
  const user = await users.getUser();
  return user ? create(users) : undefined;
}

/** Goes to the page that the user wanted before signing in. `routeOf` knows only pages of the client. */
function comeBack(state: unknown): void {
  go(routeOf((state as SignInState | undefined)?.path), true);
}

/** Leaves this page for the provider's. */
export async function signIn(config: Config): Promise<void> {
  const state: SignInState = { path: location.pathname };
  await manager(config).signinRedirect({ state, ...(readJson(ASK) ? { prompt: 'login' } : {}) });
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
      // If the provider can't be reached or fails, it has not refused the user.
      if (!(error instanceof ErrorResponse)) throw error;
      // A refresh token may work only once, and another tab may have used it.
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
    async signOut(everywhere) {
      if (!everywhere) return users.removeUser();
      try {
        // This removes the user from this browser first. Then it fails if the provider has no such page or can't be
        // reached.
        const { client_id, post_logout_redirect_uri } = users.settings;
        // Amazon Cognito uses names of its own here. Other providers ignore them.
        await users.signoutRedirect({ extraQueryParams: { client_id, logout_uri: post_logout_redirect_uri ?? '' } });
      } catch {
        writeJson(ASK, true);
      }
    },
  };
}

/** Runs in one tab at a time, if the browser supports locks. */
async function alone(run: () => Promise<string>): Promise<string> {
  return 'locks' in navigator ? await navigator.locks.request('parley.renew', run) : run();
}
