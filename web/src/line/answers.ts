/**
 * Puts answers together from deltas. The app can simply append what comes out. Text with a gap is never shown.
 *
 * A delta is taken if its `seq` is the next one. A lower one is a double. A higher one means that a delta is missing.
 * Then it is kept aside and the text stays as it is, until the missing delta comes, or a `restart` with the whole text,
 * or the `reply`. A client that joins in the middle of an answer is in the same case, with nothing before the gap.
 *
 * During a planned change of connections, the client hears both. The server turns to the new one with a restart. So
 * once the new connection has spoken of an answer, deltas of that answer on the old one are late and ignored.
 */

interface Answer {
  readonly connection: number;
  /** The next `seq`. */
  readonly next: number;
  /** The text so far, or `undefined` while nothing is known. */
  readonly text: string | undefined;
  readonly early: ReadonlyMap<number, string>;
}

export interface Answers {
  readonly running: ReadonlyMap<string, Answer>;
  /** The answers that ended last, because a late delta must not bring one back. */
  readonly ended: readonly string[];
}

export interface Delta {
  id: string;
  seq: number;
  text: string;
  restart?: boolean;
}

export interface Change {
  id: string;
  restart: boolean;
  text: string;
}

const MAX_EARLY = 64;
const MAX_ENDED = 500;

export const noAnswers: Answers = { running: new Map(), ended: [] };

const unknown: Answer = { connection: 0, next: 0, text: undefined, early: new Map() };

/** Takes a delta that came on `connection`. Newer connections have higher numbers. */
export function takeDelta(answers: Answers, connection: number, delta: Delta): { answers: Answers; change?: Change } {
  const before = answers.running.get(delta.id) ?? unknown;
  if (answers.ended.includes(delta.id) || connection < before.connection) return { answers };
  const restart = delta.restart === true;
  let { next, text } = before;
  let added = '';
  const early = new Map(before.early);
  if (restart) {
    text = '';
    next = delta.seq;
    // If the numbers begin again, they belong to another text.
    for (const seq of early.keys()) if (seq <= delta.seq || delta.seq < before.next) early.delete(seq);
  } else if (delta.seq < next) {
    return { answers };
  }
  early.set(delta.seq, delta.text);
  for (let piece = early.get(next); piece !== undefined; piece = early.get(next)) {
    added += piece;
    early.delete(next++);
  }
  // A gap this wide will not be filled any more.
  if (early.size > MAX_EARLY) early.clear();
  const moved = next > before.next || restart;
  if (moved) text = (text ?? '') + added;
  const running = new Map(answers.running).set(delta.id, { connection, next, text, early });
  if (!moved) return { answers: { ...answers, running } };
  const first = before.text === undefined;
  return { answers: { ...answers, running }, change: { id: delta.id, restart: restart || first, text: added } };
}

/** The answer is complete. Any delta that still comes is late. */
export function end(answers: Answers, id: string): Answers {
  const running = new Map(answers.running);
  running.delete(id);
  return { running, ended: [...answers.ended.filter((other) => other !== id), id].slice(-MAX_ENDED) };
}

/** The line broke. The next connection begins each answer again, so the texts so far can't be continued. */
export function forgetRunning(answers: Answers): Answers {
  return { ...answers, running: new Map() };
}

export function hasEnded(answers: Answers, id: string): boolean {
  return answers.ended.includes(id);
}

/** The texts so far. */
export function textsOf(answers: Answers): { id: string; text: string }[] {
  return [...answers.running].flatMap(([id, { text }]) => (text === undefined ? [] : [{ id, text }]));
}
