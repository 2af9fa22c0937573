/**
 * The protocol of the client as one pure function: `step(state, input)` gives the next state and the effects to carry
 * out.
 *
 * It owns no socket, clock or timer. Its runner (`driver.ts`) feeds it each event with the moment and a random number,
 * and carries out the effects in order. So every run can be repeated, and a test can stop it anywhere.
 *
 * # Why it holds
 *
 * - **An old socket can't disturb.** Each connection has a number, and so has each question about admission. An input
 *   with a number that is not awaited any more changes nothing.
 * - **Every wait ends.** Everything that the machine waits for (a socket to open, an answer to a question, a sign of
 *   life, `accepted`) has a timer beside it. A timer that fires is believed, even if the clock was turned back
 *   meanwhile.
 * - **Nothing is lost.** An entry leaves the outbox when a frame from the server names it as accepted or ended, or when
 *   the user takes back an entry that was never sent. A change of the outbox is stored before anything is sent: its
 *   effects come first.
 * - **Nothing is doubled.** An entry keeps its id however often it is sent, and the server makes one message of it.
 * - **Nothing is sent into a change of connections.** The server moves our place when it answers the new handshake,
 *   before we hear of it. From the request until the answer, the outbox waits.
 * - **No storm.** Delays grow until a connection has proved itself with a frame that only a working place gives.
 */

import { hasEnded } from './answers';
import {
  ask,
  become,
  connect,
  dropOld,
  goOffline,
  hangUp,
  lookUp,
  lost,
  onAdmission,
  onClosed,
  onOpened,
  refused,
  renew,
  successorFailed,
} from './connection';
import { onFrame } from './frames';
import * as outbox from './outbox';
import { onCancel, probe, sendDue } from './speech';
import { changes, clearTimer, find, withKey, withoutKey, type State, type Turn } from './state';
import type { Effect, Input, TimerName } from './types';

export { initial, snapshotOf, type State } from './state';

/** A timer that fires later than this fired after a sleep of the machine. */
export const SLEPT_MS = 20_000;

export function step(before: State, input: Input): { state: State; effects: Effect[] } {
  let due = input.now;
  let from = before;
  if (input.type === 'timer') {
    const at = before.timers.get(input.name);
    if (at === undefined) return { state: before, effects: [] }; // cleared while it fired
    due = at;
    from = { ...before, timers: withoutKey(before.timers, input.name) };
  }
  const t: Turn = { s: { ...from }, now: Math.max(input.now, due), random: input.random, effects: [] };
  if (input.skewMs !== undefined) t.s.skewMs = input.skewMs;
  if (input.type === 'timer') onTimer(t, input.name, due);
  else handle(t, input);
  sendDue(t);
  return { state: t.s, effects: changes(from, t.s, t.effects) };
}

function handle(t: Turn, input: Exclude<Input, { type: 'timer' }>): void {
  const { s } = t;
  switch (input.type) {
    case 'wanted':
      s.wanted = true;
      if (s.online) connect(t);
      else s.phase = { phase: 'offline' };
      return;
    case 'unwanted':
      hangUp(t);
      s.wanted = false;
      s.phase = { phase: 'idle' };
      return;
    case 'online':
      s.online = true;
      s.attempt = s.phase.phase === 'offline' ? 0 : s.attempt;
      return lookUp(t);
    case 'offline':
      s.online = false;
      if (s.phase.phase === 'open') return probe(t);
      if (s.phase.phase === 'lost' || s.phase.phase === 'connecting') goOffline(t);
      return;
    case 'visible':
      s.visible = true;
      return lookUp(t);
    case 'hidden':
      s.visible = false;
      return;
    case 'opened':
      return onOpened(t, input.connection);
    case 'closed':
      return onClosed(t, input.connection);
    case 'tokenRefused':
      if (input.connection === s.successor?.n) return successorFailed(t);
      if (input.connection === s.line?.n) become(t, { phase: 'signedOut' });
      return;
    case 'frame':
      if ([s.line?.n, s.old].includes(input.connection)) onFrame(t, input.connection, input.frame);
      return;
    case 'admission':
      if (input.ask === s.asked) onAdmission(t, input.answer);
      return;
    case 'send':
      s.outbox = outbox.add(s.outbox, outbox.restored(input.entry));
      if (s.phase.phase === 'resting') connect(t);
      return;
    case 'cancel':
      return onCancel(t, input.id);
    case 'resend':
      s.outbox = outbox.revived(s.outbox, input.id);
      if (s.phase.phase === 'resting') connect(t);
      return;
    case 'discard':
      if (find(s, input.id)?.state === 'refused') s.outbox = outbox.remove(s.outbox, input.id);
      return;
    case 'expect':
      for (const id of input.ids) {
        if (!s.running.has(id) && !hasEnded(s.answers, id)) s.running = withKey(s.running, id, t.now);
      }
      return;
    case 'takeOver':
      if (s.phase.phase !== 'open') connect(t, { takeover: true });
      return;
    case 'retryNow':
      if (s.phase.phase === 'open' || s.phase.phase === 'connecting') return;
      s.attempt = 0;
      // After two refusals the client needs another token.
      return connect(t, { refresh: s.phase.phase === 'signedOut' });
    case 'wake':
      if (s.phase.phase === 'resting') connect(t);
      return;
  }
}

function onTimer(t: Turn, name: TimerName, due: number): void {
  const { s } = t;
  const urgent = name === 'pong' || name === 'answer';
  if (t.now - due > SLEPT_MS && s.line?.open && !(urgent && s.excused)) {
    // The machine slept, and frames that came meanwhile may not be read yet. The line gets a second chance but no
    // third: in a hidden tab every timer is late.
    s.excused ||= urgent;
    s.outbox = s.outbox.map((entry) => (entry.on === 0 ? entry : { ...entry, sentAt: t.now }));
    clearTimer(t, 'pong');
    probe(t);
    if (urgent || name === 'beat') return;
  }
  switch (name) {
    case 'open':
      return refused(t);
    case 'ask':
      return onAdmission(t, 'failed');
    case 'retry':
      return connect(t);
    case 'look':
      return ask(t);
    case 'beat':
      return probe(t);
    case 'pong':
    case 'answer':
      return lost(t);
    case 'renew':
      return renew(t);
    case 'succeed':
      return successorFailed(t);
    case 'linger':
      return dropOld(t);
    case 'outbox':
      return; // every step looks at the outbox
  }
}

