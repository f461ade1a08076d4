// Markdown to a tree, block by block. While a text streams, only its last block is parsed again: a top-level block is
// finished once another one follows it (CommonMark), so its node is kept as it is and its component is not drawn again.

import type { Root, RootContent } from 'mdast';
import { fromMarkdown } from 'mdast-util-from-markdown';
import { gfmFromMarkdown } from 'mdast-util-gfm';
import { gfm } from 'micromark-extension-gfm';
import { mathSyntax, mathTree } from './mathsyntax';

export interface Block {
  /** Where the block begins in the text: its key. */
  start: number;
  node: RootContent;
}

const extensions = { extensions: [gfm(), mathSyntax], mdastExtensions: [gfmFromMarkdown(), ...mathTree] };

export function parseMarkdown(text: string): Root {
  return fromMarkdown(text, extensions);
}

export class BlockParser {
  private text = '';
  private done: Block[] = [];
  /** Where the first block begins that is not finished. */
  private from = 0;
  private last: Block[] = [];

  /** The blocks of the text. Cheap if it begins with the text of the call before. */
  parse(text: string): Block[] {
    if (!text.startsWith(this.text)) {
      this.done = [];
      this.from = 0;
    } else if (text.length === this.text.length && text.length > 0) {
      return [...this.done, ...this.last];
    }
    this.text = text;
    const tail = text.slice(this.from);
    const fence = openFence(tail);
    if (fence) {
      this.last = [{ start: this.from + fence.start, node: fence.node }];
      return [...this.done, ...this.last];
    }
    const blocks = fromMarkdown(tail, extensions).children.map((node) => ({
      start: this.from + (node.position?.start.offset ?? 0),
      node,
    }));
    const last = blocks.pop();
    this.done.push(...blocks);
    this.last = last ? [last] : [];
    if (blocks.length > 0 && last) {
      // Indented code begins at its first letter, not at its indent: the line is where the parse must go on.
      this.from = text.lastIndexOf('\n', last.start - 1) + 1;
    }
    return [...this.done, ...this.last];
  }
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

export function countParagraphs(text: string): number {
  return text.split(/\n\s*\n/).filter((part) => part.trim() !== '').length;
}
