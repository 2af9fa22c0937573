/** The list of conversations: most recently used first, with deletions that can be undone for a while. */
import { computed, shallowReactive, shallowRef, type ComputedRef, type ShallowRef } from 'vue';
import { ApiError, type Api } from '../api';
import type { Conversation } from '../contract';

/** How long a deletion can be undone. */
export const UNDO_MS = 7000;

/** The title of a conversation that nobody has named; the server gives it. */
export const DEFAULT_TITLE = 'New conversation';
const TITLE_CHARACTERS = 60;

export interface Conversations {
  /** Without those being deleted. */
  list: ComputedRef<Conversation[]>;
  state: ShallowRef<'loading' | 'ready' | 'failed'>;
  find(id: string): Conversation | undefined;
  load(): Promise<void>;
  create(firstText: string): Promise<Conversation>;
  rename(id: string, title: string): Promise<void>;
  /** Gone from the list at once, from the server when the time for second thoughts is over. */
  remove(id: string, failed: () => void): void;
  undoRemove(id: string): void;
  /** Something was said in it just now. */
  used(id: string): void;
  /** The page is being closed: what was deleted stays deleted. */
  leave(): void;
}

export function createConversations(api: Api, changed: () => void): Conversations {
  const all = shallowRef<Conversation[]>([]);
  const state = shallowRef<'loading' | 'ready' | 'failed'>('loading');
  const removing = shallowReactive(new Map<string, ReturnType<typeof setTimeout>>());
  const list = computed(() => all.value.filter((conversation) => !removing.has(conversation.id)));
  let loading: Promise<void> | undefined;
  // Made while the list was being loaded, which may not know of them.
  const madeMeanwhile = new Map<string, Conversation>();

  async function loadAll(): Promise<void> {
    madeMeanwhile.clear();
    try {
      const items = new Map<string, Conversation>();
      let cursor: string | undefined;
      do {
        const page = await api.conversations(cursor);
        for (const item of page.items) items.set(item.id, item);
        cursor = page.nextCursor;
        // The first page is shown while the rest comes: searching needs all titles.
        if (state.value !== 'ready' && cursor) all.value = [...items.values()];
      } while (cursor);
      const unknown = [...madeMeanwhile.values()].filter((conversation) => !items.has(conversation.id));
      all.value = [...unknown.reverse(), ...items.values()];
      state.value = 'ready';
    } catch {
      if (state.value !== 'ready') state.value = 'failed';
    }
  }

  function put(conversation: Conversation, first = false): void {
    const rest = all.value.filter((other) => other.id !== conversation.id);
    const at = first ? 0 : Math.max(all.value.findIndex((other) => other.id === conversation.id), 0);
    all.value = [...rest.slice(0, at), conversation, ...rest.slice(at)];
  }

  async function removeNow(id: string, failed: () => void): Promise<void> {
    try {
      await api.deleteConversation(id).catch((error: unknown) => {
        // Gone already, by another tab or device: that is what was wanted.
        if (!(error instanceof ApiError && error.status === 404)) throw error;
      });
      all.value = all.value.filter((conversation) => conversation.id !== id);
      changed();
    } catch {
      failed();
    } finally {
      removing.delete(id);
    }
  }

  return {
    list,
    state,
    find: (id) => all.value.find((conversation) => conversation.id === id),
    load: () => (loading ??= loadAll().finally(() => (loading = undefined))),
    async create(firstText) {
      const conversation = await api.createConversation(titleFrom(firstText));
      madeMeanwhile.set(conversation.id, conversation);
      put(conversation, true);
      changed();
      return conversation;
    },
    async rename(id, title) {
      const before = all.value.find((conversation) => conversation.id === id);
      if (before) put({ ...before, title });
      try {
        const after = await api.renameConversation(id, title);
        // To the server that is a use of it, so it is the most recently used one now.
        put(after, true);
        changed();
      } catch (error) {
        if (before) put(before);
        throw error;
      }
    },
    remove(id, failed) {
      removing.set(id, setTimeout(() => void removeNow(id, failed), UNDO_MS));
    },
    undoRemove(id) {
      clearTimeout(removing.get(id));
      removing.delete(id);
    },
    used(id) {
      const conversation = all.value.find((other) => other.id === id);
      if (conversation) put({ ...conversation, updatedAt: new Date().toISOString() }, true);
    },
    leave() {
      for (const [id, timer] of removing) {
        clearTimeout(timer);
        void api.deleteConversation(id, true).catch(() => undefined);
      }
    },
  };
}

/** The first words of what was said, as a title; nothing where there are none. */
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
