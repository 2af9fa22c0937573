import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createToasts, TOAST_MS, type Toasts } from './toasts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const texts = (toasts: Toasts) => toasts.list.value.map(({ text }) => text);
const undo = (missed: () => void = () => undefined) => ({ label: 'Undo', run: () => undefined, missed });

describe('toasts', () => {
  it('go by themselves', () => {
    const toasts = createToasts();
    toasts.add('one');
    vi.advanceTimersByTime(TOAST_MS - 1);
    toasts.add('two');
    expect(texts(toasts)).toEqual(['one', 'two']);
    vi.advanceTimersByTime(1);
    expect(texts(toasts)).toEqual(['two']);
  });

  it('make room for others, but for those with an action', () => {
    const toasts = createToasts();
    toasts.add('deleted', undo());
    for (const text of ['one', 'two', 'three']) toasts.add(text);
    expect(texts(toasts)).toEqual(['deleted', 'two', 'three']);
    for (const text of ['a', 'b', 'c']) toasts.add(text, undo());
    expect(texts(toasts)).toEqual(['deleted', 'a', 'b', 'c']);
    toasts.add('said all the same');
    expect(texts(toasts)).toEqual(['deleted', 'a', 'b', 'c', 'said all the same']);
  });

  it('wait while somebody is at them, and then have the time that they had left', () => {
    const toasts = createToasts();
    toasts.add('one');
    vi.advanceTimersByTime(TOAST_MS - 1000);
    toasts.hold();
    toasts.add('two');
    vi.advanceTimersByTime(60_000);
    expect(texts(toasts)).toEqual(['one', 'two']);
    toasts.release();
    vi.advanceTimersByTime(1000);
    expect(texts(toasts)).toEqual(['two']);
    vi.advanceTimersByTime(TOAST_MS - 1000);
    expect(texts(toasts)).toEqual([]);
  });

  it('are not held any more once the last one is gone', () => {
    const toasts = createToasts();
    toasts.add('one');
    toasts.hold();
    toasts.list.value.forEach(toasts.dismiss);
    toasts.add('two');
    vi.advanceTimersByTime(TOAST_MS);
    expect(texts(toasts)).toEqual([]);
  });

  it('say once that their action was missed, and not where it was taken', () => {
    const toasts = createToasts();
    const missed = vi.fn();
    toasts.add('expires', undo(missed));
    vi.advanceTimersByTime(TOAST_MS);
    expect(missed).toHaveBeenCalledTimes(1);
    toasts.add('closed', undo(missed));
    toasts.list.value.forEach(toasts.dismiss);
    expect(missed).toHaveBeenCalledTimes(2);
    toasts.add('taken', undo(missed));
    toasts.list.value.forEach(toasts.act);
    vi.advanceTimersByTime(TOAST_MS);
    expect(missed).toHaveBeenCalledTimes(2);
  });
});
