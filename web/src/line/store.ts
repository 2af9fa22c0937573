/**
 * The outbox in storage, with one item per entry, so that two tabs never overwrite each other's entries.
 *
 * If storage is full or forbidden, the entries are not safe, but the line works.
 */

import type { Entry } from './types';

export interface Store {
  /** In the order of sending. */
  entries(): Entry[];
  put(entry: Entry): void;
  remove(id: string): void;
  /** The session's id, the same until it is cleared. `fresh`: it was made just now. */
  session(make: () => string): { id: string; fresh: boolean };
  /** From now on `who` leads. */
  setLeader(who: string): void;
  /** If storage is forbidden, every tab leads. */
  leads(who: string): boolean;
  clear(): void;
}

export function openStore(storage: Storage, userId: string): Store {
  const prefix = `parley.line.${userId}.`;
  const ofEntry = (id: string) => `${prefix}out.${id}`;
  const keys = () =>
    Array.from({ length: storage.length }, (_, index) => storage.key(index)).filter(
      (key): key is string => key?.startsWith(prefix) === true,
    );
  const write = (key: string, value: string) => {
    try {
      storage.setItem(key, value);
    } catch {
      // Storage is full or forbidden.
    }
  };
  const leader = `${prefix}leader`;
  return {
    entries: () =>
      keys()
        .filter((key) => key.startsWith(ofEntry('')))
        .flatMap((key) => parseEntry(storage.getItem(key)))
        .sort((a, b) => a.createdAt - b.createdAt),
    put: (entry) => write(ofEntry(entry.id), JSON.stringify(entry)),
    remove: (id) => storage.removeItem(ofEntry(id)),
    session(make) {
      const key = `${prefix}session`;
      const known = storage.getItem(key);
      if (known !== null) return { id: known, fresh: false };
      const id = make();
      write(key, id);
      return { id, fresh: true };
    },
    setLeader: (who) => write(leader, who),
    leads: (who) => (storage.getItem(leader) ?? who) === who,
    clear: () => keys().forEach((key) => storage.removeItem(key)),
  };
}

/** Items of an older version or of another program are ignored. */
function parseEntry(json: string | null): Entry[] {
  try {
    const entry = JSON.parse(json ?? '') as Partial<Entry> | null;
    const fits =
      typeof entry?.id === 'string' && typeof entry.conversationId === 'string' && typeof entry.createdAt === 'number';
    return fits ? [entry as Entry] : [];
  } catch {
    return [];
  }
}
