// What is taken out of a transcript: an item as text or as Markdown, and a whole session as one document.

import type { Nodes } from 'mdast';
import { t } from '../i18n/index.svelte';
import { plain } from './ansi';
import { clockSeconds, dateOf } from './format';
import { parseMarkdown } from './markdown';
import { argumentsOf, diffs, outputOf, toolWords } from './tools';
import { approvalObject, approvalVerb, hostWords } from './words';
import type { Item, SessionRow } from './types';

/** Markdown as people would type it into a mail: no signs, code and lists as they stand. */
export function textOf(markdown: string): string {
  return blocks(parseMarkdown(markdown).children, '\n\n');
}

function blocks(nodes: Nodes[], between: string): string {
  return nodes
    .map(block)
    .filter((part) => part !== '')
    .join(between);
}

function block(node: Nodes): string {
  switch (node.type) {
    case 'code':
    case 'math':
      return node.value;
    case 'list':
      return node.children
        .map((item, i) => {
          const mark = node.ordered ? `${(node.start ?? 1) + i}. ` : '- ';
          const box = item.checked === true ? '[x] ' : item.checked === false ? '[ ] ' : '';
          return `${mark}${box}${blocks(item.children, '\n').replace(/\n/g, `\n${' '.repeat(mark.length)}`)}`;
        })
        .join('\n');
    case 'blockquote':
      return blocks(node.children, '\n\n').replace(/^/gm, '> ');
    case 'table':
      return node.children.map((row) => row.children.map((cell) => inline(cell.children)).join('\t')).join('\n');
    case 'thematicBreak':
      return '---';
    case 'html':
      return node.value;
    default:
      return 'children' in node ? inline(node.children as Nodes[]) : inline([node]);
  }
}

function inline(nodes: Nodes[]): string {
  return nodes
    .map((node) => {
      if (node.type === 'break') return '\n';
      if (node.type === 'link') {
        const text = inline(node.children);
        return text === node.url || node.url === `mailto:${text}` ? text : `${text} (${node.url})`;
      }
      if (node.type === 'image') return node.alt || node.url;
      if ('value' in node) return node.value;
      return 'children' in node ? inline(node.children as Nodes[]) : '';
    })
    .join('');
}

/** A fence that nothing within it closes. */
function fenced(text: string, language = ''): string {
  const longest = Math.max(2, ...[...text.matchAll(/`{3,}/g)].map((match) => match[0].length));
  const fence = '`'.repeat(longest + 1);
  return `${fence}${language}\n${text.replace(/\n$/, '')}\n${fence}`;
}

const code = (text: string) => (text.includes('`') ? `\`\` ${text} \`\`` : `\`${text}\``);

/** An item as Markdown. */
export function markdownOf(item: Item, cwd: string): string {
  switch (item.kind) {
    case 'user':
    case 'assistant':
      return item.body.text;
    case 'thought':
      return item.body.text.replace(/^/gm, '> ');
    case 'plan':
      return item.body.entries.map((entry) => `- [${entry.status === 'completed' ? 'x' : ' '}] ${entry.content}`).join('\n');
    case 'tool': {
      const { verb, object } = toolWords(item.body, cwd);
      const args = argumentsOf(item.body);
      const output = plain(outputOf(item.body));
      return [
        `**${verb}** ${object ? code(object) : ''}`.trim(),
        args && fenced(args),
        ...diffs(item.body).map((diff) => `${code(diff.path)}\n\n${fenced(diff.newText)}`),
        output && fenced(output),
      ]
        .filter(Boolean)
        .join('\n\n');
    }
    case 'approval':
      return `**${approvalVerb(item.body)}** ${code(approvalObject(item.body, cwd))}`;
    case 'notice':
      return `*${hostWords(item.body)}*`;
  }
}

/** An item as text. */
export function plainOf(item: Item, cwd: string): string {
  return item.kind === 'user' ? item.body.text : textOf(markdownOf(item, cwd));
}

/** A session as one Markdown document. */
export function sessionMarkdown(row: SessionRow, agent: string, items: Item[]): string {
  const parts = [`# ${row.title || t.common.newSession}`, `${agent} · ${code(row.cwd)} · ${moment(row.created_at)}`];
  let speaker = '';
  for (const item of items) {
    const next = item.kind === 'user' ? t.item.you : agent;
    if (item.kind === 'user' || next !== speaker) parts.push(`## ${next} · ${moment(item.at)}`);
    speaker = next;
    parts.push(markdownOf(item, row.cwd));
  }
  return `${parts.filter(Boolean).join('\n\n')}\n`;
}

/** A time in full: Tue, 24 Nov 2026, 14:31:40. */
export function moment(at: string): string {
  return `${dateOf(Date.parse(at), { weekday: 'short', day: 'numeric', month: 'short', year: 'numeric' })}, ${clockSeconds(at)}`;
}
