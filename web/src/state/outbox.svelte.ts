// Messages on their way to the host. Each is kept in this browser under its client id until the log has it, so a
// reload, a lost connection or a closed tab sends it again and the host takes it once.

import { t } from '../i18n/index.svelte';
import { newId, post, Problem } from '../lib/api';
import { drop, entriesUnder, read, write } from '../lib/storage';
import type { Attached } from '../lib/types';

export interface Outgoing {
  client_id: string;
  session: string;
  text: string;
  files: Attached[];
  at: number;
  /** waiting: will be tried again by itself; failed: a person decides. */
  state: 'sending' | 'sent' | 'waiting' | 'failed';
  problem?: Problem;
  retryAt?: number;
  tries: number;
  /** It is in the browser's storage, which other tabs share. */
  kept: boolean;
}

const PREFIX = 'out.';

export class Outbox {
  entries = $state<Outgoing[]>([]);
  private timer: ReturnType<typeof setTimeout> | undefined;
  private busy = new Set<string>();

  constructor(private readonly unauthorized: () => void) {
    for (const [key, value] of entriesUnder(PREFIX)) {
      try {
        const stored = JSON.parse(value) as Pick<Outgoing, 'session' | 'text' | 'at'> & { files?: Attached[] };
        this.entries.push({ ...stored, files: stored.files ?? [], client_id: key, state: 'waiting', tries: 0, retryAt: 0, kept: true });
      } catch {
        drop(PREFIX + key);
      }
    }
    this.entries.sort((a, b) => a.at - b.at);
  }

  of(session: string): Outgoing[] {
    return this.entries.filter((entry) => entry.session === session);
  }

  send(session: string, text: string, files: Attached[] = []): void {
    const entry: Outgoing = { client_id: newId(), session, text, files, at: Date.now(), state: 'waiting', tries: 0, retryAt: 0, kept: false };
    const key = PREFIX + entry.client_id;
    write(key, JSON.stringify({ session, text, files, at: entry.at }));
    entry.kept = read(key) !== null;
    this.entries.push(entry);
    this.kick();
  }

  retry(clientId: string): void {
    const entry = this.find(clientId);
    if (!entry) return;
    entry.state = 'waiting';
    entry.retryAt = 0;
    this.kick();
  }

  discard(clientId: string): void {
    drop(PREFIX + clientId);
    this.entries = this.entries.filter((entry) => entry.client_id !== clientId);
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
    let next = Infinity;
    const seen = new Set<string>();
    for (const entry of this.entries) {
      if (entry.state === 'sent') continue;
      // In a session the order of messages is the order in which they were written.
      if (seen.has(entry.session)) continue;
      seen.add(entry.session);
      if (entry.state !== 'waiting' || this.busy.has(entry.session)) continue;
      if (now || (entry.retryAt ?? 0) <= Date.now()) void this.attempt(entry.client_id);
      else next = Math.min(next, entry.retryAt!);
    }
    if (next < Infinity) this.timer = setTimeout(() => this.kick(), next - Date.now());
  }

  private find(clientId: string): Outgoing | undefined {
    return this.entries.find((entry) => entry.client_id === clientId);
  }

  private async attempt(clientId: string): Promise<void> {
    const entry = this.find(clientId);
    if (!entry) return;
    // Another tab has sent it, or a person took it back there.
    if (entry.kept && read(PREFIX + clientId) === null) {
      this.discard(clientId);
      this.kick();
      return;
    }
    const { session, text } = entry;
    const attachments = entry.files.map((file) => file.id);
    this.busy.add(session);
    entry.state = 'sending';
    try {
      await post(`/api/v1/sessions/${encodeURIComponent(session)}/messages`, { client_id: clientId, text, ...(attachments.length > 0 && { attachments }) });
      drop(PREFIX + clientId);
      const sent = this.find(clientId);
      if (sent) sent.state = 'sent';
    } catch (error) {
      const failed = this.find(clientId);
      if (failed) {
        const problem = error instanceof Problem ? error : new Problem(0, 'unknown', t.problem.messageNotSent, '');
        failed.problem = problem;
        failed.tries++;
        if (problem.status === 401) {
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
