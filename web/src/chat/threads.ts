/** The conversations that were opened: their logs, loaded page by page, and for each the branch that is shown. */
import { computed, shallowRef, type ComputedRef, type ShallowRef } from 'vue';
import { ApiError, type Api } from '../api';
import type { Message } from '../contract';
import type { Outgoing } from '../line';
import { emptyLog, withFrame, withNewer, withOlder, type Log } from './log';
import { pathOf, treeOf, type Preview, type Tree, type Turn } from './turns';

const PAGE = 50;

export interface Thread {
  id: string;
  log: ShallowRef<Log>;
  state: ShallowRef<'loading' | 'ready' | 'failed' | 'gone'>;
  loadingOlder: ShallowRef<boolean>;
  /** A turn on the branch that is shown. Without one, it is the newest branch. */
  head: ShallowRef<string | undefined>;
  /** The message that is being edited. */
  editing: ShallowRef<string | undefined>;
  tree: ComputedRef<Tree>;
  path: ComputedRef<Turn[]>;
  /** Whether there are older items that are not loaded. */
  hasOlder: ComputedRef<boolean>;
  /** Whether frames were missed since it was loaded. */
  stale: boolean;
  /** The load under way, if any. */
  refreshing?: Promise<void>;
}

export interface Threads {
  open(id: string): Thread;
  find(id: string): Thread | undefined;
  loaded(): Iterable<Thread>;
  /** A conversation that was made just now, so there is nothing to load. */
  openEmpty(id: string): Thread;
  /**
   * Loads everything since the last time. Two calls at once share one load, which also covers what is missed while it
   * runs.
   */
  refresh(thread: Thread): Promise<void>;
  /** Loads until the branch that is shown has grown at its beginning, or until there is no more. */
  loadOlder(thread: Thread): Promise<void>;
  apply(conversation: string, messages: readonly Message[]): void;
  /** Changes a message, if it is loaded somewhere. */
  change(id: string, change: (message: Message) => Message): void;
  /** Whether a message that is loaded somewhere has its answer, or will have none. */
  hasEnded(id: string): boolean;
}

export function createThreads(
  api: Api,
  outbox: ShallowRef<Outgoing[]>,
  preview: Preview,
  /** After a page: the messages without an end. */
  unanswered: (ids: string[]) => void,
): Threads {
  const threads = new Map<string, Thread>();

  function make(id: string): Thread {
    const log = shallowRef<Log>(emptyLog);
    const head = shallowRef<string>();
    const own = computed(() => outbox.value.filter((outgoing) => outgoing.conversationId === id));
    const tree = computed(() => treeOf(log.value.items, log.value.complete, own.value, preview));
    const path = computed(() => pathOf(tree.value, head.value));
    // The path may be complete. But other branches may begin at its start, and that is known only when everything is
    // loaded.
    const hasOlder = computed(() => !log.value.complete);
    const state = shallowRef<'loading' | 'ready' | 'failed' | 'gone'>('loading');
    const thread: Thread = { id, log, state, loadingOlder: shallowRef(false), head, editing: shallowRef<string>(), tree, path, hasOlder, stale: true };
    threads.set(id, thread);
    return thread;
  }

  async function loadLatest(thread: Thread): Promise<void> {
    const page = await api.messages(thread.id, { order: 'desc', limit: PAGE });
    thread.log.value = withOlder(thread.log.value, page.items.reverse(), page.nextCursor);
  }

  async function loadNewer(thread: Thread, after: string): Promise<void> {
    let cursor: string | undefined;
    do {
      const page = await api.messages(thread.id, { after, limit: 100, order: 'asc', ...(cursor ? { cursor } : {}) });
      thread.log.value = withNewer(thread.log.value, page.items);
      cursor = page.nextCursor;
    } while (cursor);
  }

  /** A missed end changes an item and adds none. So each message that still waits is read again by itself. */
  async function loadEnds(thread: Thread): Promise<void> {
    const waiting = waitingIn(thread.log.value.items);
    const messages = await Promise.all(waiting.map((id) => api.message(thread.id, id)));
    thread.log.value = withFrame(thread.log.value, messages);
    unanswered(waitingIn(thread.log.value.items));
  }

  function refresh(thread: Thread): Promise<void> {
    thread.stale = true;
    thread.refreshing ??= refreshWhileStale(thread).finally(() => delete thread.refreshing);
    return thread.refreshing;
  }

  async function refreshWhileStale(thread: Thread): Promise<void> {
    try {
      while (thread.stale) {
        thread.stale = false;
        const { confirmed } = thread.log.value;
        if (confirmed === undefined) await loadLatest(thread);
        else {
          await loadEnds(thread);
          await loadNewer(thread, confirmed);
        }
        unanswered(waitingIn(thread.log.value.items));
        thread.state.value = 'ready';
      }
    } catch (error) {
      thread.stale = true;
      if (error instanceof ApiError && error.status === 404) thread.state.value = 'gone';
      else if (thread.state.value !== 'ready') thread.state.value = 'failed';
    }
  }

  return {
    open: (id) => threads.get(id) ?? make(id),
    find: (id) => threads.get(id),
    loaded: () => threads.values(),
    openEmpty(id) {
      const thread = make(id);
      thread.log.value = { items: [], complete: true };
      thread.state.value = 'ready';
      thread.stale = false;
      return thread;
    },
    refresh,
    async loadOlder(thread) {
      if (thread.loadingOlder.value || !thread.hasOlder.value) return;
      thread.loadingOlder.value = true;
      try {
        const before = thread.path.value.length;
        do {
          const { cursor } = thread.log.value;
          if (cursor === undefined) break;
          const page = await api.messages(thread.id, { order: 'desc', limit: 100, cursor });
          thread.log.value = withOlder(thread.log.value, page.items.reverse(), page.nextCursor);
        } while (thread.hasOlder.value && thread.path.value.length < before + PAGE / 2);
      } catch {
        // The next scroll tries again.
      } finally {
        thread.loadingOlder.value = false;
      }
    },
    apply(conversation, messages) {
      const thread = threads.get(conversation);
      if (thread) thread.log.value = withFrame(thread.log.value, messages);
    },
    change(id, change) {
      for (const thread of threads.values()) {
        const message = thread.log.value.items.findLast((item) => item.id === id);
        if (message) thread.log.value = withFrame(thread.log.value, [change(message)]);
      }
    },
    hasEnded(id) {
      const known = [...threads.values()].map(({ log }) => log.value.items.findLast((item) => item.id === id));
      return known.some((message) => message !== undefined && !isWaiting(message));
    },
  };
}

function isWaiting(item: Message): boolean {
  return item.status === 'queued' || item.status === 'processing';
}

function waitingIn(items: readonly Message[]): string[] {
  return items.filter((item) => item.role === 'user' && isWaiting(item)).map((item) => item.id);
}
