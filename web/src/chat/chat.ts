/**
 * The chat of one user: puts conversations, threads, uploads and the line together. Components read from it and call
 * it. Everything that the server says comes in here, once.
 */
import { shallowReactive, shallowRef, type ShallowRef } from 'vue';
import { ApiError, type Api } from '../api';
import { SignedOut, type Auth, type Claims } from '../auth';
import type { Config, Message, User } from '../contract';
import { t } from '../i18n';
import { newId } from '../ids';
import { createLine, type Line, type LineEvent, type LineState, type Outgoing } from '../line';
import { plainText } from '../markdown';
import { go, route } from '../router';
import { createConversations, DEFAULT_TITLE, titleFrom, type Change, type Conversations } from './conversations';
import { createDrafts, type Drafts } from './drafts';
import { createRunningTexts, type RunningTexts } from './running';
import { createThreads, type Thread, type Threads } from './threads';
import { createToasts, type Action, type Toasts } from './toasts';
import { endOf, isAsked, parentItem, progressOf, type Turn } from './turns';
import { createUploads, type Attachment, type Uploads } from './uploads';

export interface Chat {
  config: Config;
  me: User;
  isAdmin: boolean;
  api: Api;
  conversations: Conversations;
  threads: Threads;
  uploads: Uploads;
  drafts: Drafts;
  running: RunningTexts;
  line: Line;
  lineState: ShallowRef<LineState>;
  /** Conversations with an answer that the user has not seen. */
  unread: Set<string>;
  /** Messages whose answer has begun. */
  answering: Set<string>;
  toasts: Toasts;
  /** For screen readers: announces each answer once. */
  announcement: ShallowRef<string>;
  toast(text: string, action?: Action): void;
  /** Shows a conversation and loads the part that is missing. */
  open(id: string): Thread;
  /** Sends a draft with its files at the end of the branch that is shown. Without a conversation, makes a new one. */
  send(conversation: string | undefined): Promise<void>;
  /** Conversations whose draft is being sent. An upload may take a while. */
  sending: Set<string | undefined>;
  /** Turns at whose place a message is about to be sent. */
  busy: Set<string>;
  /** Sends another text at a turn's place. Resolves to whether it was accepted. */
  edit(thread: Thread, turn: Turn, text: string): Promise<boolean>;
  /** Opens the editor of a message. Without a turn, closes the editor and drops its text. */
  setEditing(thread: Thread, turn: string | undefined): void;
  /** Sends the same message once more at its place. */
  askAgain(thread: Thread, turn: Turn): Promise<boolean>;
  /** Removes a message that the server has not accepted. */
  discard(thread: Thread, turn: Turn): void;
  /** Shows the branch that a turn is on. */
  show(thread: Thread, turn: string): void;
  /** Stops the answers under way. Messages that are not sent yet stay. */
  stop(thread: Thread): void;
  removeConversation(id: string): void;
  /** `forget`: also drops unsent messages. A user who has only lost the token finds them again later. */
  signOut(forget: boolean): Promise<void>;
  dispose(): void;
}

/** A screen reader reads an announcement to its end, and nobody wants to hear pages of it. */
const ANNOUNCED_CHARACTERS = 400;

export interface ChatOptions {
  config: Config;
  auth: Auth;
  api: Api;
  me: User;
  claims: Claims;
  signedOut(): void;
}

export function createChat({ config, auth, api, me, claims, signedOut }: ChatOptions): Chat {
  const lineState = shallowRef<LineState>({ phase: 'idle' });
  const outbox = shallowRef<Outgoing[]>([]);
  const toasts = createToasts();
  const announcement = shallowRef('');
  const unread = shallowReactive(new Set<string>());
  const answering = shallowReactive(new Set<string>());
  const busy = shallowReactive(new Set<string>());
  const sending = shallowReactive(new Set<string | undefined>());
  const running = createRunningTexts();
  // The user's other tabs.
  const tabs = new BroadcastChannel(`parley.conversations.${me.id}`);
  const conversations = createConversations(
    api,
    (change) => tabs.postMessage(change),
    (id) => {
      const thread = threads.find(id);
      if (thread) thread.state.value = 'gone';
    },
  );
  tabs.onmessage = ({ data }: MessageEvent<Change>) => conversations.take(data);
  const uploads = createUploads(api, config.limits.maxMediaBytes);
  const line = createLine({
    websocketUrl: config.websocketUrl,
    limits: config.limits,
    userId: me.id,
    token: (fresh) => (fresh ? auth.refresh() : auth.token()).catch(orThrow(SignedOut, null)),
    admission: () => api.admission().catch(orThrow(ApiError, 'unauthorized' as const, ({ status }) => status === 401)),
    skewMs: api.skewMs,
  });
  const threads = createThreads(api, outbox, uploads.preview, (ids) => {
    line.expect(ids);
    // The ends that came while the line was lost have no frame any more.
    for (const id of [...answering]) if (threads.hasEnded(id)) ended(id);
  });

  const shown = () => (route.value.page === 'chat' ? route.value.conversation : undefined);

  function announce(text: string): void {
    const said = text.length > ANNOUNCED_CHARACTERS ? `${text.slice(0, ANNOUNCED_CHARACTERS)}…` : text;
    // A screen reader would not read the same text twice.
    announcement.value = said === announcement.value ? `${said}\u00a0` : said;
  }

  function onLine(event: LineEvent): void {
    switch (event.type) {
      case 'state':
        lineState.value = event.state;
        if (event.state.phase === 'signedOut') signedOut();
        break;
      case 'outbox':
        outbox.value = event.outbox;
        break;
      case 'accepted':
        threads.apply(event.message.conversationId, [event.message]);
        if (event.message.media) uploads.release(event.message.media.key);
        wasUsed(event.message.conversationId);
        break;
      case 'answer':
        // A page of history may have been faster than the last delta.
        if (threads.hasEnded(event.id)) break;
        running.change(event.id, event);
        if (!answering.has(event.id)) {
          answering.add(event.id);
          threads.change(event.id, (message) => ({ ...message, status: 'processing' }));
        }
        break;
      case 'reply':
        ended(event.id);
        void replied(event.message, event.replies);
        break;
      case 'failed':
        ended(event.id);
        threads.change(event.id, (message) => ({ ...message, status: 'failed', error: event }));
        announce(t.value.thread.noAnswer);
        break;
      case 'resumed':
        for (const thread of threads.loaded()) {
          thread.stale = true;
          // If an answer ended meanwhile, in any conversation, no frame says so any more.
          if (thread.id === shown() || runningIn(thread).length > 0) void refresh(thread);
        }
        void conversations.load();
        break;
    }
  }

  function ended(id: string): void {
    running.end(id);
    answering.delete(id);
  }

  async function replied(message: Message, replies: Message[]): Promise<void> {
    const { conversationId } = message;
    if (replies.some((reply) => reply.truncated)) {
      // The answer is too long for a frame. The history has it.
      const whole = replies.map((reply) => (reply.truncated ? api.message(conversationId, reply.id) : reply));
      replies = await Promise.all(whole).catch(() => replies);
    }
    const known = threads.find(conversationId)?.log.value.items.some((item) => item.id === message.id && item.status === message.status);
    threads.apply(conversationId, [message, ...replies]);
    wasUsed(conversationId);
    if (known) return;
    if (shown() !== conversationId || document.hidden) unread.add(conversationId);
    const text = replies.map((reply) => plainText(reply.text ?? '')).join(' ').trim();
    if (message.status === 'failed') announce(t.value.thread.noAnswer);
    else announce(text ? t.value.thread.answered(text) : t.value.thread.answeredMedia);
  }

  function wasUsed(conversation: string): void {
    if (conversations.find(conversation)) conversations.used(conversation);
    else void conversations.load();
  }

  function runningIn(thread: Thread): string[] {
    return thread.log.value.items.flatMap(({ id }) => (answering.has(id) ? [id] : []));
  }

  async function refresh(thread: Thread): Promise<void> {
    const ran = runningIn(thread);
    await threads.refresh(thread);
    if (thread.state.value === 'gone') conversations.gone(thread.id);
    if (shown() !== thread.id && ran.some((id) => threads.hasEnded(id))) unread.add(thread.id);
  }

  /** Sends one message after the other. Each follows the one before it. */
  function sendAll(thread: Thread, parent: string | undefined, contents: { text?: string; media?: string }[]): void {
    let parentId = parent;
    for (const content of contents) {
      const id = newId();
      line.send({ id, conversationId: thread.id, ...(parentId === undefined ? {} : { parentId }), ...content });
      parentId = id;
    }
    thread.head.value = parentId;
    wasUsed(thread.id);
  }

  async function mediaAgain(turn: Turn): Promise<string | undefined> {
    // An upload can be used by one message. A refused message has not used it. A further message needs a further
    // upload.
    if (turn.outgoing) return turn.outgoing.media;
    const { media } = turn.message;
    if (!media) return undefined;
    const fresh = (await api.message(turn.message.conversationId, turn.id)).media ?? media;
    const blob = await (await fetch(fresh.url)).blob();
    const added = uploads.add(new File([blob], 'again', { type: fresh.contentType }));
    if (typeof added === 'string') throw new Error(added);
    const key = await uploads.finished(added);
    if (key === undefined) {
      uploads.drop(added);
      throw new Error('upload');
    }
    return key;
  }

  async function sendAt(thread: Thread, turn: Turn, text: string): Promise<boolean> {
    if (busy.has(turn.id)) return false;
    busy.add(turn.id);
    const parent = parentItem(thread.path.value, turn);
    try {
      const media = await mediaAgain(turn);
      if (turn.outgoing) line.discard(turn.id);
      sendAll(thread, parent, [{ ...(text === '' ? {} : { text }), ...(media === undefined ? {} : { media }) }]);
      return true;
    } catch {
      toasts.add(t.value.errors.generic);
      return false;
    } finally {
      busy.delete(turn.id);
    }
  }

  /** Resolves to whether it was accepted. */
  async function sendNow(
    conversation: string | undefined,
    text: string,
    attachments: readonly Attachment[],
  ): Promise<boolean> {
    const keys: string[] = [];
    for (const attachment of attachments) {
      const key = await uploads.finished(attachment);
      if (key === undefined) return false;
      keys.push(key);
    }
    const [first, ...others] = keys;
    const contents = [{ ...(text === '' ? {} : { text }), ...(first === undefined ? {} : { media: first }) }];
    contents.push(...others.map((media) => ({ media })));

    let thread = conversation === undefined ? undefined : threads.find(conversation);
    if (!thread) {
      try {
        const made = await conversations.create(text || t.value.composer.voiceMessage);
        thread = threads.openEmpty(made.id);
      } catch (error) {
        if (error instanceof ApiError && error.status === 401) signedOut();
        toasts.add(t.value.composer.createFailed);
        return false;
      }
    } else {
      void nameByFirst(thread, text);
    }
    await thread.refreshing;
    // If newer items may exist that this page has not seen, the server knows the latest one better.
    const isSure = thread.state.value === 'ready' && (!thread.stale || thread.head.value !== undefined);
    sendAll(thread, isSure ? endOf(thread.path.value) : undefined, contents);
    // Not if the reader has gone elsewhere meanwhile.
    const isStillHere = route.value.page === 'chat' && shown() === conversation;
    if (conversation === undefined && isStillHere) go({ page: 'chat', conversation: thread.id });
    return true;
  }

  const drafts = createDrafts(me.id);
  function setEditing(thread: Thread, turn: string | undefined): void {
    if (turn === undefined && thread.editing.value !== undefined) drafts.edits.delete(thread.editing.value);
    thread.editing.value = turn;
  }

  const unsubscribe = line.subscribe(onLine);
  lineState.value = line.state;
  outbox.value = [...line.outbox];
  const leave = () => conversations.leave();
  window.addEventListener('pagehide', leave);
  void conversations.load();

  return {
    config,
    me,
    isAdmin: claims.groups.includes('admin'),
    api,
    conversations,
    threads,
    uploads,
    drafts,
    running,
    line,
    lineState,
    unread,
    answering,
    busy,
    sending,
    toasts,
    announcement,
    toast: toasts.add,
    open(id) {
      const thread = threads.open(id);
      unread.delete(id);
      if (thread.stale) void refresh(thread);
      return thread;
    },
    async send(conversation) {
      if (sending.has(conversation)) return;
      const draft = drafts.read(conversation);
      const attachments = drafts.attachments(conversation);
      sending.add(conversation);
      try {
        if (!(await sendNow(conversation, draft.trim(), attachments))) return;
        // Text that was written meanwhile is another draft.
        if (drafts.read(conversation) === draft) drafts.write(conversation, '');
        for (const attachment of attachments) drafts.detach(conversation, attachment);
      } finally {
        sending.delete(conversation);
      }
    },
    async edit(thread, turn, text) {
      const taken = await sendAt(thread, turn, text);
      if (taken) setEditing(thread, undefined);
      return taken;
    },
    setEditing,
    askAgain: (thread, turn) => sendAt(thread, turn, turn.message.text ?? ''),
    show: (thread, turn) => (thread.head.value = turn),
    stop(thread) {
      for (const turn of thread.path.value) {
        if (isAsked(turn)) line.cancel(turn.id);
      }
    },
    discard(thread, turn) {
      if (progressOf(turn) === 'refused') line.discard(turn.id);
      else line.cancel(turn.id);
      // The branch that the message was to follow stays in sight.
      if (thread.head.value === turn.id) thread.head.value = turn.parent || undefined;
    },
    removeConversation(id) {
      const title = conversations.find(id)?.title ?? '';
      conversations.remove(id);
      if (shown() === id) go({ page: 'chat' });
      toasts.add(t.value.sidebar.deleted(title), {
        label: t.value.undo,
        run: () => conversations.undoRemove(id),
        missed: () => void conversations.removeNow(id).catch(() => toasts.add(t.value.errors.deleteFailed)),
      });
    },
    async signOut(forget) {
      conversations.leave();
      if (forget) line.close();
      else line.stop();
      await auth.signOut(forget);
    },
    dispose() {
      unsubscribe();
      tabs.close();
      drafts.dispose();
      window.removeEventListener('pagehide', leave);
    },
  };

  /** Uses the first words as the title of a conversation that nobody has named. */
  async function nameByFirst(thread: Thread, text: string): Promise<void> {
    const title = titleFrom(text);
    const unnamed = conversations.find(thread.id)?.title === DEFAULT_TITLE;
    if (title === undefined || !unnamed || thread.path.value.length > 0) return;
    await conversations.rename(thread.id, title).catch(() => undefined);
  }
}

/** For `catch`: turns one kind of error into a value. */
function orThrow<E extends Error, T>(kind: new (...of: never[]) => E, value: T, is: (error: E) => boolean = () => true) {
  return (error: unknown): T => {
    if (error instanceof kind && is(error)) return value;
    throw error;
  };
}
