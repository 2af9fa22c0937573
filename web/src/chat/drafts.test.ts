// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createDrafts, followed, type Drafts } from './drafts';

describe('a draft that was changed in another tab', () => {
  it('is taken over where nobody writes', () => {
    expect(followed('old', 'old', 'new', false)).toBe('new');
    expect(followed('other', 'old', '', false)).toBe('');
  });

  it('leaves a field alone in which one writes, unless its very text was sent', () => {
    expect(followed('mine', 'old', 'new', true)).toBe('mine');
    expect(followed('old', 'old', 'new', true)).toBe('old');
    expect(followed('old', 'old', '', true)).toBe('');
    expect(followed('old, and more', 'old', '', true)).toBe('old, and more');
  });
});

describe('drafts', () => {
  let drafts: Drafts;
  beforeEach(() => (drafts = createDrafts('me')));
  afterEach(() => {
    drafts.dispose();
    localStorage.clear();
  });

  /** Does as the browser does: the storage changes, and then the other tabs are told. */
  function elsewhere(key: string, text: string): void {
    const oldValue = localStorage.getItem(key);
    const newValue = text === '' ? null : JSON.stringify(text);
    if (newValue === null) localStorage.removeItem(key);
    else localStorage.setItem(key, newValue);
    window.dispatchEvent(new StorageEvent('storage', { key, oldValue, newValue }));
  }

  it('are stored for each conversation', () => {
    drafts.write('a', 'one');
    drafts.write(undefined, 'two');
    const after = createDrafts('me');
    expect([after.read('a'), after.read(undefined), after.read('b')]).toEqual(['one', 'two', '']);
    drafts.write('a', '');
    expect(Object.keys(localStorage)).toEqual(['parley.draft.me.new']);
    after.dispose();
  });

  it('follow the other tabs, of the same user', () => {
    drafts.write('a', 'one');
    elsewhere('parley.draft.me.a', 'one and more');
    elsewhere('parley.draft.you.a', 'not mine');
    expect(drafts.read('a')).toBe('one and more');
    elsewhere('parley.draft.me.a', '');
    expect(drafts.read('a')).toBe('');
    elsewhere('parley.draft.me.new', 'begun there');
    expect(drafts.read(undefined)).toBe('begun there');
  });

  it('are not changed under the hands of one who writes', () => {
    const unattend = drafts.attend((conversation) => conversation === 'a');
    drafts.write('a', 'mine');
    elsewhere('parley.draft.me.a', 'theirs');
    elsewhere('parley.draft.me.b', 'theirs');
    expect([drafts.read('a'), drafts.read('b')]).toEqual(['mine', 'theirs']);
    unattend();
    elsewhere('parley.draft.me.a', 'theirs again');
    expect(drafts.read('a')).toBe('theirs again');
  });
});
