import { describe, expect, it } from 'vitest';
import { titleFrom } from './conversations';

describe('a title from the first words', () => {
  it.each([
    ['Hello there', 'Hello there'],
    ['  # A heading\nand more ', 'A heading'],
    ['- `code`', 'code`'],
    ['', undefined],
    ['\n\u200b ', undefined],
    ['```\n\nlet a = 1', 'let a = 1'],
  ])('%j is %j', (text, title) => expect(titleFrom(text)).toBe(title));

  it('ends at a word, and fits', () => {
    const title = titleFrom('word '.repeat(40)) ?? '';
    expect(title).toMatch(/word…$/);
    expect([...title].length).toBeLessThanOrEqual(61);
  });

  it('does not cut a character in two', () => {
    const title = titleFrom('😀'.repeat(200)) ?? '';
    expect([...title].filter((character) => character === '😀')).toHaveLength(60);
  });
});
