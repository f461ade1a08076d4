// What is written and not sent, for each session and for the next one. A draft is kept in the browser at each change; what
// of its files is on its way goes on while another session is open.

import { drop, read, readJSON, write } from '../lib/storage';
import type { Attached } from '../lib/types';
import { Uploads, type KeptFile } from './uploads.svelte';

/** A message as it leaves the composer. */
export interface Written {
  text: string;
  files: Attached[];
  /** Its files, where some are still on their way. */
  uploads: Uploads | null;
}

/** The draft of a session that does not exist yet. */
export const NEW = 'new';

export class Draft {
  private words = $state('');
  private given = $state.raw(null as unknown as Uploads);

  constructor(
    private readonly key: string,
    private readonly unauthorized: () => void,
  ) {
    this.words = read(`draft.${key}`) ?? '';
    this.hold(new Uploads(readJSON<KeptFile[]>(`draftfiles.${key}`, []), unauthorized));
    void this.given.look();
  }

  get text(): string {
    return this.words;
  }

  set text(text: string) {
    this.words = text;
    if (text === '') drop(`draft.${this.key}`);
    else write(`draft.${this.key}`, text);
  }

  get uploads(): Uploads {
    return this.given;
  }

  get empty(): boolean {
    return this.words.trim() === '' && this.given.entries.length === 0;
  }

  /** It can be sent, at the latest when its files are at the host. */
  get sendable(): boolean {
    return !this.empty && !this.given.failed;
  }

  /** Takes what is written out of the composer. */
  take(): Written {
    const { words, given } = this;
    const written = { text: words.trim(), files: given.stored, uploads: given.ready ? null : given };
    this.hold(new Uploads([], this.unauthorized));
    this.keep();
    this.text = '';
    return written;
  }

  /** Has a message that was not sent back, before what has been written since. */
  giveBack(text: string, files: Uploads | KeptFile[]): void {
    const back = files instanceof Uploads ? files : new Uploads(files, this.unauthorized);
    const since = this.given;
    this.hold(back);
    if (since.entries.length > 0) back.join(since);
    this.keep();
    this.text = [text, this.words].filter((each) => each.trim() !== '').join('\n\n');
  }

  private hold(uploads: Uploads): void {
    this.given = uploads;
    uploads.onchange = () => this.keep();
  }

  private keep(): void {
    const kept = this.given.kept;
    if (kept.length > 0) write(`draftfiles.${this.key}`, JSON.stringify(kept));
    else drop(`draftfiles.${this.key}`);
  }
}

export class Drafts {
  private readonly all = new Map<string, Draft>();

  constructor(private readonly unauthorized: () => void) {}

  of(key: string): Draft {
    let draft = this.all.get(key);
    if (!draft) this.all.set(key, (draft = new Draft(key, this.unauthorized)));
    return draft;
  }

  /** Nobody looks at it any more: what the browser keeps of it is enough, once its files are at the host. */
  leave(key: string): void {
    if (this.all.get(key)?.uploads.ready) this.all.delete(key);
  }

  /** Files are on their way that a reload would lose. */
  get uploading(): boolean {
    return [...this.all.values()].some((draft) => draft.uploads.pending > 0);
  }

  /** Tries again what no host has answered. */
  resume(): void {
    for (const draft of this.all.values()) draft.uploads.resume();
  }
}
