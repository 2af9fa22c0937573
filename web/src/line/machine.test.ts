/** The machine, step by step: its reaction to everything that may happen, without a server that answers by itself. */

import { describe, expect, it } from 'vitest';
import type { Admission, Message, ServerFrame } from '../contract';
import { initial, snapshotOf, step, type State } from './machine';
import { entryOf, MAX_FRAME_BYTES } from './outbox';
import type { Effect, Entry, Happening, LineEvent, TimerName } from './types';

const limits = { leaseSeconds: 60, firstMessageSeconds: 60, maxPendingPerClient: 10 };
const START = 1_000_000;
const HOUR = 3_600_000;

function bench(options: { held?: boolean; outbox?: Entry[]; max?: number; skewMs?: number } = {}) {
  const max = options.max ?? limits.maxPendingPerClient;
  let state: State = initial({
    limits: { ...limits, maxPendingPerClient: max },
    session: 'me',
    held: options.held ?? false,
    outbox: options.outbox ?? [],
  });
  let now = START;
  let effects: Effect[] = [];
  const timers = new Map<TimerName, number>();
  const b = {
    random: 0.5,
    get now() {
      return now;
    },
    get phase() {
      return snapshotOf(state).state;
    },
    get outbox() {
      return snapshotOf(state).outbox.map((entry) => [entry.id, entry.state]);
    },
    feed(input: Happening) {
      const before = structuredClone(state);
      const done = step(state, {
        ...input,
        now,
        random: b.random,
        ...(options.skewMs !== undefined && { skewMs: options.skewMs }),
      });
      expect(state, 'a step changes nothing in place').toEqual(before);
      state = done.state;
      effects.push(...done.effects);
      for (const effect of done.effects) {
        if (effect.type === 'setTimer') timers.set(effect.name, effect.at);
        if (effect.type === 'clearTimer') timers.delete(effect.name);
      }
      return b;
    },
    /** Lets time pass, and timers fire. */
    pass(ms: number) {
      const until = now + ms;
      for (;;) {
        const [next] = [...timers].filter(([, at]) => at <= until).sort((a, z) => a[1] - z[1]);
        if (!next) break;
        now = Math.max(now, next[1]);
        timers.delete(next[0]);
        b.feed({ type: 'timer', name: next[0] });
      }
      now = until;
      return b;
    },
    /** Everything stands still, and then the timers fire late. */
    sleep(ms: number) {
      now += ms;
      return b.pass(0);
    },
    turnClock(ms: number) {
      now += ms;
    },
    timer: (name: TimerName) => timers.get(name),
    /** Effects since the last time, of one type. */
    took<T extends Effect['type']>(type: T): Extract<Effect, { type: T }>[] {
      const some = effects.filter((effect): effect is Extract<Effect, { type: T }> => effect.type === type);
      effects = effects.filter((effect) => effect.type !== type);
      return some;
    },
    order: (...types: Effect['type'][]) => effects.map(({ type }) => type).filter((type) => types.includes(type)),
    events(): LineEvent[] {
      return b.took('emit').map((effect) => effect.event);
    },
    sent() {
      return b.took('sendFrame').map(({ connection, frame }) => ({ connection, ...frame }));
    },
    /** The connection that is being opened. */
    opening(): number {
      const sockets = b.took('openSocket');
      expect(sockets).toHaveLength(1);
      return sockets[0]?.connection ?? 0;
    },
    open(): number {
      const connection = b.opening();
      b.feed({ type: 'opened', connection });
      return connection;
    },
    frame: (connection: number, frame: ServerFrame) => b.feed({ type: 'frame', connection, frame }),
    /** Answers the question about admission. */
    admission(answer: Partial<Admission> | 'unauthorized' | 'failed') {
      const [question] = b.took('askAdmission');
      expect(question, 'admission is asked').toBeDefined();
      const full = { state: 'open' as const, inUse: 50, capacity: 50, retryAfterSeconds: 0 };
      b.feed({
        type: 'admission',
        ask: question?.ask ?? 0,
        answer: typeof answer === 'string' ? answer : { ...full, ...answer },
      });
      return b;
    },
    /** A handshake that fails, and the answer of admission about it. */
    refuse(answer: Partial<Admission> | 'unauthorized' | 'failed') {
      return b.feed({ type: 'closed', connection: b.opening() }).admission(answer);
    },
    say(id: string, conversationId = 'c', more: { parentId?: string; text?: string } = {}) {
      return b.feed({ type: 'send', entry: entryOf({ id, conversationId, text: 'hi', ...more }, state.outbox, now) });
    },
    accept(connection: number, id: string) {
      return b.frame(connection, { type: 'accepted', id, duplicate: false, message: message(id, now) });
    },
    reply(connection: number, id: string) {
      return b.frame(connection, { type: 'reply', id, message: message(id, now), replies: [] });
    },
    error(connection: number, code: string, id?: string, retryAfterMs?: number) {
      return b.frame(connection, {
        type: 'error',
        code,
        message: code,
        ...(id !== undefined && { id }),
        ...(retryAfterMs !== undefined && { retryAfterMs }),
      });
    },
    closing(connection: number, code: Extract<ServerFrame, { type: 'closing' }>['code']) {
      return b.frame(connection, { type: 'closing', code, message: '' });
    },
    heartbeat(connection: number, expiresAt: number) {
      return b.frame(connection, { type: 'heartbeat', leaseExpiresAt: new Date(expiresAt).toISOString() });
    },
  };
  return b;
}

function message(id: string, at: number): Message {
  return {
    id,
    conversationId: 'c',
    role: 'user',
    type: 'text',
    text: 'hi',
    status: 'queued',
    createdAt: new Date(at).toISOString(),
  };
}

/** A line that is open, and a message said on it. */
function talking(options: Parameters<typeof bench>[0] = {}) {
  const b = bench(options).feed({ type: 'wanted' });
  const connection = b.open();
  b.say('first').accept(connection, 'first').reply(connection, 'first');
  b.sent();
  b.events();
  return { b, connection };
}

describe('connecting', () => {
  it('opens a connection when it is wanted, and says so', () => {
    const b = bench().feed({ type: 'wanted' });
    expect(b.phase).toEqual({ phase: 'connecting', attempt: 1 });
    expect(b.took('openSocket')).toEqual([
      { type: 'openSocket', connection: 1, session: 'me', takeover: false, refresh: false },
    ]);
    b.events();
    b.feed({ type: 'opened', connection: 1 });
    expect(b.phase).toEqual({ phase: 'open', silentDeadline: START + 60_000 });
    expect(b.events().map((event) => event.type)).toEqual(['resumed', 'state']);
  });

  it('backs off with full jitter, further each time, up to 20 seconds', () => {
    const b = bench().feed({ type: 'wanted' });
    const delays: number[] = [];
    for (let attempt = 0; attempt < 8; attempt++) {
      b.refuse({ state: 'open' });
      const phase = b.phase;
      if (phase.phase !== 'lost') throw new Error(phase.phase);
      expect(phase.attempt).toBe(attempt + 1);
      delays.push(phase.retryAt - b.now);
      b.pass(phase.retryAt - b.now);
    }
    expect(delays).toEqual([250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
  });

  it('does not begin anew with short delays before a connection has proved itself', () => {
    const b = bench().feed({ type: 'wanted' });
    b.refuse({ state: 'open' }).pass(250).refuse({ state: 'open' }).pass(500);
    let connection = b.open();
    b.error(connection, 'unreadable').feed({ type: 'closed', connection });
    expect(b.phase).toMatchObject({ phase: 'lost', attempt: 3, retryAt: b.now + 1000 });
    b.pass(1000);
    connection = b.open();
    b.heartbeat(connection, b.now).feed({ type: 'closed', connection });
    expect(b.phase).toMatchObject({ phase: 'lost', attempt: 1, retryAt: b.now + 250 });
  });

  it('gives up on a handshake that does not end, and on a question that is not answered', () => {
    const b = bench().feed({ type: 'wanted' });
    const connection = b.opening();
    b.pass(15_000);
    expect(b.took('closeSocket')).toEqual([{ type: 'closeSocket', connection }]);
    expect(b.took('askAdmission')).toHaveLength(1);
    b.pass(10_000);
    expect(b.phase.phase).toBe('lost');
  });

  it('does not listen to a connection that was given up', () => {
    const b = bench().feed({ type: 'wanted' });
    const connection = b.opening();
    b.pass(15_000).feed({ type: 'opened', connection });
    expect(b.phase.phase).toBe('connecting');
    b.admission({ state: 'open' }).feed({ type: 'opened', connection });
    expect(b.phase.phase).toBe('lost');
    b.feed({ type: 'admission', ask: 99, answer: 'unauthorized' });
    expect(b.phase.phase).toBe('lost');
  });

  it('goes idle when it is no longer wanted, from everywhere', () => {
    const { b, connection } = talking();
    b.feed({ type: 'unwanted' });
    expect(b.phase).toEqual({ phase: 'idle' });
    expect(b.took('closeSocket')).toContainEqual({ type: 'closeSocket', connection });
    b.pass(HOUR).feed({ type: 'wake' }).feed({ type: 'retryNow' }).feed({ type: 'visible' }).feed({ type: 'online' });
    expect(b.phase).toEqual({ phase: 'idle' });
    b.took('openSocket');
  });
});

describe('a full house', () => {
  it('says how full, asks again within ten seconds, and connects as soon as a place is free', () => {
    const b = bench().feed({ type: 'wanted' }).refuse({ state: 'full', retryAfterSeconds: 45 });
    expect(b.phase).toEqual({ phase: 'full', inUse: 50, capacity: 50, retryAt: b.now + 7500 });
    b.pass(7500);
    expect(b.took('openSocket')).toEqual([]);
    b.admission({ state: 'full', inUse: 50, retryAfterSeconds: 2 });
    expect(b.phase).toMatchObject({ phase: 'full', retryAt: b.now + 1500 });
    b.pass(1500).admission({ state: 'open', inUse: 49 });
    b.open();
    expect(b.phase.phase).toBe('open');
  });

  it('asks at once when the user comes back or insists', () => {
    const b = bench().feed({ type: 'wanted' }).refuse({ state: 'full', retryAfterSeconds: 45 });
    b.feed({ type: 'visible' }).feed({ type: 'visible' });
    expect(b.took('askAdmission')).toHaveLength(1);
    b.feed({ type: 'retryNow' });
    b.open();
  });

  it('keeps waiting when the question fails', () => {
    const b = bench().feed({ type: 'wanted' }).refuse({ state: 'full', retryAfterSeconds: 1 });
    b.pass(1000).admission('failed');
    expect(b.phase.phase).toBe('full');
    b.pass(20_000).admission({ state: 'open' });
    b.open();
  });
});

describe('another session', () => {
  it('is said at once where this one never had the place, and looked after until it is gone', () => {
    const b = bench().feed({ type: 'wanted' }).refuse({ state: 'connected' });
    expect(b.phase).toEqual({ phase: 'elsewhere' });
    b.pass(15_000).admission({ state: 'connected' });
    expect(b.took('openSocket')).toEqual([]);
    b.pass(15_000).admission({ state: 'open' });
    b.open();
    expect(b.phase.phase).toBe('open');
  });

  it('gives its place up when the user says so here', () => {
    const b = bench().feed({ type: 'wanted' }).refuse({ state: 'connected' }).feed({ type: 'takeOver' });
    expect(b.took('openSocket')).toMatchObject([{ takeover: true }]);
  });

  it('is not believed three times where this one was the last to have the place', () => {
    const { b, connection } = talking();
    b.feed({ type: 'closed', connection }).pass(250);
    for (const delay of [500, 1000, 2000]) {
      b.refuse({ state: 'connected' });
      expect(b.phase.phase).toBe('lost');
      b.pass(delay);
    }
    b.refuse({ state: 'connected' });
    expect(b.phase.phase).toBe('elsewhere');
  });

  it('is not believed at once by a session that is known from before', () => {
    const b = bench({ held: true }).feed({ type: 'wanted' }).refuse({ state: 'connected' });
    expect(b.phase.phase).toBe('lost');
  });

  it('takes the place away, and this one does not fight for it', () => {
    const { b, connection } = talking();
    b.closing(connection, 'replaced').feed({ type: 'closed', connection });
    expect(b.phase).toEqual({ phase: 'elsewhere' });
    b.pass(10_000);
    expect(b.took('openSocket')).toEqual([]);
    b.feed({ type: 'retryNow' }).refuse({ state: 'connected' });
    expect(b.phase).toEqual({ phase: 'elsewhere' });
  });

  it('keeps what is to be said for when the place comes back', () => {
    const { b, connection } = talking();
    b.closing(connection, 'replaced').say('second');
    expect(b.phase).toEqual({ phase: 'elsewhere' });
    b.feed({ type: 'takeOver' });
    const next = b.open();
    expect(b.sent()).toContainEqual(expect.objectContaining({ connection: next, id: 'second' }));
  });
});

describe('a token', () => {
  it('is renewed once when it is refused, and then somebody has to sign in', () => {
    const b = bench().feed({ type: 'wanted' }).refuse('unauthorized');
    expect(b.took('openSocket')).toMatchObject([{ refresh: true }]);
    b.feed({ type: 'closed', connection: 3 }).admission('unauthorized');
    expect(b.phase).toEqual({ phase: 'signedOut' });
    b.feed({ type: 'retryNow' });
    expect(b.took('openSocket')).toMatchObject([{ refresh: true }]);
  });

  it('may run out again after it was good', () => {
    const b = bench().feed({ type: 'wanted' }).refuse('unauthorized');
    const connection = b.open();
    b.heartbeat(connection, b.now).feed({ type: 'closed', connection }).pass(250).refuse('unauthorized');
    expect(b.took('openSocket')).toMatchObject([{ refresh: true }]);
  });

  it('that is not to be had means signed out', () => {
    const b = bench().feed({ type: 'wanted' }).feed({ type: 'tokenRefused', connection: 1 });
    expect(b.phase).toEqual({ phase: 'signedOut' });
  });
});

describe('no network', () => {
  it('is said, and nothing is tried until it is back', () => {
    const b = bench().feed({ type: 'offline' }).feed({ type: 'wanted' });
    expect(b.phase).toEqual({ phase: 'offline' });
    b.pass(HOUR);
    expect(b.took('openSocket')).toEqual([]);
    b.feed({ type: 'online' });
    b.open();
  });

  it('is not taken for the end of an open line before that is silent', () => {
    const { b } = talking();
    b.feed({ type: 'offline' });
    expect(b.phase.phase).toBe('open');
    expect(b.sent()).toMatchObject([{ action: 'heartbeat' }]);
    b.pass(10_000);
    expect(b.phase).toEqual({ phase: 'offline' });
  });

  it('found while connecting ends the attempt, and the user may insist', () => {
    const b = bench().feed({ type: 'wanted' });
    b.feed({ type: 'closed', connection: b.opening() }).feed({ type: 'offline' });
    expect(b.phase).toEqual({ phase: 'offline' });
    b.feed({ type: 'retryNow' });
    b.feed({ type: 'closed', connection: b.opening() });
    expect(b.phase).toEqual({ phase: 'offline' });
  });

  it('that fails without a word is backed off from, and a network that comes back is used at once', () => {
    const b = bench().feed({ type: 'wanted' }).refuse('failed');
    expect(b.phase.phase).toBe('lost');
    b.feed({ type: 'online' });
    b.opening();
  });
});

describe('heartbeats', () => {
  it('go every third of a lease, and a silence of ten seconds after one is the end of the line', () => {
    const { b, connection } = talking();
    b.pass(20_000);
    expect(b.sent()).toEqual([{ connection, action: 'heartbeat' }]);
    b.heartbeat(connection, b.now + 60_000).pass(20_000);
    expect(b.sent()).toEqual([{ connection, action: 'heartbeat' }]);
    b.pass(9999);
    expect(b.phase.phase).toBe('open');
    b.pass(1);
    expect(b.phase.phase).toBe('lost');
    expect(b.took('closeSocket')).toContainEqual({ type: 'closeSocket', connection });
  });

  it('are answered by any frame', () => {
    const { b, connection } = talking();
    b.pass(20_000).error(connection, 'unreadable').pass(15_000);
    expect(b.phase.phase).toBe('open');
  });

  it('are sent at once after a sleep, and the line gets ten seconds to answer', () => {
    const { b, connection } = talking();
    b.pass(20_000).sent();
    b.sleep(HOUR);
    expect(b.sent()).toContainEqual({ connection, action: 'heartbeat' });
    b.pass(9000);
    expect(b.phase.phase).toBe('open');
    b.heartbeat(connection, b.now + 60_000).pass(5000);
    expect(b.phase.phase).toBe('open');
  });

  it('go every five seconds while nobody has begun to answer, so that the server looks after the message', () => {
    const { b, connection } = talking();
    b.say('a').accept(connection, 'a').sent();
    const beats = (ms: number) => {
      b.pass(ms);
      const sent = b.sent().filter((frame) => frame.action === 'heartbeat').length;
      if (sent > 0) b.heartbeat(connection, b.now + 60_000);
      return sent;
    };
    for (let i = 0; i < 4; i++) expect([beats(4999), beats(1)]).toEqual([0, 1]);
    b.frame(connection, { type: 'delta', id: 'a', seq: 0, text: 'Hello' });
    // From then on, only the lease decides when a heartbeat is due.
    expect([beats(19_999), beats(1)]).toEqual([0, 1]);
    b.say('b').accept(connection, 'b').sent();
    expect(beats(5000)).toBe(1);
    b.reply(connection, 'b');
    expect([beats(19_999), beats(1)]).toEqual([0, 1]);
  });

  it('find a dead line even where every timer is late', () => {
    const { b } = talking();
    b.pass(20_000).sleep(60_000);
    expect(b.phase.phase).toBe('open');
    b.sleep(60_000);
    expect(b.phase.phase).not.toBe('open');
  });

  it('probe the line when the user comes back', () => {
    const { b, connection } = talking();
    b.feed({ type: 'visible' });
    expect(b.sent()).toEqual([{ connection, action: 'heartbeat' }]);
  });
});

describe('a silent client', () => {
  it('rests after it was let go, and the user stirring ends it', () => {
    const b = bench().feed({ type: 'wanted' });
    const connection = b.open();
    b.pass(20_000).heartbeat(connection, START + 60_000).pass(20_000).heartbeat(connection, START + 60_000);
    expect(b.phase).toEqual({ phase: 'open', silentDeadline: START + 60_000 });
    b.closing(connection, 'first_message').feed({ type: 'closed', connection });
    expect(b.phase).toEqual({ phase: 'resting' });
    b.pass(HOUR).feed({ type: 'visible' });
    expect(b.took('openSocket')).toEqual([]);
    b.feed({ type: 'wake' });
    b.open();
  });

  it.each(['send', 'retryNow'] as const)('connects again for %s', (type) => {
    const b = bench().feed({ type: 'wanted' });
    const connection = b.open();
    b.closing(connection, 'first_message');
    if (type === 'send') b.say('a');
    else b.feed({ type });
    const next = b.open();
    expect(b.sent().filter((frame) => frame.action === 'sendMessage')).toMatchObject(
      type === 'send' ? [{ connection: next, id: 'a' }] : [],
    );
  });

  it('learns it from an error, when that comes before the closing', () => {
    const b = bench().feed({ type: 'wanted' });
    const connection = b.open();
    b.error(connection, 'lease_expired');
    expect(b.phase).toEqual({ phase: 'resting' });
  });

  it('sees no countdown once it says something', () => {
    const b = bench().feed({ type: 'wanted' });
    const connection = b.open();
    b.say('a');
    expect(b.phase).toEqual({ phase: 'open' });
    b.accept(connection, 'a');
    expect(b.phase).toEqual({ phase: 'open' });
  });

  it('is not let rest while it waits for an answer', () => {
    const b = bench().feed({ type: 'wanted' });
    const connection = b.open();
    b.feed({ type: 'expect', ids: ['running'] }).closing(connection, 'first_message');
    expect(b.phase).toEqual({ phase: 'connecting', attempt: 2 });
  });

  it('is told a safe deadline when what is known of the clocks is wrong', () => {
    const b = bench({ skewMs: 0 }).feed({ type: 'wanted' });
    const connection = b.open();
    b.pass(20_000).heartbeat(connection, START + 60_000 - 5 * HOUR);
    expect(b.phase).toEqual({ phase: 'open', silentDeadline: START + 60_000 });
  });

  it('keeps its deadline over a lost line: connecting again is not speaking', () => {
    const b = bench().feed({ type: 'wanted' });
    const connection = b.open();
    b.pass(15_000).feed({ type: 'closed', connection }).pass(1000);
    b.open();
    expect(b.phase).toEqual({ phase: 'open', silentDeadline: START + 60_000 });
  });

  it.each([0, 5 * HOUR, -5 * HOUR])('is told its deadline with clocks %i ms apart', (skew) => {
    const b = bench({ skewMs: skew }).feed({ type: 'wanted' });
    const connection = b.open();
    b.pass(20_000).heartbeat(connection, START + 50_000 + skew);
    expect(b.phase).toEqual({ phase: 'open', silentDeadline: START + 50_000 });
  });

  it.each([0, 5 * HOUR, -5 * HOUR])('is told a safe deadline when nobody knows that clocks are %i ms apart', (skew) => {
    const b = bench().feed({ type: 'wanted' });
    const connection = b.open();
    b.pass(20_000).heartbeat(connection, START + 60_000 + skew);
    expect(b.phase).toEqual({ phase: 'open', silentDeadline: START + 60_000 });
  });

  it('finds out after a lost line whether its place is still renewable', () => {
    for (const renewable of [true, false]) {
      const { b, connection } = talking();
      b.feed({ type: 'closed', connection }).pass(250);
      const next = b.open();
      expect(b.sent()).toEqual([{ connection: next, action: 'heartbeat' }]);
      expect(b.phase).toEqual({ phase: 'open' });
      const opened = b.now;
      b.heartbeat(next, b.now + 60_000).pass(5000);
      expect(b.sent()).toEqual([{ connection: next, action: 'heartbeat' }]);
      b.heartbeat(next, renewable ? b.now + 60_000 : opened + 60_000);
      const silent = { phase: 'open', silentDeadline: opened + 60_000 };
      expect(b.phase).toEqual(renewable ? { phase: 'open' } : silent);
    }
  });
});

describe('closing', () => {
  it('for a lapsed lease connects at once where somebody looks, and else when somebody does', () => {
    for (const visible of [true, false]) {
      const { b, connection } = talking();
      b.feed({ type: visible ? 'visible' : 'hidden' }).closing(connection, 'lease_expired');
      if (!visible) {
        expect(b.phase).toEqual({ phase: 'resting' });
        b.pass(HOUR);
        expect(b.took('openSocket')).toEqual([]);
        b.feed({ type: 'visible' });
      }
      b.open();
      expect(b.phase.phase).toBe('open');
    }
  });

  it('again and again for a lapsed lease is no reason to hurry', () => {
    const { b, connection } = talking();
    b.closing(connection, 'lease_expired');
    b.closing(b.open(), 'lease_expired');
    b.feed({ type: 'wake' });
    b.closing(b.open(), 'lease_expired');
    expect(b.phase.phase).toBe('resting');
  });

  it('by an admin lasts until the user insists', () => {
    const { b, connection } = talking();
    b.closing(connection, 'closed_by_admin').feed({ type: 'closed', connection });
    expect(b.phase).toEqual({ phase: 'closedByAdmin' });
    b.pass(HOUR).feed({ type: 'wake' }).feed({ type: 'visible' }).say('a');
    expect(b.took('openSocket')).toEqual([]);
    b.feed({ type: 'retryNow' });
    b.open();
  });

  it('without a word is a lost line', () => {
    const { b, connection } = talking();
    b.feed({ type: 'closed', connection });
    expect(b.phase.phase).toBe('lost');
  });
});

describe('the outbox', () => {
  it('stores an entry before it sends it, and erases it when it is accepted', () => {
    const b = bench().feed({ type: 'wanted' });
    const connection = b.open();
    b.took('store');
    b.say('a');
    expect(b.order('store', 'sendFrame')).toEqual(['store', 'sendFrame']);
    expect(b.took('store')).toMatchObject([{ id: 'a', entry: { tried: true } }]);
    expect(b.outbox).toEqual([['a', 'sent']]);
    b.accept(connection, 'a');
    expect(b.took('store')).toEqual([{ type: 'store', id: 'a' }]);
    expect(b.outbox).toEqual([]);
  });

  it('sends one of a conversation at a time, and those of others beside it', () => {
    const b = bench().feed({ type: 'wanted' });
    const connection = b.open();
    b.say('a1', 'a').say('a2', 'a').say('b1', 'b');
    expect(b.sent()).toMatchObject([{ id: 'a1' }, { id: 'b1' }]);
    b.accept(connection, 'a1');
    expect(b.sent()).toMatchObject([{ id: 'a2' }]);
  });

  it('keeps the order of what is said in the same millisecond', () => {
    const b = bench().say('z').say('a').say('m');
    expect(b.outbox.map(([id]) => id)).toEqual(['z', 'a', 'm']);
  });

  it('sends again after a lost line what was not accepted, with the same id and in order', () => {
    const b = bench().feed({ type: 'wanted' });
    let connection = b.open();
    b.say('a1', 'a').say('a2', 'a').say('b1', 'b').accept(connection, 'b1');
    b.sent();
    b.feed({ type: 'closed', connection });
    expect(b.outbox).toEqual([
      ['a1', 'waiting'],
      ['a2', 'waiting'],
    ]);
    b.pass(1000);
    connection = b.open();
    expect(b.sent().filter((frame) => frame.action === 'sendMessage')).toMatchObject([{ id: 'a1', connection }]);
    b.accept(connection, 'a1');
    expect(b.sent()).toMatchObject([{ id: 'a2', connection }]);
  });

  it('keeps at most as many unanswered as the server allows', () => {
    const b = bench({ max: 3 }).feed({ type: 'wanted' });
    const connection = b.open();
    for (const id of ['a', 'b', 'c', 'd', 'e']) b.say(id, id);
    expect(b.sent()).toMatchObject([{ id: 'a' }, { id: 'b' }, { id: 'c' }]);
    b.accept(connection, 'a').accept(connection, 'b');
    expect(b.sent()).toEqual([]);
    b.reply(connection, 'a');
    expect(b.sent()).toMatchObject([{ id: 'd' }]);
    b.error(connection, 'reply_failed', 'b');
    expect(b.sent()).toMatchObject([{ id: 'e' }]);
  });

  it('does not wait for ever for the end of a message that is never told', () => {
    const b = bench({ max: 1 }).feed({ type: 'wanted' });
    const connection = b.open();
    b.say('a').accept(connection, 'a').say('b', 'b');
    b.sent();
    for (let i = 0; i < 60; i++) b.heartbeat(connection, b.now + 60_000).pass(5000);
    expect(b.sent()).toContainEqual(expect.objectContaining({ id: 'b' }));
  });

  it('takes a line for dead on which a message is not answered within ten seconds', () => {
    const { b, connection } = talking();
    b.say('a').pass(9999);
    expect(b.phase.phase).toBe('open');
    b.pass(1);
    expect(b.phase.phase).toBe('lost');
    b.feed({ type: 'closed', connection });
    expect(b.phase.phase).toBe('lost');
  });

  it('does so even if the clock is turned back meanwhile', () => {
    const { b } = talking();
    b.say('a');
    b.turnClock(-5 * HOUR);
    b.feed({ type: 'timer', name: 'answer' });
    expect(b.phase.phase).toBe('lost');
  });

  it('tries again when too many are pending, after the time that the server names', () => {
    const { b, connection } = talking();
    b.say('a').say('b').sent();
    b.error(connection, 'too_many_pending', 'a', 1500).pass(1499);
    expect(b.sent()).toEqual([]);
    b.pass(1);
    expect(b.sent()).toMatchObject([{ id: 'a' }]);
  });

  it('does so even if the clock was turned back since', () => {
    const { b, connection } = talking();
    b.say('a').error(connection, 'too_many_pending', 'a', 1500).sent();
    b.turnClock(-5 * HOUR);
    b.feed({ type: 'timer', name: 'outbox' });
    expect(b.sent()).toMatchObject([{ id: 'a' }]);
  });

  it('tries again three times after a failure on the other side, and then says so', () => {
    const { b, connection } = talking();
    b.say('a');
    for (const delay of [250, 500, 1000]) {
      b.sent();
      b.error(connection, 'internal', 'a').pass(delay);
      expect(b.sent()).toMatchObject([{ id: 'a' }]);
    }
    b.error(connection, 'internal', 'a');
    expect(b.outbox).toEqual([['a', 'refused']]);
  });

  it('connects and sends again when the lease ended under it', () => {
    const { b, connection } = talking();
    b.feed({ type: 'hidden' }).say('a').error(connection, 'lease_expired', 'a');
    const next = b.open();
    expect(b.sent()).toContainEqual(expect.objectContaining({ connection: next, id: 'a' }));
  });

  it('keeps what is refused until the user decides, and lets the others pass', () => {
    const { b, connection } = talking();
    b.say('a').say('b').say('c', 'c', { parentId: 'b' }).say('d');
    b.sent();
    b.error(connection, 'bad_request', 'a');
    expect(b.sent()).toMatchObject([{ id: 'b' }]);
    expect(b.events()).toContainEqual({
      type: 'outbox',
      outbox: expect.arrayContaining([
        expect.objectContaining({ id: 'a', state: 'refused', error: { code: 'bad_request', message: 'bad_request' } }),
      ]),
    });
    b.error(connection, 'media_not_found', 'b');
    expect(b.sent(), 'what continues a refused one waits').toMatchObject([{ id: 'd' }]);
    b.accept(connection, 'd').feed({ type: 'resend', id: 'b' });
    expect(b.sent()).toMatchObject([{ id: 'b' }]);
    b.accept(connection, 'b');
    expect(b.sent()).toMatchObject([{ id: 'c' }]);
    b.accept(connection, 'c').feed({ type: 'discard', id: 'a' });
    expect(b.outbox).toEqual([]);
  });

  it('refuses what no frame can hold before it breaks the line', () => {
    const { b } = talking();
    b.say('a', 'c', { text: '\u0001'.repeat(MAX_FRAME_BYTES / 6) });
    expect(b.outbox).toEqual([['a', 'refused']]);
    expect(b.sent()).toEqual([]);
  });

  it('goes on where another run of the page left it', () => {
    const first = bench().feed({ type: 'wanted' });
    first.open();
    first.say('a').say('b');
    const stored = new Map(first.took('store').map(({ id, entry }) => [id, entry]));
    const outbox = [...stored.values()].flatMap((entry) => (entry ? [structuredClone(entry)] : []));
    const b = bench({ outbox: outbox.reverse(), held: true }).feed({ type: 'wanted' });
    const connection = b.open();
    expect(b.sent().filter((frame) => frame.action === 'sendMessage')).toMatchObject([{ id: 'a' }]);
    b.frame(connection, { type: 'accepted', id: 'a', duplicate: true, message: message('a', b.now) });
    expect(b.sent()).toMatchObject([{ id: 'b' }]);
  });

  it('is content with an answer that overtakes the acceptance', () => {
    const { b, connection } = talking();
    b.say('a').reply(connection, 'a');
    expect(b.outbox).toEqual([]);
    b.accept(connection, 'a').reply(connection, 'a');
    expect(b.events().filter((event) => 'id' in event)).toMatchObject([{ type: 'reply', id: 'a' }]);
    b.pass(15_000);
    expect(b.phase.phase).toBe('open');
  });

  it('is content with a failure that overtakes the acceptance', () => {
    const { b, connection } = talking();
    b.say('a').error(connection, 'reply_failed', 'a');
    expect(b.outbox).toEqual([]);
    expect(b.events()).toContainEqual({ type: 'failed', id: 'a', code: 'reply_failed', message: 'reply_failed' });
  });

  it('takes a copy that is answered late for what it is', () => {
    const { b, connection } = talking();
    b.say('a').accept(connection, 'a');
    b.events();
    b.frame(connection, { type: 'accepted', id: 'a', duplicate: true, message: message('a', b.now) });
    for (const code of ['internal', 'too_many_pending', 'bad_request']) b.error(connection, code, 'a');
    expect(b.events()).toEqual([]);
    b.error(connection, 'reply_failed', 'a').error(connection, 'reply_failed', 'a');
    expect(b.events()).toEqual([{ type: 'failed', id: 'a', code: 'reply_failed', message: 'reply_failed' }]);
  });
});

describe('an answer', () => {
  it('is not continued over a lost line before it is told again', () => {
    const { b, connection } = talking();
    b.frame(connection, { type: 'delta', id: 'a', seq: 0, text: 'one ' }).feed({ type: 'closed', connection }).pass(1000);
    const next = b.open();
    b.frame(next, { type: 'delta', id: 'a', seq: 1, text: 'two ' });
    expect(text(b.events(), 'a')).toBe('one ');
    b.frame(next, { type: 'delta', id: 'a', seq: 2, text: 'one two three ', restart: true });
    expect(text(b.events(), 'a')).toBe('one two three ');
  });
});

describe('cancelling', () => {
  it('takes an unsent message back', () => {
    const b = bench().feed({ type: 'wanted' }).say('a').feed({ type: 'cancel', id: 'a' });
    expect(b.outbox).toEqual([]);
    b.open();
    expect(b.sent()).toEqual([]);
  });

  it('waits for a sent one to be accepted, because before there is nothing to cancel', () => {
    const { b, connection } = talking();
    b.say('a').sent();
    b.feed({ type: 'cancel', id: 'a' });
    expect(b.sent()).toEqual([]);
    b.accept(connection, 'a');
    expect(b.sent()).toEqual([{ connection, action: 'cancel', id: 'a' }]);
  });

  it('is said again on the next connection, until the message has ended', () => {
    const { b, connection } = talking();
    b.say('a').accept(connection, 'a').feed({ type: 'cancel', id: 'a' }).feed({ type: 'closed', connection }).pass(1000);
    b.sent();
    const next = b.open();
    expect(b.sent()).toContainEqual({ connection: next, action: 'cancel', id: 'a' });
    b.reply(next, 'a').feed({ type: 'closed', connection: next }).pass(1000);
    b.open();
    expect(b.sent()).not.toContainEqual(expect.objectContaining({ action: 'cancel' }));
  });

  it('of something that ended, or is not there, leaves nothing behind', () => {
    const { b, connection } = talking();
    b.feed({ type: 'cancel', id: 'first' });
    expect(b.sent()).toEqual([]);
    b.feed({ type: 'cancel', id: 'never' }).error(connection, 'bad_request', 'never');
    b.feed({ type: 'closed', connection }).pass(1000);
    b.sent();
    b.open();
    expect(b.sent()).toMatchObject([{ action: 'heartbeat' }]);
  });
});

describe('the change to a fresh connection', () => {
  function long(minutes: number) {
    const talk = talking();
    const beat = (count: number) => {
      for (let i = 0; i < count * 3; i++) talk.b.heartbeat(talk.connection, talk.b.now + 60_000).pass(20_000);
    };
    beat(minutes);
    talk.b.sent();
    talk.b.events();
    return { ...talk, beat };
  }

  it('is made before the gateway ends the old one, and the line is never down', () => {
    const { b, connection, beat } = long(104);
    expect(b.took('openSocket')).toEqual([]);
    beat(1);
    b.say('a');
    expect(b.sent().filter((frame) => frame.action === 'sendMessage'), 'nothing is said meanwhile').toEqual([]);
    const next = b.opening();
    b.closing(connection, 'replaced').feed({ type: 'closed', connection });
    expect(b.phase.phase).toBe('open');
    b.feed({ type: 'opened', connection: next });
    expect(b.phase.phase).toBe('open');
    expect(b.sent()).toContainEqual(expect.objectContaining({ connection: next, id: 'a' }));
    expect(b.took('closeSocket')).toEqual([]);
    b.pass(5000);
    expect(b.took('closeSocket')).toEqual([{ type: 'closeSocket', connection }]);
    b.heartbeat(next, b.now + 60_000).accept(next, 'a').pass(5000);
    b.heartbeat(next, b.now + 60_000).pass(10_000);
    expect(b.phase.phase).toBe('open');
  });

  it('hears both meanwhile', () => {
    const { b, connection } = long(105);
    const next = b.opening();
    b.feed({ type: 'expect', ids: ['x'] });
    b.frame(connection, { type: 'delta', id: 'x', seq: 0, text: 'one ' });
    b.feed({ type: 'opened', connection: next });
    b.frame(connection, { type: 'delta', id: 'x', seq: 1, text: 'two ' });
    b.frame(next, { type: 'delta', id: 'x', seq: 3, text: 'one two three four ', restart: true });
    b.frame(connection, { type: 'delta', id: 'x', seq: 2, text: 'three ' });
    b.frame(next, { type: 'delta', id: 'x', seq: 4, text: 'five' });
    expect(text(b.events(), 'x')).toBe('one two three four five');
    b.feed({ type: 'closed', connection });
    expect(b.phase.phase).toBe('open');
  });

  it('waits for answers, but not beyond an hour and 58 minutes', () => {
    const { b, connection, beat } = long(104);
    b.say('a').accept(connection, 'a');
    for (let minute = 104; minute < 117; minute++) {
      b.frame(connection, { type: 'delta', id: 'a', seq: minute - 104, text: '.' });
      beat(1);
    }
    expect(b.took('openSocket')).toEqual([]);
    b.frame(connection, { type: 'delta', id: 'a', seq: 13, text: '.' });
    beat(1);
    b.opening();
  });

  it('at last takes along what is on its way, and hears no more of it from the old one', () => {
    const { b, connection, beat } = long(104);
    b.say('a').accept(connection, 'a');
    for (let minute = 104; minute < 118; minute++) {
      b.frame(connection, { type: 'delta', id: 'a', seq: minute - 104, text: '.' });
      if (minute < 117) beat(1);
    }
    beat(0.5);
    b.heartbeat(connection, b.now).pass(START + 118 * 60_000 - 5000 - b.now);
    b.say('b', 'b');
    expect(b.sent()).toContainEqual(expect.objectContaining({ connection, id: 'b' }));
    b.pass(5000);
    const next = b.open();
    expect(b.sent()).toContainEqual(expect.objectContaining({ connection: next, id: 'b' }));
    b.error(connection, 'bad_request', 'b').error(connection, 'lease_expired', 'b');
    expect(b.outbox).toEqual([['b', 'sent']]);
    expect(b.phase.phase).toBe('open');
  });

  it('is tried again a minute later when it fails, and the old line goes on', () => {
    const { b, connection, beat } = long(105);
    b.feed({ type: 'closed', connection: b.opening() });
    expect(b.phase.phase).toBe('open');
    expect(b.took('askAdmission')).toEqual([]);
    b.say('a');
    expect(b.sent()).toMatchObject([{ connection, id: 'a' }]);
    b.accept(connection, 'a').reply(connection, 'a');
    beat(1);
    b.open();
  });

  it('that the server saw and we gave up is no other session', () => {
    const { b, connection } = long(105);
    b.took('openSocket');
    b.heartbeat(connection, b.now).pass(15_000).closing(connection, 'replaced');
    expect(b.phase.phase).toBe('lost');
  });

  it('goes on by itself when the old line breaks, or has lost its place already', () => {
    for (const end of ['closed', 'lease_expired'] as const) {
      const { b, connection } = long(105);
      const next = b.opening();
      if (end === 'closed') b.feed({ type: 'closed', connection });
      else b.error(connection, 'lease_expired');
      expect(b.phase.phase).toBe('connecting');
      b.feed({ type: 'opened', connection: next });
      expect(b.phase.phase).toBe('open');
      expect(b.took('openSocket')).toEqual([]);
    }
  });

  it('that fails although it had the place is a lost line', () => {
    const { b, connection } = long(105);
    b.closing(connection, 'replaced').feed({ type: 'closed', connection: b.opening() });
    expect(b.phase.phase).toBe('lost');
  });

  it('passes over a token that is not to be had while the line stands', () => {
    const { b } = long(105);
    b.feed({ type: 'tokenRefused', connection: b.opening() });
    expect(b.phase.phase).toBe('open');
  });
});

/** What an app would show. */
function text(events: LineEvent[], id: string): string {
  return events.reduce(
    (shown, event) => (event.type === 'answer' && event.id === id ? (event.restart ? '' : shown) + event.text : shown),
    '',
  );
}
