import { describe, expect, it } from 'vitest';
import type { Message } from '../contract';
import type { Outgoing } from '../line';
import { attempts, edits, endOf, parentItem, pathOf, progressOf, treeOf, type Turn } from './turns';

function user(id: string, parentId?: string, text = id): Message {
  const base = { conversationId: 'c', role: 'user', type: 'text', text, status: 'done', createdAt: '2026-01-01T00:00:00.000Z' } as const;
  return { id, ...base, ...(parentId === undefined ? {} : { parentId }) };
}

function answer(id: string, replyTo: string, parentId?: string): Message {
  const base = { conversationId: 'c', role: 'assistant', type: 'text', text: id, status: 'done', createdAt: '2026-01-01T00:00:00.000Z' } as const;
  return { id, replyTo, ...base, ...(parentId === undefined ? {} : { parentId }) };
}

function waiting(id: string, parentId: string): Outgoing {
  return { id, conversationId: 'c', text: id, parentId, createdAt: 0, state: 'waiting' };
}

const ids = (path: Turn[]) => path.map((turn) => turn.id);
const get = (tree: ReturnType<typeof treeOf>, id: string) => tree.turns.get(id) ?? expect.unreachable(id);

describe('the path', () => {
  it('follows the parents', () => {
    const log = [user('a', ''), answer('a1', 'a', 'a'), user('b', 'a1'), answer('b1', 'b', 'b')];
    const path = pathOf(treeOf(log, true, []), undefined);
    expect(ids(path)).toEqual(['a', 'b']);
    expect(path[0]?.answers.map((item) => item.id)).toEqual(['a1']);
    expect(endOf(path)).toBe('b1');
  });

  it('takes old items without a parent to follow the one before them', () => {
    const log = [user('a'), answer('a1', 'a'), user('b'), user('c')];
    expect(ids(pathOf(treeOf(log, true, []), undefined))).toEqual(['a', 'b', 'c']);
  });

  it('takes a message that was sent during an answer to follow that answer', () => {
    const log = [user('a', ''), user('b', 'a'), answer('a1', 'a', 'a'), answer('b1', 'b', 'b')];
    expect(ids(pathOf(treeOf(log, true, []), undefined))).toEqual(['a', 'b']);
  });

  it('shows the newest branch, or the one that was chosen, down to its end', () => {
    const log = [
      user('a', ''),
      answer('a1', 'a', 'a'),
      user('b', 'a1'),
      answer('b1', 'b', 'b'),
      user('c', 'b1'),
      user('edited', 'a1'),
    ];
    const tree = treeOf(log, true, []);
    expect(ids(pathOf(tree, undefined))).toEqual(['a', 'edited']);
    expect(ids(pathOf(tree, 'b'))).toEqual(['a', 'b', 'c']);
    expect(ids(pathOf(tree, 'gone'))).toEqual(['a', 'edited']);
  });

  it('begins where the log begins to be loaded, and goes on when more is', () => {
    const log = [user('a', ''), answer('a1', 'a', 'a'), user('b', 'a1'), answer('b1', 'b', 'b'), user('c', 'b1')];
    const path = pathOf(treeOf(log.slice(2), false, []), undefined);
    expect(ids(path)).toEqual(['b', 'c']);
    expect(path[0]?.parent).toBeUndefined();
    expect(ids(pathOf(treeOf(log.slice(3), false, []), undefined))).toEqual(['c']);
    expect(pathOf(treeOf(log, true, []), undefined)[0]?.parent).toBe('');
  });

  it('has the answers of a message, wherever in the log they are', () => {
    const path = pathOf(treeOf([answer('a1', 'a', 'a'), user('a', ''), user('b', 'a1')], true, []), undefined);
    expect(path.map((turn) => turn.answers.length)).toEqual([1, 0]);
    expect(ids(path)).toEqual(['a', 'b']);
  });

  it('ends with what is not accepted yet, once', () => {
    const log = [user('a', ''), answer('a1', 'a', 'a')];
    const tree = treeOf(log, true, [waiting('b', 'a1'), waiting('c', 'b'), waiting('a', '')]);
    expect(ids(pathOf(tree, undefined))).toEqual(['a', 'b', 'c']);
    expect(progressOf(get(tree, 'b'))).toBe('sending');
    expect(progressOf(get(tree, 'a'))).toBe('done');
  });
});

describe('versions', () => {
  const log = [user('a', '', 'first'), user('b', '', 'second'), user('c', '', 'first'), user('d', '', 'third')];
  const tree = treeOf(log, true, []);

  it('with another text are edits, each shown by its newest attempt', () => {
    expect(edits(tree, get(tree, 'a'))).toEqual({ index: 0, turns: ['c', 'b', 'd'] });
    expect(edits(tree, get(tree, 'd')).index).toBe(2);
  });

  it('with the same text are attempts', () => {
    expect(attempts(tree, get(tree, 'c'))).toEqual({ index: 1, turns: ['a', 'c'] });
    expect(attempts(tree, get(tree, 'b'))).toEqual({ index: 0, turns: ['b'] });
  });

  it('take the parent of the one that they stand beside', () => {
    const old = [user('a'), answer('a1', 'a'), user('b')];
    const path = pathOf(treeOf(old, true, []), undefined);
    expect(parentItem(path, path[1] ?? expect.unreachable())).toBe('a1');
    expect(parentItem(path, path[0] ?? expect.unreachable())).toBe('');
  });
});
