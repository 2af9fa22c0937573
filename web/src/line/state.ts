/**
 * The state of the machine, and the parts that every step uses: the step in the making, timers, and the effects that
 * follow from a change of the state.
 */

import * as answers from './answers';
import { unknownLease, type Lease } from './lease';
import * as outbox from './outbox';
import type { Effect, Entry, LineEvent, LineState, Limits, Snapshot, TimerName } from './types';

/** The server counts an unanswered message against its sender for this long. */
export const PENDING_FOR_MS = 300_000;
const FIRST_BACKOFF_MS = 500;
const LONGEST_BACKOFF_MS = 20_000;

export interface Connection {
  readonly n: number;
  readonly open: boolean;
  readonly openedAt: number;
  /** Failed changes to a fresh connection. The server may have seen one of them all the same. */
  readonly failedSuccessors: number;
  /** The successor has the place and will be open in a moment. */
  readonly replaced: boolean;
}

/** A step copies the state and replaces what it changes. Nested values are never changed in place. */
export interface State {
  readonly limits: Limits;
  readonly session: string;
  wanted: boolean;
  online: boolean;
  visible: boolean;
  phase: LineState;
  line: Connection | undefined;
  /** The fresh connection that will replace the line. */
  successor: Connection | undefined;
  /** The connection that the line replaced, while frames may still be on their way there. 0: none. */
  old: number;
  /** The last number given to a connection or a question. */
  counter: number;
  /** The open question about admission. 0: none. */
  asked: number;
  /** The number of attempts since a connection has proved itself. */
  attempt: number;
  refusals: number;
  /** This session was the last to have the place, as far as the client knows. */
  held: boolean;
  /** The line was silent when a frame was due, and the machine had slept. So the line got a second chance. */
  excused: boolean;
  /** The token was refused, and this is another one. */
  refreshed: boolean;
  /** The event that ends the phase `resting`. */
  restUntil: 'wake' | 'visible';
  lease: Lease;
  skewMs: number | undefined;
  outbox: outbox.Outbox;
  /** Messages to cancel that are not known to have ended, with the moment of the wish. */
  cancels: ReadonlyMap<string, number>;
  /** Messages that are accepted and have not ended, with the moment of their last sign. */
  running: ReadonlyMap<string, number>;
  answers: answers.Answers;
  timers: ReadonlyMap<TimerName, number>;
}

/** `held`: the session is not a new one. */
export function initial(options: { limits: Limits; session: string; held: boolean; outbox: readonly Entry[] }): State {
  return {
    limits: options.limits,
    session: options.session,
    wanted: false,
    online: true,
    visible: true,
    phase: { phase: 'idle' },
    line: undefined,
    successor: undefined,
    old: 0,
    counter: 0,
    asked: 0,
    attempt: 0,
    refusals: 0,
    held: options.held,
    excused: false,
    refreshed: false,
    restUntil: 'wake',
    lease: unknownLease,
    skewMs: undefined,
    outbox: options.outbox
      .filter((entry) => entry.tried || !entry.cancelled)
      .reduce<outbox.Outbox>((all, entry) => outbox.add(all, outbox.restored(entry)), []),
    cancels: new Map(),
    running: new Map(),
    answers: answers.noAnswers,
    timers: new Map(),
  };
}

export function snapshotOf(s: State): Snapshot {
  return { state: shown(s), outbox: s.outbox.map(outbox.outgoing), answers: answers.textsOf(s.answers) };
}

/** One step: the next state in the making, and the effects to carry out. */
export interface Turn {
  s: State;
  readonly now: number;
  readonly random: number;
  readonly effects: Effect[];
}

export function emit(t: Turn, event: LineEvent): void {
  t.effects.push({ type: 'emit', event });
}

export function find(s: State, id: string): Entry | undefined {
  return s.outbox.find((entry) => entry.id === id);
}

/** The accepted messages that still count against us: when each was last heard of. */
export function pending(t: Turn): number[] {
  return [...t.s.running.values()].filter((heard) => heard + PENDING_FOR_MS > t.now);
}

export function beatEvery(s: State): number {
  return Math.max(5000, (s.limits.leaseSeconds * 1000) / 3);
}

/** Full jitter. */
export function backoff(t: Turn, attempt: number): number {
  return t.random * Math.min(LONGEST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** attempt);
}

export function setTimer(t: Turn, name: TimerName, at: number): void {
  t.s.timers = withKey(t.s.timers, name, at);
}

export function clearTimer(t: Turn, name: TimerName): void {
  t.s.timers = withoutKey(t.s.timers, name);
}

export function withKey<K, V>(map: ReadonlyMap<K, V>, key: K, value: V): ReadonlyMap<K, V> {
  return new Map(map).set(key, value);
}

export function withoutKey<K, V>(map: ReadonlyMap<K, V>, key: K): ReadonlyMap<K, V> {
  if (!map.has(key)) return map;
  const copy = new Map(map);
  copy.delete(key);
  return copy;
}

/** A user who has something to send needs no countdown. */
function shown(s: State): LineState {
  if (s.phase.phase !== 'open' || s.lease.deadline === undefined || outbox.waiting(s.outbox)) return s.phase;
  return { phase: 'open', silentDeadline: s.lease.deadline };
}

/** The effects that follow from the difference of two states, around those of the step itself. */
export function changes(before: State, after: State, effects: Effect[]): Effect[] {
  const first: Effect[] = [];
  if (before.outbox !== after.outbox) {
    const were = new Map(before.outbox.map((entry) => [entry.id, entry]));
    for (const entry of after.outbox) {
      if (were.get(entry.id) !== entry) first.push({ type: 'store', id: entry.id, entry });
      were.delete(entry.id);
    }
    for (const id of were.keys()) first.push({ type: 'store', id });
  }
  const last: Effect[] = [];
  if (before.timers !== after.timers) {
    for (const name of new Set([...before.timers.keys(), ...after.timers.keys()])) {
      const at = after.timers.get(name);
      if (at === before.timers.get(name)) continue;
      last.push(at === undefined ? { type: 'clearTimer', name } : { type: 'setTimer', name, at });
    }
  }
  const state = shown(after);
  if (JSON.stringify(state) !== JSON.stringify(shown(before))) last.push({ type: 'emit', event: { type: 'state', state } });
  if (before.outbox !== after.outbox) {
    last.push({ type: 'emit', event: { type: 'outbox', outbox: after.outbox.map(outbox.outgoing) } });
  }
  return [...first, ...effects, ...last];
}
