/** Where the page is: a conversation, none, or the admin page. Three paths need no library. */
import { shallowRef } from 'vue';

export type Route = { page: 'chat'; conversation?: string } | { page: 'admin' };

export const route = shallowRef<Route>(routeOf(location.pathname));

export function go(to: Route, replace = false): void {
  const path = pathOf(to);
  if (path !== location.pathname) history[replace ? 'replaceState' : 'pushState']({ from: location.pathname }, '', path);
  route.value = to;
}

/** What was shown before this page, to go back to it: a conversation, or none. */
export function chatBefore(): Route {
  const { from } = (history.state ?? {}) as { from?: unknown };
  const before = routeOf(from);
  return before.page === 'chat' ? before : { page: 'chat' };
}

export function pathOf(to: Route): string {
  if (to.page === 'admin') return '/admin';
  return to.conversation ? `/c/${encodeURIComponent(to.conversation)}` : '/';
}

/** Whatever it is given, this is a page of the client, and never an address elsewhere. */
export function routeOf(path: unknown): Route {
  if (path === '/admin') return { page: 'admin' };
  const [, id] = /^\/c\/([^/]+)$/.exec(String(path)) ?? [];
  return id ? { page: 'chat', conversation: decoded(id) } : { page: 'chat' };
}

/** What is no encoding is no conversation either, and is looked for as it is. */
function decoded(id: string): string {
  try {
    return decodeURIComponent(id);
  } catch {
    return id;
  }
}

window.addEventListener('popstate', () => (route.value = routeOf(location.pathname)));
