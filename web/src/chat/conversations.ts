/**
 * The list of conversations: the most recently used first, with deletions that can be undone for a while.
 *
 * It is read once as a whole, page by page, because searching needs all titles. After that only new items are read. The
 * server sorts by the last use, and a rename counts as a use. So conversations that were made, used or renamed since
 * the last read stand before all others. Reading ends with the first page whose last item is exactly the one from the
 * last read. If an item from the last read stood before that item and is not there any more, it was deleted. If it
 * stood behind that item, its deletion elsewhere is noticed only when it is opened; then it leaves the list. Reading
 * all pages with every new connection would cost too much.
 *
 * A change that is made here while pages are on their way is newer than the pages, so it stays.
 */
import { computed, shallowReactive, shallowRef, type ComputedRef, type ShallowRef } from 'vue';
import { ApiError, type Api } from '../api';
import type { Conversation } from '../contract';

/** The title that the server gives a conversation that nobody has named. */
export const DEFAULT_TITLE = 'New conversation';
const TITLE_CHARACTERS = 60;

export interface Conversations {
  /** All except those being deleted. */
  list: ComputedRef<Conversation[]>;
  state: ShallowRef<'loading' | 'ready' | 'failed'>;
  /** Finds none that is being deleted. */
  find(id: string): Conversation | undefined;
  /** Whether it is being deleted and can still be undone. */
  isRemoving(id: string): boolean;
  /**
   * Reads the new items, and everything the first time. Two calls at once share one read, which also reads what came
   * while it ran.
   */
  load(): Promise<void>;
  /** Another tab has changed something. */
  take(change: Change): void;
  create(firstText: string): Promise<Conversation>;
  rename(id: string, title: string): Promise<void>;
  /** Removes it from the list at once. `removeNow` deletes it on the server. */
  remove(id: string): void;
  undoRemove(id: string): void;
  /** Deletes it on the server: it can't be undone any more. */
  removeNow(id: string): Promise<void>;
  /** The server does not have it any more. */
  gone(id: string): void;
  /** A message was sent in it just now. */
  used(id: string): void;
  /** The page is being closed. Conversations that the user has deleted are deleted on the server now. */
  leave(): void;
}

/** A change that other tabs should know. */
export type Change = { type: 'put'; conversation: Conversation } | { type: 'removed'; id: string };

/** `changed` tells other tabs. `removed` runs when the server has deleted it. */
export function createConversations(api: Api, changed: (change: Change) => void, removed: (id: string) => void): Conversations {
  const all = shallowRef<Conversation[]>([]);
  const state = shallowRef<'loading' | 'ready' | 'failed'>('loading');
  const removing = shallowReactive(new Set<string>());
  const list = computed(() => (removing.size === 0 ? all.value : all.value.filter(({ id }) => !removing.has(id))));
  /** The list as the last read found it. */
  let known = new Map<string, Conversation>();
  /** Renames on their way. The last one of a conversation counts. */
  const renames = new Map<string, Promise<Conversation>>();
  /** The conversations that were changed here since the pages on their way were requested. */
  const touched = new Set<string>();
  let loading: Promise<void> | undefined;
  let again = false;

  async function loadWhileNew(): Promise<void> {
    try {
      while (again) {
        again = false;
        touched.clear();
        await loadNew();
        state.value = 'ready';
      }
    } catch {
      if (state.value !== 'ready') state.value = 'failed';
    }
  }

  async function loadNew(): Promise<void> {
    const isFirst = state.value !== 'ready';
    const pages = new Map<string, Conversation>();
    let cursor: string | undefined;
    let last: Conversation | undefined;
    do {
      const page = await api.conversations(cursor);
      for (const item of page.items) pages.set(item.id, item);
      cursor = page.nextCursor;
      last = page.items.at(-1) ?? last;
      // The first pages are shown while the rest is loading.
      if (isFirst && cursor) all.value = withOwn([...pages.values()]);
    } while (cursor && (isFirst || !isKnown(last)));
    // Behind the pages that were read, everything is as the last read found it.
    const end = cursor === undefined || !last ? -Infinity : Date.parse(last.updatedAt);
    const behind = new Map([...known].filter(([id, item]) => !pages.has(id) && Date.parse(item.updatedAt) <= end));
    all.value = withOwn([...pages.values(), ...all.value.filter(({ id }) => behind.has(id))]);
    known = new Map([...pages, ...behind]);
  }

  function isKnown(item: Conversation | undefined): boolean {
    const before = item && known.get(item.id);
    return before !== undefined && before.updatedAt === item?.updatedAt && before.title === item.title;
  }

  /** Puts the items that were changed here first, in their present state. */
  function withOwn(items: readonly Conversation[]): Conversation[] {
    const isOwn = ({ id }: Conversation) => touched.has(id) || renames.has(id);
    return [...all.value.filter(isOwn), ...items.filter((item) => !isOwn(item))];
  }

  function put(conversation: Conversation, first = false): void {
    touched.add(conversation.id);
    const at = first ? 0 : Math.max(all.value.findIndex((other) => other.id === conversation.id), 0);
    const rest = all.value.filter((other) => other.id !== conversation.id);
    all.value = [...rest.slice(0, at), conversation, ...rest.slice(at)];
  }

  function drop(id: string): void {
    touched.add(id);
    all.value = all.value.filter((conversation) => conversation.id !== id);
  }

  return {
    list,
    state,
    find: (id) => list.value.find((conversation) => conversation.id === id),
    isRemoving: (id) => removing.has(id),
    load() {
      again = true;
      return (loading ??= loadWhileNew().finally(() => (loading = undefined)));
    },
    take(change) {
      if (change.type === 'put') put(change.conversation, true);
      else {
        drop(change.id);
        removed(change.id);
      }
    },
    async create(firstText) {
      const conversation = await api.createConversation(titleFrom(firstText));
      put(conversation, true);
      changed({ type: 'put', conversation });
      return conversation;
    },
    async rename(id, title) {
      const earlier = renames.get(id)?.catch(() => undefined);
      const its = earlier ? earlier.then(() => api.renameConversation(id, title)) : api.renameConversation(id, title);
      renames.set(id, its);
      const before = all.value.find((conversation) => conversation.id === id);
      if (before) put({ ...before, title });
      try {
        const conversation = await its;
        if (renames.get(id) !== its) return;
        // To the server this is a use, so the conversation is now the most recently used one.
        put(conversation, true);
        changed({ type: 'put', conversation });
      } catch (error) {
        const now = all.value.find((conversation) => conversation.id === id);
        if (before && now && renames.get(id) === its) put({ ...now, title: before.title });
        throw error;
      } finally {
        if (renames.get(id) === its) renames.delete(id);
      }
    },
    remove: (id) => void removing.add(id),
    undoRemove: (id) => void removing.delete(id),
    async removeNow(id) {
      if (!removing.has(id)) return;
      try {
        await api.deleteConversation(id).catch((error: unknown) => {
          // Another tab or device has already deleted it. That is the wanted state.
          if (!(error instanceof ApiError && error.status === 404)) throw error;
        });
        drop(id);
        removed(id);
        changed({ type: 'removed', id });
      } finally {
        removing.delete(id);
      }
    },
    gone: drop,
    used(id) {
      const conversation = all.value.find((other) => other.id === id);
      if (conversation) put({ ...conversation, updatedAt: new Date().toISOString() }, true);
    },
    leave() {
      for (const id of removing) void api.deleteConversation(id, true).catch(() => undefined);
      removing.clear();
    },
  };
}

/** The first words of a text as a title, or nothing if there are none. */
export function titleFrom(text: string): string | undefined {
  const lines = text.split('\n').map((line) => line.replaceAll(/[\p{Cc}\p{Cf}\s]+/gu, ' ').replace(/^[#>*\-\s`~|]+/, '').trim());
  const line = lines.find((candidate) => candidate !== '') ?? '';
  const characters = [...line];
  if (characters.length === 0) return undefined;
  if (characters.length <= TITLE_CHARACTERS) return line;
  const cut = characters.slice(0, TITLE_CHARACTERS).join('');
  const end = cut.lastIndexOf(' ');
  return `${end > TITLE_CHARACTERS / 2 ? cut.slice(0, end) : cut}…`;
}
