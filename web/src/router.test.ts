// @vitest-environment happy-dom
import { describe, expect, it } from 'vitest';
import { pathOf, routeOf } from './router';

describe('a path', () => {
  it.each(['/', '/admin', '/c/0b9f', '/c/a%20b'])('%s is a page of its own', (path) => {
    expect(pathOf(routeOf(path))).toBe(path);
  });

  it.each([
    'https://evil.example/c/1',
    '//evil.example/c/1',
    '/\\evil.example',
    'javascript:alert(1)',
    '/c/',
    '/c/a/b',
    '/admin/more',
    '',
    undefined,
    null,
    { page: 'admin' },
  ])('%s leads to the front page', (path) => {
    expect(pathOf(routeOf(path))).toBe('/');
  });

  it('stays here, whatever is in its id', () => {
    for (const path of ['/c/%2F%2Fevil.example', '/c/..', '/c/%E0%A4%A', '/c/javascript:alert(1)']) {
      const url = new URL(pathOf(routeOf(path)), 'https://parley.example');
      expect(url.origin).toBe('https://parley.example');
    }
  });
});
