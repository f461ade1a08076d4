// The files of a message that is being written. Each is stored at the host as soon as it is given, so that the message
// itself is small and can be kept; what is stored is remembered with the draft.

import { t } from '../i18n/index.svelte';
import { newId, noAnswer, Problem } from '../lib/api';
import { base } from '../lib/base';
import { drop, readJSON, write } from '../lib/storage';
import type { Attached } from '../lib/types';

/** What the host takes. */
export const FILE_MAX = 20 * 1024 * 1024;
export const TOGETHER_MAX = 40 * 1024 * 1024;
export const COUNT_MAX = 20;

export interface Upload {
  key: string;
  name: string;
  size: number;
  /** waiting: for a host that answers. */
  state: 'sending' | 'waiting' | 'done' | 'failed';
  /** From 0 to 1. */
  progress: number;
  reason: string;
  stored: Attached | null;
}

export class Uploads {
  entries = $state<Upload[]>([]);
  private readonly files = new Map<string, File>();
  private readonly requests = new Map<string, XMLHttpRequest>();
  private readonly key: string;

  constructor(
    session: string,
    private readonly unauthorized: () => void,
  ) {
    this.key = `draftfiles.${session}`;
    for (const stored of readJSON<Attached[]>(this.key, [])) {
      this.entries.push({ key: stored.id, name: stored.name, size: stored.size, state: 'done', progress: 1, reason: '', stored });
    }
  }

  /** Everything that was given is at the host. */
  get ready(): boolean {
    return this.entries.every((entry) => entry.state === 'done');
  }

  get stored(): Attached[] {
    return this.entries.flatMap((entry) => entry.stored ?? []);
  }

  add(files: Iterable<File>): void {
    for (const file of files) {
      const key = newId();
      const reason = this.refuses(file);
      this.entries.push({ key, name: file.name || t.composer.file, size: file.size, state: 'failed', progress: 0, reason, stored: null });
      if (reason) continue;
      this.files.set(key, file);
      this.begin(key);
    }
  }

  remove(key: string): void {
    this.requests.get(key)?.abort();
    this.requests.delete(key);
    this.files.delete(key);
    this.entries = this.entries.filter((entry) => entry.key !== key);
    this.keep();
  }

  /** Tries again what no host has answered. */
  resume(): void {
    for (const entry of this.entries) if (entry.state === 'waiting') this.begin(entry.key);
  }

  canRetry(entry: Upload): boolean {
    return entry.state === 'failed' && this.files.has(entry.key);
  }

  begin(key: string): void {
    const entry = this.find(key);
    const file = this.files.get(key);
    if (!entry || !file) return;
    Object.assign(entry, { state: 'sending', progress: 0, reason: '' });
    const form = new FormData();
    form.append('file', file, entry.name);
    // fetch does not tell how far an upload is.
    const request = new XMLHttpRequest();
    this.requests.set(key, request);
    request.upload.onprogress = (event) => {
      const now = this.find(key);
      if (now && event.lengthComputable) now.progress = event.loaded / event.total;
    };
    request.onload = () => this.answered(key, request);
    request.onerror = () => this.failed(key, noAnswer());
    request.open('POST', `${base}/api/v1/attachments`);
    request.setRequestHeader('Accept', 'application/json');
    request.send(form);
  }

  clear(): void {
    this.entries = [];
    this.files.clear();
    this.keep();
  }

  close(): void {
    for (const request of this.requests.values()) request.abort();
  }

  private refuses(file: File): string {
    const given = this.entries.filter((entry) => entry.state !== 'failed');
    if (file.size > FILE_MAX) return t.composer.fileTooLarge(FILE_MAX >> 20);
    if (given.length >= COUNT_MAX) return t.composer.tooManyFiles(COUNT_MAX);
    if (given.reduce((sum, entry) => sum + entry.size, file.size) > TOGETHER_MAX) return t.composer.filesTooLarge(TOGETHER_MAX >> 20);
    return '';
  }

  private find(key: string): Upload | undefined {
    return this.entries.find((entry) => entry.key === key);
  }

  private answered(key: string, request: XMLHttpRequest): void {
    let doc: Record<string, unknown> = {};
    try {
      doc = JSON.parse(request.responseText) as Record<string, unknown>;
    } catch {
      // A proxy's page; the status says enough.
    }
    const entry = this.find(key);
    this.requests.delete(key);
    if (!entry) return;
    if (request.status === 201 && typeof doc.id === 'string') {
      const stored = doc as unknown as Attached;
      Object.assign(entry, { state: 'done', progress: 1, stored, name: stored.name, size: stored.size });
      this.files.delete(key);
      this.keep();
      return;
    }
    const say = (field: string, otherwise: string) => (typeof doc[field] === 'string' ? (doc[field] as string) : otherwise);
    this.failed(key, new Problem(request.status, say('code', ''), say('title', t.problem.status(request.status)), say('detail', '')));
  }

  private failed(key: string, problem: Problem): void {
    const entry = this.find(key);
    this.requests.delete(key);
    if (!entry) return;
    if (problem.status === 401) this.unauthorized();
    Object.assign(entry, { state: problem.status === 0 ? 'waiting' : 'failed', reason: problem.status === 0 ? '' : problem.detail || problem.title });
  }

  private keep(): void {
    const stored = this.stored;
    if (stored.length > 0) write(this.key, JSON.stringify(stored));
    else drop(this.key);
  }
}
