// The list above the composer: the commands after a slash, the files after an @.

import { best } from '../lib/fuzzy';
import type { IconName } from '../lib/icons';
import type { AgentCommand } from '../lib/pickers';
import type { FoundFile } from '../lib/types';
import { mention, triggerAt, type Trigger } from '../lib/trigger';

export interface Suggestion {
  key: string;
  icon: IconName;
  name: string;
  about: string;
  /** Takes the place of what was typed. */
  text: string;
  /** Holdfast's own: done instead of being sent. */
  run?: () => void;
  /** Nothing has to follow it. */
  whole: boolean;
}

export interface OwnCommand {
  name: string;
  about: string;
  run: () => void;
}

/** So long it waits for the next letter before it asks for files, in milliseconds. */
const PAUSE = 80;
const FILES = 50;

export class Suggest {
  trigger = $state.raw<Trigger | null>(null);
  active = $state(0);
  private found = $state.raw<{ query: string; rows: Suggestion[] }>({ query: '', rows: [] });
  private timer: ReturnType<typeof setTimeout> | undefined;
  private asking: AbortController | null = null;
  /** Where a list was sent away: it stays away until another one begins. */
  private dismissed = -1;

  constructor(
    private readonly commands: () => { agent: AgentCommand[]; own: OwnCommand[] },
    private readonly files: (query: string, limit: number, signal: AbortSignal) => Promise<FoundFile[]>,
  ) {}

  rows = $derived.by<Suggestion[]>(() => {
    if (!this.trigger) return [];
    const { kind, query } = this.trigger;
    if (kind === 'command') return this.commandRows(query);
    // Until the answer to these letters is there, what fits them of the one before.
    return query === this.found.query ? this.found.rows : best(this.found.rows, query, (row) => row.key);
  });

  /** Looks at the text and the caret again. */
  look(text: string, caret: number): void {
    const next = triggerAt(text, caret);
    if (!next) this.dismissed = -1;
    if (!next || next.from === this.dismissed) return this.hide();
    const before = this.trigger;
    if (before && before.kind === next.kind && before.query === next.query && before.from === next.from) return;
    if (before?.kind !== next.kind) this.found = { query: '', rows: [] };
    this.trigger = next;
    this.active = 0;
    if (next.kind === 'file') this.ask(next.query);
  }

  step(by: number): void {
    const n = this.rows.length;
    if (n > 0) this.active = (this.active + by + n) % n;
  }

  dismiss(): void {
    this.dismissed = this.trigger?.from ?? -1;
    this.hide();
  }

  hide(): void {
    clearTimeout(this.timer);
    this.asking?.abort();
    this.trigger = null;
  }

  private commandRows(query: string): Suggestion[] {
    const { agent, own } = this.commands();
    const names = new Set(agent.map((each) => each.name));
    const rows: Suggestion[] = [
      ...agent.map((each) => ({
        key: `agent.${each.name}`,
        icon: 'right' as const,
        name: `/${each.name}`,
        about: [each.hint, each.description].filter(Boolean).join(' · '),
        text: `/${each.name} `,
        whole: !each.hint,
      })),
      // What the agent calls by the same name is the agent's.
      ...own
        .filter((each) => !names.has(each.name))
        .map((each) => ({ key: `own.${each.name}`, icon: 'sliders' as const, name: `/${each.name}`, about: each.about, text: '', run: each.run, whole: true })),
    ];
    return best(rows, query, (row) => row.name.slice(1));
  }

  private ask(query: string): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(async () => {
      this.asking?.abort();
      const asking = (this.asking = new AbortController());
      try {
        const files = await this.files(query, FILES, asking.signal);
        if (asking.signal.aborted) return;
        const rows: Suggestion[] = files.map(({ path, dir = false }) => ({
          key: path,
          icon: dir ? 'folder' : 'read',
          name: path.replace(/\/$/, '').replace(/^.*\//, '') + (dir ? '/' : ''),
          about: path.replace(/\/$/, '').replace(/[^/]*$/, ''),
          text: mention(path, dir),
          whole: false,
        }));
        this.found = { query, rows };
        this.active = 0;
      } catch {
        // Without an answer there is no list; the text is the message as it stands.
        if (!asking.signal.aborted) this.found = { query, rows: [] };
      }
    }, PAUSE);
  }
}
