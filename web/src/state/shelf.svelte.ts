// The list of sessions as a person orders it: what it shows, its pages, what is selected, and what is done to one
// session or to many. The rows themselves are the app's, which the log keeps up to date.

import { SvelteSet } from 'svelte/reactivity';
import { t } from '../i18n/index.svelte';
import { changeSeen, explain, get, newId, post, Problem, request } from '../lib/api';
import { filterKey, filterQuery, fits, groupRows, holdPlaces, rangeOf, startOfDay, type Filter, type Group } from '../lib/groups';
import type { IconName } from '../lib/icons';
import { applies, changedFields, withProject, type ProjectFields } from '../lib/projects';
import { exportSessions, type Format } from '../lib/transfer';
import type { LogEvent, Project, SessionRow, TagCount } from '../lib/types';
import type { App } from './app.svelte';
import { Importing } from './importing.svelte';

const FIRST_PAGE = 100;
const PAGE = 500;
/** As many as the host takes in one request. */
const BULK = 500;

interface ListPage {
  sessions: SessionRow[];
  next?: string | number | null;
}

interface BulkResult {
  id: string;
  ok: boolean;
  code?: string;
  detail?: string;
}

/** How far a list has been read: rows above floor are all here. */
interface Read {
  next: string;
  floor: number;
}

/** An entry of a session's menu. */
export interface Act {
  icon: IconName;
  text: string;
  run: () => unknown;
}

/** The menu of a session: where it was opened, and what that place adds. */
export interface OpenMenu {
  row: SessionRow;
  from: HTMLElement;
  where: 'list' | 'table' | 'head';
  acts?: Act[];
}

export type Action = 'archive' | 'unarchive' | 'pin' | 'unpin' | 'tag' | 'untag' | 'project' | 'delete' | 'restore';
const BACK: Partial<Record<Action, Action>> = { archive: 'unarchive', unarchive: 'archive', pin: 'unpin', unpin: 'pin', tag: 'untag', untag: 'tag', delete: 'restore' };

export class Shelf {
  filter = $state.raw<Filter>({ kind: 'all' });
  projects = $state.raw<Project[]>([]);
  tags = $state.raw<TagCount[]>([]);
  /** What was deleted; the stream does not tell of it. */
  private trash = $state.raw<SessionRow[]>([]);
  private reads = $state.raw<Record<string, Read>>({});
  problem = $state('');
  /** Deleted here; the host is on its way. */
  private readonly gone = new SvelteSet<string>();
  private reading = '';
  /** The groups as they were when the pointer came. */
  private held = $state.raw<Group[] | null>(null);
  private pointer = false;

  selecting = $state(false);
  private readonly picked = new SvelteSet<string>();
  /** What is selected of what the list shows: what has left it, here or elsewhere, is not acted on unseen. */
  readonly selected = $derived.by(() => {
    // The rows are looked through while something is selected only.
    if (this.picked.size === 0) return new Set<string>();
    return new Set(this.rows.filter((row) => this.picked.has(row.id)).map((row) => row.id));
  });
  private last = '';
  private namesTimer: ReturnType<typeof setTimeout> | undefined;

  /** The session that is being renamed, in the list or in the head of its page. */
  renaming = $state.raw<{ id: string; head: boolean } | null>(null);
  /** The session whose menu is open, and the button that opened it. */
  menu = $state.raw<OpenMenu | null>(null);
  /** The sessions whose tags or project are chosen. */
  choosing = $state.raw<{ what: 'tags' | 'project'; ids: string[] } | null>(null);

  readonly importing: Importing;

  constructor(private readonly app: App) {
    this.importing = new Importing(app, (ids) => this.fetchLatest(ids));
  }

  private readonly day = $derived.by(() => startOfDay(this.app.now));

  /** The rows of the list, as far as it has been read. */
  readonly rows = $derived.by(() => {
    const filter = this.filter;
    if (filter.kind === 'trash') return this.trash;
    const floor = this.reads[filterKey(filter)]?.floor ?? Infinity;
    return this.app.rows.filter((row) => (row.pinned || row.activity >= floor) && fits(row, filter) && !this.gone.has(row.id));
  });

  readonly groups = $derived.by(() => (this.held ? holdPlaces(this.held, this.rows, this.day) : groupRows(this.rows, this.day)));

  /** The first page of what is shown is here. */
  readonly loaded = $derived.by(() => filterKey(this.filter) in this.reads);
  readonly more = $derived.by(() => Boolean(this.reads[filterKey(this.filter)]?.next));

  readonly filterName = $derived.by(() => {
    const filter = this.filter;
    switch (filter.kind) {
      case 'archived':
        return t.list.archived;
      case 'trash':
        return t.list.trash;
      case 'project':
        return this.projectName(filter.id);
      case 'tag':
        return filter.tag;
      default:
        return '';
    }
  });

  projectName(id: string): string {
    return this.projects.find((project) => project.id === id)?.name ?? '';
  }

  // Reading

  /** The app has read the first page of the whole list anew. */
  began(page: ListPage): void {
    this.reads = { all: readOf(page, FIRST_PAGE) };
    this.problem = '';
    if (this.filter.kind !== 'all') void this.readMore();
    void this.loadNames();
  }

  forget(): void {
    clearTimeout(this.namesTimer);
    this.reads = {};
    this.trash = [];
    this.held = null;
    this.filter = { kind: 'all' };
    this.projects = [];
    this.tags = [];
    this.endSelecting();
  }

  show(filter: Filter): void {
    this.filter = filter;
    this.thaw();
    this.endSelecting();
    // The stream does not tell what comes into the trash.
    if (filter.kind === 'trash') {
      const { trash, ...rest } = this.reads;
      this.reads = rest;
    }
    if (!this.loaded) void this.readMore();
  }

  /** Reads the next page of what is shown. */
  async readMore(): Promise<void> {
    const filter = this.filter;
    const key = filterKey(filter);
    const before = this.reads[key];
    if (this.reading === key || before?.next === '') return;
    this.reading = key;
    const limit = before ? PAGE : FIRST_PAGE;
    try {
      const page = await get<ListPage>(`/api/v1/sessions?limit=${limit}${filterQuery(filter)}${before ? `&page=${encodeURIComponent(before.next)}` : ''}`);
      // What was read anew meanwhile begins again.
      if (this.reads[key] !== before) return;
      if (filter.kind === 'trash') this.trash = before ? [...this.trash, ...page.sessions] : page.sessions;
      else this.app.know(page.sessions);
      this.reads = { ...this.reads, [key]: readOf(page, limit) };
      this.problem = '';
    } catch (error) {
      if (error instanceof Problem && error.status === 401) this.app.loggedOut();
      else this.problem = explain(before ? t.said.olderFailed : t.said.listFailed, error);
    } finally {
      if (this.reading === key) this.reading = '';
    }
  }

  /** The projects and tags that there are. */
  async loadNames(): Promise<void> {
    try {
      const [projects, tags] = await Promise.all([
        get<{ projects: Project[] }>('/api/v1/projects'),
        get<{ tags: TagCount[] }>('/api/v1/tags'),
      ]);
      this.projects = projects.projects;
      this.tags = tags.tags;
    } catch (error) {
      this.app.failed(t.said.namesFailed, error);
    }
  }

  /** A session has other tags than it had: which there are, and how often, is read again soon. */
  tagsChanged(): void {
    clearTimeout(this.namesTimer);
    this.namesTimer = setTimeout(() => void this.loadNames(), 500);
  }

  /** What the log says of a project, here or elsewhere changed. */
  projectEvent(event: LogEvent): void {
    const { id } = event.body as Project;
    const gone = event.kind === 'project.deleted';
    this.projects = withProject(this.projects, gone ? null : (event.body as Project), id);
    if (gone && this.filter.kind === 'project' && this.filter.id === id) this.show({ kind: 'all' });
  }

  // The pointer

  /** While the pointer is in the list, or a name is written in it, no row moves. */
  hold(pointer: boolean): void {
    this.pointer = pointer;
    const hold = pointer || this.renaming?.head === false;
    if (hold !== (this.held !== null)) this.held = hold ? groupRows(this.rows, this.day) : null;
  }

  /** What the person does himself is seen at once. */
  thaw(): void {
    if (this.held) this.held = groupRows(this.rows, this.day);
  }

  beginRename(id: string, head: boolean): void {
    this.renaming = { id, head };
    this.hold(this.pointer);
  }

  endRename(): void {
    this.renaming = null;
    this.hold(this.pointer);
  }

  // Selecting

  startSelecting(id = ''): void {
    this.selecting = true;
    if (id) this.toggle(id);
  }

  endSelecting(): void {
    this.selecting = false;
    this.picked.clear();
    this.last = '';
  }

  pick(id: string): void {
    this.picked.add(id);
  }

  toggle(id: string, range = false): void {
    if (range && this.last) for (const each of rangeOf(this.groups, this.last, id)) this.picked.add(each);
    else if (!this.picked.delete(id)) this.picked.add(id);
    this.last = id;
  }

  selectAll(): void {
    for (const row of this.rows) this.picked.add(row.id);
  }

  // Doing

  async rename(row: SessionRow, title: string): Promise<boolean> {
    const path = `/api/v1/sessions/${encodeURIComponent(row.id)}`;
    try {
      // Something else of it may have been changed: its name still is.
      const named = await changeSeen(path, { title }, row, () => this.app.fetchRow(row.id), (now) => now.title === row.title);
      this.app.know([named]);
      return true;
    } catch (error) {
      this.app.failed(t.said.renameFailed, error);
      return false;
    }
  }

  /**
   * Does one thing to some sessions, and offers to undo it. None of these depends on what was seen, so nobody's change
   * is undone by it.
   */
  async act(ids: string[], action: Action, more: { tag?: string; project?: string } = {}): Promise<void> {
    const before = new Map(ids.flatMap((id) => [[id, this.rowOf(id)] as const]));
    const changes = ids.filter((id) => changesIt(before.get(id), action, more));
    if (changes.length === 0) return;
    const open = this.app.session?.id ?? '';
    this.preview(changes, action, more);
    if (action === 'delete' && changes.includes(open)) this.app.go('/', true);
    const sent = this.send(changes, action, more, before);
    let undone = false;
    const undo = async () => {
      undone = true;
      const done = await sent;
      if (action === 'project') {
        const projects = new Map<string, string[]>();
        for (const id of done) {
          // Who has moved it on since has the last word.
          if ((this.rowOf(id)?.project ?? '') !== (more.project ?? '')) continue;
          const project = before.get(id)?.project ?? '';
          projects.set(project, [...(projects.get(project) ?? []), id]);
        }
        for (const [project, some] of projects) {
          this.preview(some, 'project', { project });
          await this.send(some, 'project', { project });
        }
      } else {
        this.preview(done, BACK[action]!, more);
        await this.send(done, BACK[action]!, more);
        if (action === 'delete' && done.includes(open)) this.app.go(`/s/${open}`);
      }
      void this.loadNames();
    };
    const name = changes.length === 1 ? before.get(changes[0]!)?.title || t.common.newSession : '';
    const toast = this.app.toast(said(action, changes.length, name, more.tag ?? this.projectName(more.project ?? '')), true, { label: t.shelf.undo, run: () => void undo() });
    const done = await sent;
    // What did not happen cannot be undone.
    if (done.length === 0 && !undone) this.app.dismiss(toast);
    if (action === 'tag' || action === 'untag') void this.loadNames();
  }

  private rowOf(id: string): SessionRow | undefined {
    return this.app.rowOf(id) ?? this.trash.find((row) => row.id === id);
  }

  /** Shows it before the host has said so. */
  private preview(ids: string[], action: Action, more: { tag?: string; project?: string }): void {
    if (action === 'delete') for (const id of ids) this.gone.add(id);
    else if (action === 'restore') {
      for (const id of ids) this.gone.delete(id);
      this.trash = this.trash.filter((row) => !ids.includes(row.id));
    } else {
      this.app.know(ids.flatMap((id) => {
        const row = this.app.rowOf(id);
        return row ? [changed(row, action, more)] : [];
      }));
    }
    this.thaw();
  }

  /** Asks the host for it, and gives those to which it was done. */
  private async send(ids: string[], action: Action, more: { tag?: string; project?: string }, before?: Map<string, SessionRow | undefined>): Promise<string[]> {
    const done: string[] = [];
    let failed: unknown = null;
    for (let at = 0; at < ids.length; at += BULK) {
      const some = ids.slice(at, at + BULK);
      try {
        const { results } = await post<{ results: BulkResult[] }>('/api/v1/sessions/bulk', { ids: some, action, ...more });
        for (const result of results) {
          if (result.ok) done.push(result.id);
          // What is no more needs no deleting.
          else if (action === 'delete' && result.code === 'not_found') this.lost(result.id);
          else failed ??= refusal(result);
        }
      } catch (error) {
        failed = error;
        break;
      }
    }
    if (failed) {
      const left = ids.filter((id) => !done.includes(id));
      if (action === 'delete') for (const id of left) this.gone.delete(id);
      else {
        this.app.know(left.flatMap((id) => before?.get(id) ?? []));
        for (const id of left.slice(0, 20)) void this.app.fetchRow(id);
      }
      this.app.failed(t.shelf.failed(ids.length - done.length, ids.length), failed);
    } else if (action === 'restore') await this.takeBack(done, before);
    else if (action === 'delete') this.app.forgetRows(done);
    if (action === 'delete' || action === 'restore') for (const id of done) this.gone.delete(id);
    return done;
  }

  private lost(id: string): void {
    this.app.forgetRows([id]);
    this.gone.delete(id);
  }

  /** Restored sessions are where they were in the list. Of many the log tells soon what they are now. */
  private async takeBack(ids: string[], before?: Map<string, SessionRow | undefined>): Promise<void> {
    this.app.know(ids.flatMap((id) => {
      const row = before?.get(id);
      return row ? [{ ...row, deleted_at: undefined }] : [];
    }));
    if (ids.length <= 20) await Promise.all(ids.map((id) => this.app.fetchRow(id)));
    this.thaw();
  }

  /** Imported sessions are the latest of the list, whatever it was read down to. */
  private async fetchLatest(ids: string[]): Promise<void> {
    if (ids.length <= 20) await Promise.all(ids.map((id) => this.app.fetchRow(id)));
    else {
      const page = await get<ListPage>(`/api/v1/sessions?limit=${PAGE}`).catch(() => null);
      if (page) this.app.know(page.sessions);
    }
    for (const id of ids) this.gone.delete(id);
    this.thaw();
  }

  /** Whether this page itself deletes the session. */
  deletes(id: string): boolean {
    return this.gone.has(id);
  }

  /** Deletes sessions; one with a run under way is asked about first, since that cannot be had back. */
  remove(ids: string[]): void {
    if (ids.some((id) => this.app.rowOf(id)?.run)) this.app.ask('delete', ids);
    else void this.act(ids, 'delete');
  }

  async removeForever(row: SessionRow): Promise<void> {
    try {
      await request('DELETE', `/api/v1/sessions/${encodeURIComponent(row.id)}?forever=true`);
      this.trash = this.trash.filter((other) => other.id !== row.id);
    } catch (error) {
      this.app.failed(t.said.deleteFailed, error);
    }
  }

  async duplicate(row: SessionRow): Promise<void> {
    try {
      const made = await post<SessionRow>(`/api/v1/sessions/${encodeURIComponent(row.id)}/fork`, { title: t.shelf.copyOf(row.title || t.common.newSession).slice(0, 300), client_id: newId() });
      this.app.know([made]);
      this.thaw();
      this.app.go(`/s/${made.id}`);
    } catch (error) {
      this.app.failed(t.shelf.duplicateFailed, error);
    }
  }

  export(ids: readonly string[], format: Format): void {
    exportSessions(ids, format, () => this.app.toast(t.transfer.exportFailed));
  }

  // Projects and tags

  /** Makes a project, or changes what is different from old, which the person saw; the reason why not is thrown. */
  async saveProject(fields: ProjectFields, old?: Project): Promise<Project> {
    const saved = old ? await this.changeProject(changedFields(old, fields), old) : await post<Project>('/api/v1/projects', fields);
    await this.loadNames();
    return saved;
  }

  private async changeProject(change: Partial<ProjectFields>, old: Project): Promise<Project> {
    // Something else of it may have been changed: that stays, and this is done as well.
    const again = async () => (await get<{ projects: Project[] }>('/api/v1/projects')).projects.find((each) => each.id === old.id);
    return changeSeen(`/api/v1/projects/${encodeURIComponent(old.id)}`, change, old, again, (now) => applies(change, old, now));
  }

  async removeProject(project: Project): Promise<void> {
    try {
      await request('DELETE', `/api/v1/projects/${encodeURIComponent(project.id)}`);
      if (this.filter.kind === 'project' && this.filter.id === project.id) this.show({ kind: 'all' });
    } catch (error) {
      this.app.failed(t.project.removeFailed, error);
    }
    await this.loadNames();
  }

  /** Gives sessions another tag instead of one, or none; one that cannot have the other keeps what it has. */
  private async swapTag(ids: string[], tag: string, by: string): Promise<Problem | null> {
    let failed: Problem | null = null;
    for (let at = 0; at < ids.length; at += BULK) {
      let some = ids.slice(at, at + BULK);
      if (by) {
        const { results } = await post<{ results: BulkResult[] }>('/api/v1/sessions/bulk', { ids: some, action: 'tag', tag: by });
        const refused = results.find((each) => !each.ok);
        if (refused) failed ??= refusal(refused);
        some = results.filter((each) => each.ok).map((each) => each.id);
      }
      if (some.length > 0) await post('/api/v1/sessions/bulk', { ids: some, action: 'untag', tag });
    }
    return failed;
  }

  /** Gives all sessions with a tag another one instead, or none. */
  async replaceTag(tag: string, by: string): Promise<void> {
    let failed: Problem | null = null;
    try {
      for (const part of ['', '&archived=true']) {
        for (let page = ''; ; ) {
          const list = await get<ListPage>(`/api/v1/sessions?limit=${BULK}&tag=${encodeURIComponent(tag)}${part}${page}`);
          const ids = list.sessions.map((row) => row.id);
          const left = await this.swapTag(ids, tag, by);
          if (left) failed ??= left;
          if (!list.next) break;
          page = `&page=${encodeURIComponent(list.next)}`;
        }
      }
      if (failed) this.app.failed(t.project.tagFailed, failed);
      else if (this.filter.kind === 'tag' && this.filter.tag === tag) this.show(by ? { kind: 'tag', tag: by } : { kind: 'all' });
    } catch (error) {
      this.app.failed(t.project.tagFailed, error);
    }
    await this.loadNames();
  }
}

/** Why something of a bulk request was not done. */
function refusal({ code = '', detail = '' }: { code?: string; detail?: string }): Problem {
  return new Problem(409, code, detail, '');
}

/** What a page says of the list: older pinned rows at the end of the first one are of no place in it. */
function readOf(page: ListPage, limit: number): Read {
  const next = page.next ? String(page.next) : '';
  return { next, floor: next ? (page.sessions[Math.min(limit, page.sessions.length) - 1]?.activity ?? 0) : 0 };
}

function changesIt(row: SessionRow | undefined, action: Action, more: { tag?: string; project?: string }): boolean {
  if (!row || action === 'delete' || action === 'restore') return true;
  const after = changed(row, action, more);
  return after.pinned !== row.pinned || after.archived !== row.archived || after.project !== row.project || after.tags?.length !== row.tags?.length;
}

function changed(row: SessionRow, action: Action, { tag = '', project = '' }: { tag?: string; project?: string }): SessionRow {
  const tags = row.tags ?? [];
  switch (action) {
    case 'archive':
    case 'unarchive':
      return { ...row, archived: action === 'archive' };
    case 'pin':
    case 'unpin':
      return { ...row, pinned: action === 'pin' };
    case 'tag':
      return tags.includes(tag) ? row : { ...row, tags: [...tags, tag] };
    case 'untag':
      return { ...row, tags: tags.filter((each) => each !== tag) };
    case 'project':
      return { ...row, project };
    default:
      return row;
  }
}

function said(action: Action, n: number, title: string, what: string): string {
  const subject = title ? t.shelf.one(title) : t.shelf.many(n);
  switch (action) {
    case 'tag':
      return t.shelf.tagged(subject, what);
    case 'untag':
      return t.shelf.untagged(subject, what);
    case 'project':
      return what ? t.shelf.moved(subject, what) : t.shelf.movedOut(subject);
    default:
      return t.shelf.did[action](subject, n);
  }
}
