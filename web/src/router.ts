/** Where the page is: a conversation, none, or the admin page. Three paths need no library. */
import { shallowRef } from 'vue';

export type Route = { page: 'chat'; conversation?: string } | { page: 'admin' };

export const route = shallowRef<Route>(read());

export function go(to: Route, replace = false): void {
  const path = pathOf(to);
  if (path !== location.pathname) history[replace ? 'replaceState' : 'pushState'](null, '', path);
  route.value = to;
}

export function pathOf(to: Route): string {
  if (to.page === 'admin') return '/admin';
  return to.conversation ? `/c/${encodeURIComponent(to.conversation)}` : '/';
}

function read(): Route {
  if (location.pathname === '/admin') return { page: 'admin' };
  const [, id] = /^\/c\/([^/]+)$/.exec(location.pathname) ?? [];
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

window.addEventListener('popstate', () => (route.value = read()));
