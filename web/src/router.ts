/** The place of the page: a conversation, none, or the admin page. Three paths need no library. */
import { shallowRef } from 'vue';

export type Route = { page: 'chat'; conversation?: string } | { page: 'admin' };

export const route = shallowRef<Route>(routeOf(location.pathname));

export function go(to: Route, replace = false): void {
  const path = pathOf(to);
  if (path !== location.pathname) history[replace ? 'replaceState' : 'pushState']({ from: location.pathname }, '', path);
  route.value = to;
}

/** The place before this page, to go back to: a conversation, or none. */
export function chatBefore(): Route {
  const { from } = (history.state ?? {}) as { from?: unknown };
  const before = routeOf(from);
  return before.page === 'chat' ? before : { page: 'chat' };
}

export function pathOf(to: Route): string {
  if (to.page === 'admin') return '/admin';
  return to.conversation ? `/c/${encodeURIComponent(to.conversation)}` : '/';
}

/** Whatever the path is, this gives a page of the client, and never an address elsewhere. */
export function routeOf(path: unknown): Route {
  if (path === '/admin') return { page: 'admin' };
  const [, id] = /^\/c\/([^/]+)$/.exec(String(path)) ?? [];
  return id ? { page: 'chat', conversation: decoded(id) } : { page: 'chat' };
}

/** An id that can't be decoded is looked up as it is, and will not be found. */
function decoded(id: string): string {
  try {
    return decodeURIComponent(id);
  } catch {
    return id;
  }
}

window.addEventListener('popstate', () => (route.value = routeOf(location.pathname)));
