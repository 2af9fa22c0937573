/**
 * Opens a line, loses it, and changes to a fresh one.
 *
 * A connection is the line from the attempt to open it. Everything that ends it goes through {@link hangUp}. So at no
 * time does a timer, a question or an entry "on its way" belong to a connection that is gone.
 */

import type { Admission } from '../contract';
import { forgetRunning } from './answers';
import * as lease from './lease';
import * as outbox from './outbox';
import { probe, sendCancel } from './speech';
import {
  PENDING_FOR_MS,
  backoff,
  beatEvery,
  clearTimer,
  emit,
  pending,
  setTimer,
  withoutKey,
  type Connection,
  type Turn,
} from './state';
import type { LineState } from './types';

export const OPEN_WITHIN_MS = 15_000;
export const ASK_WITHIN_MS = 10_000;
const LOOK_EVERY_MS = 15_000;
const LONGEST_FULL_MS = 10_000;
/** The client does not believe "connected" this many times, because it may mean the client's own place. */
const MAX_REFUSALS = 3;
/** The second heartbeat comes this early, to learn soon whether a place that the session came back to is renewable. */
const SECOND_BEAT_MS = 5000;
/** API Gateway ends a connection after two hours. */
export const RENEW_AFTER_MS = 110 * 60_000;
export const RENEW_SPREAD_MS = 10 * 60_000;
export const RENEW_AT_LAST_MS = 118 * 60_000;
export const RENEW_AGAIN_MS = 60_000;
const RENEW_LOOK_MS = 10_000;
const LINGER_MS = 5000;

export function connect(t: Turn, how: { takeover?: boolean; refresh?: boolean } = {}): void {
  const { s } = t;
  if (!s.wanted) return;
  hangUp(t);
  if (how.refresh) s.refreshed = true;
  s.phase = { phase: 'connecting', attempt: s.attempt + 1 };
  s.line = open(t, how);
  setTimer(t, 'open', t.now + OPEN_WITHIN_MS);
}

function open(t: Turn, { takeover = false, refresh = false }): Connection {
  const connection = ++t.s.counter;
  t.effects.push({ type: 'openSocket', connection, session: t.s.session, takeover, refresh });
  return { n: connection, open: false, openedAt: 0, failedSuccessors: 0, replaced: false };
}

/** The handshake failed. A browser can't see why. Admission tells. */
export function refused(t: Turn): void {
  hangUp(t);
  if (t.s.online) ask(t);
  else goOffline(t);
}

export function ask(t: Turn): void {
  const { s } = t;
  if (!s.wanted) return;
  clearTimer(t, 'look');
  s.asked = ++s.counter;
  t.effects.push({ type: 'askAdmission', ask: s.asked });
  setTimer(t, 'ask', t.now + ASK_WITHIN_MS);
}

export function onAdmission(t: Turn, answer: Admission | 'unauthorized' | 'failed'): void {
  const { s } = t;
  s.asked = 0;
  clearTimer(t, 'ask');
  const looking = s.phase.phase === 'full' || s.phase.phase === 'elsewhere';
  if (answer === 'unauthorized') {
    if (s.refreshed) become(t, { phase: 'signedOut' });
    else connect(t, { refresh: true });
    return;
  }
  if (answer === 'failed') {
    if (looking) setTimer(t, 'look', t.now + lookDelay(t));
    else backOff(t);
    return;
  }
  s.refreshed = false;
  switch (answer.state) {
    case 'open':
      if (looking) connect(t);
      else backOff(t);
      return;
    case 'full': {
      const longest = Math.min(Math.max(answer.retryAfterSeconds, 1) * 1000, LONGEST_FULL_MS);
      const retryAt = t.now + longest * (0.5 + t.random / 2);
      become(t, { phase: 'full', inUse: answer.inUse, capacity: answer.capacity, retryAt });
      setTimer(t, 'look', retryAt);
      return;
    }
    case 'connected':
      // Just after a loss, "connected" may mean our own place, and the server does not refuse us that one.
      if (!looking && s.held && s.refusals < MAX_REFUSALS) {
        s.refusals++;
        backOff(t);
      } else {
        goElsewhere(t);
      }
      return;
  }
}

export function onOpened(t: Turn, connection: number): void {
  const { s } = t;
  if (connection === s.successor?.n) {
    dropOld(t);
    s.old = s.line?.n ?? 0;
    setTimer(t, 'linger', t.now + LINGER_MS);
    s.line = s.successor;
    s.successor = undefined;
    clearTimer(t, 'succeed');
    s.outbox = outbox.takenBack(s.outbox);
  } else if (connection !== s.line?.n || s.line.open) {
    return;
  }
  s.line = { ...s.line, open: true, openedAt: t.now };
  s.lease = lease.opened(s.lease, s.held, s.limits, t.now);
  s.held = true;
  s.refreshed = false;
  s.phase = { phase: 'open' };
  clearTimer(t, 'open');
  clearTimer(t, 'pong');
  if (s.lease.spoken === undefined) {
    probe(t);
    setTimer(t, 'beat', t.now + SECOND_BEAT_MS);
  } else {
    setTimer(t, 'beat', t.now + beatEvery(s));
  }
  setTimer(t, 'renew', t.now + RENEW_AFTER_MS - t.random * RENEW_SPREAD_MS);
  for (const [id, since] of s.cancels) {
    if (since + PENDING_FOR_MS > t.now) sendCancel(t, id);
    else s.cancels = withoutKey(s.cancels, id);
  }
  emit(t, { type: 'resumed' });
}

// ---- Losing it

export function onClosed(t: Turn, connection: number): void {
  const { s } = t;
  if (connection === s.successor?.n) successorFailed(t);
  else if (connection === s.old) dropOld(t);
  else if (connection !== s.line?.n || s.line.replaced) return;
  else if (s.line.open) lost(t);
  else refused(t);
}

/** The line is dead. */
export function lost(t: Turn): void {
  const { s } = t;
  const { successor } = s;
  s.successor = undefined;
  hangUp(t);
  if (successor) {
    s.phase = { phase: 'connecting', attempt: s.attempt + 1 };
    s.line = successor;
    setTimer(t, 'open', t.now + OPEN_WITHIN_MS);
  } else if (s.online) {
    backOff(t);
  } else {
    goOffline(t);
  }
}

/**
 * The place is no longer ours. If the user waits for something, the client gets another place. If the client was
 * silent, it waits until the user does something.
 */
export function letGo(t: Turn, code: 'first_message' | 'lease_expired'): void {
  const { s } = t;
  const silent = code === 'first_message' || s.lease.spoken === false;
  const busy = outbox.waiting(s.outbox) || pending(t).length > 0;
  s.held = false;
  if (!busy && (silent || !s.visible)) {
    s.restUntil = silent ? 'wake' : 'visible';
    become(t, { phase: 'resting' });
  } else if (s.attempt === 0) {
    s.attempt = 1;
    connect(t);
  } else {
    hangUp(t);
    backOff(t);
  }
}

export function goElsewhere(t: Turn): void {
  t.s.held = false;
  become(t, { phase: 'elsewhere' });
  setTimer(t, 'look', t.now + lookDelay(t));
}

export function goOffline(t: Turn): void {
  become(t, { phase: 'offline' });
}

function backOff(t: Turn): void {
  const retryAt = t.now + backoff(t, t.s.attempt);
  t.s.attempt++;
  t.s.phase = { phase: 'lost', retryAt, attempt: t.s.attempt };
  setTimer(t, 'retry', retryAt);
}

/** Something changed for the better, so the client looks at once. */
export function lookUp(t: Turn): void {
  const { s } = t;
  switch (s.phase.phase) {
    case 'open':
      return probe(t);
    case 'lost':
      return connect(t);
    case 'offline':
      return s.online ? connect(t) : undefined;
    case 'full':
    case 'elsewhere':
      return s.asked === 0 ? ask(t) : undefined;
    case 'resting':
      return s.restUntil === 'visible' && s.visible ? connect(t) : undefined;
    default:
      return;
  }
}

export function become(t: Turn, phase: LineState): void {
  hangUp(t);
  t.s.phase = phase;
}

/** Ends the connection, the question and the timers, and gives the entries back to the outbox. */
export function hangUp(t: Turn): void {
  const { s } = t;
  if (s.line?.open) {
    // The history has the ends that come while we are away. The next connection begins each answer again.
    s.running = new Map();
    s.answers = forgetRunning(s.answers);
  }
  for (const connection of [s.line?.n, s.successor?.n, s.old]) {
    if (connection) t.effects.push({ type: 'closeSocket', connection });
  }
  s.line = s.successor = undefined;
  s.old = s.asked = 0;
  s.excused = false;
  s.timers = new Map();
  s.outbox = outbox.takenBack(s.outbox);
}

// ---- A fresh connection before the gateway ends this one: make before break

export function renew(t: Turn): void {
  const { s } = t;
  if (!s.line?.open || s.successor) return;
  const busy = pending(t).length > 0 || outbox.onItsWay(s.outbox).length > 0;
  const atLast = s.line.openedAt + RENEW_AT_LAST_MS;
  if (busy && t.now < atLast) return setTimer(t, 'renew', Math.min(t.now + RENEW_LOOK_MS, atLast));
  s.successor = open(t, {});
  setTimer(t, 'succeed', t.now + OPEN_WITHIN_MS);
}

export function successorFailed(t: Turn): void {
  const { s } = t;
  if (!s.line || !s.successor) return;
  t.effects.push({ type: 'closeSocket', connection: s.successor.n });
  s.successor = undefined;
  if (s.line.replaced) return lost(t);
  s.line = { ...s.line, failedSuccessors: s.line.failedSuccessors + 1 };
  clearTimer(t, 'succeed');
  setTimer(t, 'renew', t.now + RENEW_AGAIN_MS);
}

export function dropOld(t: Turn): void {
  if (t.s.old !== 0) t.effects.push({ type: 'closeSocket', connection: t.s.old });
  t.s.old = 0;
  clearTimer(t, 'linger');
}

function lookDelay(t: Turn): number {
  return LOOK_EVERY_MS * (0.8 + 0.4 * t.random);
}
