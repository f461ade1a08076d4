import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockParser, parseMarkdown, safeHref } from './markdown';
import { collect, resolve } from './references';

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
  return plain(parser.parse(text, true).map((block) => block.node));
}

function plain(nodes: unknown): unknown {
  return JSON.parse(JSON.stringify(nodes, (key, value) => (key === 'position' ? undefined : value)));
}

/** The same from a parse of all at once, in which every definition is known. */
function atOnce(text: string): unknown {
  const nodes = parseMarkdown(text).children;
  const definitions = new Map<string, string>();
  for (const node of nodes) collect(node, definitions);
  for (const node of nodes) resolve(node, definitions);
  return plain(nodes);
}

/** Pieces of texts that name and define each other's labels. */
const PIECES = [
  'See [the notes][n], [N], [n][] and ![plot][Two Words].',
  'A note[^a], another[^b] and one that is none[^c].',
  '[n]: https://example.com/n',
  '[n]: https://example.com/second "which does not count"',
  '[two  words]: out/plot.png\n"a title below"',
  '[two words]: out/plot.png\n"no title" as it goes on',
  '[two words]: out/plot.png\n\n"nor this"',
  '> quoted [n] and\n> [n]: https://example.com/quoted',
  '- item [two words]\n\n  [two words]: https://example.com/item',
  '  - indented [n]\n    - further [n][n]',
  '[^a]: what it says, with [n]\n\n    and more',
  '[^b]: short',
  '```\n[n]: in code\n[n]\n```',
  '    [n]: in indented code',
  '| [n] | b |\n|---|---|\n| 1 | [^a] |',
  '# Head [n]',
  'a [nested [n] label][n] and \\[n] and `[n]`',
  '[x]: javascript:alert(1)\n[x]',
  '---',
];

/** What a hundred runs may take on a machine that does much else, in milliseconds. */
const LONG = 60_000;

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
  }, LONG);

  it('finds what is defined in other blocks, before and after, however the text comes', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...PIECES), { minLength: 1, maxLength: 8 }), fc.array(fc.nat(600), { maxLength: 20 }), (pieces, cuts) => {
        const text = pieces.join('\n\n');
        const parser = new BlockParser();
        for (const cut of cuts.sort((a, b) => a - b)) parser.parse(text.slice(0, cut));
        expect(shape(text, parser)).toEqual(atOnce(text));
      }),
    );
  }, LONG);

  it('parses again only what names a label that is defined later', () => {
    const parser = new BlockParser();
    const text = 'see [the notes][n]\n\nnothing\n\nalso [^a]\n\n```\n[n]\n```\n\nand [m]\n\n';
    parser.parse(text);
    const before = parser.parse(`${text}[n]: https://exa`);
    expect(before[0]!.node).toMatchObject({ type: 'paragraph', children: [{ type: 'text', value: 'see [the notes][n]' }] });
    const after = parser.parse(`${text}[n]: https://example.com\n\n[^a]: a note\n\n`);
    expect(after[0]!.node).toMatchObject({ children: [{}, { type: 'link', url: 'https://example.com', children: [{ value: 'the notes' }] }] });
    expect(after[2]!.node).toMatchObject({ children: [{}, { type: 'footnoteReference', identifier: 'a' }] });
    for (const kept of [1, 3, 4]) expect(after[kept]).toBe(before[kept]);
    // What comes after it is parsed once, and nothing more becomes of what is finished.
    const later = parser.parse(`${text}[n]: https://example.com\n\n[^a]: a note\n\nsee [n] again\n\nend`);
    expect(later.slice(0, 5)).toEqual(after.slice(0, 5));
    for (let i = 0; i < 5; i++) expect(later[i]).toBe(after[i]);
    expect(later[7]!.node).toMatchObject({ children: [{}, { type: 'link', url: 'https://example.com' }, {}] });
  });

  it('takes an address only when it is whole', () => {
    const parser = new BlockParser();
    const first = () => parser.parse(text, whole)[0]!.node as { children: { type: string; url?: string }[] };
    let text = 'see [n]\n\n[n]: https://example.com/ha';
    let whole = false;
    expect(first().children.map((each) => each.type)).not.toContain('link');
    text += 'lf';
    whole = true;
    expect(first().children[1]).toMatchObject({ type: 'link', url: 'https://example.com/half' });
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
