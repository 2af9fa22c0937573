/**
 * The types of the connection layer: the app's view (state, outbox, events), and the inputs and effects of the state
 * machine.
 */

import type { Admission, ClientFrame, Message, ServerFrame } from '../contract';

/** The state of the line, for the user. All times are local, in milliseconds. */
export type LineState =
  | { phase: 'idle' }
  | { phase: 'connecting'; attempt: number }
  /**
   * `silentDeadline`: if the user has sent nothing by then, the place is lost. Absent once the user has sent something
   * or is about to.
   */
  | { phase: 'open'; silentDeadline?: number }
  | { phase: 'lost'; retryAt: number; attempt: number }
  | { phase: 'offline' }
  | { phase: 'full'; inUse: number; capacity: number; retryAt: number }
  /** Another session of this user has their place; `takeOver()` brings it here. */
  | { phase: 'elsewhere' }
  /** The place was lost to silence. The next `wake`, `send` or `retryNow` connects. */
  | { phase: 'resting' }
  | { phase: 'closedByAdmin' }
  | { phase: 'signedOut' };

/** A message that the app wants to send. `id` is a UUID of its own, once per message. */
export interface Draft {
  id: string;
  conversationId: string;
  text?: string;
  media?: string;
  parentId?: string;
}

/** A message that the server has not accepted yet. */
export interface Outgoing extends Draft {
  /** Local, in milliseconds, and later than that of every entry before it. */
  createdAt: number;
  state: 'waiting' | 'sent' | 'refused';
  /** For a refused message. `resend` tries again, and `discard` removes it. */
  error?: { code: string; message: string };
}

/**
 * All tabs get these events. After another tab has taken the connection over, an acceptance or an end may come again.
 */
export type LineEvent =
  | { type: 'state'; state: LineState }
  | { type: 'outbox'; outbox: Outgoing[] }
  | { type: 'accepted'; id: string; message: Message; duplicate: boolean }
  /** Text of an answer. Append it, or with `restart` replace the text so far. */
  | { type: 'answer'; id: string; restart: boolean; text: string }
  | { type: 'reply'; id: string; message: Message; replies: Message[] }
  /** An accepted message ended with an error. */
  | { type: 'failed'; id: string; code: string; message: string }
  /** A connection is open. The app has to load what it missed, and tell `expect` which messages still run. */
  | { type: 'resumed' };

export interface Limits {
  leaseSeconds: number;
  firstMessageSeconds: number;
  maxPendingPerClient: number;
}

/** An outbox entry with the machine's own data. */
export interface Entry extends Outgoing {
  /** It may have reached the server, so it can't be taken back without asking the server. */
  tried: boolean;
  /** It will be cancelled as soon as it is accepted. */
  cancelled: boolean;
  /** The connection on which it waits for an answer. 0: none. */
  on: number;
  sentAt: number;
  /** It is not sent again before this. */
  notBefore: number;
  failures: number;
}

/** A request of the user or the app. Each may be repeated without harm. */
export type Command =
  | { type: 'send'; entry: Entry }
  | { type: 'cancel' | 'resend' | 'discard'; id: string }
  | { type: 'expect'; ids: string[] }
  | { type: 'takeOver' | 'retryNow' | 'wake' };

export type TimerName =
  | 'open' // a connection is being made
  | 'ask' // admission was asked
  | 'retry' // when to connect again
  | 'look' // when to ask admission again
  | 'beat' // the next heartbeat
  | 'nudge' // the next heartbeat of a client whose message no worker has begun to answer
  | 'pong' // a sign of life is due
  | 'answer' // an answer to a sent entry is due
  | 'outbox' // an entry may be sent again
  | 'renew' // when to change to a fresh connection
  | 'succeed' // the fresh connection is being made
  | 'linger'; // the connection that it followed may go

export type Happening =
  | Command
  | { type: 'wanted' | 'unwanted' }
  | { type: 'online' | 'offline' | 'visible' | 'hidden' }
  | { type: 'opened'; connection: number }
  | { type: 'frame'; connection: number; frame: ServerFrame }
  /** It closed or was never opened. */
  | { type: 'closed'; connection: number }
  /** There is no token until somebody signs in. */
  | { type: 'tokenRefused'; connection: number }
  | { type: 'admission'; ask: number; answer: Admission | 'unauthorized' | 'failed' }
  | { type: 'timer'; name: TimerName };

/** The moment comes with every input, because the machine has no clock and no randomness. */
export interface Moment {
  now: number;
  /** 0 ≤ random < 1 */
  random: number;
  /** The server's clock minus ours, if known. */
  skewMs?: number;
}

export type Input = Happening & Moment;

export type Effect =
  /** `refresh`: use a new token, because the server refused the present one. */
  | { type: 'openSocket'; connection: number; session: string; takeover: boolean; refresh: boolean }
  | { type: 'sendFrame'; connection: number; frame: ClientFrame }
  | { type: 'closeSocket'; connection: number }
  | { type: 'askAdmission'; ask: number }
  | { type: 'setTimer'; name: TimerName; at: number }
  | { type: 'clearTimer'; name: TimerName }
  /** Without `entry`, the item is erased. */
  | { type: 'store'; id: string; entry?: Entry }
  | { type: 'emit'; event: LineEvent };

/** The state for a tab that comes later. */
export interface Snapshot {
  state: LineState;
  outbox: Outgoing[];
  /** The text so far of each answer under way. */
  answers: { id: string; text: string }[];
}
