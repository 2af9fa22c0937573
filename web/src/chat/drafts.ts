/** What was begun and not sent: for each conversation, over a reload; and of each message that is edited. */
import { shallowReactive } from 'vue';
import { readJson, remove, writeJson } from '../storage';
import type { Attachment } from './uploads';

export interface Drafts {
  /** `undefined`: of a conversation that is not there yet. */
  read(conversation: string | undefined): string;
  write(conversation: string | undefined, text: string): void;
  /** Files that go with the draft. They are in memory alone. */
  attachments(conversation: string | undefined): readonly Attachment[];
  attach(conversation: string | undefined, attachment: Attachment): void;
  detach(conversation: string | undefined, attachment: Attachment): void;
  /** The field where drafts are written says whether somebody writes one there. Returns how to stop asking it. */
  attend(isTyped: (conversation: string | undefined) => boolean): () => void;
  /** By the id of the message that is edited. */
  edits: Map<string, string>;
  dispose(): void;
}

/**
 * A draft as it is here, after another tab has changed it from `before` to `now`. Where nobody writes it, it is what it
 * is there. A field with the focus keeps its text, with one exception: what was sent or emptied there, and is still the
 * same here, is emptied.
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
    // What nobody has changed here yet is what was stored.
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
