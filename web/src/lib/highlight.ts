// Colours for code. The highlighter and its languages are a chunk of their own, loaded when the first code is shown;
// until then, and for languages that it does not know, code is plain.

import type { Element, Root, Text } from 'hast';

export interface Span {
  text: string;
  /** A class of the design language (k1 to k5), or ''. */
  class: string;
}

/** Longer code stays plain: colouring it would hold the page. */
const MAX = 60_000;

/** The lines of a piece of code as coloured spans, or null where they stay plain. */
export async function highlight(code: string, language: string): Promise<Span[][] | null> {
  if (!language || code.length > MAX) return null;
  let tree: Root | null;
  try {
    tree = (await import('./languages')).parse(code, language.toLowerCase());
  } catch {
    // The chunk did not load; the code is readable without it.
    return null;
  }
  return tree ? linesOf(tree) : null;
}

/** The language of a file by its name, or ''. */
export function languageOf(path: string): string {
  const name = path.slice(path.lastIndexOf('/') + 1).toLowerCase();
  if (name === 'dockerfile' || name === 'makefile') return name;
  const dot = name.lastIndexOf('.');
  return dot < 0 ? '' : name.slice(dot + 1);
}

const CLASSES: Record<string, string> = {
  keyword: 'k1',
  built_in: 'k1',
  literal: 'k1',
  'selector-tag': 'k1',
  name: 'k1',
  tag: 'k1',
  section: 'k1',
  type: 'k3',
  string: 'k2',
  regexp: 'k2',
  addition: 'k2',
  symbol: 'k2',
  title: 'k3',
  attr: 'k3',
  attribute: 'k3',
  property: 'k3',
  number: 'k4',
  meta: 'k4',
  variable: 'k4',
  'template-variable': 'k4',
  comment: 'k5',
  quote: 'k5',
  deletion: 'k5',
};

function linesOf(tree: Root): Span[][] {
  const lines: Span[][] = [[]];
  const walk = (node: Root | Element | Text, inherited: string) => {
    if (node.type === 'text') {
      node.value.split('\n').forEach((part, i) => {
        if (i > 0) lines.push([]);
        if (part) lines[lines.length - 1]!.push({ text: part, class: inherited });
      });
      return;
    }
    let own = inherited;
    if (node.type === 'element') {
      const names = (node.properties.className ?? []) as string[];
      const known = names.map((name) => CLASSES[name.replace(/^hljs-/, '').replace(/_$/, '')]).find(Boolean);
      if (known) own = known;
      else if (names.some((name) => name === 'hljs-subst')) own = '';
    }
    for (const child of node.children) if (child.type === 'text' || child.type === 'element') walk(child, own);
  };
  walk(tree, '');
  return lines;
}
