/** Signing in on the local stack: any user name gets a token. */
import { type Auth, SignedOut } from '.';
import { readJson, remove, writeJson } from '../storage';

const KEY = 'parley.user';
/** A token is replaced this long before it expires. */
const MARGIN_MS = 60_000;

interface Who {
  username: string;
  admin: boolean;
}

export function restore(): Auth | undefined {
  const who = readJson<Who>(KEY);
  return who && typeof who.username === 'string' ? create(who) : undefined;
}

export async function signIn(username: string, admin: boolean): Promise<Auth> {
  const who = { username, admin };
  const auth = create(who);
  await auth.token();
  writeJson(KEY, who);
  return auth;
}

function create(who: Who): Auth {
  let current: { token: string; until: number } | undefined;
  let asking: Promise<string> | undefined;

  async function ask(): Promise<string> {
    const response = await fetch('/_local/token', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(who.admin ? { username: who.username, groups: ['admin'] } : { username: who.username }),
    });
    if (!response.ok) throw response.status === 400 ? new SignedOut() : new Error(`Token: ${response.status}`);
    const { accessToken, expiresIn } = (await response.json()) as { accessToken: string; expiresIn: number };
    current = { token: accessToken, until: Date.now() + expiresIn * 1000 - MARGIN_MS };
    return accessToken;
  }

  function refresh(): Promise<string> {
    asking ??= ask().finally(() => (asking = undefined));
    return asking;
  }

  return {
    mode: 'local',
    token: async () => (current && Date.now() < current.until ? current.token : refresh()),
    refresh,
    signOut: async () => remove(KEY),
  };
}
