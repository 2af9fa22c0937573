/**
 * The messages that are to be sent and not accepted yet.
 *
 * An entry is sent, and stays until `accepted` names it. If the line breaks in between, the entry is still there and is
 * sent again with the same id. The contract makes one message of both.
 *
 * Order: the gateway handles frames side by side, so two frames in a row may be admitted in the other order. So only
 * one entry of a conversation is on its way at a time. A refused entry lets the others pass, except those that continue
 * it (`parentId`): without it they would be refused too.
 */

import type { ClientFrame } from '../contract';
import type { Draft, Entry, Outgoing } from './types';

export type Outbox = readonly Entry[];

/**
 * The gateway closes a connection that sends more than this. Such an entry would break every line on which it is sent.
 */
export const MAX_FRAME_BYTES = 32 * 1024;

/** `now`, or just after the last entry. The order of the outbox is the order of these times. */
export function entryOf(draft: Draft, outbox: readonly Outgoing[], now: number): Entry {
  const last = Math.max(0, ...outbox.map((entry) => entry.createdAt));
  return {
    ...draftOf(draft),
    createdAt: Math.max(now, last + 1),
    state: 'waiting',
    tried: false,
    cancelled: false,
    ...afresh,
  };
}

function draftOf({ id, conversationId, text, media, parentId }: Draft): Draft {
  return {
    id,
    conversationId,
    ...(text !== undefined && { text }),
    ...(media !== undefined && { media }),
    ...(parentId !== undefined && { parentId }),
  };
}

const afresh = { on: 0, sentAt: 0, notBefore: 0, failures: 0 } as const;

/** An entry from storage or from another tab. No connection has it. */
export function restored(entry: Entry): Entry {
  return checked({ ...entry, ...afresh, state: entry.state === 'refused' ? 'refused' : 'waiting' });
}

function checked(entry: Entry): Entry {
  const bytes = new TextEncoder().encode(JSON.stringify(frameOf(entry))).length;
  if (bytes <= MAX_FRAME_BYTES) return entry;
  const message = `The message takes ${bytes} bytes, at most ${MAX_FRAME_BYTES} fit into a frame`;
  return { ...entry, state: 'refused', error: { code: 'too_large', message } };
}

/** The entry as the app sees it. */
export function outgoing(entry: Entry): Outgoing {
  const { createdAt, state, error } = entry;
  return { ...draftOf(entry), createdAt, state, ...(error && { error }) };
}

export function frameOf(entry: Entry): ClientFrame {
  return { action: 'sendMessage', ...draftOf(entry) };
}

export function add(outbox: Outbox, entry: Entry): Outbox {
  if (outbox.some((other) => other.id === entry.id)) return outbox;
  return [...outbox, entry].sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1));
}

export function remove(outbox: Outbox, id: string): Outbox {
  return outbox.some((entry) => entry.id === id) ? outbox.filter((entry) => entry.id !== id) : outbox;
}

export function change(outbox: Outbox, id: string, patch: Partial<Entry>): Outbox {
  return outbox.map((entry) => (entry.id === id ? { ...entry, ...patch } : entry));
}

/** No connection has these entries any more. */
export function takenBack(outbox: Outbox): Outbox {
  if (onItsWay(outbox).length === 0) return outbox;
  return outbox.map((entry) => (entry.on === 0 ? entry : { ...entry, on: 0, sentAt: 0, state: 'waiting' }));
}

/** The entry is sent again, as if it was new. */
export function revived(outbox: Outbox, id: string): Outbox {
  return outbox.map((entry) => {
    if (entry.id !== id || entry.state !== 'refused') return entry;
    const { createdAt, tried, cancelled } = entry;
    return checked({ ...draftOf(entry), createdAt, tried, cancelled, ...afresh, state: 'waiting' });
  });
}

/**
 * The entries that may be sent now, in order, at most `room` of them, and when to look again if nothing happens before.
 */
export function due(outbox: Outbox, now: number, room: number): { ready: Entry[]; lookAt?: number } {
  const ready: Entry[] = [];
  const taken = new Set<string>();
  const here = new Set(outbox.map((entry) => entry.id));
  let lookAt = Infinity;
  for (const entry of outbox) {
    const held = entry.parentId !== undefined && here.has(entry.parentId);
    if (entry.state === 'refused' || held || taken.has(entry.conversationId)) continue;
    taken.add(entry.conversationId);
    if (entry.on !== 0) continue;
    if (entry.notBefore > now) lookAt = Math.min(lookAt, entry.notBefore);
    else if (ready.length < room) ready.push(entry);
  }
  return lookAt === Infinity ? { ready } : { ready, lookAt };
}

export function waiting(outbox: Outbox): boolean {
  return outbox.some((entry) => entry.state !== 'refused');
}

export function onItsWay(outbox: Outbox): Entry[] {
  return outbox.filter((entry) => entry.on !== 0);
}
