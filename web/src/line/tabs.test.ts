/** Several tabs of one browser, with a lock and a channel that behave as the browser's do. */

import { describe, expect, it } from 'vitest';
import { createLine } from './index';
import { createApp, createBrowser, createClock, createServer, dice } from './simulation';

const limits = { leaseSeconds: 60, firstMessageSeconds: 60, maxPendingPerClient: 4 };
const MINUTE = 60_000;
/** More seeds find rarer faults: `LINE_SEEDS=5000 npx vitest run src/line`. */
const SEEDS = Number(process.env['LINE_SEEDS'] ?? 100);

function setUp(seed: number) {
  const clock = createClock();
  const random = dice(seed);
  const server = createServer({ clock, random, limits });
  const browser = createBrowser(clock, random, server);
  const join = (options: Parameters<typeof browser.openTab>[0] = {}, userId = 'u') => {
    const tab = browser.openTab(options);
    const line = createLine({
      userId,
      websocketUrl: 'ws://parley.test/ws',
      limits,
      token: async () => 'good',
      admission: () => server.admission('good'),
      world: tab.world,
    });
    const app = createApp(server, clock, line);
    return { ...tab, line, app, say: (id: string) => line.send({ id, conversationId: id.charAt(0), text: `say ${id}` }) };
  };
  return { clock, random, server, browser, join };
}

type Joined = ReturnType<ReturnType<typeof setUp>['join']>;

function expectDone(server: ReturnType<typeof setUp>['server'], tabs: Joined[], sent: string[], label = '') {
  expect([...server.order].sort(), label).toEqual([...sent].sort());
  for (const { line, app } of tabs) {
    expect(app.problems, label).toEqual([]);
    expect(line.outbox, label).toEqual([]);
    app.readHistory();
    for (const id of sent) expect(app.ends.get(id), `${label} ${id}`).toBe(server.messages.get(id)?.said);
  }
}

describe('tabs', () => {
  it('share one connection, and all hear what comes', async () => {
    const { clock, server, join } = setUp(1);
    const tabs = [join(), join(), join()] as const;
    await clock.advance(1000);
    expect(server.handshakes).toBe(1);
    for (const { line } of tabs) expect(line.state).toMatchObject({ phase: 'open' });
    tabs[2].say('a1');
    expect(tabs[2].line.outbox).toMatchObject([{ id: 'a1', state: 'waiting' }]);
    await clock.advance(10);
    for (const { line } of tabs) expect(line.outbox).toMatchObject([{ id: 'a1', state: 'sent' }]);
    await clock.advance(10_000);
    expectDone(server, [...tabs], ['a1']);
    for (const { app } of tabs) expect(app.texts.get('a1')).toBe(server.messages.get('a1')?.said);
  });

  it('that come later learn how things stand, and the text so far', async () => {
    const { clock, server, join } = setUp(2);
    server.faults.pieces = 40;
    const first = join();
    await clock.advance(500);
    first.say('a1');
    await clock.advance(3000);
    const second = join();
    await clock.advance(10);
    expect(second.line.state).toEqual({ phase: 'open' });
    const soFar = second.app.texts.get('a1') ?? '';
    expect(soFar).toMatch(/^a1\/0\/0 a1\/0\/1 /);
    expect(first.app.texts.get('a1')?.startsWith(soFar)).toBe(true);
    expect(second.app.events).toContainEqual({ type: 'resumed' });
    await clock.advance(20_000);
    expect(second.app.texts.get('a1')).toBe(server.messages.get('a1')?.said);
  });

  it('may both send at once', async () => {
    const { clock, server, join } = setUp(3);
    const tabs = [join(), join()] as const;
    await clock.advance(500);
    tabs[0].say('a1');
    tabs[1].say('a2');
    tabs[0].say('b1');
    tabs[1].say('a3');
    await clock.advance(20_000);
    expectDone(server, [...tabs], ['a1', 'a2', 'a3', 'b1']);
  });

  it('hand the line on when the leader is closed, with the same session', async () => {
    const { clock, server, join } = setUp(4);
    const [first, second] = [join(), join()];
    await clock.advance(500);
    const session = server.session;
    first.say('a1');
    await clock.advance(300);
    first.fire('pagehide');
    first.crash();
    second.say('a2');
    await clock.advance(20_000);
    expect(server.session).toBe(session);
    expect(server.answers).toEqual([101, 101]);
    expectDone(server, [second], ['a1', 'a2']);
  });

  it('steal the line of a leader that froze, and that one follows when it thaws', async () => {
    const { clock, server, join } = setUp(5);
    const [first, second] = [join(), join()];
    await clock.advance(500);
    first.freeze();
    second.say('a1');
    await clock.advance(2900);
    expect(server.order).toEqual([]);
    await clock.advance(5000);
    expect(server.order).toEqual(['a1']);
    expect(server.handshakes).toBe(2);
    first.thaw();
    await clock.advance(1000);
    first.say('a2');
    await clock.advance(20_000);
    expect(server.handshakes).toBe(2);
    expectDone(server, [first, second], ['a1', 'a2']);
    const states = second.app.events.flatMap((event) => (event.type === 'state' ? [event.state.phase] : []));
    expect(states).not.toContain('elsewhere');
  });

  it('notice a frozen leader without a command, while somebody looks', async () => {
    const { clock, server, join } = setUp(6);
    const [first, second] = [join(), join()];
    await clock.advance(500);
    first.say('a1');
    await clock.advance(300);
    first.freeze();
    await clock.advance(20_000);
    expect(server.handshakes).toBe(2);
    expectDone(server, [second], ['a1']);
  });

  it('are not answered by a leader that was robbed in its sleep', async () => {
    const { clock, server, join } = setUp(14);
    const [first, second] = [join(), join()];
    await clock.advance(500);
    first.freeze();
    const third = join({ visible: false });
    await clock.advance(9000);
    first.thaw();
    await clock.advance(100);
    second.say('a1');
    await clock.advance(10_000);
    expect(third.app.accepted).toContain('a1');
    expectDone(server, [first, second, third], ['a1']);
  });

  it('that slept themselves take nobody else for frozen', async () => {
    const { clock, server, join } = setUp(15);
    const [first, second] = [join(), join()];
    await clock.advance(5000.5);
    first.freeze();
    second.freeze();
    await clock.advance(20_000);
    second.thaw();
    first.thaw();
    await clock.advance(10_000);
    expect(server.handshakes).toBe(1);
    second.say('a1');
    await clock.advance(10_000);
    expectDone(server, [first, second], ['a1']);
  });

  it('that thaw do not take up a lock that was stolen from them since', async () => {
    const { clock, server, join } = setUp(16);
    const first = join();
    await clock.advance(500);
    const second = join();
    await clock.advance(10);
    const third = join();
    await clock.advance(10);
    second.freeze();
    first.crash();
    await clock.advance(10_000);
    expect(third.line.state).toMatchObject({ phase: 'open' });
    const { handshakes } = server;
    second.thaw();
    await clock.advance(20_000);
    expect(server.handshakes).toBe(handshakes);
    second.say('a1');
    await clock.advance(10_000);
    expectDone(server, [second, third], ['a1']);
  });

  it('find another leader when one has to stop although it has the lock', async () => {
    const { clock, server, browser, join } = setUp(17);
    const [first, second] = [join(), join()];
    await clock.advance(500);
    browser.shared.setItem('parley.line.u.leader', 'nobody');
    second.say('a1');
    await clock.advance(20_000);
    expectDone(server, [first, second], ['a1']);
    expect(second.line.state).toMatchObject({ phase: 'open' });
  });

  it('lead again when there is no other', async () => {
    const { clock, server, browser, join } = setUp(21);
    const tab = join({ visible: false });
    await clock.advance(500);
    browser.shared.setItem('parley.line.u.leader', 'nobody');
    tab.say('a1');
    await clock.advance(20_000);
    expectDone(server, [tab], ['a1']);
  });

  it('leave what they said to others when they crash before anybody heard it', async () => {
    const { clock, server, join } = setUp(18);
    const [first, second] = [join(), join({ visible: false })];
    await clock.advance(500);
    first.freeze();
    second.say('a1');
    await clock.advance(100);
    second.crash();
    const third = join();
    await clock.advance(20_000);
    expectDone(server, [third], ['a1']);
  });

  it('carry out themselves what no leader heard', async () => {
    const { clock, server, join } = setUp(19);
    const [first, second] = [join(), join()];
    await clock.advance(500);
    server.takeElsewhere();
    await clock.advance(1000);
    first.freeze();
    second.line.takeOver();
    await clock.advance(10_000);
    expect(second.line.state).toMatchObject({ phase: 'open' });
  });

  it('that nobody sees steal nothing, until somebody does', async () => {
    const { clock, server, join } = setUp(7);
    const [first, second] = [join(), join({ visible: false })];
    await clock.advance(500);
    first.freeze();
    second.say('a1');
    await clock.advance(30_000);
    expect(server.order).toEqual([]);
    second.setVisible(true);
    await clock.advance(20_000);
    expectDone(server, [second], ['a1']);
  });

  it('do not steal from a leader that is only in the background', async () => {
    const { clock, server, join } = setUp(8);
    const [first, second] = [join(), join()];
    await clock.advance(500);
    first.setVisible(false);
    for (let i = 0; i < 10; i++) {
      second.say(`a${i}`);
      await clock.advance(MINUTE);
    }
    expect(server.handshakes).toBe(1);
  });

  it('of whom one is visible are watched: a lapsed lease is taken again at once', async () => {
    const { clock, server, join } = setUp(9);
    const [first, second] = [join(), join()];
    await clock.advance(500);
    first.say('a1');
    await clock.advance(10_000);
    first.setVisible(false);
    await clock.advance(6000);
    server.dismiss('lease_expired');
    await clock.advance(1000);
    expect(first.line.state).toMatchObject({ phase: 'open' });
    first.say('a2');
    await clock.advance(10_000);
    second.setVisible(false);
    await clock.advance(1000);
    server.dismiss('lease_expired');
    await clock.advance(MINUTE);
    expect(first.line.state).toEqual({ phase: 'resting' });
    second.setVisible(true);
    await clock.advance(1000);
    expect(second.line.state).toMatchObject({ phase: 'open' });
  });

  it('command the line from anywhere', async () => {
    const { clock, server, join } = setUp(10);
    const [first, second] = [join(), join()];
    await clock.advance(500);
    first.say('a1');
    await clock.advance(5000);
    server.takeElsewhere();
    await clock.advance(1000);
    for (const { line } of [first, second]) expect(line.state).toEqual({ phase: 'elsewhere' });
    second.line.takeOver();
    await clock.advance(1000);
    for (const { line } of [first, second]) expect(line.state).toMatchObject({ phase: 'open' });
    server.dismiss('first_message');
    await clock.advance(1000);
    for (const { line } of [first, second]) expect(line.state).toEqual({ phase: 'resting' });
    second.line.wake();
    await clock.advance(1000);
    server.faults.pieces = 100;
    first.say('a2');
    await clock.advance(3000);
    second.line.cancel('a2');
    await clock.advance(2000);
    expect(server.messages.get('a2')?.status).toBe('cancelled');
    server.faults.internal = 1;
    first.say('a3');
    await clock.advance(20_000);
    expect(second.line.outbox).toMatchObject([{ id: 'a3', state: 'refused' }]);
    server.faults.internal = 0;
    server.faults.pieces = 3;
    second.line.resend('a3');
    await clock.advance(10_000);
    expectDone(server, [first, second], ['a1', 'a2', 'a3']);
  });

  it('are all signed out by one, which leaves nothing behind', async () => {
    const { clock, server, browser, join } = setUp(11);
    const [first, second] = [join(), join()];
    await clock.advance(500);
    server.faults.internal = 1;
    first.say('a1');
    await clock.advance(100);
    second.line.close();
    await clock.advance(1000);
    expect(second.line.state).toEqual({ phase: 'idle' });
    expect(first.line.state).toEqual({ phase: 'signedOut' });
    expect(server.session).toBeUndefined();
    expect(browser.shared.length).toBe(0);
    await clock.advance(MINUTE);
    expect(server.handshakes).toBe(1);
  });

  it('that only stop leave what was not accepted to whoever comes next', async () => {
    const { clock, server, join } = setUp(29);
    const first = join();
    await clock.advance(500);
    server.faults.internal = 1;
    first.say('a1');
    await clock.advance(10);
    first.line.stop();
    await clock.advance(1000);
    expect(server.order).toEqual([]);
    server.faults.internal = 0;
    const second = join();
    expect(second.line.outbox).toMatchObject([{ id: 'a1' }]);
    await clock.advance(20_000);
    expectDone(server, [second], ['a1']);
  });

  it('without locks have a line each', async () => {
    const { clock, server, join } = setUp(12);
    const first = join({ alone: true });
    await clock.advance(1000);
    const second = join({ alone: true });
    await clock.advance(1000);
    expect(first.line.state).toMatchObject({ phase: 'open' });
    expect(second.line.state).toEqual({ phase: 'elsewhere' });
    second.line.takeOver();
    await clock.advance(1000);
    expect(first.line.state).toEqual({ phase: 'elsewhere' });
    expect(second.line.state).toMatchObject({ phase: 'open' });
    expect(server.session).toBeDefined();
  });

  it('lead by themselves where the browser has locks and forbids them', async () => {
    const { clock, server, browser } = setUp(13);
    const tab = browser.openTab();
    const forbidden = { request: () => Promise.reject(Object.assign(new Error('No'), { name: 'SecurityError' })) };
    const line = createLine({
      userId: 'u',
      websocketUrl: 'ws://parley.test/ws',
      limits,
      token: async () => 'good',
      admission: () => server.admission('good'),
      world: { ...tab.world, locks: forbidden },
    });
    await clock.advance(1000);
    expect(line.state).toMatchObject({ phase: 'open' });
  });
});

describe('tabs that come to harm', { timeout: 60_000 }, () => {
  async function script(bench: ReturnType<typeof setUp>, onStep?: (step: number, first: Joined) => void) {
    const { clock, join } = bench;
    const [first, second] = [join(), join()];
    clock.onStep = (step) => onStep?.(step, first);
    const sent = ['a1', 'a2', 'b1', 'a3'];
    for (const [index, id] of sent.entries()) {
      // While it lives, the first tab sends every second message.
      second.say(id);
      await clock.advance(index === 0 ? 5 : 400);
    }
    await clock.advance(10_000);
    const steps = clock.steps;
    clock.onStep = undefined;
    await clock.advance(2 * MINUTE);
    return { first, second, sent, steps };
  }

  it.each(['crash', 'freeze', 'close', 'freeze and thaw'] as const)(
    'by a leader that does %s at any moment lose nothing and double nothing',
    async (harm) => {
      const { steps } = await script(setUp(20));
      expect(steps).toBeGreaterThan(100);
      for (let at = 1; at <= steps; at++) {
        const bench = setUp(20);
        const done = await script(bench, (step, first) => {
          if (step !== at) return;
          if (harm === 'close') first.fire('pagehide');
          if (harm === 'crash' || harm === 'close') first.crash();
          else first.freeze();
          if (harm === 'freeze and thaw') bench.clock.after(6000 + bench.random() * 3000, first.thaw);
        });
        const alive = harm === 'freeze and thaw' ? [done.first, done.second] : [done.second];
        expectDone(bench.server, alive, done.sent, `${harm} at step ${at}`);
        expect(bench.server.order.filter((id) => id.startsWith('a'))).toEqual(['a1', 'a2', 'a3']);
      }
    },
  );

  it('at random lose nothing and double nothing', async () => {
    for (let seed = 0; seed < SEEDS; seed++) {
      const bench = setUp(seed);
      const { clock, random, server, join } = bench;
      let tabs: Joined[] = [join(), join(), join()];
      const frozen = new Set<Joined>();
      const sent: string[] = [];
      for (let round = 0; round < 30; round++) {
        const tab = tabs[Math.floor(random() * tabs.length)];
        if (!tab) throw new Error('no tab');
        const roll = random();
        if (roll < 0.4 && !frozen.has(tab)) {
          const id = `${'abc'.charAt(Math.floor(random() * 3))}${round}`;
          tab.say(id);
          sent.push(id);
        } else if (roll < 0.5 && tabs.length > 1 && !frozen.has(tab)) {
          // A tab's own messages are in storage before it can crash.
          tab.crash();
          tabs = tabs.filter((other) => other !== tab);
        } else if (roll < 0.6) tabs.push(join());
        else if (roll < 0.7) {
          tab.freeze();
          frozen.add(tab);
        } else if (roll < 0.8 && frozen.delete(tab)) tab.thaw();
        else if (roll < 0.85) server.breakLines(random() < 0.5);
        else if (roll < 0.9) tab.setVisible(random() < 0.5);
        await clock.advance(random() * 5000);
      }
      frozen.forEach((tab) => tab.thaw());
      tabs.push(join());
      await clock.advance(3 * MINUTE);
      expect(new Set(server.order).size, `seed ${seed}`).toBe(server.order.length);
      expectDone(server, tabs, sent, `seed ${seed}`);
      expect(bench.browser.shared.length, `seed ${seed}: no entry is left`).toBe(2);
    }
  });
});
