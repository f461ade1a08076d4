// Messages on their way to the host. Each is kept in this browser under its client id until the log has it, so a
// reload, a lost connection or a closed tab sends it again and the host takes it once.
//
// A message may wait for its files. Only the page that was given them can upload them: when it goes, the message is a
// draft again.

import { t } from '../i18n/index.svelte';
import { newId, post, Problem } from '../lib/api';
import { drop, entriesUnder, read, tabName, write } from '../lib/storage';
import type { Attached } from '../lib/types';
import type { Written } from './drafts.svelte';
import type { KeptFile, Uploads } from './uploads.svelte';

export interface Outgoing {
  client_id: string;
  session: string;
  text: string;
  files: Attached[];
  /** Its files, while some of them are on their way to the host. */
  uploads: Uploads | null;
  /** The run that it is to be said into; a run that takes it no more makes it a message like any other. */
  steer?: string;
  at: number;
  /** waiting: will be tried again by itself; failed: a person decides. */
  state: 'sending' | 'sent' | 'waiting' | 'failed';
  problem?: Problem;
  retryAt?: number;
  tries: number;
  /** It is in the browser's storage, which other tabs share. */
  kept: boolean;
}

/** What the browser keeps of a message. */
interface Stored {
  session: string;
  text: string;
  files?: Attached[];
  steer?: string;
  at: number;
  /** All of its files, where some are on their way; the tab that has them, and when it was last there. */
  coming?: KeptFile[];
  tab?: string;
  beat?: number;
}

const PREFIX = 'out.';
/** A page whose message waits for files says so often that it is there, and is gone after so long without, in milliseconds. */
const BEAT = 20_000;
const GONE = 120_000;
/** Why a run takes nothing, or no more. */
const TOO_LATE = new Set(['run_not_current', 'cannot_steer']);

export class Outbox {
  entries = $state<Outgoing[]>([]);
  private timer: ReturnType<typeof setTimeout> | undefined;
  private beat: ReturnType<typeof setInterval> | undefined;
  private busy = new Set<string>();
  private readonly tab = tabName(newId);

  constructor(
    private readonly unauthorized: () => void,
    /** Makes a draft of a message again. */
    private readonly giveBack: (session: string, text: string, files: Uploads | KeptFile[]) => void,
  ) {
    for (const [key, value] of entriesUnder(PREFIX)) {
      const stored = parsed(value);
      if (!stored) drop(PREFIX + key);
      else if (stored.coming) this.inherit(key);
      else {
        const { session, text, files = [], steer, at } = stored;
        this.entries.push({ session, text, files, steer, at, uploads: null, client_id: key, state: 'waiting', tries: 0, retryAt: 0, kept: true });
      }
    }
    this.entries.sort((a, b) => a.at - b.at);
  }

  of(session: string): Outgoing[] {
    return this.entries.filter((entry) => entry.session === session);
  }

  /** A message waits for files that are on their way. */
  get uploading(): boolean {
    return this.entries.some((entry) => entry.uploads !== null);
  }

  /** steer: the run under way that it is to be said into. */
  send(session: string, { text, files = [], uploads = null }: Pick<Written, 'text'> & Partial<Written>, steer?: string): void {
    const entry: Outgoing = { client_id: newId(), session, text, files, uploads, steer, at: Date.now(), state: 'waiting', tries: 0, retryAt: 0, kept: false };
    this.store(entry);
    entry.kept = read(PREFIX + entry.client_id) !== null;
    this.entries.push(entry);
    if (uploads) {
      uploads.onchange = () => this.arriving(entry.client_id);
      this.beat ??= setInterval(() => this.beats(), BEAT);
    }
    this.kick();
  }

  /** Makes a message that waits for its files a draft again, with them. */
  takeBack(clientId: string): void {
    const entry = this.find(clientId);
    if (!entry?.uploads) return;
    this.forget(clientId);
    this.giveBack(entry.session, entry.text, entry.uploads);
    this.kick();
  }

  /**
   * The page goes: what waits for files is a draft again, which says what of it is lost. What waited behind it goes on its
   * way, as it would from the next page: its client id makes the two of them one message, whichever is heard.
   */
  leave(): void {
    for (const entry of this.entries) this.takeBack(entry.client_id);
  }

  retry(clientId: string): void {
    const entry = this.find(clientId);
    if (!entry) return;
    entry.state = 'waiting';
    entry.retryAt = 0;
    this.kick();
  }

  discard(clientId: string): void {
    this.find(clientId)?.uploads?.close();
    this.forget(clientId);
  }

  /** The log has these messages. */
  arrived(clientIds: Iterable<string>): void {
    if (this.entries.length === 0) return;
    const gone = new Set(clientIds);
    for (const entry of this.entries) if (gone.has(entry.client_id)) this.discard(entry.client_id);
  }

  /** Try what waits; now, if the connection has just come back. */
  kick(now = false): void {
    clearTimeout(this.timer);
    if (now) for (const entry of this.entries) entry.uploads?.resume();
    let next = Infinity;
    const seen = new Set<string>();
    for (const entry of this.entries) {
      if (entry.state === 'sent') continue;
      // In a session the order of messages is the order in which they were written. What is for the run waits for none.
      if (!entry.steer) {
        if (seen.has(entry.session)) continue;
        seen.add(entry.session);
      }
      if (entry.uploads) continue;
      if (entry.state !== 'waiting' || this.busy.has(entry.session)) continue;
      if (now || (entry.retryAt ?? 0) <= Date.now()) void this.attempt(entry.client_id);
      else next = Math.min(next, entry.retryAt!);
    }
    if (next < Infinity) this.timer = setTimeout(() => this.kick(), next - Date.now());
  }

  private find(clientId: string): Outgoing | undefined {
    return this.entries.find((entry) => entry.client_id === clientId);
  }

  private forget(clientId: string): void {
    drop(PREFIX + clientId);
    this.entries = this.entries.filter((entry) => entry.client_id !== clientId);
  }

  private store({ client_id, session, text, files, uploads, steer, at }: Outgoing): void {
    const stored: Stored = uploads ? { session, text, at, coming: uploads.kept, tab: this.tab, beat: Date.now() } : { session, text, files, steer, at };
    write(PREFIX + client_id, JSON.stringify(stored));
  }

  /** Something became of a file: with the last one the message can go. */
  private arriving(clientId: string): void {
    const entry = this.find(clientId);
    if (!entry?.uploads) return;
    if (this.elsewhere(entry)) return;
    if (entry.text === '' && entry.uploads.entries.length === 0) return this.discard(clientId);
    if (entry.uploads.ready) {
      entry.files = entry.uploads.stored;
      entry.uploads = null;
    }
    this.store(entry);
    this.kick();
  }

  /** Another tab has sent it, or a person took it back there. */
  private elsewhere(entry: Outgoing): boolean {
    if (!entry.kept || read(PREFIX + entry.client_id) !== null) return false;
    this.discard(entry.client_id);
    return true;
  }

  private beats(): void {
    for (const entry of this.entries) if (entry.uploads && !this.elsewhere(entry)) this.store(entry);
    if (this.uploading) return;
    clearInterval(this.beat);
    this.beat = undefined;
  }

  /** A message that waits for files is its page's, unless that was cut off: then it is a draft. */
  private inherit(clientId: string): void {
    const stored = parsed(read(PREFIX + clientId) ?? '');
    if (!stored?.coming) return;
    // What an earlier life of this tab had is nobody's now.
    const left = this.tab && stored.tab === this.tab ? 0 : (stored.beat ?? 0) + GONE - Date.now();
    if (left > 0) {
      setTimeout(() => this.inherit(clientId), left);
      return;
    }
    drop(PREFIX + clientId);
    this.giveBack(stored.session, stored.text, stored.coming);
  }

  private async attempt(clientId: string): Promise<void> {
    const entry = this.find(clientId);
    if (!entry) return;
    if (this.elsewhere(entry)) {
      this.kick();
      return;
    }
    const { session, text, steer } = entry;
    const attachments = entry.files.map((file) => file.id);
    this.busy.add(session);
    entry.state = 'sending';
    try {
      const path = `/api/v1/sessions/${encodeURIComponent(session)}`;
      if (steer) await post(`${path}/steer`, { client_id: clientId, text, run: steer });
      else await post(`${path}/messages`, { client_id: clientId, text, ...(attachments.length > 0 && { attachments }) });
      drop(PREFIX + clientId);
      const sent = this.find(clientId);
      if (sent) sent.state = 'sent';
    } catch (error) {
      const failed = this.find(clientId);
      if (failed) {
        const problem = error instanceof Problem ? error : new Problem(0, 'unknown', t.problem.messageNotSent, '');
        failed.problem = problem;
        failed.tries++;
        if (steer && TOO_LATE.has(problem.code)) {
          // The host has stored nothing of it, so that it may come under the same id.
          failed.steer = undefined;
          failed.state = 'waiting';
          failed.retryAt = 0;
          failed.problem = undefined;
          this.store(failed);
        } else if (problem.status === 401) {
          failed.state = 'waiting';
          failed.retryAt = Date.now() + 3_600_000;
          this.unauthorized();
        } else if (problem.passing) {
          failed.state = 'waiting';
          const wait = Math.min(30_000, 2_000 * 2 ** Math.min(failed.tries - 1, 4)) * (0.75 + Math.random() / 2);
          failed.retryAt = Date.now() + Math.max(wait, problem.retryAfter * 1000);
        } else {
          failed.state = 'failed';
          // A session that is gone takes its message with it: another start must not try again.
          if (problem.status === 404) drop(PREFIX + clientId);
        }
      }
    } finally {
      this.busy.delete(session);
      this.kick();
    }
  }
}

function parsed(value: string): Stored | null {
  try {
    return JSON.parse(value) as Stored;
  } catch {
    return null;
  }
}
