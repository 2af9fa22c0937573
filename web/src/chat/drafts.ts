/** What was begun and not sent, for each user and conversation; it outlives a reload. */
import { readJson, remove, writeJson } from '../storage';

export interface Drafts {
  /** `undefined`: of a conversation that is not there yet. */
  read(conversation: string | undefined): string;
  write(conversation: string | undefined, text: string): void;
}

export function createDrafts(userId: string): Drafts {
  const key = (conversation: string | undefined) => `parley.draft.${userId}.${conversation ?? 'new'}`;
  return {
    read: (conversation) => readJson<string>(key(conversation)) ?? '',
    write(conversation, text) {
      if (text === '') remove(key(conversation));
      else writeJson(key(conversation), text);
    },
  };
}
