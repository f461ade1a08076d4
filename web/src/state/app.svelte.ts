// The state of the page: who is logged in, the list, the open session, the connection. One object, made once in
// main.ts; the stream's events enter here and nowhere else.

import { t } from '../i18n/index.svelte';
import { explain, get, post, Problem } from '../lib/api';
import { base, inside } from '../lib/base';
import type { AgentOptions } from '../lib/fold';
import { parseRoute, type Route } from '../lib/route';
import { unread, type Seen } from '../lib/seen';
import { drop, read, readJSON, write, writtenElsewhere } from '../lib/storage';
import { SharedStream } from '../lib/shared';
import { countParagraphs, endWords, loginFailed } from '../lib/words';
import type { Agent, Approval, LogEvent, Me, SessionRow } from '../lib/types';
import { onOpen, worker } from '../lib/worker';
import { Drafts } from './drafts.svelte';
import { HealthWatch } from './health.svelte';
import { Outbox } from './outbox.svelte';
import { Presence } from './presence';
import { Push } from './push.svelte';
import { Renewal } from './renewal';
import { OpenSession } from './session.svelte';
import { Shelf } from './shelf.svelte';

export interface Toast {
  id: number;
  text: string;
  good: boolean;
  /** What can be done about it, such as to undo it. */
  action?: { label: string; run: () => void };
}

interface ListPage {
  sessions: SessionRow[];
  next?: string | number;
  cursor: string;
}

const LIST_PAGE = 100;
/** How long a list that could not be read waits before it is read again, in milliseconds. */
const LOAD_AGAIN = 3000;
/** A page that nobody sees gives its connection back after this long: a browser has six for all of its tabs. */
const HIDDEN_FOR = 60_000;

export class App {
  phase = $state<'loading' | 'out' | 'in' | 'down'>('loading');
  me = $state.raw<Me | null>(null);
  /** Why the login page is shown with a message, or ''. */
  loginNote = $state('');
  route = $state.raw<Route>(parseRoute(inside(location.pathname)));

  rows = $state.raw<SessionRow[]>([]);
  rowsLoaded = $state(false);
  rowsProblem = $state('');
  agents = $state.raw<Agent[]>([]);
  agentsLoaded = $state(false);
  approvals = $state.raw<Approval[]>([]);
  session = $state.raw<OpenSession | null>(null);
  /** The item that the address names, as /s/<session>?item=<item>; another object for each time it is gone to. */
  target = $state.raw<{ item: string } | null>(null);

  connected = $state(false);
  /** When the connection was lost, or 0. */
  lostAt = $state(0);
  lastByte = $state(0);
  retryAt = $state(0);
  now = $state(Date.now());
  /** The newest first. */
  toasts = $state<Toast[]>([]);
  polite = $state('');
  assertive = $state('');
  sidebar = $state(read('sidebar') !== 'off');
  theme = $state<'system' | 'light' | 'dark'>((read('theme') as 'light' | 'dark' | null) ?? 'system');
  /** What sends a message at a desk: Enter, or Enter with ⌘ or Ctrl. */
  sendKey = $state<'enter' | 'mod'>(read('sendKey') === 'mod' ? 'mod' : 'enter');
  /** The dialog that is shown: of the open session, or of those named by ask. */
  dialog = $state<'' | 'end' | 'delete' | 'forever'>('');
  asked = $state.raw<string[]>([]);
  palette = $state(false);
  /** The sheet of the keys is shown. */
  keys = $state(false);
  readonly drafts: Drafts;
  readonly outbox: Outbox;
  readonly health = new HealthWatch();
  readonly push = new Push();
  readonly shelf: Shelf;

  private readonly presence = new Presence(() => this.session?.id ?? '');
  private readonly stream: SharedStream;
  private incoming: LogEvent[] = [];
  private flushing = false;
  private toastId = 0;
  private hiddenTimer: ReturnType<typeof setTimeout> | undefined;
  /** Runs while the list waits to be read again: there is no stream then. */
  private loadTimer: ReturnType<typeof setTimeout> | undefined;
  private catchingUp = -1;
  private approvalsTimer: ReturnType<typeof setTimeout> | undefined;
  private baseline = 0;
  /** No place has been gone to yet in this life of the page. */
  private first = true;
  /** How far each session has been read here; null where it never was. */
  private seen = $state.raw(new Map<string, Seen | null>());

  constructor() {
    this.drafts = new Drafts(() => this.loggedOut());
    this.outbox = new Outbox(
      () => this.loggedOut(),
      (session, text, files) => this.drafts.of(session).giveBack(text, files),
    );
    this.shelf = new Shelf(this);
    this.stream = new SharedStream({
      event: (event) => this.take(event),
      resync: () => void this.load(),
      open: () => this.opened(),
      lost: (retryAt) => this.lost(retryAt),
      unauthorized: () => this.loggedOut(),
    });
  }

  /** Begins: redeems a link in the address, asks who this is, loads. */
  async start(): Promise<void> {
    window.addEventListener('popstate', () => this.arrive());
    document.addEventListener('visibilitychange', () => {
      clearTimeout(this.hiddenTimer);
      if (document.visibilityState === 'visible') {
        this.now = Date.now();
        this.stream.resume();
      } else {
        this.session?.markSeen();
        this.hiddenTimer = setTimeout(() => this.stream.pause(), HIDDEN_FOR);
      }
    });
    watchKeyboard();
    onOpen((path) => this.go(path));
    new Renewal(
      () => this.health.newer,
      () => this.drafts.uploading || this.outbox.uploading,
    ).start();
    writtenElsewhere('seen.', () => (this.seen = new Map()));
    window.addEventListener('online', () => this.stream.nudge());
    window.addEventListener('pageshow', (event) => {
      if (event.persisted) this.stream.nudge();
    });
    window.addEventListener('pagehide', () => {
      this.session?.markSeen();
      this.outbox.leave();
    });
    setInterval(() => {
      if (document.visibilityState === 'visible') this.now = Date.now();
    }, 1000);

    const secret = linkSecret(location.hash);
    if (secret) {
      // The secret leaves the address before anything else can read or keep it.
      history.replaceState(history.state, '', location.pathname + location.search);
      try {
        await post('/api/v1/login/link', { secret });
        await this.enter(true);
        return;
      } catch (error) {
        this.loginNote = loginFailed('link', error);
      }
    }
    await this.enter(false);
  }

  /** Asks who this browser is and shows the page, or the login. */
  async enter(fresh: boolean): Promise<void> {
    // Asked for at once with who this is: one way to the host and back less before a page is there.
    const list = this.list();
    list.catch(() => {}); // load() tells
    try {
      this.me = await get<Me>('/api/v1/me');
    } catch (error) {
      if (error instanceof Problem && error.status === 401) {
        this.phase = 'out';
        return;
      }
      this.phase = 'down';
      setTimeout(() => {
        if (this.phase === 'down') void this.enter(fresh);
      }, 2000);
      return;
    }
    this.loginNote = '';
    this.phase = 'in';
    this.health.start(this.me);
    this.arrive();
    this.presence.start();
    void worker();
    void this.push.look().catch(() => {});
    await this.load(list);
    if (fresh && this.rows.length === 0 && this.route.page === 'home') this.go('/new', true);
  }

  async logOut(): Promise<void> {
    try {
      await post('/api/v1/logout');
    } catch (error) {
      if (!(error instanceof Problem && error.status === 401)) {
        this.toast(explain(t.said.stillLoggedIn, error));
        return;
      }
    }
    this.loggedOut();
  }

  loggedOut(): void {
    this.stream.stop();
    this.health.end();
    this.presence.stop();
    void this.push.forget().catch(() => {});
    this.session?.close();
    this.session = null;
    this.me = null;
    this.rows = [];
    this.rowsLoaded = false;
    this.shelf.forget();
    this.palette = false;
    this.keys = false;
    this.approvals = [];
    this.connected = false;
    this.lostAt = 0;
    this.phase = 'out';
  }

  private list(): Promise<ListPage> {
    return get<ListPage>(`/api/v1/sessions?limit=${LIST_PAGE}`);
  }

  /** Reads the list and what hangs on it, then follows the log from there. */
  async load(list = this.list()): Promise<void> {
    clearTimeout(this.loadTimer);
    this.loadTimer = undefined;
    try {
      const page = await list;
      this.rows = sorted(page.sessions);
      this.shelf.began(page);
      this.rowsLoaded = true;
      this.rowsProblem = '';
      this.baseline = readJSON<number>('baseline', -1);
      if (this.baseline < 0) {
        // The first visit: what is there already counts as read.
        this.baseline = this.rows.reduce((max, row) => Math.max(max, row.activity), 0);
        write('baseline', String(this.baseline));
      }
      // The order matters: the stream follows the session before its snapshot is read.
      this.stream.start(page.cursor, this.followed());
    } catch (error) {
      if (error instanceof Problem && error.status === 401) return this.loggedOut();
      // A host that is away is the banner's to tell, here as later.
      if (error instanceof Problem && error.status === 0) this.lost(Date.now() + LOAD_AGAIN);
      else this.rowsProblem = explain(t.said.listFailed, error);
      this.loadTimer = setTimeout(() => {
        if (this.phase === 'in') void this.load();
      }, LOAD_AGAIN);
      return;
    }
    if (this.session) void this.fetchRow(this.session.id);
    await Promise.all([this.session?.load(), this.loadAgents(), this.loadApprovals()]);
    this.outbox.kick(true);
  }

  async loadAgents(): Promise<void> {
    try {
      this.agents = (await get<{ agents: Agent[] }>('/api/v1/agents')).agents ?? [];
      this.agentsLoaded = true;
    } catch (error) {
      this.failed(t.said.agentsFailed, error);
    }
  }

  async loadApprovals(): Promise<void> {
    try {
      this.approvals = (await get<{ approvals: Approval[] }>('/api/v1/approvals?state=pending')).approvals ?? [];
    } catch (error) {
      this.failed(t.said.questionsFailed, error);
    }
  }

  /** Asks before something is done to sessions that cannot be had back; without ids to the open one. */
  ask(dialog: 'end' | 'delete' | 'forever', ids: string[] = []): void {
    this.asked = ids;
    this.dialog = dialog;
  }

  /** Answers a question. The log says what became of it; a 409 carries the answer that won. */
  async answer(approval: Approval, option: string): Promise<void> {
    try {
      await post(`/api/v1/approvals/${encodeURIComponent(approval.id)}`, { option, client_id: `web-${approval.id}-${option}` });
      this.approvals = this.approvals.filter((other) => other.id !== approval.id);
    } catch (error) {
      if (error instanceof Problem && error.status === 409) {
        this.toast(error.code === 'approval_expired' ? t.said.answerExpired : t.said.answeredElsewhere);
      } else {
        this.failed(t.said.answerFailed, error);
        throw error;
      }
    }
    void this.loadApprovals();
  }

  // Places

  go(path: string, replace = false): void {
    const same = path === inside(location.pathname) + location.search;
    // Who asks for an item again means to see it again.
    if (same && !/[?&]item=/.test(path)) return;
    if (replace || same) history.replaceState(null, '', base + path);
    else history.pushState(null, '', base + path);
    this.arrive();
  }

  /** Goes to the next session that needs the person. */
  nextQuestion(): void {
    const at = this.approvals.findIndex((approval) => approval.session === this.session?.id);
    const next = this.approvals[(at + 1) % this.approvals.length];
    if (next) this.go(`/s/${next.session}`);
  }

  private arrive(): void {
    this.route = parseRoute(inside(location.pathname));
    const item = new URLSearchParams(location.search).get('item');
    // Of a page that is loaded again the place counts where the reader was since.
    this.target = item && !(this.first && history.state?.there) ? { item } : null;
    this.first = false;
    if (this.phase !== 'in') return;
    const id = this.route.page === 'session' ? this.route.id : '';
    if (this.session && this.session.id !== id) {
      this.session.close();
      this.seen.delete(this.session.id);
      this.session = null;
    }
    if (id && !this.session) {
      const session = new OpenSession(
        id,
        (problem) => this.failed('', problem),
        (clientIds) => this.outbox.arrived(clientIds),
        this.target?.item,
      );
      this.session = session;
      // Before the list is here, load() starts the stream and reads the snapshot.
      if (this.rowsLoaded) {
        this.stream.follow(this.followed());
        void session.load();
        void this.fetchRow(id);
      }
    } else if (!id && this.rowsLoaded) {
      this.stream.follow([]);
    }
    this.presence.moved();
  }

  /** The item that the address names is shown: from here on the reader goes where he wants. */
  shown(): void {
    history.replaceState({ ...history.state, there: true }, '');
  }

  private followed(): string[] {
    return this.session ? [this.session.id] : [];
  }

  async fetchRow(id: string): Promise<SessionRow | null> {
    try {
      const { options, ...row } = await get<SessionRow & { options?: AgentOptions }>(`/api/v1/sessions/${encodeURIComponent(id)}`);
      this.upsert(row);
      if (options && this.session?.id === id) this.session.setOptions(options, row.seq);
      return row;
    } catch {
      // The session's own snapshot says what is wrong with it.
      return null;
    }
  }

  // The log

  private take(event: LogEvent): void {
    if (this.catchingUp >= 0) this.catchingUp++;
    this.incoming.push(event);
    if (this.flushing) return;
    this.flushing = true;
    // Deltas are drawn once a frame; a hidden page has no frames.
    if (document.hidden) setTimeout(() => this.flush(), 200);
    else requestAnimationFrame(() => this.flush());
  }

  private flush(): void {
    this.flushing = false;
    const events = this.incoming;
    this.incoming = [];
    this.lastByte = Date.now();
    const open = this.session;
    const mine: LogEvent[] = [];
    const arrived: string[] = [];
    for (const event of events) {
      if (event.kind.startsWith('session.')) this.listEvent(event);
      else if (event.kind.startsWith('project.')) this.shelf.projectEvent(event);
      if (open && event.session === open.id) {
        mine.push(event);
        if (event.kind === 'message.user') arrived.push(String((event.body as { client_id?: string }).client_id ?? ''));
        if (event.kind.startsWith('approval.')) this.refreshApprovals();
      }
    }
    if (open && mine.length > 0) {
      open.apply(mine);
      for (const event of mine) this.speak(event, open);
    }
    if (arrived.length > 0) this.outbox.arrived(arrived);
  }

  private listEvent(event: LogEvent): void {
    if (event.kind === 'session.deleted') {
      const elsewhere = !this.shelf.deletes(event.session);
      this.forgetRows([event.session]);
      if (this.session?.id === event.session) {
        if (elsewhere) this.toast(t.said.deletedElsewhere);
        this.go('/', true);
      }
      return;
    }
    const row = event.body as SessionRow;
    if (!row || row.id !== event.session || typeof row.state !== 'string') {
      void this.fetchRow(event.session);
      return;
    }
    const before = this.rowOf(row.id);
    if ((before?.waiting ?? 0) !== row.waiting) this.refreshApprovals();
    if ((before?.tags ?? []).join('\n') !== (row.tags ?? []).join('\n')) this.shelf.tagsChanged();
    this.upsert(row);
  }

  private upsert(row: SessionRow): void {
    const before = this.rowOf(row.id);
    if (before && row.last_event < before.last_event) return;
    this.rows = placed(this.rows, row);
    if (this.session?.id === row.id && this.session.stoppingRun && row.run !== this.session.stoppingRun) {
      this.session.stopped();
    }
  }

  /** Takes rows of a list, or such as this page made itself; what the log said later wins. */
  know(rows: SessionRow[]): void {
    if (rows.length < 20) {
      for (const row of rows) this.upsert(row);
      return;
    }
    const known = new Map(this.rows.map((row) => [row.id, row]));
    for (const row of rows) {
      const before = known.get(row.id);
      if (!before || before.last_event <= row.last_event) known.set(row.id, row);
    }
    this.rows = sorted([...known.values()]);
  }

  forgetRows(ids: string[]): void {
    const gone = new Set(ids);
    this.rows = this.rows.filter((row) => !gone.has(row.id));
  }

  private refreshApprovals(): void {
    clearTimeout(this.approvalsTimer);
    this.approvalsTimer = setTimeout(() => void this.loadApprovals(), 60);
  }

  /** Tells whole events to those who listen; never deltas. */
  private speak(event: LogEvent, open: OpenSession): void {
    const body = event.body as Record<string, unknown>;
    if (event.kind === 'run.started') this.polite = t.said.runStarted;
    else if (event.kind === 'run.ended') {
      const answer = open.view.items.findLast((item) => item.kind === 'assistant' && item.run === event.run);
      const n = answer?.kind === 'assistant' ? countParagraphs(answer.body.text) : 0;
      if (body.reason === 'end_turn') this.polite = n > 0 ? t.said.answerFinished(n) : t.said.runFinished;
      else this.polite = endWords(String(body.reason)).title;
    } else if (event.kind === 'item.closed' && body.status === 'failed') this.polite = t.said.toolFailed;
    else if (event.kind === 'approval.requested') this.assertive = t.said.question(String(body.title));
  }

  // The connection

  private opened(): void {
    const outage = this.lostAt ? Date.now() - this.lostAt : 0;
    this.connected = true;
    this.drafts.resume();
    this.lostAt = 0;
    this.lastByte = Date.now();
    // What came back may be another life of the host.
    if (outage) void this.health.look();
    if (outage > 3000) {
      this.catchingUp = 0;
      this.polite = t.said.connectionBack;
      setTimeout(() => {
        const n = this.catchingUp;
        this.catchingUp = -1;
        this.toast(t.said.back(this.host, n), true);
      }, 800);
    }
    if (this.rowsLoaded) this.outbox.kick(true);
  }

  private lost(retryAt: number): void {
    this.connected = false;
    this.retryAt = retryAt;
    if (!this.lostAt) {
      this.lostAt = Date.now();
      this.lastByte = this.stream.lastByte || Date.now();
      setTimeout(() => {
        if (this.lostAt) this.polite = t.said.connectionLost;
      }, 3000);
    }
  }

  tryNow(): void {
    if (this.loadTimer) void this.load();
    else this.stream.nudge();
  }

  /** The time since which the person should know that the host does not answer, or 0. */
  get noAnswer(): number {
    return this.lostAt && this.now - this.lostAt > 2500 ? this.lastByte : 0;
  }

  get connecting(): boolean {
    return !this.connected && this.lostAt > 0 && this.now - this.lostAt > 800;
  }

  // What is shown

  get host(): string {
    return this.me?.host || location.hostname;
  }

  rowOf(id: string): SessionRow | null {
    return this.rows.find((row) => row.id === id) ?? null;
  }

  questionOf(session: string): Approval | undefined {
    return this.approvals.find((approval) => approval.session === session);
  }

  get row(): SessionRow | null {
    return this.session ? this.rowOf(this.session.id) : null;
  }

  agentName(id: string): string {
    return this.agents.find((agent) => agent.id === id)?.name || id.charAt(0).toUpperCase() + id.slice(1);
  }

  unread(row: SessionRow): boolean {
    if (row.state === 'running' || row.state === 'queued' || this.session?.id === row.id) return false;
    let seen = this.seen.get(row.id);
    if (seen === undefined) this.seen.set(row.id, (seen = readJSON<Seen | null>(`seen.${row.id}`, null)));
    return unread(row, seen, this.baseline);
  }

  toast(text: string, good = false, action?: Toast['action']): number {
    const toast = { id: ++this.toastId, text, good, action };
    this.toasts = [toast, ...this.toasts];
    return toast.id;
  }

  dismiss(id: number): void {
    this.toasts = this.toasts.filter((toast) => toast.id !== id);
  }

  failed(thing: string, error: unknown): void {
    if (error instanceof Problem && error.status === 401) {
      this.loggedOut();
      return;
    }
    // Without an answer the banner says it, once for all.
    if (error instanceof Problem && error.status === 0) return;
    if (thing) this.toast(explain(thing, error));
  }

  setSendKey(key: 'enter' | 'mod'): void {
    this.sendKey = key;
    if (key === 'enter') drop('sendKey');
    else write('sendKey', key);
  }

  setTheme(theme: 'system' | 'light' | 'dark'): void {
    this.theme = theme;
    if (theme === 'system') {
      drop('theme');
      delete document.documentElement.dataset.theme;
    } else {
      write('theme', theme);
      document.documentElement.dataset.theme = theme;
    }
    paintBar(theme);
  }

  toggleSidebar(): void {
    this.sidebar = !this.sidebar;
    write('sidebar', this.sidebar ? 'on' : 'off');
  }
}

/**
 * Follows the keyboard of a phone. Where the page is not resized for it (interactive-widget is not known), the visual
 * viewport's height becomes the page's; either way the bars step aside while it is up.
 */
function watchKeyboard(): void {
  const viewport = window.visualViewport;
  if (!viewport) return;
  let tallest = viewport.height;
  const root = document.documentElement;
  const fit = () => {
    if (viewport.scale !== 1) return;
    tallest = Math.max(tallest, viewport.height);
    const covered = window.innerHeight - viewport.height > 80;
    root.classList.toggle('keyboard', covered || (tallest - viewport.height > 150 && document.activeElement?.matches('textarea, input') === true));
    if (covered) root.style.setProperty('--visible', `${viewport.height}px`);
    else root.style.removeProperty('--visible');
    if (covered) window.scrollTo(0, 0);
  };
  viewport.addEventListener('resize', fit);
  window.addEventListener('orientationchange', () => (tallest = 0));
}

/** Gives the system's bar around the page the page's colour, as theme.js does before the first paint. */
function paintBar(theme: 'system' | 'light' | 'dark'): void {
  const [light, dark] = document.querySelectorAll<HTMLMetaElement>('meta[name="theme-color"]');
  if (!light || !dark) return;
  light.media = theme === 'system' ? '(prefers-color-scheme: light)' : theme === 'light' ? 'all' : '(max-width:0)';
  dark.media = theme === 'system' ? '(prefers-color-scheme: dark)' : theme === 'dark' ? 'all' : '(max-width:0)';
}

/** The one-time secret of a login link: in a fragment, a whole link, or alone. */
export function linkSecret(text: string): string {
  const match = /(?:^|#|&)link=([^&\s]+)/.exec(text);
  return match ? decodeURIComponent(match[1]!) : '';
}

function sorted(rows: SessionRow[]): SessionRow[] {
  return [...rows].sort((a, b) => b.activity - a.activity);
}

/** The rows with this one at its place; the latest are first. */
function placed(rows: SessionRow[], row: SessionRow): SessionRow[] {
  const out = rows.filter((other) => other.id !== row.id);
  const at = out.findIndex((other) => other.activity <= row.activity);
  out.splice(at < 0 ? out.length : at, 0, row);
  return out;
}
