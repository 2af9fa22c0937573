/**
 * A conversation as its reader sees it: turns in a tree, and one path through it.
 *
 * A turn is a message of the user with its answers. Every item names the item that it follows (`parentId`). So an
 * edited message is a sibling of the first version, and nothing is ever rewritten. A turn follows the turn that its
 * parent item belongs to. Turns that follow the same turn are versions of each other: with the same content they are
 * further attempts at an answer, and with other content they are edits.
 *
 * The log is loaded from its end, so a parent may not be loaded yet. Then `parent` is undefined, and the path begins
 * there until older pages are loaded.
 */
import type { Media, Message } from '../contract';
import type { Outgoing } from '../line';

export interface Turn {
  /** The id of the user's message. */
  id: string;
  message: Message;
  answers: Message[];
  /** The id of the turn that it follows: '' at the beginning, and undefined if that is not loaded. */
  parent: string | undefined;
  /** The server has not accepted it yet, or has refused it. */
  outgoing?: Outgoing;
}

export interface Tree {
  turns: Map<string, Turn>;
  /** The turns that follow a turn, in the order in which they were sent. */
  children: Map<string, string[]>;
}

/** Shows a file that was uploaded here before the server shows it. */
export type Preview = (key: string) => Media | undefined;

/** `log`: the loaded items, in order. `complete`: whether it begins with the conversation's first item. */
export function treeOf(
  log: readonly Message[],
  complete: boolean,
  outbox: readonly Outgoing[],
  preview: Preview = () => undefined,
): Tree {
  const turns = new Map<string, Turn>();
  const turnOf = new Map<string, string>();
  let previous: string | undefined = complete ? '' : undefined;
  const parentTurn = (parentId: string | undefined) => {
    if (parentId === undefined) return previous;
    return parentId === '' ? '' : turnOf.get(parentId);
  };
  for (const item of log) turnOf.set(item.id, item.replyTo ?? item.id);
  for (const item of log) {
    if (item.role !== 'user') continue;
    turns.set(item.id, { id: item.id, message: item, answers: [], parent: parentTurn(item.parentId) });
    previous = item.id;
  }
  for (const item of log) if (item.replyTo !== undefined) turns.get(item.replyTo)?.answers.push(item);
  for (const outgoing of outbox) {
    if (turns.has(outgoing.id)) continue;
    turnOf.set(outgoing.id, outgoing.id);
    const message = messageOf(outgoing, preview);
    turns.set(outgoing.id, { id: outgoing.id, message, answers: [], parent: parentTurn(outgoing.parentId), outgoing });
    previous = outgoing.id;
  }
  const children = new Map<string, string[]>();
  for (const turn of turns.values()) {
    if (turn.parent === undefined) continue;
    const siblings = children.get(turn.parent);
    if (siblings) siblings.push(turn.id);
    else children.set(turn.parent, [turn.id]);
  }
  return { turns, children };
}

/**
 * The path from the earliest loaded turn to the end of the branch with `head`. Without `head`, it is the branch of the
 * newest turn.
 */
export function pathOf(tree: Tree, head: string | undefined): Turn[] {
  let leaf = head === undefined ? undefined : tree.turns.get(head);
  if (leaf) {
    for (let next = newestChild(tree, leaf.id); next; next = newestChild(tree, next.id)) leaf = next;
  } else {
    leaf = newest(tree);
  }
  const path: Turn[] = [];
  for (let turn = leaf; turn; turn = turn.parent ? tree.turns.get(turn.parent) : undefined) path.push(turn);
  return path.reverse();
}

function newestChild(tree: Tree, id: string): Turn | undefined {
  const child = tree.children.get(id)?.at(-1);
  return child === undefined ? undefined : tree.turns.get(child);
}

function newest(tree: Tree): Turn | undefined {
  let last: Turn | undefined;
  for (const turn of tree.turns.values()) last = turn;
  return last;
}

export interface Versions {
  /** Position of this one, from 0. */
  index: number;
  /** The turns to switch to, each the newest of its kind. */
  turns: string[];
}

/** The messages at this turn's place with other content, and this one. */
export function edits(tree: Tree, turn: Turn): Versions {
  const newestOf = new Map<string, string>();
  for (const sibling of siblings(tree, turn)) newestOf.set(contentKey(sibling.message), sibling.id);
  const keys = [...newestOf.keys()];
  return { index: keys.indexOf(contentKey(turn.message)), turns: [...newestOf.values()] };
}

/** The attempts to answer the same message at this place, with this one. */
export function attempts(tree: Tree, turn: Turn): Versions {
  const key = contentKey(turn.message);
  const same = siblings(tree, turn).filter((sibling) => contentKey(sibling.message) === key);
  return { index: same.findIndex((sibling) => sibling.id === turn.id), turns: same.map((sibling) => sibling.id) };
}

function siblings(tree: Tree, turn: Turn): Turn[] {
  if (turn.parent === undefined) return [turn];
  return (tree.children.get(turn.parent) ?? []).flatMap((id) => tree.turns.get(id) ?? []);
}

/** A file that is uploaded again has another key, so its type and size stand for it. */
function contentKey(message: Message): string {
  return JSON.stringify([message.text ?? '', message.media?.contentType, message.media?.bytes]);
}

/** The item that a message at the end of `path` follows if it is sent now. */
export function endOf(path: readonly Turn[]): string {
  const last = path.at(-1);
  return last?.answers.at(-1)?.id ?? last?.id ?? '';
}

/** The item that `turn` follows, for a sibling of `turn`. */
export function parentItem(path: readonly Turn[], turn: Turn): string {
  if (turn.message.parentId !== undefined) return turn.message.parentId;
  const index = path.findIndex((other) => other.id === turn.id);
  return endOf(path.slice(0, Math.max(index, 0)));
}

export type Progress = 'sending' | 'refused' | 'queued' | 'answering' | 'done' | 'failed' | 'cancelled';

export function progressOf(turn: Turn): Progress {
  if (turn.outgoing) return turn.outgoing.state === 'refused' ? 'refused' : 'sending';
  return turn.message.status === 'processing' ? 'answering' : turn.message.status;
}

/** Whether the model has the message, or will get it. */
export function isAsked(turn: Turn): boolean {
  return ['queued', 'answering'].includes(progressOf(turn));
}

function messageOf(outgoing: Outgoing, preview: Preview): Message {
  const media = outgoing.media === undefined ? undefined : preview(outgoing.media);
  return {
    id: outgoing.id,
    conversationId: outgoing.conversationId,
    role: 'user',
    type: 'text',
    ...(outgoing.text === undefined ? {} : { text: outgoing.text }),
    ...(outgoing.parentId === undefined ? {} : { parentId: outgoing.parentId }),
    ...(media === undefined ? {} : { media }),
    status: 'queued',
    createdAt: new Date(outgoing.createdAt).toISOString(),
  };
}
