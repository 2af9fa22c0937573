/**
 * The user of the client. There are two ways to sign in, and `/config.json` says which one applies: a user name on the
 * local stack, and an OpenID provider (authorization code flow with PKCE) everywhere else. The OpenID library is loaded
 * only where it is needed.
 */
import type { Config } from '../contract';

export interface Auth {
  mode: 'local' | 'oidc';
  /** A token that is valid for at least another minute. Throws `SignedOut` if nobody is signed in any more. */
  token(): Promise<string>;
  /** The server refused the last token: get another one. */
  refresh(): Promise<string>;
  /** `everywhere`: also at the provider. Then the browser may leave this page for the provider's. */
  signOut(everywhere: boolean): Promise<void>;
}

/** Nobody is signed in, or not any more. */
export class SignedOut extends Error {
  constructor() {
    super('Signed out');
  }
}

/** The provider has sent the user back without a sign-in: the user cancelled it, or the provider has a problem. */
export class SignInFailed extends Error {
  constructor(readonly cancelled: boolean) {
    super(cancelled ? 'Cancelled' : 'Sign-in failed');
  }
}

export interface Claims {
  sub: string;
  exp: number;
  username?: string;
  groups: string[];
}

/** A token's claims about its user. They are only shown; the server verifies the token. */
export function claimsOf(token: string): Claims {
  const payload = token.split('.')[1] ?? '';
  const bytes = Uint8Array.from(atob(payload.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
  const claims = JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
  const groups = claims['cognito:groups'];
  return {
    sub: String(claims['sub'] ?? ''),
    exp: Number(claims['exp'] ?? 0),
    ...(typeof claims['username'] === 'string' ? { username: claims['username'] } : {}),
    groups: Array.isArray(groups) ? groups.map(String) : [],
  };
}

/** The session from before, if it still exists. */
export async function restore(config: Config): Promise<Auth | undefined> {
  if (config.auth.mode === 'local') return (await import('./local')).restore();
  return (await import('./oidc')).restore(config);
}
