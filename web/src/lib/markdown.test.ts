import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockParser, safeHref } from './markdown';

const TEXT = `Intro with **bold** and \`code\`.

# Head

1. one

   more of one
2. two
   - nested

| a | b |
|---|---|
| 1 | 2 |

\`\`\`go
func main() {

}
\`\`\`

> quote
> goes on

    indented code

Setext
======

- [x] done
- [ ] open

Last.`;

/** Without positions, which are of the piece that was parsed. */
function shape(text: string, parser = new BlockParser()): unknown {
  return JSON.parse(JSON.stringify(parser.parse(text).map((block) => block.node), (key, value) => (key === 'position' ? undefined : value)));
}

describe('BlockParser', () => {
  it('ends with the same blocks whether the text comes at once or in pieces', () => {
    const whole = shape(TEXT);
    fc.assert(
      fc.property(fc.array(fc.nat(TEXT.length), { maxLength: 30 }), (cuts) => {
        const parser = new BlockParser();
        for (const cut of cuts.sort((a, b) => a - b)) parser.parse(TEXT.slice(0, cut));
        expect(shape(TEXT, parser)).toEqual(whole);
      }),
    );
    const parser = new BlockParser();
    for (let i = 1; i <= TEXT.length; i++) parser.parse(TEXT.slice(0, i));
    expect(shape(TEXT, parser)).toEqual(whole);
  });

  it('keeps the nodes of finished blocks', () => {
    const parser = new BlockParser();
    const before = parser.parse('one\n\ntwo\n\nthr');
    const after = parser.parse('one\n\ntwo\n\nthree\n\nfour');
    expect(after[0]).toBe(before[0]);
    expect(after[1]).toBe(before[1]);
    expect(after).toHaveLength(4);
  });

  it('takes an open fence for code', () => {
    const blocks = new BlockParser().parse('text\n\n```js\nlet a = 1;\n\n# no head');
    expect(blocks.at(-1)?.node).toMatchObject({ type: 'code', lang: 'js', value: 'let a = 1;\n\n# no head' });
    const parser = new BlockParser();
    parser.parse('```js\nlet a');
    expect(parser.parse('```js\nlet a = 1;')).toMatchObject([{ start: 0, node: { type: 'code', value: 'let a = 1;' } }]);
    expect(parser.parse('```js\nlet a = 1;\n```\nafter').map((block) => block.node.type)).toEqual(['code', 'paragraph']);
  });

  it('begins anew when the text is another', () => {
    const parser = new BlockParser();
    parser.parse('one\n\ntwo');
    expect(shape('three', parser)).toEqual(shape('three'));
    expect(parser.parse('')).toEqual([]);
  });
});

describe('safeHref', () => {
  it.each([
    ['https://example.com/a?b#c', 'https://example.com/a?b#c'],
    ['http://example.com', 'http://example.com/'],
    ['mailto:a@example.com', 'mailto:a@example.com'],
    ['javascript:alert(1)', null],
    [' java\nscript:alert(1)', null],
    ['data:text/html,x', null],
    ['vbscript:x', null],
    ['file:///etc/passwd', null],
    ['/relative', null],
    ['', null],
  ])('%j', (url, want) => expect(safeHref(url)).toBe(want));
});
