/**
 * Answers while they grow. The text is kept and passed on in pieces. So each piece of a long answer costs only its own
 * length, and not the length of the whole answer.
 */
export interface RunningText {
  /** All of it so far. */
  whole(): string;
  /** Calls the listener with the whole text so far, as a restart, and then with each change. */
  follow(listener: (change: Change) => void): () => void;
}

export interface Change {
  restart: boolean;
  text: string;
}

export interface RunningTexts {
  get(id: string): RunningText;
  change(id: string, change: Change): void;
  end(id: string): void;
}

interface Entry extends RunningText {
  pieces: string[];
  listeners: Set<(change: Change) => void>;
}

export function createRunningTexts(): RunningTexts {
  const entries = new Map<string, Entry>();

  function entry(id: string): Entry {
    const known = entries.get(id);
    if (known) return known;
    const made: Entry = {
      pieces: [],
      listeners: new Set(),
      whole: () => made.pieces.join(''),
      follow(listener) {
        made.listeners.add(listener);
        if (made.pieces.length > 0) listener({ restart: true, text: made.whole() });
        return () => made.listeners.delete(listener);
      },
    };
    entries.set(id, made);
    return made;
  }

  return {
    get: entry,
    change(id, change) {
      const { pieces, listeners } = entry(id);
      if (change.restart) pieces.length = 0;
      pieces.push(change.text);
      for (const listener of listeners) listener(change);
    },
    end: (id) => void entries.delete(id),
  };
}
