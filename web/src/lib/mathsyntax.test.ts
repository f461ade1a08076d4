import type { Nodes } from 'mdast';
import { describe, expect, it } from 'vitest';
import { BlockParser } from './markdown';

/** The formulas of a text, those that stand alone in brackets. */
function formulas(text: string): string[] {
  const found: string[] = [];
  const visit = (node: Nodes) => {
    if (node.type === 'math') found.push(`[${node.value}]`);
    if (node.type === 'inlineMath') found.push(node.display ? `[${node.value}]` : node.value);
    if ('children' in node) for (const child of node.children) visit(child);
  };
  for (const block of new BlockParser().parse(text)) visit(block.node);
  return found;
}

describe('maths in Markdown', () => {
  it.each([
    ['$a$ and $b_1 + \\$5$', ['a', 'b_1 + \\$5']],
    ['\\(a \\le b\\), \\[c\\]', ['a \\le b', '[c]']],
    ['$$x$$ stands alone', ['[x]']],
    ['$$\na\n- b\n$$', ['[a\n- b]']],
    ['\\[\na\n= b\n\\]', ['[a\n= b]']],
    ['- in a list $x$\n- **bold $y$**', ['x', 'y']],
    ['| a |\n|---|\n| $x$ |', ['x']],
  ])('%j', (text, wanted) => expect(formulas(text)).toEqual(wanted));

  it.each([
    'It costs $5 to $10, that is $7 a head.',
    'US$5 and US$6',
    'cd $HOME/$USER and ${HOME}/${USER}',
    'echo $a $b',
    '`$x$` and `\\(x\\)`',
    '```\n$x$ \\[y\\]\n```',
    '\\$x\\$',
    '$ x $',
    '\\(\\)',
    '$a\n\nb$',
    '\\[no end',
  ])('finds none in %j', (text) => expect(formulas(text)).toEqual([]));

  it('is the same however the text comes', () => {
    const text = 'Before $a$\n\n$$\nx^2\n$$\n\n\\[\ny\n\\]\n\nafter';
    const parser = new BlockParser();
    let streamed = parser.parse('');
    for (let i = 1; i <= text.length; i++) streamed = parser.parse(text.slice(0, i));
    expect(JSON.stringify(streamed.map((block) => ({ ...block.node, position: 0 })))).toContain('"y"');
    expect(streamed.map((block) => block.node.type)).toEqual(new BlockParser().parse(text).map((block) => block.node.type));
  });
});
