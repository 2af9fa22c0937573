/**
 * Runs the state machine in a browser, with sockets, timers and questions. It decides nothing.
 *
 * It takes inputs one after the other. If an effect causes an input at once (a listener that sends), that input waits
 * for its turn.
 */

import type { Admission, ServerFrame } from '../contract';
import { initial, snapshotOf, step } from './machine';
import type { Store } from './store';
import type { Command, Effect, Happening, LineEvent, Limits, Snapshot, TimerName } from './types';
import type { Socket, World } from './world';

export interface DriverOptions {
  websocketUrl: string;
  limits: Limits;
  /** A token for the next request. `refresh`: another one than before. `null`: nobody is signed in any more. */
  token(refresh: boolean): Promise<string | null>;
  /** `GET /api/admission`, or that it answered 401. It may fail. */
  admission(): Promise<Admission | 'unauthorized'>;
  /** The server's clock minus ours in milliseconds, if a response has told it. */
  skewMs?: (() => number | undefined) | undefined;
}

export interface Driver {
  command(command: Command): void;
  /** Whether the page is visible. */
  setVisible(visible: boolean): void;
  snapshot(): Snapshot;
  /** Closes the connection, which gives the place back. After that it does nothing. */
  stop(): void;
}

const PROTOCOL = 'parley.v1';

export function startDriver(
  options: DriverOptions,
  session: { id: string; fresh: boolean },
  store: Store,
  world: World,
  emit: (event: LineEvent) => void,
): Driver {
  let state = initial({
    limits: options.limits,
    session: session.id,
    held: !session.fresh,
    outbox: store.entries(),
  });
  let stopped = false;
  let busy = false;
  const inputs: Happening[] = [];
  /** `undefined`: the token is being fetched. */
  const sockets = new Map<number, Socket | undefined>();
  const timers = new Map<TimerName, unknown>();

  function feed(input: Happening): void {
    if (stopped) return;
    inputs.push(input);
    if (busy) return;
    busy = true;
    try {
      for (let next = inputs.shift(); next; next = inputs.shift()) {
        const skewMs = options.skewMs?.();
        const moment = { now: world.now(), random: world.random(), ...(skewMs !== undefined && { skewMs }) };
        const { state: after, effects } = step(state, { ...next, ...moment });
        state = after;
        for (const effect of effects) perform(effect);
      }
    } finally {
      busy = false;
    }
  }

  function perform(effect: Effect): void {
    switch (effect.type) {
      case 'openSocket':
        return void openSocket(effect);
      case 'sendFrame':
        return sockets.get(effect.connection)?.send(JSON.stringify(effect.frame));
      case 'closeSocket': {
        const socket = sockets.get(effect.connection);
        sockets.delete(effect.connection);
        return socket?.close(1000);
      }
      case 'askAdmission': {
        const { ask } = effect;
        const answered = (answer: Admission | 'unauthorized' | 'failed') => feed({ type: 'admission', ask, answer });
        options.admission().then(answered, () => answered('failed'));
        return;
      }
      case 'setTimer': {
        const { name, at } = effect;
        world.clearTimeout(timers.get(name));
        const fire = () => {
          timers.delete(name);
          feed({ type: 'timer', name });
        };
        timers.set(name, world.setTimeout(fire, Math.max(0, at - world.now())));
        return;
      }
      case 'clearTimer':
        world.clearTimeout(timers.get(effect.name));
        timers.delete(effect.name);
        return;
      case 'store':
        return effect.entry ? store.put(effect.entry) : store.remove(effect.id);
      case 'emit':
        return emit(effect.event);
    }
  }

  async function openSocket(effect: Extract<Effect, { type: 'openSocket' }>): Promise<void> {
    const { connection } = effect;
    const awaited = () => sockets.has(connection) && !stopped;
    const closed = () => {
      if (!awaited()) return;
      sockets.delete(connection);
      feed({ type: 'closed', connection });
    };
    sockets.set(connection, undefined);
    let token: string | null;
    try {
      token = await options.token(effect.refresh);
    } catch {
      return closed(); // the line to the issuer is broken too
    }
    if (!awaited()) return;
    if (token === null) return feed({ type: 'tokenRefused', connection });
    const url = new URL(options.websocketUrl);
    url.searchParams.set('session', effect.session);
    if (effect.takeover) url.searchParams.set('takeover', 'true');
    let socket: Socket;
    try {
      socket = world.openSocket(url.href, [PROTOCOL, `bearer.${token}`]);
    } catch {
      return closed(); // a token that is no subprotocol, or an address that is none
    }
    sockets.set(connection, socket);
    socket.onopen = () => {
      if (!awaited()) return;
      if (socket.protocol === PROTOCOL) return feed({ type: 'opened', connection });
      socket.close(1000); // something else is listening there
      closed();
    };
    socket.onmessage = ({ data }) => {
      if (awaited()) feed({ type: 'frame', connection, frame: parse(data) });
    };
    socket.onclose = closed;
  }

  const unlisten = [
    world.on('online', () => feed({ type: 'online' })),
    world.on('offline', () => feed({ type: 'offline' })),
  ];
  if (!world.online()) feed({ type: 'offline' });
  feed({ type: 'wanted' });

  return {
    command: feed,
    setVisible: (visible) => feed({ type: visible ? 'visible' : 'hidden' }),
    snapshot: () => snapshotOf(state),
    stop() {
      feed({ type: 'unwanted' });
      stopped = true;
      for (const off of unlisten) off();
    },
  };
}

/** A frame that can't be read (the gateway has some of its own) is still a sign of life. */
function parse(data: unknown): ServerFrame {
  try {
    const frame = JSON.parse(String(data)) as ServerFrame | null;
    if (typeof frame?.type === 'string') return frame;
  } catch {
    // As below.
  }
  return { type: 'error', code: 'unreadable', message: '' };
}
