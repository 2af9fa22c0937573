/**
 * The words of the connection layer: what the app sees of it (state, outbox, events), and what the state machine is told
 * (inputs) and asks for (effects).
 */

import type { Admission, ClientFrame, Message, ServerFrame } from '../contract';

/** How things stand, for the user. All times are local, in milliseconds. */
export type LineState =
  | { phase: 'idle' }
  | { phase: 'connecting'; attempt: number }
  /** `silentDeadline`: who has sent nothing by then is let go. Absent for who has, or is about to. */
  | { phase: 'open'; silentDeadline?: number }
  | { phase: 'lost'; retryAt: number; attempt: number }
  | { phase: 'offline' }
  | { phase: 'full'; inUse: number; capacity: number; retryAt: number }
  /** Another session of this user has their place; `takeOver()` brings it here. */
  | { phase: 'elsewhere' }
  /** Let go for being silent. The next `wake`, `send` or `retryNow` connects. */
  | { phase: 'resting' }
  | { phase: 'closedByAdmin' }
  | { phase: 'signedOut' };

/** What the app wants said. `id` is a UUID of its own, once per message. */
export interface Draft {
  id: string;
  conversationId: string;
  text?: string;
  media?: string;
  parentId?: string;
}

/** A message that the server has not accepted yet. */
export interface Outgoing extends Draft {
  /** Local, in milliseconds; later than that of every entry before it. */
  createdAt: number;
  state: 'waiting' | 'sent' | 'refused';
  /** Of a refused one. `resend` tries again, `discard` forgets it. */
  error?: { code: string; message: string };
}

/** In every tab. After another tab has taken the connection over, an acceptance or an end may be told once more. */
export type LineEvent =
  | { type: 'state'; state: LineState }
  | { type: 'outbox'; outbox: Outgoing[] }
  | { type: 'accepted'; id: string; message: Message; duplicate: boolean }
  /** Text of an answer: to be appended, or with `restart` to replace what there was. */
  | { type: 'answer'; id: string; restart: boolean; text: string }
  | { type: 'reply'; id: string; message: Message; replies: Message[] }
  /** An accepted message ended with an error. */
  | { type: 'failed'; id: string; code: string; message: string }
  /** A connection is open: what came before has to be fetched, and `expect` told what still runs. */
  | { type: 'resumed' };

export interface Limits {
  leaseSeconds: number;
  firstMessageSeconds: number;
  maxPendingPerClient: number;
}

/** An outbox entry with what the machine knows of it. */
export interface Entry extends Outgoing {
  /** It may have reached the server, so it can no longer be taken back without asking. */
  tried: boolean;
  /** To be cancelled as soon as it is accepted. */
  cancelled: boolean;
  /** The connection on which it waits for an answer; 0: on none. */
  on: number;
  sentAt: number;
  /** Not again before this. */
  notBefore: number;
  failures: number;
}

/** What a user or the app asks for. All of them may be repeated without harm. */
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
  | 'nudge' // the next heartbeat of who waits for somebody to begin
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
  /** It closed, or was never opened. */
  | { type: 'closed'; connection: number }
  /** There is no token, and there will be none before somebody signs in. */
  | { type: 'tokenRefused'; connection: number }
  | { type: 'admission'; ask: number; answer: Admission | 'unauthorized' | 'failed' }
  | { type: 'timer'; name: TimerName };

/** With every input comes the moment: the machine has neither a clock nor dice. */
export interface Moment {
  now: number;
  /** 0 ≤ random < 1 */
  random: number;
  /** Server's clock minus ours, where somebody knows. */
  skewMs?: number;
}

export type Input = Happening & Moment;

export type Effect =
  /** `refresh`: with a new token, the one at hand was refused. */
  | { type: 'openSocket'; connection: number; session: string; takeover: boolean; refresh: boolean }
  | { type: 'sendFrame'; connection: number; frame: ClientFrame }
  | { type: 'closeSocket'; connection: number }
  | { type: 'askAdmission'; ask: number }
  | { type: 'setTimer'; name: TimerName; at: number }
  | { type: 'clearTimer'; name: TimerName }
  /** Without `entry`: to be erased. */
  | { type: 'store'; id: string; entry?: Entry }
  | { type: 'emit'; event: LineEvent };

/** What a tab that comes later is told. */
export interface Snapshot {
  state: LineState;
  outbox: Outgoing[];
  /** Of the answers that are being written, the text so far. */
  answers: { id: string; text: string }[];
}
