import { describe, expect, it } from 'vitest';
import { pathOf, pictureOf } from './workspace';

describe('pathOf', () => {
  it.each([
    ['docs/plot.png', 'docs/plot.png'],
    ['./docs//a%20b.png', 'docs/a b.png'],
    ['docs/../x.md#L12', 'x.md'],
    ['/work/src/a.go', 'a.go'],
    ['file:///work/src/sub/a.go', 'sub/a.go'],
    ['100%.txt', '100%.txt'],
  ])('%s is %s', (url, path) => expect(pathOf(url, '/work/src/')).toBe(path));
  it.each(['https://example.com/a.png', 'javascript:alert(1)', 'data:image/png;base64,AA', '//example.com/a.png', '../a', 'a/../../b', '/etc/passwd', '/work/src', '/work/srcs/a', '#top', ''])(
    '%s is no file of the folder',
    (url) => expect(pathOf(url, '/work/src')).toBe(''),
  );
});

describe('pictureOf', () => {
  it('takes what a browser draws and nothing that can run', () => {
    expect(pictureOf({ type: 'image', mimeType: 'image/png', data: 'iVBORw0=' })).toBe('data:image/png;base64,iVBORw0=');
    expect(pictureOf({ type: 'image', mimeType: 'image/svg+xml', data: 'iVBORw0=' })).toBe('');
    expect(pictureOf({ type: 'image', mimeType: 'image/png', data: '"><script>' })).toBe('');
    expect(pictureOf({ type: 'text' })).toBe('');
  });
});
