// Markdown to a tree, block by block. While a text streams, only its last block is parsed again: a top-level block is
// finished once another one follows it (CommonMark), so its node is kept as it is and its component is not drawn again.

import type { Root, RootContent } from 'mdast';
import { fromMarkdown } from 'mdast-util-from-markdown';
import { gfmFromMarkdown } from 'mdast-util-gfm';
import { gfm } from 'micromark-extension-gfm';
import { mathSyntax, mathTree } from './mathsyntax';
import { collect, defined, labelsIn, resolve, type Definitions } from './references';

export interface Block {
  /** Where the block begins in the text: its key. */
  start: number;
  node: RootContent;
}

const extensions = { extensions: [gfm(), mathSyntax], mdastExtensions: [gfmFromMarkdown(), ...mathTree] };

export function parseMarkdown(text: string): Root {
  return fromMarkdown(text, extensions);
}

/** A block that is finished. */
interface Done extends Block {
  /** Where its first line begins, and where it ends. */
  line: number;
  end: number;
  /** The labels that it may name, once somebody asked. */
  names?: Set<string>;
}

export class BlockParser {
  private text = '';
  private done: Done[] = [];
  /** Where the first block begins that is not finished. */
  private from = 0;
  private last: Block[] = [];
  /** What finished blocks define, and what all do by now. */
  private settled = new Map<string, string>();
  private known: Definitions = this.settled;
  /** What the text that is parsed does not define itself. */
  private elsewhere: Definitions = this.settled;
  private readonly extensions = { ...extensions, extensions: [...extensions.extensions, defined(() => this.elsewhere.keys())] };

  /**
   * The blocks of the text. Cheap if it begins with the text of the call before. whole says that no more comes: until
   * then the address in a last line may be half of one.
   */
  parse(text: string, whole = false): Block[] {
    if (!text.startsWith(this.text)) {
      this.done = [];
      this.from = 0;
      this.known = this.settled = new Map();
    } else if (text.length === this.text.length && text.length > 0 && !whole) {
      return [...this.done, ...this.last];
    }
    this.text = text;
    const tail = text.slice(this.from);
    const fence = openFence(tail);
    if (fence) this.last = [{ start: this.from + fence.start, node: fence.node }];
    else this.parseTail(tail, whole);
    return [...this.done, ...this.last];
  }

  private parseTail(tail: string, whole: boolean): void {
    const from = this.from;
    this.elsewhere = this.settled;
    const blocks = fromMarkdown(tail, this.extensions).children.map((node) => ({ start: from + (node.position?.start.offset ?? 0), node }));
    const finished = blocks.splice(0, finishedOf(blocks.map(({ node }) => node)));
    this.last = blocks;
    if (finished.length > 0) {
      // Indented code begins at its first letter, not at its indent: the line is where the parse must go on.
      this.from = this.lineOf(blocks[0]!.start);
    }
    if (tail.includes(']:')) {
      this.settled = new Map(this.settled);
      for (const { node } of finished) collect(node, this.settled);
      const known = new Map(this.settled);
      for (const { node } of blocks) collect(node, known, whole ? Infinity : tail.length);
      this.learn(known);
    } else if (this.known.size !== this.settled.size) this.learn(this.settled);
    if (this.known.size > 0) for (const { node } of [...finished, ...blocks]) resolve(node, this.known);
    this.done.push(...finished.map(({ start, node }) => ({ start, node, line: this.lineOf(start), end: from + (node.position?.end.offset ?? 0) })));
  }

  /** Parses finished blocks again that name a label of which something else is known now. */
  private learn(known: Definitions): void {
    const news = [...new Set([...known.keys(), ...this.known.keys()])].filter((label) => known.get(label) !== this.known.get(label));
    this.elsewhere = this.known = known;
    if (news.length === 0) return;
    this.done = this.done.map((block) => {
      if (block.node.type === 'code') return block;
      block.names ??= labelsIn(this.text.slice(block.line, block.end));
      if (!news.some((label) => block.names!.has(label))) return block;
      const [node] = fromMarkdown(this.text.slice(block.line, block.end), this.extensions).children;
      if (!node) return block;
      resolve(node, known);
      return { ...block, node };
    });
  }

  private lineOf(start: number): number {
    return this.text.lastIndexOf('\n', start - 1) + 1;
  }
}

/** How many blocks of a tail are finished: all but the last, and but a definition that may yet get its title from it. */
function finishedOf(nodes: RootContent[]): number {
  const [before, last] = nodes.slice(-2);
  const titled = before?.type === 'definition' && last?.type === 'paragraph' && last.position?.start.line === (before.position?.end.line ?? 0) + 1;
  return Math.max(0, nodes.length - (titled ? 2 : 1));
}

/**
 * A tail that is one fence without an end, as a node of its own: a long listing then costs no parse for each delta.
 */
function openFence(tail: string): { start: number; node: RootContent } | null {
  const open = /^((?:[ \t]*\n)* {0,3})(`{3,}|~{3,})([^\n`]*)\n/.exec(tail);
  if (!open) return null;
  const mark = open[2]!;
  const body = tail.slice(open[0].length);
  const close = new RegExp(`^ {0,3}\\${mark[0]}{${mark.length},}[ \\t]*$`, 'm');
  if (close.test(body)) return null;
  const lang = open[3]!.trim().split(/\s+/)[0] || null;
  return { start: open[1]!.length, node: { type: 'code', lang, value: body.replace(/\n$/, '') } };
}

/** The address of a link if it may be one: http, https and mailto only, and nothing that hides its scheme. */
export function safeHref(url: string): string | null {
  try {
    const parsed = new URL(url);
    return ['http:', 'https:', 'mailto:'].includes(parsed.protocol) ? parsed.href : null;
  } catch {
    return null;
  }
}
