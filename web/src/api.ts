/** The REST API: one function for each call. Errors are `ApiError`. */
import type { Auth } from './auth';
import type { AdminClient, Admission, Conversation, Message, Page, Upload, User } from './contract';

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string | undefined,
  ) {
    super(detail ?? title);
  }
}

export interface Api {
  me(): Promise<User>;
  admission(): Promise<Admission>;
  conversations(cursor?: string): Promise<Page<Conversation>>;
  createConversation(title?: string): Promise<Conversation>;
  conversation(id: string): Promise<Conversation>;
  renameConversation(id: string, title: string): Promise<Conversation>;
  /** `leaving`: the page is being closed, and the call must outlive it. */
  deleteConversation(id: string, leaving?: boolean): Promise<void>;
  messages(conversation: string, query: MessageQuery): Promise<Page<Message>>;
  message(conversation: string, id: string): Promise<Message>;
  upload(contentType: string, bytes: number): Promise<Upload>;
  adminClients(): Promise<{ capacity: number; items: AdminClient[] }>;
  closeClient(userId: string): Promise<void>;
  adminUsers(username: string, cursor?: string): Promise<Page<User>>;
  /** How far the server's clock is ahead of this one, in milliseconds, by the last response that had a date. */
  skewMs(): number | undefined;
}

export interface MessageQuery {
  limit?: number;
  cursor?: string;
  order?: 'asc' | 'desc';
  after?: string;
}

export function createApi(base: string, auth: Auth): Api {
  let skewMs: number | undefined;
  // The last token, for calls while the page is being closed: then there is no time to get another.
  let lastToken = '';

  async function call<T>(method: string, path: string, body?: unknown, leaving = false): Promise<T> {
    const token = leaving && lastToken ? lastToken : await auth.token();
    let response = await request(method, path, body, token, leaving);
    if (response.status === 401 && !leaving) response = await request(method, path, body, await auth.refresh(), leaving);
    if (response.ok) return (response.status === 204 ? undefined : await response.json()) as T;
    const problem = (await response.json().catch(() => ({}))) as { title?: string; detail?: string; message?: string };
    throw new ApiError(response.status, problem.title ?? problem.message ?? response.statusText, problem.detail);
  }

  async function request(method: string, path: string, body: unknown, token: string, keepalive: boolean) {
    lastToken = token;
    const response = await fetch(base + path, {
      method,
      keepalive,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const date = Date.parse(response.headers.get('date') ?? '');
    // The header has whole seconds, so the best guess is half a second more.
    if (!Number.isNaN(date)) skewMs = date + 500 - Date.now();
    return response;
  }

  const conversation = (id: string) => `/api/conversations/${encodeURIComponent(id)}`;

  return {
    me: () => call('GET', '/api/me'),
    admission: () => call('GET', '/api/admission'),
    conversations: (cursor) => call('GET', `/api/conversations${query({ limit: 100, cursor })}`),
    createConversation: (title) => call('POST', '/api/conversations', title === undefined ? {} : { title }),
    conversation: (id) => call('GET', conversation(id)),
    renameConversation: (id, title) => call('PATCH', conversation(id), { title }),
    deleteConversation: (id, leaving) => call('DELETE', conversation(id), undefined, leaving),
    messages: (id, options) => call('GET', `${conversation(id)}/messages${query({ ...options })}`),
    message: (id, message) => call('GET', `${conversation(id)}/messages/${encodeURIComponent(message)}`),
    upload: (contentType, bytes) => call('POST', '/api/uploads', { contentType, bytes }),
    adminClients: () => call('GET', '/api/admin/clients'),
    closeClient: (userId) => call('DELETE', `/api/admin/clients/${encodeURIComponent(userId)}`),
    adminUsers: (username, cursor) => call('GET', `/api/admin/users${query({ username: username || undefined, cursor })}`),
    skewMs: () => skewMs,
  };
}

function query(values: Record<string, string | number | undefined>): string {
  const given = Object.entries(values).filter((entry): entry is [string, string | number] => entry[1] !== undefined);
  return given.length === 0 ? '' : `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}
