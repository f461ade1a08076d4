// What a tool call is called on the page: its verb, its object, its result. Agents name their calls freely, so each is
// taken from the most exact thing that the agent gave: the input, then the location, then the title.

import { t } from '../i18n/index.svelte';
import type { IconName } from './icons';
import { relativePath } from './format';
import { fileAddress, isPicture, pathOf, pictureOf } from './workspace';
import type { TextContent, ToolBody, ToolContent } from './types';

/** The kinds of ACP that have words of their own; and the past of their verb, as agents begin a title with it. */
const KINDS = {
  read: ['read', 'read'],
  edit: ['edit', 'edited'],
  delete: ['x', 'deleted'],
  move: ['right', 'moved'],
  search: ['search', 'searched'],
  execute: ['term', 'ran'],
  think: ['bulb', 'thought'],
  fetch: ['globe', 'fetched'],
  switch_mode: ['sliders', 'switched'],
} satisfies Record<string, [icon: IconName, past: string]>;
type Kind = keyof typeof KINDS;

const known = (kind: string): Kind | null => (Object.hasOwn(KINDS, kind) ? (kind as Kind) : null);

export interface ToolWords {
  verb: string;
  object: string;
  /** The object is a path: it is cut in the middle. */
  path: boolean;
  icon: IconName;
}

export function toolRuns(tool: ToolBody): boolean {
  return tool.status === 'pending' || tool.status === 'in_progress';
}

export function toolWords(tool: ToolBody, cwd: string): ToolWords {
  const kind = known(tool.kind);
  const verb = tool.status === 'cancelled' ? t.tool.stopped : t.tool.verbs[kind ?? 'other'][toolRuns(tool) ? 0 : tool.status === 'failed' ? 2 : 1];
  const icon = kind ? KINDS[kind][0] : 'term';

  const input = (tool.raw_input ?? {}) as Record<string, unknown>;
  const text = (...keys: string[]) => {
    for (const key of keys) {
      const value = input[key];
      if (typeof value === 'string' && value !== '') return value;
      if (Array.isArray(value) && value.every((part) => typeof part === 'string')) return value.join(' ');
    }
    return '';
  };
  let object = '';
  let path = false;
  if (tool.kind === 'execute') object = text('command', 'cmd', 'script');
  else if (tool.kind === 'search') object = text('pattern', 'query', 'regex');
  else if (tool.kind === 'fetch') object = text('url', 'query');
  else if (['read', 'edit', 'delete', 'move'].includes(tool.kind)) {
    const at = tool.locations?.[0]?.path ?? diffs(tool)[0]?.path ?? text('path', 'file_path', 'filePath', 'abs_path');
    if (at) {
      object = relativePath(at, cwd);
      path = true;
    }
  }
  if (!object) object = bareTitle(tool.title || tool.name || '', kind);
  return { verb, object: object.split('\n')[0] ?? '', path, icon };
}

/** A title without the verb that the card says already, and without Markdown's backticks. */
function bareTitle(title: string, kind: Kind | null): string {
  let text = title.replace(/^`+|`+$/g, '').trim();
  const first = /^(\w+):?\s+/.exec(text);
  // Agents write their titles in English, whatever the language of the page.
  const verbs = ['read', 'edit', 'write', 'search', 'run', 'running', 'reading', 'fetch', ...(kind ? [KINDS[kind][1]] : [])];
  if (first && kind && verbs.includes(first[1]!.toLowerCase())) text = text.slice(first[0].length);
  return text.replace(/^`+|`+$/g, '');
}

export function diffs(tool: ToolBody): { path: string; oldText?: string | null; newText: string }[] {
  return (tool.content ?? []).filter((entry): entry is Extract<ToolContent, { type: 'diff' }> => entry.type === 'diff') as {
    path: string;
    oldText?: string | null;
    newText: string;
  }[];
}

/** The output of a tool: its text entries without the fence that agents wrap them in, with the terminal's colours. */
export function outputOf(tool: ToolBody): string {
  const parts: string[] = [];
  for (const entry of tool.content ?? []) {
    if (entry.type !== 'content') continue;
    const content = entry.content as { type: string; text?: string; uri?: string; mimeType?: string; data?: string };
    if (content.type === 'text') parts.push(unfence(content.text ?? ''));
    else if (pictureOf(content)) continue;
    else if (content.type === 'resource_link') parts.push(content.uri ?? '');
    else parts.push(`(${content.type}${content.mimeType ? `, ${content.mimeType}` : ''})`);
  }
  const told = parts.filter((part) => part !== '');
  if (told.length === 0 && !diffs(tool).length) told.push(rawOutput(tool.raw_output));
  // eslint-disable-next-line no-control-regex
  return told.join('\n').replace(/\r\n/g, '\n').replace(/(?:\s|\u001b\[[0-9;]*m)+$/, '');
}

/** The pictures of a tool: those that came with their bytes, and those of the session's folder that it names. */
export function picturesOf(tool: ToolBody, session: string, cwd: string): { address: string; name: string }[] {
  const found: { address: string; name: string }[] = [];
  for (const entry of tool.content ?? []) {
    if (entry.type !== 'content') continue;
    const content = entry.content as { type: string; uri?: unknown };
    const address = pictureOf(content);
    const path = content.type === 'resource_link' ? pathOf(String(content.uri ?? ''), cwd) : '';
    if (address) found.push({ address, name: tool.title });
    else if (isPicture(path)) found.push({ address: fileAddress(session, path), name: path });
  }
  if (tool.kind === 'read' && tool.status === 'completed' && found.length === 0) {
    const path = pathOf(tool.locations?.[0]?.path ?? '', cwd);
    if (isPicture(path)) found.push({ address: fileAddress(session, path), name: path });
  }
  return found;
}

/** What an agent gave only as its tool's own result: a text, or an object with one. */
function rawOutput(raw: unknown): string {
  if (typeof raw === 'string') return raw;
  if (!raw || typeof raw !== 'object') return '';
  const output = raw as Record<string, unknown>;
  return ['output', 'formatted_output', 'aggregated_output', 'stdout', 'stderr', 'error']
    .flatMap((key, i, keys) => (typeof output[key] === 'string' && (i > 2 || !keys.slice(0, i).some((other) => output[other])) ? [output[key] as string] : []))
    .filter((text) => text.trim() !== '')
    .join('\n');
}

/** A text without the one fence that encloses it. */
export function unfence(text: string): string {
  const match = /^\s*(`{3,})[^\n`]*\n([\s\S]*?)\n?\1\s*$/.exec(text);
  return match ? match[2]! : text;
}

/** How long the whole output is, where only its end is here, else 0; and where the whole is, if it is kept. */
export function truncation(tool: ToolBody): { size: number; blob: string } {
  let size = 0;
  let blob = '';
  for (const entry of tool.content ?? []) {
    const text = entry as TextContent;
    if (!text.truncated) continue;
    size += text.size ?? 0;
    blob ||= text.blob ?? '';
  }
  return { size, blob };
}

/** The exit code of a command, where the agent tells it. */
export function exitCode(tool: ToolBody): number | null {
  const output = tool.raw_output;
  if (output && typeof output === 'object') {
    for (const key of ['exit_code', 'exitCode', 'exit', 'code', 'returncode']) {
      const value = (output as Record<string, unknown>)[key];
      if (typeof value === 'number') return value;
    }
  }
  return null;
}

/** The arguments of a call, for tools whose object does not say them already. */
export function argumentsOf(tool: ToolBody): string {
  const input = tool.raw_input;
  if (input === undefined || input === null) return '';
  if (typeof input === 'string') return input;
  if (typeof input === 'object' && Object.keys(input).length === 0) return '';
  if (tool.kind === 'execute') {
    const command = (input as Record<string, unknown>).command;
    if (typeof command === 'string') return command.includes('\n') ? command : '';
  }
  if (['read', 'edit', 'delete', 'search', 'fetch'].includes(tool.kind)) return '';
  return JSON.stringify(input, null, 2);
}
