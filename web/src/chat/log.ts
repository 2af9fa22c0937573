/**
 * The loaded items of one conversation, in the order of the server's log.
 *
 * Pages come from REST, in order. Frames come as they happen. One function accepts a message and another answers it, so
 * their frames may arrive in another order than the log's. So items from frames go to the end for now. `confirmed` is
 * the newest item of a page, and the next page sorts everything after it.
 */
import type { Message } from '../contract';

export interface Log {
  items: Message[];
  /** The newest item whose place a page has confirmed. */
  confirmed?: string;
  /** Whether the conversation's first item is loaded. */
  complete: boolean;
  /** Where older items go on. */
  cursor?: string;
}

export const emptyLog: Log = { items: [], complete: false };

/** `page` is in order, with the oldest first, and ends where the log begins. */
export function withOlder(log: Log, page: readonly Message[], cursor: string | undefined): Log {
  const later = new Map(log.items.map((item) => [item.id, item]));
  // A frame may have been faster than the page, or was missed.
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

/** `page`: everything after `confirmed`, in order. */
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

/** Takes items from a frame. Known items take the new state, and new ones go to the end. */
export function withFrame(log: Log, messages: readonly Message[]): Log {
  const items = [...log.items];
  for (const message of messages) {
    const at = items.findLastIndex((item) => item.id === message.id);
    if (at >= 0) items[at] = newer(items[at], message);
    else items.push(message);
  }
  return { ...log, items };
}

/** A late frame does not take an end back. A frame that was too small for the text does not remove the text. */
function newer(before: Message | undefined, after: Message): Message {
  if (!before) return after;
  const ended = ['done', 'failed', 'cancelled'];
  if (ended.includes(before.status) && !ended.includes(after.status)) return before;
  return after.truncated && before.text !== undefined ? { ...after, text: before.text } : after;
}
