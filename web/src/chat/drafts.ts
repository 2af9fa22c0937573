/** What was begun and not sent, for each conversation; it outlives a reload. */
import { readJson, remove, writeJson } from '../storage';

const key = (conversation: string | undefined) => `parley.draft.${conversation ?? 'new'}`;

export const readDraft = (conversation: string | undefined): string => readJson<string>(key(conversation)) ?? '';

export function writeDraft(conversation: string | undefined, text: string): void {
  if (text === '') remove(key(conversation));
  else writeJson(key(conversation), text);
}
