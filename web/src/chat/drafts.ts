/** What was begun and not sent: for each conversation, over a reload; and of each message that is edited. */
import { readJson, remove, writeJson } from '../storage';

export interface Drafts {
  /** `undefined`: of a conversation that is not there yet. */
  read(conversation: string | undefined): string;
  write(conversation: string | undefined, text: string): void;
  /** By the id of the message that is edited. */
  edits: Map<string, string>;
}

export function createDrafts(userId: string): Drafts {
  const key = (conversation: string | undefined) => `parley.draft.${userId}.${conversation ?? 'new'}`;
  return {
    read: (conversation) => readJson<string>(key(conversation)) ?? '',
    write(conversation, text) {
      if (text === '') remove(key(conversation));
      else writeJson(key(conversation), text);
    },
    edits: new Map(),
  };
}
