/** The frames that the client sends: messages of the outbox, cancels, heartbeats. */

import * as answers from './answers';
import * as outbox from './outbox';
import { PENDING_FOR_MS, beatEvery, clearTimer, find, pending, setTimer, withKey, type Turn } from './state';

export const ANSWER_WITHIN_MS = 10_000;

/**
 * Every step ends here. Entries that may be sent are sent. If a sent entry is not answered in time, the line is dead.
 */
export function sendDue(t: Turn): void {
  const { s, now } = t;
  clearTimer(t, 'answer');
  clearTimer(t, 'outbox');
  if (!s.line?.open || s.successor) return;
  const room = s.limits.maxPendingPerClient - pending(t).length - outbox.onItsWay(s.outbox).length;
  const { ready, lookAt } = outbox.due(s.outbox, now, room);
  for (const entry of ready) {
    s.outbox = outbox.change(s.outbox, entry.id, { on: s.line.n, sentAt: now, tried: true, state: 'sent' });
    t.effects.push({ type: 'sendFrame', connection: s.line.n, frame: outbox.frameOf(entry) });
  }
  const sent = outbox.onItsWay(s.outbox);
  if (sent.length > 0) {
    setTimer(t, 'answer', Math.min(now, ...sent.map((entry) => entry.sentAt)) + ANSWER_WITHIN_MS);
  }
  // If there is no room, the next reply makes some, or the time limit of a message that was never heard of again.
  const roomAt = room <= 0 ? Math.min(...pending(t)) + PENDING_FOR_MS : Infinity;
  const at = Math.min(lookAt ?? Infinity, roomAt);
  if (at > now && at < Infinity && outbox.waiting(s.outbox)) setTimer(t, 'outbox', at);
}

export function onCancel(t: Turn, id: string): void {
  const { s } = t;
  const entry = find(s, id);
  if (!entry) return cancelRunning(t, id);
  const unsent = !entry.tried || entry.state === 'refused';
  s.outbox = unsent ? outbox.remove(s.outbox, id) : outbox.change(s.outbox, id, { cancelled: true });
}

export function cancelRunning(t: Turn, id: string): void {
  if (answers.hasEnded(t.s.answers, id)) return;
  t.s.cancels = withKey(t.s.cancels, id, t.now);
  if (t.s.line?.open) sendCancel(t, id);
}

export function sendCancel(t: Turn, id: string): void {
  if (t.s.line) t.effects.push({ type: 'sendFrame', connection: t.s.line.n, frame: { action: 'cancel', id } });
}

/** Sends a heartbeat now, and expects a sign of life. */
export function probe(t: Turn): void {
  const { s } = t;
  if (!s.line?.open) return;
  t.effects.push({ type: 'sendFrame', connection: s.line.n, frame: { action: 'heartbeat' } });
  if (!s.timers.has('pong')) setTimer(t, 'pong', t.now + ANSWER_WITHIN_MS);
  setTimer(t, 'beat', t.now + beatEvery(s));
}

