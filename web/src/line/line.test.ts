/** The line against a server that keeps the contract, while everything between them may go wrong. */

import { describe, expect, it } from 'vitest';
import { createLine, type Line } from './index';
import { createApp, createBrowser, createClock, createServer, dice, type Faults } from './simulation';
import { memoryStorage } from './world';

const limits = { leaseSeconds: 60, firstMessageSeconds: 60, maxPendingPerClient: 4 };
const MINUTE = 60_000;
/** More seeds find rarer faults: `LINE_SEEDS=5000 npx vitest run src/line`. */
const SEEDS = Number(process.env['LINE_SEEDS'] ?? 150);

function setUp(seed: number, options: { faults?: Partial<Faults>; skewMs?: number; alone?: boolean } = {}) {
  const clock = createClock();
  const random = dice(seed);
  const server = createServer({ clock, random, limits, ...options });
  const browser = createBrowser(clock, random, server);
  const user = { token: 'good' as string | null, refreshed: 'good' as string | null };
  const join = (tab = browser.openTab({ alone: options.alone ?? true })) => {
    const line = createLine({
      userId: 'u',
      websocketUrl: 'ws://parley.test/ws',
      limits,
      token: async (refresh) => (user.token = refresh ? user.refreshed : user.token),
      admission: () => server.admission(user.token ?? ''),
      world: tab.world,
    });
    return { tab, line, app: createApp(server, clock, line) };
  };
  return { clock, random, server, browser, user, join };
}

type Bench = ReturnType<typeof setUp>;

/** Checks that every message is at the server once and in order, and that the app knows how each ended. */
function expectWhole({ server }: Bench, line: Line, app: ReturnType<Bench['join']>['app'], sent: string[], label: string) {
  expect(app.problems, label).toEqual([]);
  expect(line.outbox, label).toEqual([]);
  for (const conversation of ['a', 'b', 'c']) {
    const of = (ids: string[]) => ids.filter((id) => id.startsWith(conversation));
    expect(of(server.order), label).toEqual(of(sent));
  }
  const replies = app.events.flatMap((event) => (event.type === 'reply' ? [event.id] : []));
  expect(new Set(replies).size, `${label}: no reply comes twice`).toBe(replies.length);
  app.readHistory();
  for (const id of sent) {
    expect(app.ends.get(id), `${label}, ${id}`).toBe(server.messages.get(id)?.said);
    expect(app.ends.get(id), `${label}, ${id}`).not.toBe('');
  }
}

describe('a line', () => {
  it('sends, hears the answer grow, and hears it end', async () => {
    const bench = setUp(1);
    const { line, app } = bench.join();
    await bench.clock.advance(200);
    expect(line.state).toMatchObject({ phase: 'open' });
    line.send({ id: 'a1', conversationId: 'a', text: 'Hello' });
    expect(line.outbox).toMatchObject([{ id: 'a1', state: 'sent' }]);
    await bench.clock.advance(10_000);
    expectWhole(bench, line, app, ['a1'], 'a1');
    expect(app.texts.get('a1')).toBe(app.ends.get('a1'));
    expect(line.state).toEqual({ phase: 'open' });
  });

  it('holds its place for hours, over planned changes of the connection', async () => {
    const bench = setUp(2);
    const { line, app } = bench.join();
    line.send({ id: 'a1', conversationId: 'a', text: 'Hello' });
    await bench.clock.advance(6 * 60 * MINUTE);
    const states = app.events.flatMap((event) => (event.type === 'state' ? [event.state.phase] : []));
    expect([...new Set(states.slice(states.indexOf('open')))]).toEqual(['open']);
    expect(bench.server.handshakes).toBe(4);
    expect(bench.server.spoken).toBe(true);
  });

  it.each([0, 5, -5])('counts down for a silent client with clocks %i hours apart, and rests', async (hours) => {
    const bench = setUp(3, { skewMs: hours * 60 * MINUTE });
    const { line } = bench.join();
    await bench.clock.advance(30_000);
    const { state } = line;
    if (state.phase !== 'open') throw new Error(state.phase);
    expect(Math.abs((state.silentDeadline ?? 0) - bench.clock.now - 30_000)).toBeLessThan(500);
    await bench.clock.advance(10 * MINUTE);
    expect(line.state).toEqual({ phase: 'resting' });
    expect(bench.server.session).toBeUndefined();
    expect(bench.server.handshakes).toBe(1);
    line.wake();
    await bench.clock.advance(1000);
    expect(line.state).toMatchObject({ phase: 'open' });
  });

  it('waits for a place and gets it soon after it is free', async () => {
    const bench = setUp(4);
    bench.server.others = 50;
    const { line } = bench.join();
    await bench.clock.advance(MINUTE);
    expect(line.state).toMatchObject({ phase: 'full', inUse: 50, capacity: 50 });
    expect(bench.server.handshakes).toBe(1);
    bench.server.others = 49;
    await bench.clock.advance(10_500);
    expect(line.state).toMatchObject({ phase: 'open' });
  });

  it('gives way to another device, takes its place when told to, and comes back when that is gone', async () => {
    const bench = setUp(5);
    const { line } = bench.join();
    line.send({ id: 'a1', conversationId: 'a', text: 'Hello' });
    await bench.clock.advance(5000);
    bench.server.takeElsewhere();
    await bench.clock.advance(MINUTE);
    expect(line.state).toEqual({ phase: 'elsewhere' });
    expect(bench.server.handshakes).toBe(1);
    line.takeOver();
    await bench.clock.advance(1000);
    expect(line.state).toMatchObject({ phase: 'open' });
    bench.server.takeElsewhere();
    await bench.clock.advance(5000);
    bench.server.leaveElsewhere();
    await bench.clock.advance(20_000);
    expect(line.state).toMatchObject({ phase: 'open' });
  });

  it('gets itself another token, and gives up when there is none', async () => {
    const bench = setUp(6);
    bench.user.token = 'old';
    const { line } = bench.join();
    await bench.clock.advance(2000);
    expect(line.state).toMatchObject({ phase: 'open' });
    bench.server.token = 'newer';
    bench.server.breakLines(false);
    await bench.clock.advance(5000);
    expect(line.state).toEqual({ phase: 'signedOut' });
    bench.user.refreshed = 'newer';
    line.retryNow();
    await bench.clock.advance(2000);
    expect(line.state).toMatchObject({ phase: 'open' });
    bench.user.refreshed = null;
    bench.server.token = 'newest';
    bench.server.breakLines(false);
    await bench.clock.advance(5000);
    expect(line.state).toEqual({ phase: 'signedOut' });
  });

  it('does not speak to something else that listens there', async () => {
    const bench = setUp(12);
    bench.server.protocol = '';
    const { line, app } = bench.join();
    await bench.clock.advance(MINUTE);
    expect(app.events).not.toContainEqual({ type: 'resumed' });
    expect(bench.server.session).toBeUndefined();
    expect(line.state.phase).not.toBe('open');
  });

  it('finds a line that died without a word, and gets its own place back', async () => {
    const bench = setUp(7);
    const { line } = bench.join();
    line.send({ id: 'a1', conversationId: 'a', text: 'Hello' });
    await bench.clock.advance(25_000);
    bench.server.breakLines(true);
    await bench.clock.advance(31_000);
    expect(line.state).toMatchObject({ phase: 'open' });
    expect(bench.server.answers).toEqual([101, 101]);
  });

  it('keeps what it has to say over a reload of the page', async () => {
    const bench = setUp(8);
    const own = memoryStorage();
    bench.server.up = false;
    const first = bench.join(bench.browser.openTab({ alone: true, own }));
    first.line.send({ id: 'a1', conversationId: 'a', text: 'one' });
    first.line.send({ id: 'a2', conversationId: 'a', text: 'two' });
    await bench.clock.advance(5000);
    first.tab.crash();
    bench.server.up = true;
    const second = bench.join(bench.browser.openTab({ alone: true, own }));
    expect(second.line.outbox).toMatchObject([{ id: 'a1' }, { id: 'a2' }]);
    await bench.clock.advance(20_000);
    expectWhole(bench, second.line, second.app, ['a1', 'a2'], 'reload');
  });

  it('gives the place back and forgets everything when the user signs out', async () => {
    const bench = setUp(9);
    const own = memoryStorage();
    const { line } = bench.join(bench.browser.openTab({ alone: true, own }));
    await bench.clock.advance(1000);
    bench.server.up = false;
    line.send({ id: 'a1', conversationId: 'a', text: 'secret' });
    bench.server.up = true;
    line.close();
    await bench.clock.advance(1000);
    expect(line.state).toEqual({ phase: 'idle' });
    expect(line.outbox).toEqual([]);
    expect(own.length).toBe(0);
    expect(bench.server.session).toBeUndefined();
    await bench.clock.advance(MINUTE);
    expect(bench.server.handshakes).toBe(1);
  });

  it('gives the place back while the page is put away, and is there again after', async () => {
    const bench = setUp(10);
    const { tab, line } = bench.join();
    await bench.clock.advance(1000);
    tab.fire('pagehide');
    await bench.clock.advance(1000);
    expect(bench.server.session).toBeUndefined();
    line.send({ id: 'a1', conversationId: 'a', text: 'late' });
    tab.fire('pageshow');
    await bench.clock.advance(10_000);
    expect(bench.server.order).toEqual(['a1']);
  });

  it('is not thrown off by a listener that fails', async () => {
    const bench = setUp(11);
    const { line, app } = bench.join();
    const thrown: unknown[] = [];
    const onError = (error: unknown) => thrown.push(error);
    process.on('uncaughtException', onError);
    const off = line.subscribe((event) => {
      if (event.type === 'accepted') throw new Error('mine');
    });
    line.send({ id: 'a1', conversationId: 'a', text: 'Hello' });
    await bench.clock.advance(10_000);
    off();
    expectWhole(bench, line, app, ['a1'], 'listener');
    process.off('uncaughtException', onError);
  });
});

describe('a line that breaks', { timeout: 60_000 }, () => {
  /** Messages in two conversations, one of them cancelled, some sent before the line is open. */
  async function script(bench: Bench, onStep?: (steps: number) => void) {
    const { line, app } = bench.join();
    bench.clock.onStep = onStep;
    const sent = ['a1', 'a2', 'b1', 'a3', 'b2', 'a4'];
    for (const [index, id] of sent.entries()) {
      line.send({ id, conversationId: id.charAt(0), text: `say ${id}` });
      await bench.clock.advance(index < 2 ? 10 : 700);
    }
    await bench.clock.advance(20_000);
    const steps = bench.clock.steps;
    bench.clock.onStep = undefined;
    await bench.clock.advance(2 * MINUTE);
    return { line, app, sent, steps };
  }

  for (const kind of ['with notice', 'in silence', 'for a closed lease', 'for a restarted network'] as const) {
    it(`${kind} at any moment loses nothing and doubles nothing`, async () => {
      const { steps } = await script(setUp(20));
      expect(steps).toBeGreaterThan(100);
      for (let at = 0; at <= steps; at++) {
        const bench = setUp(20);
        const { server } = bench;
        const done = await script(bench, (step) => {
          if (step !== at) return;
          if (kind === 'with notice') server.breakLines(false);
          else if (kind === 'in silence') server.breakLines(true);
          else if (kind === 'for a closed lease') server.dismiss('lease_expired');
          else {
            server.breakLines(true);
            server.up = false;
            bench.clock.after(3000, () => (server.up = true));
          }
        });
        expectWhole(bench, done.line, done.app, done.sent, `broken at step ${at}`);
      }
    });
  }

  it('at random, on a server where everything goes wrong, loses nothing and doubles nothing', async () => {
    for (let seed = 0; seed < SEEDS; seed++) {
      const bench = setUp(seed, {
        faults: {
          dropDelta: 0.05,
          doubleDelta: 0.1,
          restartAnswer: 0.05,
          dropReply: 0.05,
          doubleReply: 0.1,
          dropAccepted: 0.05,
          internal: 0.05,
          pieces: 12,
        },
        skewMs: (dice(seed)() - 0.5) * 10 * 60 * MINUTE,
      });
      const { clock, random, server } = bench;
      const { line, app, tab } = bench.join();
      const sent: string[] = [];
      for (let round = 0; round < 25; round++) {
        const roll = random();
        if (roll < 0.5) {
          const conversationId = 'abc'.charAt(Math.floor(random() * 3));
          const id = `${conversationId}${round}`;
          line.send({ id, conversationId, text: `say ${id}` });
          sent.push(id);
        } else if (roll < 0.6) server.breakLines(false);
        else if (roll < 0.7) server.breakLines(true);
        else if (roll < 0.75) server.dismiss('lease_expired');
        else if (roll < 0.8) {
          server.up = false;
          tab.setOnline(random() < 0.5);
        } else if (roll < 0.85) tab.setVisible(random() < 0.5);
        await clock.advance(random() * 4000);
        if (!server.up && random() < 0.5) {
          server.up = true;
          tab.setOnline(true);
        }
      }
      Object.assign(server.faults, { dropDelta: 0, restartAnswer: 0, dropReply: 0, dropAccepted: 0, internal: 0 });
      server.up = true;
      tab.setOnline(true);
      tab.setVisible(true);
      line.outbox.filter((entry) => entry.state === 'refused').forEach((entry) => line.resend(entry.id));
      await clock.advance(7 * MINUTE);
      expectWhole(bench, line, app, sent, `seed ${seed}`);
    }
  });

  it('in the same way twice does the same twice', async () => {
    const runs = [];
    for (let run = 0; run < 2; run++) {
      const bench = setUp(77, { faults: { restartAnswer: 0.2, doubleDelta: 0.3 } });
      const { app } = await script(bench, (step) => step % 40 === 0 && bench.server.breakLines(step % 80 === 0));
      runs.push(JSON.stringify(app.events));
    }
    expect(runs[0]).toBe(runs[1]);
  });
});
