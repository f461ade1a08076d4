// The files of a message. Each is stored at the host as soon as it is given, so that the message itself is small and can
// be kept. They are a draft's first and then, with what is still on its way, those of a message in the outbox.

import { t } from '../i18n/index.svelte';
import { documentOf, newId, noAnswer, problem, type Problem } from '../lib/api';
import { base } from '../lib/base';
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
  /** In an earlier life of the page it was on its way, for which alone a browser gives a picked file; or the host let it go. */
  lost?: 'reload' | 'host';
  stored: Attached | null;
}

/** What a browser keeps of a file: where the host has it; or, without an id, that it was on its way there, or is gone. */
export type KeptFile = Attached | { name: string; size: number; id?: undefined; gone?: boolean };

const lost = (how: 'reload' | 'host') =>
  ({ state: 'failed', stored: null, lost: how, reason: how === 'host' ? t.composer.fileGone : t.composer.fileLost }) as const;

export class Uploads {
  entries = $state<Upload[]>([]);
  /** Told of each file that came, went, arrived or failed. */
  onchange = () => {};
  private readonly files = new Map<string, File>();
  private readonly requests = new Map<string, XMLHttpRequest>();

  constructor(
    kept: KeptFile[],
    private readonly unauthorized: () => void,
  ) {
    this.entries = kept.map((file): Upload =>
      file.id === undefined
        ? { key: newId(), name: file.name, size: file.size, progress: 0, ...lost(file.gone ? 'host' : 'reload') }
        : { key: file.id, name: file.name, size: file.size, state: 'done', progress: 1, reason: '', stored: file },
    );
  }

  /** Everything that was given is at the host. */
  get ready(): boolean {
    return this.entries.every((entry) => entry.state === 'done');
  }

  /** So many are on their way. */
  get pending(): number {
    return this.entries.filter((entry) => entry.state === 'sending' || entry.state === 'waiting').length;
  }

  /** A person has to decide about one. */
  get failed(): boolean {
    return this.entries.some((entry) => entry.state === 'failed');
  }

  get stored(): Attached[] {
    return this.entries.flatMap((entry) => entry.stored ?? []);
  }

  /** What a later life of the page can know of them. What was refused here was never to be sent. */
  get kept(): KeptFile[] {
    return this.entries.flatMap((entry): KeptFile[] => {
      if (entry.stored) return [entry.stored];
      const { name, size } = entry;
      return this.files.has(entry.key) || entry.lost ? [{ name, size, ...(entry.lost === 'host' && { gone: true }) }] : [];
    });
  }

  /** Asks whether the host still has what an earlier life of the page gave it: it keeps for a day what no message names. */
  async look(): Promise<void> {
    await Promise.all(
      this.stored.map(async ({ id }) => {
        const gone = await fetch(`${base}/api/v1/attachments/${encodeURIComponent(id)}`, { method: 'HEAD', credentials: 'same-origin', cache: 'no-store' }).then(
          (answer) => answer.status === 404,
          () => false,
        );
        const entry = this.entries.find((each) => each.stored?.id === id);
        if (!gone || !entry) return;
        Object.assign(entry, lost('host'));
        this.onchange();
      }),
    );
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
    this.onchange();
  }

  remove(key: string): void {
    this.requests.get(key)?.abort();
    this.requests.delete(key);
    this.files.delete(key);
    this.entries = this.entries.filter((entry) => entry.key !== key);
    this.onchange();
  }

  /** Takes over what another has; what is on its way begins anew. */
  join(other: Uploads): void {
    other.close();
    for (const entry of other.entries) {
      const file = other.files.get(entry.key);
      this.entries.push(entry);
      if (!file) continue;
      this.files.set(entry.key, file);
      this.begin(entry.key);
    }
    this.onchange();
  }

  /** Tries again what no host has answered. */
  resume(): void {
    for (const entry of this.entries) if (entry.state === 'waiting') this.begin(entry.key);
  }

  canRetry(entry: Upload): boolean {
    return entry.state === 'failed' && this.files.has(entry.key);
  }

  /** Uploads again what failed. */
  retry(key: string): void {
    this.begin(key);
    this.onchange();
  }

  private begin(key: string): void {
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
    request.onerror = () => this.fail(key, noAnswer());
    request.open('POST', `${base}/api/v1/attachments`);
    request.setRequestHeader('Accept', 'application/json');
    request.send(form);
  }

  /** Ends what is on its way. */
  close(): void {
    for (const request of this.requests.values()) request.abort();
    this.requests.clear();
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
    const doc = documentOf(request.responseText);
    const entry = this.find(key);
    this.requests.delete(key);
    if (!entry) return;
    if (request.status === 201 && typeof doc.id === 'string') {
      const stored = doc as unknown as Attached;
      Object.assign(entry, { state: 'done', progress: 1, stored, name: stored.name, size: stored.size });
      this.files.delete(key);
      this.onchange();
      return;
    }
    this.fail(key, problem(request.status, request.responseText));
  }

  private fail(key: string, problem: Problem): void {
    const entry = this.find(key);
    this.requests.delete(key);
    if (!entry) return;
    if (problem.status === 401) this.unauthorized();
    Object.assign(entry, { state: problem.status === 0 ? 'waiting' : 'failed', reason: problem.status === 0 ? '' : problem.detail || problem.title });
    this.onchange();
  }
}
