/**
 * For tests: a clock, a server that keeps the contract, and a browser with tabs, all without real time. Randomness
 * comes from a seed, so every run can be repeated.
 *
 * The server is as unkind as the real one may be. It handles frames side by side, so they overtake each other. Lines
 * break, with and without anybody noticing. Frames get lost or come twice where the contract allows it.
 */

import type { Admission, ClientFrame, ClosingCode, Message, ServerFrame } from '../contract';
import type { Limits, LineEvent } from './types';
import { memoryStorage, type Channel, type Locks, type Socket, type World } from './world';

export function dice(seed: number): () => number {
  let a = seed + 0x6d2b79f5;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

// ---- Time

export type Clock = ReturnType<typeof createClock>;

export function createClock() {
  interface Planned {
    at: number;
    run: () => void;
  }
  const planned: Planned[] = [];
  const clock = {
    now: 1_750_000_000_000,
    /** The steps so far, for tests that act "at any moment". */
    steps: 0,
    onStep: undefined as ((steps: number) => void) | undefined,
    after(ms: number, run: () => void): Planned {
      const plan = { at: clock.now + ms, run };
      let index = planned.length;
      while (index > 0 && (planned[index - 1]?.at ?? 0) > plan.at) index--;
      planned.splice(index, 0, plan);
      return plan;
    },
    cancel(plan: unknown): void {
      const index = planned.indexOf(plan as Planned);
      if (index >= 0) planned.splice(index, 1);
    },
    async advance(ms: number): Promise<void> {
      const until = clock.now + ms;
      await settled();
      for (let next = planned[0]; next && next.at <= until; next = planned[0]) {
        planned.shift();
        clock.now = next.at;
        next.run();
        await settled();
        clock.steps++;
        clock.onStep?.(clock.steps);
      }
      clock.now = until;
    },
  };
  return clock;
}

/** Waits until all promises have run. */
async function settled(): Promise<void> {
  for (let i = 0; i < 12; i++) await Promise.resolve();
}

// ---- The server

interface Link {
  session: string;
  /** As the server sees it. */
  open: boolean;
  /** As the client sees it. */
  heard: boolean;
  /** Nothing comes through, and neither side notices. */
  silent: boolean;
  tell(frame: ServerFrame): void;
  end(): void;
}

interface Place {
  link: Link;
  spoken: boolean;
  expiresAt: number;
}

interface Stored {
  id: string;
  conversationId: string;
  text: string;
  status: Message['status'];
  /** One for each attempt. */
  texts: string[];
  said: string;
  seq: number;
  toldTo: Link | undefined;
  cancelled: boolean;
  createdAt: number;
}

export interface Faults {
  dropDelta: number;
  doubleDelta: number;
  restartAnswer: number;
  dropReply: number;
  doubleReply: number;
  dropAccepted: number;
  internal: number;
  pieces: number;
}

const NO_FAULTS: Faults = {
  dropDelta: 0,
  doubleDelta: 0,
  restartAnswer: 0,
  dropReply: 0,
  doubleReply: 0,
  dropAccepted: 0,
  internal: 0,
  pieces: 5,
};

export type Server = ReturnType<typeof createServer>;

export function createServer(options: {
  clock: Clock;
  random: () => number;
  limits: Limits;
  faults?: Partial<Faults>;
  skewMs?: number;
}) {
  const { clock, random, limits } = options;
  const faults = { ...NO_FAULTS, ...options.faults };
  const happens = (probability: number) => random() < probability;
  const stamp = (at: number) => new Date(at + (options.skewMs ?? 0)).toISOString();
  const messages = new Map<string, Stored>();
  const busy = new Map<string, Stored[]>();
  const links = new Set<Link>();
  let place: Place | undefined;

  const server = {
    messages,
    /** Admitted ids, in order. */
    order: [] as string[],
    /** Whether the client's network works. */
    up: true,
    token: 'good',
    /** The one that the server selects. */
    protocol: 'parley.v1',
    others: 0,
    capacity: 50,
    handshakes: 0,
    /** How often a handshake got each answer. */
    answers: [] as number[],
    faults,
    get session() {
      return holder()?.link.session;
    },
    get spoken() {
      return holder()?.spoken;
    },

    openSocket(url: string, protocols: string[], run: (callback: () => void) => void): Socket {
      const socket: Socket & { protocol: string } = {
        protocol: '',
        onopen: null,
        onmessage: null,
        onclose: null,
        send: (data) => up(() => receive(link, JSON.parse(data) as ClientFrame)),
        close() {
          if (!link.heard) return;
          link.heard = false;
          up(() => gone(link));
        },
      };
      // Each direction keeps its order.
      const times = { up: 0, down: 0 };
      const way = (direction: 'up' | 'down', callback: () => void) => {
        times[direction] = Math.max(times[direction], clock.now + 1 + random() * 40);
        clock.after(times[direction] - clock.now, () => {
          if (!link.silent && server.up) callback();
        });
      };
      const up = (callback: () => void) => way('up', callback);
      const down = (callback: () => void) => way('down', () => run(() => link.heard && callback()));
      const link: Link = {
        session: '',
        open: false,
        heard: true,
        silent: false,
        tell: (frame) => down(() => socket.onmessage?.({ data: JSON.stringify(frame) })),
        end() {
          link.open = false;
          links.delete(link);
          down(() => {
            link.heard = false;
            socket.onclose?.();
          });
        },
      };
      server.handshakes++;
      if (!server.up) {
        clock.after(random() * 100, () => run(() => socket.onclose?.()));
        return socket;
      }
      up(() => {
        const query = new URL(url).searchParams;
        link.session = query.get('session') ?? '';
        const status = protocols[1] === `bearer.${server.token}` ? admit(link, query.has('takeover')) : 401;
        server.answers.push(status);
        if (status !== 101) return link.end();
        link.open = true;
        links.add(link);
        down(() => {
          socket.protocol = server.protocol;
          socket.onopen?.();
        });
      });
      return socket;
    },

    admission(token: string): Promise<Admission | 'unauthorized'> {
      return new Promise((resolve, reject) =>
        clock.after(1 + random() * 40, () => {
          if (!server.up) return reject(new TypeError('Failed to fetch'));
          if (token !== server.token) return resolve('unauthorized');
          const inUse = server.others + (holder() ? 1 : 0);
          const state = holder() ? 'connected' : inUse >= server.capacity ? 'full' : 'open';
          resolve({ state, inUse, capacity: server.capacity, retryAfterSeconds: state === 'open' ? 0 : 30 });
        }),
      );
    },

    /** Breaks every line. `silently`: neither side is told. */
    breakLines(silently: boolean): void {
      for (const link of [...links]) {
        if (silently) link.silent = true;
        else {
          link.end();
          gone(link);
        }
      }
    },

    /** Takes the place away and tells its holder. */
    dismiss(code: ClosingCode): void {
      if (!place) return;
      const { link } = place;
      place = undefined;
      close(link, code);
    },

    /** Another device has the place. */
    takeElsewhere(): void {
      server.dismiss('replaced');
      const nowhere = { session: 'elsewhere', open: true, heard: false, silent: true, tell() {}, end() {} };
      place = { link: nowhere, spoken: true, expiresAt: Infinity };
    },

    leaveElsewhere(): void {
      place = undefined;
    },
  };

  function holder(): Place | undefined {
    if (place && place.expiresAt <= clock.now) return undefined;
    return place;
  }

  function admit(link: Link, takeover: boolean): number {
    const held = holder();
    if (held && held.link.session !== link.session && !takeover) return 409;
    if (held) {
      const { link: old } = held;
      place = { ...held, link, expiresAt: held.spoken ? clock.now + limits.leaseSeconds * 1000 : held.expiresAt };
      close(old, 'replaced');
    } else {
      if (server.others >= server.capacity) return 503;
      place = { link, spoken: false, expiresAt: clock.now + limits.firstMessageSeconds * 1000 };
    }
    sweepLater();
    return 101;
  }

  function close(link: Link, code: ClosingCode): void {
    if (link.open) link.tell({ type: 'closing', code, message: '' });
    link.end();
  }

  function gone(link: Link): void {
    link.open = false;
    links.delete(link);
    if (place?.link === link) place = undefined;
  }

  function sweepLater(): void {
    const swept = place;
    if (!swept || swept.expiresAt === Infinity) return;
    clock.after(swept.expiresAt - clock.now + random() * 2000, () => {
      if (place !== swept) return;
      if (place.expiresAt > clock.now) return sweepLater();
      server.dismiss(place.spoken ? 'lease_expired' : 'first_message');
    });
  }

  function heardFrom(link: Link, speaks: boolean): boolean {
    const held = holder();
    if (held?.link !== link) return false;
    if (speaks) held.spoken = true;
    if (held.spoken) held.expiresAt = clock.now + limits.leaseSeconds * 1000;
    return true;
  }

  function receive(link: Link, frame: ClientFrame): void {
    // Each frame starts a function of its own, and each function takes its time.
    clock.after(random() * 60, () => {
      switch (frame.action) {
        case 'heartbeat': {
          if (!heardFrom(link, false)) return refuse(link, 'lease_expired');
          return link.tell({ type: 'heartbeat', leaseExpiresAt: stamp(place?.expiresAt ?? 0) });
        }
        case 'cancel': {
          if (!heardFrom(link, false)) return refuse(link, 'lease_expired', frame.id);
          const message = messages.get(frame.id);
          if (!message) return refuse(link, 'bad_request', frame.id);
          message.cancelled = true;
          return;
        }
        case 'sendMessage':
          return admitMessage(link, frame);
      }
    });
  }

  function refuse(link: Link, code: string, id?: string): void {
    const again = code === 'too_many_pending' ? { retryAfterMs: 1000 } : {};
    link.tell({ type: 'error', code, message: code, ...(id !== undefined && { id }), ...again });
  }

  function admitMessage(link: Link, frame: Extract<ClientFrame, { action: 'sendMessage' }>): void {
    const { id, conversationId, text = '' } = frame;
    if (holder()?.link !== link) return refuse(link, 'lease_expired', id);
    if (happens(faults.internal)) return refuse(link, 'internal', id);
    const known = messages.get(id);
    const pending = [...messages.values()].filter(({ status }) => status === 'queued' || status === 'processing').length;
    if (!known && pending >= limits.maxPendingPerClient) return refuse(link, 'too_many_pending', id);
    if (known && (known.text !== text || known.conversationId !== conversationId)) return refuse(link, 'bad_request', id);
    heardFrom(link, true);
    const message = known ?? store(id, conversationId, text);
    if (happens(faults.internal)) return refuse(link, 'internal', id);
    if (happens(faults.dropAccepted)) return;
    link.tell({ type: 'accepted', id, duplicate: known !== undefined, message: shown(message) });
    if (known && ended(known)) link.tell(reply(known));
  }

  function store(id: string, conversationId: string, text: string): Stored {
    const message: Stored = {
      id,
      conversationId,
      text,
      status: 'queued',
      texts: [],
      said: '',
      seq: 0,
      toldTo: undefined,
      cancelled: false,
      createdAt: clock.now,
    };
    messages.set(id, message);
    server.order.push(id);
    const queue = busy.get(conversationId) ?? [];
    busy.set(conversationId, [...queue, message]);
    if (queue.length === 0) clock.after(random() * 100, () => begin(message));
    return message;
  }

  function begin(message: Stored): void {
    message.status = 'processing';
    message.said = '';
    const attempt = message.texts.length;
    message.texts.push(
      Array.from({ length: faults.pieces }, (_, i) => `${message.id}/${attempt}/${i} `).join(''),
    );
    let piece = 0;
    let first = true;
    const next = () => {
      if (message.cancelled || piece === faults.pieces) return finish(message);
      if (piece > 0 && happens(faults.restartAnswer)) return begin(message);
      const text = `${message.id}/${attempt}/${piece++} `;
      message.said += text;
      tellDelta(message, text, first && attempt > 0);
      first = false;
      clock.after(random() * 300, next);
    };
    clock.after(random() * 1000, next);
  }

  function tellDelta(message: Stored, text: string, anew: boolean): void {
    const link = holder()?.link;
    if (!link) {
      message.toldTo = undefined;
      return;
    }
    const restart = anew || (link !== message.toldTo && (message.seq > 0 || message.said !== text));
    const delta: ServerFrame = {
      type: 'delta',
      id: message.id,
      seq: message.seq++,
      text: restart ? message.said : text,
      ...(restart && { restart }),
    };
    message.toldTo = link;
    if (happens(faults.dropDelta)) return;
    link.tell(delta);
    if (happens(faults.doubleDelta)) link.tell(delta);
  }

  function finish(message: Stored): void {
    message.status = message.cancelled ? 'cancelled' : 'done';
    if (!happens(faults.dropReply)) {
      holder()?.link.tell(reply(message));
      if (happens(faults.doubleReply)) holder()?.link.tell(reply(message));
    }
    const queue = (busy.get(message.conversationId) ?? []).slice(1);
    busy.set(message.conversationId, queue);
    const [next] = queue;
    if (next) clock.after(random() * 100, () => begin(next));
  }

  function reply(message: Stored): ServerFrame {
    const answer: Message = {
      id: `${message.id}-answer`,
      conversationId: message.conversationId,
      role: 'assistant',
      type: 'text',
      text: message.said,
      status: message.status,
      replyTo: message.id,
      createdAt: stamp(clock.now),
    };
    return { type: 'reply', id: message.id, message: shown(message), replies: [answer] };
  }

  function shown({ id, conversationId, text, status, createdAt }: Stored): Message {
    return { id, conversationId, role: 'user', type: 'text', text, status, createdAt: stamp(createdAt) };
  }

  return server;
}

function ended({ status }: Stored): boolean {
  return status === 'done' || status === 'cancelled';
}

// ---- The browser

export type Tab = ReturnType<Browser['openTab']>;
export type Browser = ReturnType<typeof createBrowser>;

export function createBrowser(clock: Clock, random: () => number, server: Server) {
  interface Request {
    tab: { run(callback: () => void): void };
    held: (lock: unknown) => Promise<unknown> | undefined;
    resolve(value: unknown): void;
    reject(error: Error): void;
  }
  const shared = memoryStorage();
  const channels = new Map<string, Set<Channel & { deliver(data: unknown): void }>>();
  const locks = { holder: undefined as Request | undefined, queue: [] as Request[] };
  let tabs = 0;

  function grant(request: Request): void {
    locks.holder = request;
    request.tab.run(() => {
      const over = (value: unknown) => {
        request.resolve(value);
        if (locks.holder === request) release();
      };
      Promise.resolve(request.held({})).then(over);
    });
  }

  function release(): void {
    locks.holder = undefined;
    const next = locks.queue.shift();
    if (next) grant(next);
  }

  return {
    shared,

    openTab(options: { visible?: boolean; online?: boolean; alone?: boolean; own?: Storage } = {}) {
      const number = ++tabs;
      const listeners = new Map<string, Set<() => void>>();
      let ids = 0;
      let held: (() => void)[] | undefined;
      let alive = true;
      let visible = options.visible ?? true;
      let online = options.online ?? true;
      const run = (callback: () => void) => {
        if (!alive) return;
        if (held) held.push(callback);
        else callback();
      };
      const fire = (type: string) => run(() => listeners.get(type)?.forEach((listener) => listener()));
      const me = { run };

      const lockManager: Locks = {
        request: (_name, { steal, signal }, callback) =>
          new Promise((resolve, reject) => {
            const request: Request = { tab: me, held: callback, resolve, reject };
            if (steal) {
              const robbed = locks.holder;
              robbed?.tab.run(() => robbed.reject(abortError()));
              return grant(request);
            }
            signal?.addEventListener('abort', () => {
              if (!locks.queue.includes(request)) return;
              locks.queue = locks.queue.filter((other) => other !== request);
              reject(abortError());
            });
            if (locks.holder) locks.queue.push(request);
            else grant(request);
          }),
      };

      const openChannel = (name: string): Channel => {
        const all = channels.get(name) ?? new Set();
        channels.set(name, all);
        const channel = {
          onmessage: null as Channel['onmessage'],
          deliver: (data: unknown) => run(() => channel.onmessage?.({ data })),
          postMessage(data: unknown) {
            const copy = structuredClone(data);
            for (const other of all) {
              if (other !== channel) clock.after(1, () => all.has(other) && other.deliver(copy));
            }
          },
          close: () => void all.delete(channel),
        };
        all.add(channel);
        return channel;
      };

      const world: World = {
        now: () => clock.now,
        random,
        uuid: () => `tab${number}-${++ids}`,
        setTimeout(callback, delayMs) {
          const timer = { callback, plan: clock.after(delayMs, () => run(() => timer.callback())) };
          return timer;
        },
        clearTimeout(timer) {
          if (timer === undefined) return;
          const { plan } = Object.assign(timer as { plan: unknown; callback: () => void }, { callback() {} });
          clock.cancel(plan);
        },
        openSocket: (url, protocols) => server.openSocket(url, protocols, run),
        locks: options.alone ? undefined : lockManager,
        openChannel: options.alone ? undefined : openChannel,
        shared,
        own: options.own ?? memoryStorage(),
        online: () => online,
        visible: () => visible,
        on(type, listener) {
          const all = listeners.get(type) ?? new Set();
          listeners.set(type, all.add(listener));
          return () => all.delete(listener);
        },
      };

      return {
        world,
        /** Stops the tab without telling it. */
        freeze() {
          held ??= [];
        },
        thaw() {
          const callbacks = held ?? [];
          held = undefined;
          callbacks.forEach(run);
        },
        /** The process is gone, and the browser ends its locks and sockets. */
        crash() {
          alive = false;
          locks.queue = locks.queue.filter((request) => request.tab !== me);
          if (locks.holder?.tab === me) release();
          server.breakLines(false);
        },
        setVisible(now: boolean) {
          visible = now;
          fire('visibilitychange');
        },
        setOnline(now: boolean) {
          online = now;
          fire(now ? 'online' : 'offline');
        },
        fire,
      };
    },
  };
}

function abortError(): Error {
  return Object.assign(new Error('Aborted'), { name: 'AbortError' });
}

// ---- An app

/** Shows what it is told, as the real one does, and checks that it is true. */
export function createApp(
  server: Server,
  clock: Clock,
  line: {
    subscribe(listener: (event: LineEvent) => void): () => void;
    expect(ids: string[]): void;
  },
) {
  const app = {
    texts: new Map<string, string>(),
    accepted: new Set<string>(),
    ends: new Map<string, string>(),
    events: [] as LineEvent[],
    problems: [] as string[],
  };
  const check = (right: boolean, problem: string) => right || app.problems.push(`${clock.now}: ${problem}`);
  const readHistory = () => {
    for (const message of server.messages.values()) {
      if (ended(message)) app.ends.set(message.id, message.said);
      else line.expect([message.id]);
    }
  };
  line.subscribe((event) => {
    app.events.push(event);
    switch (event.type) {
      case 'accepted':
        check(server.messages.has(event.id), `${event.id} was not accepted`);
        app.accepted.add(event.id);
        return;
      case 'answer': {
        const text = (event.restart ? '' : (app.texts.get(event.id) ?? '')) + event.text;
        app.texts.set(event.id, text);
        const truths = server.messages.get(event.id)?.texts ?? [];
        check(truths.some((truth) => truth.startsWith(text)), `"${text}" was not said of ${event.id}`);
        return;
      }
      case 'reply':
        check(event.replies[0]?.text === server.messages.get(event.id)?.said, `${event.id} did not end so`);
        app.ends.set(event.id, event.replies[0]?.text ?? '');
        return;
      case 'failed':
        check(false, `${event.id} failed`);
        return;
      case 'resumed':
        clock.after(30, readHistory);
        return;
      default:
        return;
    }
  });
  return { ...app, readHistory };
}
