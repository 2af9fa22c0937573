// @vitest-environment happy-dom
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { enterHint, isComposing, isSending } from './keys';

let isCoarse = false;
beforeEach(() => {
  isCoarse = false;
  vi.stubGlobal('matchMedia', (query: string) => ({ matches: query === '(pointer: coarse)' && isCoarse }));
});
afterEach(() => vi.unstubAllGlobals());

const press = (key: string, more: KeyboardEventInit = {}) => new KeyboardEvent('keydown', { key, ...more });

it('Enter sends where there is a Shift key to make a new line with', () => {
  expect(isSending(press('Enter'))).toBe(true);
  expect(isSending(press('Enter', { shiftKey: true }))).toBe(false);
  expect(isSending(press('a'))).toBe(false);
  expect(enterHint()).toBe('send');
});

it('Enter makes a new line on a touch screen, and the key says so', () => {
  isCoarse = true;
  expect(isSending(press('Enter'))).toBe(false);
  expect(enterHint()).toBe('enter');
});

it('an input method has its keys for itself', () => {
  expect(isComposing(press('Enter'))).toBe(false);
  for (const more of [{ isComposing: true }, { keyCode: 229 }]) {
    expect(isComposing(press('Enter', more))).toBe(true);
    expect(isSending(press('Enter', more))).toBe(false);
  }
});
