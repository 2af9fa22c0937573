/** Handles the frames of the server. */

import type { ClosingCode, Message, ServerFrame } from '../contract';
import * as answers from './answers';
import { become, goElsewhere, letGo, lost } from './connection';
import * as lease from './lease';
import * as outbox from './outbox';
import { cancelRunning } from './speech';
import { backoff, clearTimer, emit, find, withKey, withoutKey, type Turn } from './state';
import type { LineEvent } from './types';

/** The client does not take a server failure as final until it has happened this often. */
const MAX_INTERNAL = 3;

/** If the message is accepted, these errors are about a request for it (a cancel, a copy), and not about its end. */
const OF_A_REQUEST = new Set([
  'bad_request',
  'unknown_action',
  'too_large',
  'too_many_pending',
  'lease_expired',
  'internal',
]);

export function onFrame(t: Turn, connection: number, frame: ServerFrame): void {
  const { s } = t;
  if (connection === s.line?.n) {
    clearTimer(t, 'pong');
    s.excused = false;
  }
  if (frame.type !== 'error' && frame.type !== 'closing') s.attempt = s.refusals = 0;
  switch (frame.type) {
    case 'heartbeat':
      if (connection !== s.line?.n) return;
      s.lease = lease.heartbeatAnswered(s.lease, frame.leaseExpiresAt, s.skewMs, s.limits, t.now);
      return;
    case 'accepted':
      return onAccepted(t, frame.id, frame.duplicate, frame.message);
    case 'delta': {
      if (answers.hasEnded(s.answers, frame.id)) return;
      s.running = withKey(s.running, frame.id, t.now);
      const taken = answers.takeDelta(s.answers, connection, frame);
      s.answers = taken.answers;
      if (taken.change) emit(t, { type: 'answer', ...taken.change });
      return;
    }
    case 'reply':
      return onEnd(t, { type: 'reply', id: frame.id, message: frame.message, replies: frame.replies });
    case 'error':
      return onError(t, connection, frame);
    case 'closing':
      // On the old connection, this is expected.
      if (connection === s.line?.n) onClosing(t, frame.code);
      return;
  }
}

function onAccepted(t: Turn, id: string, duplicate: boolean, message: Message): void {
  const { s } = t;
  const entry = find(s, id);
  s.outbox = outbox.remove(s.outbox, id);
  s.lease = lease.messageAccepted(s.lease, s.limits, t.now);
  const createdAt = Date.parse(message.createdAt);
  if (!duplicate && !Number.isNaN(createdAt)) s.skewMs = createdAt - t.now;
  // The answer may have overtaken `accepted`, or two copies were sent.
  if (answers.hasEnded(s.answers, id) || (!entry && s.running.has(id))) return;
  s.running = withKey(s.running, id, t.now);
  emit(t, { type: 'accepted', id, message, duplicate });
  if (entry?.cancelled) cancelRunning(t, id);
}

/** A message ended, so nothing more is expected for it. */
function onEnd(t: Turn, event: Extract<LineEvent, { type: 'reply' | 'failed' }>): void {
  const { s } = t;
  s.outbox = outbox.remove(s.outbox, event.id);
  s.running = withoutKey(s.running, event.id);
  s.cancels = withoutKey(s.cancels, event.id);
  if (answers.hasEnded(s.answers, event.id)) return;
  s.answers = answers.end(s.answers, event.id);
  emit(t, event);
}

function onError(t: Turn, connection: number, error: Extract<ServerFrame, { type: 'error' }>): void {
  const { s } = t;
  const { id, code, message } = error;
  const entry = id === undefined ? undefined : find(s, id);
  // The message was accepted, although the client never heard so.
  const ended = id !== undefined && (entry ? code === 'reply_failed' : !OF_A_REQUEST.has(code));
  if (ended) return onEnd(t, { type: 'failed', id, code, message });
  if (code === 'lease_expired') {
    if (connection !== s.line?.n) return;
    if (s.successor) lost(t);
    else letGo(t, 'lease_expired');
    return;
  }
  if (!entry) {
    // There is nothing to cancel.
    if (id !== undefined && code === 'bad_request') s.cancels = withoutKey(s.cancels, id);
    return;
  }
  if (entry.on !== connection) return; // of an earlier try
  const again = (delayMs: number) => {
    const failures = entry.failures + (code === 'internal' ? 1 : 0);
    s.outbox = outbox.change(s.outbox, entry.id, { on: 0, state: 'waiting', notBefore: t.now + delayMs, failures });
  };
  if (code === 'too_many_pending') again(error.retryAfterMs ?? 1000);
  else if (code === 'internal' && entry.failures < MAX_INTERNAL) again(backoff(t, entry.failures));
  else if (entry.cancelled) s.outbox = outbox.remove(s.outbox, entry.id);
  else s.outbox = outbox.change(s.outbox, entry.id, { on: 0, state: 'refused', error: { code, message } });
}

function onClosing(t: Turn, code: ClosingCode): void {
  const { s } = t;
  switch (code) {
    case 'first_message':
    case 'lease_expired':
      return letGo(t, code);
    case 'closed_by_admin':
      s.held = false;
      return become(t, { phase: 'closedByAdmin' });
    case 'replaced':
      // Our own fresh connection did this. It is on its way, or was given up too early.
      if (s.line && s.successor) s.line = { ...s.line, replaced: true };
      else if (s.line && s.line.failedSuccessors > 0) lost(t);
      else goElsewhere(t);
      return;
  }
  return lost(t); // the reason is unknown
}

