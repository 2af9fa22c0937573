/** Everything that the line needs from the browser, in one place, so that tests can replace it. */

/** The part of `LockManager` that is used. */
export interface Locks {
  request(
    name: string,
    options: { steal?: boolean; signal?: AbortSignal },
    held: (lock: unknown) => Promise<unknown> | undefined,
  ): Promise<unknown>;
}

/** The part of `BroadcastChannel` that is used. */
export interface Channel {
  postMessage(data: unknown): void;
  onmessage: ((event: { data: unknown }) => void) | null;
  close(): void;
}

/** The part of `WebSocket` that is used. */
export interface Socket {
  readonly protocol: string;
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: (() => void) | null;
  send(data: string): void;
  close(code?: number): void;
}

export interface World {
  now(): number;
  random(): number;
  uuid(): string;
  setTimeout(run: () => void, delayMs: number): unknown;
  clearTimeout(timer: unknown): void;
  openSocket(url: string, protocols: string[]): Socket;
  /** Without locks and channel, each tab has a line of its own. */
  locks: Locks | undefined;
  openChannel: ((name: string) => Channel) | undefined;
  /** Shared by all tabs of the browser. */
  shared: Storage;
  /** For this tab alone. */
  own: Storage;
  online(): boolean;
  visible(): boolean;
  /** Listens to events of window and document. Returns a function that stops listening. */
  on(type: 'online' | 'offline' | 'visibilitychange' | Lifecycle, listener: () => void): () => void;
}

/** Leaving the page or being frozen, and coming back. */
export type Lifecycle = 'pagehide' | 'freeze' | 'pageshow' | 'resume';

export function browser(): World {
  return {
    now: () => Date.now(),
    random: () => Math.random(),
    // `randomUUID` exists only in secure contexts.
    uuid: () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join(''),
    setTimeout: (run, delayMs) => window.setTimeout(run, delayMs),
    clearTimeout: (timer) => window.clearTimeout(timer as number),
    openSocket: (url, protocols) => new WebSocket(url, protocols) as Socket,
    // Only in secure contexts.
    locks: 'locks' in navigator ? (navigator.locks as Locks) : undefined,
    openChannel: 'BroadcastChannel' in window ? (name) => new BroadcastChannel(name) as Channel : undefined,
    shared: storageOr(() => window.localStorage),
    own: storageOr(() => window.sessionStorage),
    online: () => navigator.onLine,
    visible: () => document.visibilityState === 'visible',
    on(type, listener) {
      const inDocument = type === 'visibilitychange' || type === 'freeze' || type === 'resume';
      const target: EventTarget = inDocument ? document : window;
      target.addEventListener(type, listener);
      return () => target.removeEventListener(type, listener);
    },
  };
}

/** A browser may forbid storage, so that even a look at it fails. Then the line works as long as the page lives. */
function storageOr(get: () => Storage): Storage {
  try {
    return get();
  } catch {
    return memoryStorage();
  }
}

export function memoryStorage(): Storage {
  const items = new Map<string, string>();
  return {
    get length() {
      return items.size;
    },
    key: (index) => [...items.keys()][index] ?? null,
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => void items.set(key, value),
    removeItem: (key) => void items.delete(key),
    clear: () => items.clear(),
  };
}
