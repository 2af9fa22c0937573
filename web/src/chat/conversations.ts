/**
 * The list of conversations: most recently used first, with deletions that can be undone for a while.
 *
 * It is read once as a whole, page by page, because searching needs all titles. After that only what is new is read. The
 * server lists by the last use, and to it a rename is a use, too. So whatever was made, used or renamed since the last time
 * stands before everything that was not: reading ends with the first page whose last item is the very one that was read
 * the last time. Whatever was read the last time, stands before that item and is not there any more, was deleted. One that was
 * deleted elsewhere and stands behind it is noticed when it is opened, and leaves the list then; reading all pages for it
 * with every new connection is not worth that.
 *
 * What is changed here while pages are on their way is newer than they are, so it stays as it is here.
 */
import { computed, shallowReactive, shallowRef, type ComputedRef, type ShallowRef } from 'vue';
import { ApiError, type Api } from '../api';
import type { Conversation } from '../contract';

/** The title of a conversation that nobody has named; the server gives it. */
export const DEFAULT_TITLE = 'New conversation';
const TITLE_CHARACTERS = 60;

export interface Conversations {
  /** Without those being deleted. */
  list: ComputedRef<Conversation[]>;
  state: ShallowRef<'loading' | 'ready' | 'failed'>;
  /** Not one that is being deleted. */
  find(id: string): Conversation | undefined;
  /** It is deleted, but for the time to think again. */
  isRemoving(id: string): boolean;
  /** Reads what is new; the first time, everything. Two at once are one, and it reads what came while it ran, too. */
  load(): Promise<void>;
  /** Another tab has changed something. */
  take(change: Change): void;
  create(firstText: string): Promise<Conversation>;
  rename(id: string, title: string): Promise<void>;
  /** Gone from the list at once; from the server by `removeNow`. */
  remove(id: string): void;
  undoRemove(id: string): void;
  /** The time for second thoughts is over. */
  removeNow(id: string): Promise<void>;
  /** It was found not to be there. */
  gone(id: string): void;
  /** Something was said in it just now. */
  used(id: string): void;
  /** The page is being closed: what was deleted stays deleted. */
  leave(): void;
}

/** What other tabs should know. */
export type Change = { type: 'put'; conversation: Conversation } | { type: 'removed'; id: string };

/** `changed`: for other tabs; `removed`: it is gone from the server. */
export function createConversations(api: Api, changed: (change: Change) => void, removed: (id: string) => void): Conversations {
  const all = shallowRef<Conversation[]>([]);
  const state = shallowRef<'loading' | 'ready' | 'failed'>('loading');
  const removing = shallowReactive(new Set<string>());
  const list = computed(() => (removing.size === 0 ? all.value : all.value.filter(({ id }) => !removing.has(id))));
  /** As the pages had it the last time. */
  let known = new Map<string, Conversation>();
  /** Renames that are on their way. The last one of a conversation counts. */
  const renames = new Map<string, Promise<Conversation>>();
  /** What was changed here since the pages that are on their way were asked for. */
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
      // What is there is shown while the rest comes.
      if (isFirst && cursor) all.value = withOwn([...pages.values()]);
    } while (cursor && (isFirst || !isKnown(last)));
    // Behind the pages that were read everything is as it was the last time.
    const end = cursor === undefined || !last ? -Infinity : Date.parse(last.updatedAt);
    const behind = new Map([...known].filter(([id, item]) => !pages.has(id) && Date.parse(item.updatedAt) <= end));
    all.value = withOwn([...pages.values(), ...all.value.filter(({ id }) => behind.has(id))]);
    known = new Map([...pages, ...behind]);
  }

  function isKnown(item: Conversation | undefined): boolean {
    const before = item && known.get(item.id);
    return before !== undefined && before.updatedAt === item?.updatedAt && before.title === item.title;
  }

  /** What was changed here comes first, as it is here. */
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
        // To the server that is a use of it, so it is the most recently used one now.
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
          // Gone already, by another tab or device: that is what was wanted.
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
