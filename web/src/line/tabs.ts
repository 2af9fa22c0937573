/**
 * The tabs of one browser share one line. One of them leads: it has the socket and runs the machine. The others follow:
 * they pass their commands to the leader and hear what it hears.
 *
 * # Which tab leads
 *
 * The tab that holds the Web Lock of this user leads. The others queue for the lock. So when the leader's tab is closed
 * or crashes, the browser makes the next tab the leader. It connects with the same session id, and the server lets it
 * take the session's own place.
 *
 * A tab that freezes keeps its lock. So a follower steals the lock if it is visible and hears nothing for three seconds
 * after it asked. The old leader learns of this when it thaws. Until then it may act on events that waited for it. So a
 * tab that gets the lock writes its name into storage, and a leader reads that name before it writes, answers or tells.
 * A follower hears only the tab that it follows: the one that announced itself last (`lead`) or answered it last
 * (`here`).
 *
 * If the browser tells a tab that it will be frozen or put away, the tab gives the lock up itself.
 *
 * # Why no command is lost, and none done twice
 *
 * - An entry to send is written to storage before anybody is told. From then on it survives every tab: each new leader
 *   begins with the entries that it finds there. Only a leader erases an entry, when the server has accepted it (or the
 *   user took it back).
 * - The tab that gave a command keeps it until a leader acknowledges it, and tells it again to each new leader. So
 *   commands that are not in storage survive too, for as long as their tab does. The message of a command carries the
 *   entry itself, because storage may reach other processes later than the message does.
 * - A command may still arrive twice: it was told twice, or it was read after it was accepted. That does no harm. An
 *   entry has one id for life, and the server makes one message of one id. Every other command names the wanted state
 *   and not a change.
 *
 * If Web Locks or BroadcastChannel are missing, each tab leads itself, with a session and an outbox of its own.
 */

import { startDriver, type Driver, type DriverOptions } from './driver';
import { change, entryOf, outgoing, restored, revived } from './outbox';
import { openStore } from './store';
import type { Command, Draft, LineEvent, LineState, Outgoing, Snapshot } from './types';
import { browser, type Channel, type World } from './world';

export interface LineOptions extends DriverOptions {
  /** Tabs of other users of this browser are separate. */
  userId: string;
  /** For tests. */
  world?: World;
}

export interface Line {
  readonly state: LineState;
  /** In the order of sending. Refused entries keep their position. */
  readonly outbox: readonly Outgoing[];
  /** Returns a function that ends it. Listeners are told in every tab, whichever tab has the connection. */
  subscribe(listener: (event: LineEvent) => void): () => void;
  send(draft: Draft): void;
  /** Takes an unsent message back, or stops the answer to a sent one. */
  cancel(id: string): void;
  resend(id: string): void;
  /** Removes a refused message. */
  discard(id: string): void;
  /** The history shows that these messages are queued or being answered. */
  expect(ids: string[]): void;
  takeOver(): void;
  retryNow(): void;
  /** The user does something, for example types. */
  wake(): void;
  /** For signing out, in all tabs: gives the place back and drops the messages that are not accepted yet. */
  close(): void;
  /** This tab stops. Messages that are not accepted yet stay for the next tab. */
  stop(): void;
}

export const ANSWER_WITHIN_MS = 3000;
export const ASK_EVERY_MS = 5000;

type Said =
  | { kind: 'ask'; visible: boolean; fresh: boolean }
  | { kind: 'here'; to: string; snapshot?: Snapshot }
  | { kind: 'lead'; snapshot: Snapshot }
  | { kind: 'command'; n: number; command: Command }
  | { kind: 'done'; to: string; n: number }
  | { kind: 'event'; event: LineEvent }
  | { kind: 'signOut' };

type Post = Said & { from: string };

export function createLine(options: LineOptions): Line {
  const world = options.world ?? browser();
  const { locks, openChannel } = world;
  const me = world.uuid();
  const name = `parley.line.${options.userId}`;
  const alone = !locks || !openChannel;
  const store = openStore(alone ? world.own : world.shared, options.userId);
  const listeners = new Set<(event: LineEvent) => void>();

  let mirror: Pick<Snapshot, 'state' | 'outbox'> = {
    state: { phase: 'idle' },
    outbox: store.entries().map(restored).map(outgoing),
  };
  /** Set while this tab leads. */
  let driver: Driver | undefined;
  let term: object | undefined;
  /** Set while this tab follows: the tab that it follows. */
  let leader: string | undefined;
  let channel: Channel | undefined;
  let attempt: AbortController | undefined;
  let release: (() => void) | undefined;
  /** Commands that no leader has acknowledged. */
  const given = new Map<number, Command>();
  let count = 0;
  let silence: unknown;
  let nextAsk: unknown;
  const watching = new Set<string>();
  let watched = true;
  let running = false;
  let signedOut = false;

  // ---- Both

  function post(said: Said): void {
    channel?.postMessage({ ...said, from: me } satisfies Post);
  }

  function hear(event: LineEvent): void {
    if (event.type === 'state') mirror = { ...mirror, state: event.state };
    if (event.type === 'outbox') mirror = { ...mirror, outbox: event.outbox };
    const told: LineEvent = event.type === 'outbox' ? { type: 'outbox', outbox: outbox() } : event;
    for (const listener of [...listeners]) {
      try {
        listener(told);
      } catch (error) {
        // The error is the listener's own and is reported as such.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  function adopt(snapshot: Snapshot): void {
    hear({ type: 'state', state: snapshot.state });
    hear({ type: 'outbox', outbox: snapshot.outbox });
    for (const { id, text } of snapshot.answers) hear({ type: 'answer', id, restart: true, text });
  }

  /** The outbox, with the entries that the leader does not know yet. */
  function outbox(): Outgoing[] {
    const known = new Set(mirror.outbox.map((entry) => entry.id));
    const mine = [...given.values()].flatMap((command) => (command.type === 'send' ? [command.entry] : []));
    return [...mirror.outbox, ...mine.filter((entry) => !known.has(entry.id)).map(outgoing)];
  }

  function command(command: Command): void {
    if (signedOut) return;
    if (deposed()) stepDown();
    if (driver) return driver.command(command);
    keep(command);
    given.set(++count, command);
    post({ kind: 'command', n: count, command });
    expectAnswer();
    if (command.type === 'send') hear({ type: 'outbox', outbox: mirror.outbox });
  }

  function keep(command: Command): void {
    if (command.type === 'send') store.put(command.entry);
    if (command.type === 'discard') store.remove(command.id);
    if (command.type !== 'resend' && command.type !== 'cancel') return;
    const entries = store.entries().filter((entry) => entry.id === command.id);
    const cancelled = () => change(entries, command.id, { cancelled: true });
    (command.type === 'resend' ? revived(entries, command.id) : cancelled()).forEach(store.put);
  }

  function onPost(message: Post): void {
    if (deposed()) stepDown();
    switch (message.kind) {
      case 'ask':
        if (!driver) return;
        if (message.visible) watching.add(message.from);
        else watching.delete(message.from);
        watch();
        return post({ kind: 'here', to: message.from, ...(message.fresh && { snapshot: driver.snapshot() }) });
      case 'command':
        if (!driver) return;
        driver.command(message.command);
        return post({ kind: 'done', to: message.from, n: message.n });
      case 'lead':
        // If two tabs stole the lock at once, the last to write its name leads. This message of the other is old.
        if (driver) return;
        return store.leads(message.from) ? follow(message.from, message.snapshot) : ask(true);
      case 'here':
        if (driver || message.to !== me) return;
        answered();
        if (message.snapshot) follow(message.from, message.snapshot);
        else if (message.from !== leader) ask(true);
        return;
      case 'done':
        if (message.to !== me) return;
        answered();
        given.delete(message.n);
        return;
      case 'event':
        if (driver || message.from !== leader) return;
        answered();
        return hear(message.event);
      case 'signOut':
        return leave({ phase: 'signedOut' });
    }
  }

  // ---- Following

  function follow(from: string, snapshot: Snapshot): void {
    leader = from;
    answered();
    adopt(snapshot);
    // The app has to load everything from before this tab listened.
    if (snapshot.state.phase === 'open') hear({ type: 'resumed' });
    for (const [n, command] of given) post({ kind: 'command', n, command });
    if (given.size > 0) expectAnswer();
  }

  function ask(fresh: boolean): void {
    post({ kind: 'ask', visible: world.visible(), fresh });
    expectAnswer();
  }

  function keepAsking(): void {
    nextAsk = world.setTimeout(() => {
      if (!driver && world.visible()) ask(leader === undefined);
      keepAsking();
    }, ASK_EVERY_MS);
  }

  function expectAnswer(): void {
    if (driver) return;
    const askedAt = world.now();
    silence ??= world.setTimeout(() => {
      silence = undefined;
      // A leader that nobody needs may sleep.
      if (!running || driver || !world.visible()) return;
      const slept = world.now() - askedAt > 2 * ANSWER_WITHIN_MS;
      if (slept) ask(leader === undefined);
      else seek(true);
    }, ANSWER_WITHIN_MS);
  }

  function answered(): void {
    world.clearTimeout(silence);
    silence = undefined;
  }

  // ---- Leading

  function seek(steal = false): void {
    if (!locks) return;
    attempt?.abort();
    const mine = (attempt = new AbortController());
    const held = () =>
      new Promise<void>((resolve) => {
        release = resolve;
        // A tab that thaws may be granted a lock that was stolen since. The news of that comes right behind and must be
        // read first.
        world.setTimeout(() => (attempt === mine && running ? lead() : resolve()), 0);
      });
    const over = () => {
      if (attempt !== mine || !running) return;
      stepDown();
      seek();
      ask(leader === undefined);
    };
    const failed = (error: unknown) => {
      // The lock was stolen, or this tab aborted the request.
      if (error instanceof Error && error.name === 'AbortError') over();
      // The browser forbids locks here.
      else if (attempt === mine && running && !driver) lead();
    };
    locks.request(name, steal ? { steal } : { signal: mine.signal }, held).then(over, failed);
  }

  function lead(): void {
    answered();
    leader = undefined;
    watching.clear();
    watched = true;
    const mine = (term = {});
    const session = store.session(() => world.uuid());
    store.setLeader(me);
    const fenced: typeof store = {
      ...store,
      put: (entry) => store.leads(me) && store.put(entry),
      remove: (id) => store.leads(me) && store.remove(id),
    };
    const started = startDriver(options, session, fenced, world, (event) => {
      if (term !== mine) return; // of an earlier time
      if (deposed()) return stepDown();
      hear(event);
      post({ kind: 'event', event });
    });
    driver = started;
    adopt(started.snapshot());
    post({ kind: 'lead', snapshot: started.snapshot() });
    const commands = [...given.values()];
    given.clear();
    commands.forEach(started.command);
    watch();
  }

  /** Another tab leads, and the news of that has not come yet. */
  function deposed(): boolean {
    return term !== undefined && !store.leads(me);
  }

  /** A tab that does not lead must not hold the lock, or else no tab would lead. */
  function stepDown(): void {
    const ended = driver;
    driver = term = undefined;
    ended?.stop();
    release?.();
    release = undefined;
  }

  /** The line is watched if any tab is visible. */
  function watch(): void {
    const now = world.visible() || watching.size > 0;
    if (now !== watched) driver?.setVisible(now);
    watched = now;
  }

  // ---- Coming and going

  function start(): void {
    if (running || signedOut) return;
    running = true;
    if (alone) return lead();
    channel = openChannel(name);
    channel.onmessage = ({ data }) => onPost(data as Post);
    seek();
    ask(true);
    keepAsking();
  }

  function stop(): void {
    if (!running) return;
    running = false;
    answered();
    world.clearTimeout(nextAsk);
    attempt?.abort();
    stepDown();
    leader = undefined;
    post({ kind: 'ask', visible: false, fresh: false });
    channel?.close();
    channel = undefined;
  }

  function leave(state: LineState): void {
    if (signedOut) return;
    end();
    given.clear();
    store.clear();
    adopt({ state, outbox: [], answers: [] });
  }

  function end(): void {
    signedOut = true;
    stop();
    for (const off of unlisten) off();
  }

  const unlisten = [
    world.on('pagehide', stop),
    world.on('freeze', stop),
    world.on('pageshow', start),
    world.on('resume', start),
    world.on('visibilitychange', () => {
      if (driver) watch();
      else if (world.visible()) ask(leader === undefined);
      else post({ kind: 'ask', visible: false, fresh: false });
    }),
  ];
  start();

  return {
    get state() {
      return mirror.state;
    },
    get outbox() {
      return outbox();
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    send: (draft) => command({ type: 'send', entry: entryOf(draft, outbox(), world.now()) }),
    cancel: (id) => command({ type: 'cancel', id }),
    resend: (id) => command({ type: 'resend', id }),
    discard: (id) => command({ type: 'discard', id }),
    expect: (ids) => command({ type: 'expect', ids }),
    takeOver: () => command({ type: 'takeOver' }),
    retryNow: () => command({ type: 'retryNow' }),
    wake() {
      if (mirror.state.phase === 'resting') command({ type: 'wake' });
    },
    close() {
      post({ kind: 'signOut' });
      leave({ phase: 'idle' });
    },
    stop: end,
  };
}
