// Sessions that come from a file: one file at a time, how far it is on its way, and why it did not come. It goes on
// while its dialog is closed.

import { t } from '../i18n/index.svelte';
import { documentOf, newId, noAnswer, problem, type Problem } from '../lib/api';
import { base } from '../lib/base';
import { importFile } from '../lib/transfer';
import type { App } from './app.svelte';

interface Answer {
  sessions?: { id: string }[];
}

export class Importing {
  /** Its dialog is open. */
  shown = $state(false);
  file = $state.raw<File | null>(null);
  /** How much of it the host has, of 1; then the host reads it. */
  sent = $state(0);
  /** Why it did not come. */
  problem = $state('');
  private request = $state.raw<XMLHttpRequest | null>(null);
  /** The client's id of the file: sent again, nothing of it comes twice. */
  private id = '';

  /** arrived is told of the sessions that came. */
  constructor(
    private readonly app: App,
    private readonly arrived: (ids: string[]) => Promise<void>,
  ) {}

  get busy(): boolean {
    return this.request !== null;
  }

  /** Has the person choose a file, or shows the one that is on its way. */
  choose(): void {
    if (this.busy) this.shown = true;
    else importFile((file) => this.begin(file));
  }

  begin(file: File): void {
    this.file = file;
    this.id = newId();
    this.send();
  }

  again(): void {
    this.send();
  }

  cancel(): void {
    const request = this.request;
    this.end();
    request?.abort();
  }

  hide(): void {
    this.shown = false;
    if (!this.busy) this.end();
  }

  private send(): void {
    const file = this.file;
    if (!file || this.busy) return;
    this.shown = true;
    this.sent = 0;
    this.problem = '';
    const request = new XMLHttpRequest();
    this.request = request;
    request.upload.onprogress = (event) => {
      if (event.lengthComputable && event.total > 0) this.sent = event.loaded / event.total;
    };
    request.upload.onload = () => (this.sent = 1);
    request.onload = () => void this.answered(request);
    request.onerror = () => this.failed(noAnswer());
    request.open('POST', `${base}/api/v1/import?client_id=${this.id}`);
    request.setRequestHeader('Accept', 'application/json');
    request.setRequestHeader('Content-Type', file.name.toLowerCase().endsWith('.zip') ? 'application/zip' : 'application/x-ndjson');
    request.send(file);
  }

  private async answered(request: XMLHttpRequest): Promise<void> {
    const { sessions } = documentOf(request.responseText) as Answer;
    if (request.status >= 300 || !sessions) {
      this.failed(problem(request.status, request.responseText));
      return;
    }
    const ids = sessions.map((each) => each.id);
    await this.arrived(ids);
    const seen = this.shown;
    this.end();
    this.app.toast(t.shelf.imported(ids.length), true);
    if (seen && ids.length === 1) this.app.go(`/s/${ids[0]!}`);
  }

  private failed(problem: Problem): void {
    this.request = null;
    if (problem.status === 401) {
      this.end();
      this.app.loggedOut();
      return;
    }
    this.problem = problem.status === 0 ? `${problem.title}. ${problem.detail}` : problem.detail || problem.title;
    this.shown = true;
  }

  private end(): void {
    this.request = this.file = null;
    this.problem = '';
    this.shown = false;
  }
}
