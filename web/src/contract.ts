/** The public contract as this client uses it. docs/protocol.md has it in words. */

export type Status = 'queued' | 'processing' | 'done' | 'failed' | 'cancelled';

export interface Media {
  key: string;
  /** A presigned address. It works for a limited time; then the client asks for a fresh one. */
  url: string;
  contentType: string;
  bytes: number;
}

/** A message of the user or an answer to one. */
export interface Message {
  id: string;
  conversationId: string;
  role: 'user' | 'assistant';
  type: 'text' | 'image' | 'audio' | 'video';
  text?: string;
  media?: Media;
  status: Status;
  /** For an answer: the message that it answers. */
  replyTo?: string;
  /** The item that this one follows. '' at the beginning. Absent in old items, which follow the item before them. */
  parentId?: string;
  error?: { code: string; message: string };
  createdAt: string;
  /** In a frame: the text did not fit, and REST has it. */
  truncated?: boolean;
}

export type ClientFrame =
  | { action: 'sendMessage'; id: string; conversationId: string; text?: string; media?: string; parentId?: string }
  | { action: 'heartbeat' }
  | { action: 'cancel'; id: string };

export type ClosingCode = 'first_message' | 'lease_expired' | 'replaced' | 'closed_by_admin';

export type ServerFrame =
  | { type: 'accepted'; id: string; duplicate: boolean; message: Message }
  | { type: 'delta'; id: string; seq: number; text: string; restart?: boolean }
  | { type: 'reply'; id: string; message: Message; replies: Message[] }
  | { type: 'heartbeat'; leaseExpiresAt: string }
  | { type: 'error'; id?: string; code: string; message: string; retryAfterMs?: number }
  | { type: 'closing'; code: ClosingCode; message: string };

export interface Conversation {
  id: string;
  title: string;
  createdAt: string;
  updatedAt: string;
}

export interface Page<T> {
  items: T[];
  nextCursor?: string;
}

export interface Admission {
  state: 'open' | 'full' | 'connected';
  inUse: number;
  capacity: number;
  retryAfterSeconds: number;
}

export interface User {
  id: string;
  username: string;
  createdAt: string;
}

export interface Upload {
  key: string;
  url: string;
  fields: Record<string, string>;
  expiresAt: string;
}

export interface AdminClient {
  slot: number;
  userId: string;
  username: string;
  connectedAt?: string;
  expiresAt: string;
  pending: number;
}

/** `/config.json` */
export interface Config {
  websocketUrl: string;
  apiUrl: string;
  auth: { mode: 'local' | 'oidc'; issuer: string; clientId: string };
  limits: {
    maxClients: number;
    leaseSeconds: number;
    firstMessageSeconds: number;
    maxPendingPerClient: number;
    maxTextBytes: number;
    maxMediaBytes: number;
  };
}
