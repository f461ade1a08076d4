// What is defined in one block of a text and named in another: links ([a][b], [b]: address) and footnotes ([^a]). A block
// is parsed alone, so the parser is told which labels are defined elsewhere, and a block that names a label whose
// definition comes after it is parsed once more when that comes.

import type { Nodes, RootContent } from 'mdast';
import type { Construct, Extension } from 'micromark-util-types';

declare module 'micromark-util-types' {
  interface ParseContext {
    gfmFootnotes?: string[];
  }
}

/** Where each label leads. A footnote's label begins with ^, as no other does, and leads to ''. */
export type Definitions = ReadonlyMap<string, string>;

/** A label as CommonMark compares them: white space and case do not count. */
function labelOf(written: string): string {
  return written.replace(/[\t\n\r ]+/g, ' ').replace(/^ | $/g, '').toLowerCase().toUpperCase();
}

/** A syntax in which those labels are defined, wherever they may be. */
export function defined(labels: () => Iterable<string>): Extension {
  // It takes part in no text; it only comes before each bracket, and so before any label is looked up.
  const tell: Construct = {
    tokenize(_effects, _ok, nok) {
      const { parser } = this;
      if (!told.has(parser)) {
        told.add(parser);
        const notes = (parser.gfmFootnotes ??= []);
        for (const label of labels()) {
          if (label.startsWith('^')) notes.push(label.slice(1));
          else parser.defined.push(label);
        }
      }
      return nok;
    },
  };
  const told = new WeakSet<object>();
  return { text: { 33: tell, 91: tell } };
}

/** Adds what a block defines; the first definition of a label counts. Of those that end at or after end nothing is said. */
export function collect(node: RootContent, into: Map<string, string>, end = Infinity): void {
  walk(node, (each) => {
    if (each.type === 'definition') {
      if ((each.position?.end.offset ?? 0) < end) add(into, labelOf(each.identifier), each.url);
    } else if (each.type === 'footnoteDefinition') add(into, `^${labelOf(each.identifier)}`, '');
  });
}

function add(into: Map<string, string>, label: string, url: string): void {
  if (!into.has(label)) into.set(label, url);
}

/** Makes links and pictures of the references in a block whose labels are defined. */
export function resolve(node: RootContent, definitions: Definitions): void {
  walk(node, (each) => {
    if (each.type !== 'linkReference' && each.type !== 'imageReference') return;
    const url = definitions.get(labelOf(each.identifier));
    if (url === undefined) return;
    Object.assign(each, each.type === 'linkReference' ? { type: 'link', url } : { type: 'image', url });
  });
}

const LABEL = /\[((?:[^[\]\\]|\\.){1,999})\]/gs;

/** The labels that a piece of a text may name. */
export function labelsIn(source: string): Set<string> {
  const labels = new Set<string>();
  for (const [, label] of source.matchAll(LABEL)) labels.add(labelOf(label!));
  return labels;
}

function walk(node: Nodes, visit: (node: Nodes) => void): void {
  visit(node);
  if ('children' in node) for (const child of node.children) walk(child, visit);
}
