/**
 * Texts that were begun and not sent: one for each conversation, kept over a reload, and one for each message that is
 * being edited.
 */
import { shallowReactive } from 'vue';
import { readJson, remove, writeJson } from '../storage';
import type { Attachment } from './uploads';

export interface Drafts {
  /** `undefined` stands for a conversation that does not exist yet. */
  read(conversation: string | undefined): string;
  write(conversation: string | undefined, text: string): void;
  /** Files that go with the draft. They are only in memory. */
  attachments(conversation: string | undefined): readonly Attachment[];
  attach(conversation: string | undefined, attachment: Attachment): void;
  detach(conversation: string | undefined, attachment: Attachment): void;
  /** The field for drafts says here whether the user is writing one. Returns a function that ends this. */
  attend(isTyped: (conversation: string | undefined) => boolean): () => void;
  /** By the id of the edited message. */
  edits: Map<string, string>;
  dispose(): void;
}

/**
 * The draft of this tab, after another tab has changed it from `before` to `now`. If nobody is writing here, it becomes
 * the other tab's text. A field with the focus keeps its text, with one exception: if the other tab sent or emptied
 * exactly this text, it is emptied here too.
 */
export function followed(here: string, before: string, now: string, isTyped: boolean): string {
  if (!isTyped) return now;
  return now === '' && here === before ? '' : here;
}

export function createDrafts(userId: string): Drafts {
  const prefix = `parley.draft.${userId}.`;
  const nameOf = (conversation: string | undefined) => conversation ?? 'new';
  const texts = shallowReactive(new Map<string, string>());
  const files = shallowReactive(new Map<string, readonly Attachment[]>());
  let isTyped: (conversation: string | undefined) => boolean = () => false;

  const attachments = (conversation: string | undefined) => files.get(nameOf(conversation)) ?? [];

  function onStorage({ key, oldValue, newValue }: StorageEvent): void {
    if (!key?.startsWith(prefix)) return;
    const name = key.slice(prefix.length);
    const before = textOf(oldValue);
    // If nobody has changed it here yet, it is the stored text.
    const here = texts.get(name) ?? before;
    texts.set(name, followed(here, before, textOf(newValue), isTyped(name === 'new' ? undefined : name)));
  }
  window.addEventListener('storage', onStorage);

  return {
    read: (conversation) => texts.get(nameOf(conversation)) ?? readJson<string>(prefix + nameOf(conversation)) ?? '',
    write(conversation, text) {
      const name = nameOf(conversation);
      texts.set(name, text);
      if (text === '') remove(prefix + name);
      else writeJson(prefix + name, text);
    },
    attachments,
    attach: (conversation, added) => files.set(nameOf(conversation), [...attachments(conversation), added]),
    detach(conversation, gone) {
      files.set(nameOf(conversation), attachments(conversation).filter((attachment) => attachment !== gone));
    },
    attend(asked) {
      isTyped = asked;
      return () => {
        if (isTyped === asked) isTyped = () => false;
      };
    },
    edits: new Map(),
    dispose: () => window.removeEventListener('storage', onStorage),
  };
}

function textOf(stored: string | null): string {
  try {
    return String(JSON.parse(stored ?? '""'));
  } catch {
    return '';
  }
}
