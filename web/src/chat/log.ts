/**
 * The items of one conversation that are loaded, in the order of the server's log.
 *
 * Pages come from REST, in order. Frames come as they happen: a message is accepted by one function and answered by
 * another, so their frames may arrive in another order than the log's. So what frames bring is put at the end for now, and
 * everything after `confirmed`, the newest item that a page has brought, is ordered by the next page.
 */
import type { Message } from '../contract';

export interface Log {
  items: Message[];
  /** The newest item whose place a page has confirmed. */
  confirmed?: string;
  /** The conversation's first item is there. */
  complete: boolean;
  /** Where older items go on. */
  cursor?: string;
}

export const emptyLog: Log = { items: [], complete: false };

/** `page` is in order, oldest first, and ends where the log begins. */
export function withOlder(log: Log, page: readonly Message[], cursor: string | undefined): Log {
  const later = new Map(log.items.map((item) => [item.id, item]));
  // A frame may have been faster than the page, or have been missed.
  const ordered = page.map((item) => newer(later.get(item.id), item));
  for (const item of page) later.delete(item.id);
  const items = [...ordered, ...later.values()];
  const confirmed = log.confirmed ?? page.at(-1)?.id;
  return {
    items,
    complete: cursor === undefined,
    ...(confirmed === undefined ? {} : { confirmed }),
    ...(cursor === undefined ? {} : { cursor }),
  };
}

/** `page`: all that came after `confirmed`, in order. */
export function withNewer(log: Log, page: readonly Message[]): Log {
  const at = log.items.findIndex((item) => item.id === log.confirmed) + 1;
  const early = new Map(log.items.slice(at).map((item) => [item.id, item]));
  // A frame may have been faster than the page.
  const ordered = page.map((item) => newer(early.get(item.id), item));
  for (const item of page) early.delete(item.id);
  const confirmed = page.at(-1)?.id ?? log.confirmed;
  const items = [...log.items.slice(0, at), ...ordered, ...early.values()];
  return { ...log, items, ...(confirmed === undefined ? {} : { confirmed }) };
}

/** What a frame brought: known items take its state, new ones go to the end. */
export function withFrame(log: Log, messages: readonly Message[]): Log {
  const items = [...log.items];
  for (const message of messages) {
    const at = items.findLastIndex((item) => item.id === message.id);
    if (at >= 0) items[at] = newer(items[at], message);
    else items.push(message);
  }
  return { ...log, items };
}

/** A frame that was late does not take an end back, and one that was too long for its text does not take the text away. */
function newer(before: Message | undefined, after: Message): Message {
  if (!before) return after;
  const ended = ['done', 'failed', 'cancelled'];
  if (ended.includes(before.status) && !ended.includes(after.status)) return before;
  return after.truncated && before.text !== undefined ? { ...after, text: before.text } : after;
}
