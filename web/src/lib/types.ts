// The host's JSON, as its API contract gives it. Times are RFC 3339 texts.

export type SessionState = 'idle' | 'running' | 'waiting' | 'interrupted' | 'failed' | 'queued';

export interface SessionRow {
  id: string;
  title: string;
  agent: string;
  cwd: string;
  state: SessionState;
  waiting: number;
  queued: number;
  paused: boolean;
  /** The current run, or ''. */
  run: string;
  agent_state: string;
  /** How the last run ended. */
  reason?: string;
  created_at: string;
  /** When something was last said or done in it, housekeeping apart. */
  last_at: string;
  /** The event of that; the list is in its order. */
  activity: number;
  /** The last event of all: of two rows the one with the higher is newer. */
  last_event: number;
  seq: number;
  version: number;
  pinned?: boolean;
  archived?: boolean;
  tags?: string[];
  /** A project's id. */
  project?: string;
  deleted_at?: string;
}

/** A folder with a name and the agent that sessions in it begin with. */
export interface Project {
  id: string;
  name: string;
  cwd: string;
  agent: string;
  version: number;
}

export interface TagCount {
  tag: string;
  sessions: number;
}

/** A place where words were found. The parts of the snippet are plain text. */
export interface Hit {
  session: string;
  title: string;
  archived?: boolean;
  item?: string;
  kind: string;
  seq?: number;
  at: string;
  snippet: { text: string; match?: boolean }[];
}

export interface Agent {
  id: string;
  name: string;
  version?: string;
  path?: string;
  ready: boolean;
  reason?: string;
}

export interface Me {
  name: string;
  kind?: string;
  version?: string;
  /** The machine's name. */
  host?: string;
  /** A password is set. */
  password?: boolean;
  /** Why no agent is started or resumed. */
  safe_mode?: string;
  /** Which page the host has. */
  page?: string;
}

/** A browser that is logged in, or a token. */
export interface Device {
  id: string;
  kind: string;
  name: string;
  created_at?: string;
  last_used?: string;
  current: boolean;
  notifications?: boolean;
}

/** A one-time link for another device. */
export interface NewLink {
  url: string;
  /** Another machine may reach the address. */
  elsewhere: boolean;
  expires_at: string;
  /** Rows of 0 (light) and 1 (dark). */
  qr: string[];
}

export interface LogEvent {
  id: number;
  session: string;
  seq: number;
  run: string;
  at: string;
  kind: string;
  body: unknown;
}

/** A file that a person gave with a message. */
export interface Attached {
  id: string;
  name: string;
  /** As its content shows. */
  type: string;
  size: number;
}

export interface UserBody {
  text: string;
  client_id?: string;
  attachments?: string[];
  /** What the attachments are. */
  files?: Attached[];
  /** It was said into a run that was under way. */
  steer?: Steer;
}

/**
 * sent: on its way; taken: the agent has it, and reads it behind its next tool call; read; late: it came too late and is
 * a message like any other, of a run of its own.
 */
export interface Steer {
  state: 'sent' | 'taken' | 'read' | 'late';
  /** Of one that had waited in the queue: the event by which it was said. */
  seq?: number;
}

export interface TextBody {
  text: string;
  ended_at?: string;
}

/** Text of a tool. Of a very long one only the end is here, and size says how long the whole is. */
export interface TextContent {
  type: 'content';
  content: { type: string; text?: string; [key: string]: unknown };
  truncated?: boolean;
  size?: number;
  /** Where the whole is, once the call is over. */
  blob?: string;
}

/** One entry of a tool's content, in ACP's own shape. */
export type ToolContent =
  | TextContent
  | { type: 'diff'; path: string; oldText?: string | null; newText: string }
  | { type: string; [key: string]: unknown };

/** unknown: the agent ended its turn and never said. */
export type ToolStatus = 'pending' | 'in_progress' | 'completed' | 'failed' | 'cancelled' | 'unknown';

export interface ToolBody {
  tool_call_id: string;
  title: string;
  name?: string;
  kind: string;
  status: ToolStatus;
  locations?: { path: string; line?: number }[];
  raw_input?: unknown;
  raw_output?: unknown;
  content?: ToolContent[];
  ended_at?: string;
}

export interface PlanEntry {
  content: string;
  priority?: string;
  status: 'pending' | 'in_progress' | 'completed' | 'failed';
}

export interface PlanBody {
  entries: PlanEntry[];
}

export interface ApprovalOption {
  id: string;
  name: string;
  kind: string;
}

export interface ApprovalDetail {
  command?: string;
  diff?: { path: string; old?: string | null; new: string }[];
  text?: string;
  raw_input?: unknown;
}

export interface Approval {
  id: string;
  session: string;
  run: string;
  state: 'pending' | 'answered' | 'expired' | 'cancelled';
  title: string;
  item: string;
  at: string;
  detail?: ApprovalDetail;
  options: ApprovalOption[];
  chosen?: string;
  by?: string;
  answered_at?: string;
  reason?: string;
  /** Which sentence of the host the reason is. */
  code?: string;
  expires_at?: string;
}

/** Which sentence of the host a text is, and what it has in it: words.ts says it in the language of the page. */
export interface Said {
  code?: string;
  args?: Record<string, string | number>;
}

export interface NoticeBody extends Said {
  level: string;
  text: string;
  detail?: string;
}

interface ItemBase<K extends string, B> {
  id: string;
  session: string;
  run: string;
  kind: K;
  seq: number;
  at: string;
  open: boolean;
  body: B;
}

export type UserItem = ItemBase<'user', UserBody>;
export type AssistantItem = ItemBase<'assistant', TextBody>;
export type ThoughtItem = ItemBase<'thought', TextBody>;
export type ToolItem = ItemBase<'tool', ToolBody>;
export type PlanItem = ItemBase<'plan', PlanBody>;
export type ApprovalItem = ItemBase<'approval', Approval>;
export type NoticeItem = ItemBase<'notice', NoticeBody>;
export type Item = UserItem | AssistantItem | ThoughtItem | ToolItem | PlanItem | ApprovalItem | NoticeItem;

/** How a run stands: one prompt turn. */
export interface Run extends Said {
  id: string;
  /** The message that it answers. */
  item: string;
  /** current: next to go, or under way once it has started_at. */
  state: 'queued' | 'current' | 'ended';
  /** How it ended. */
  reason?: string;
  /** Why, in words; what is said of it by code is this. */
  detail?: string;
  started_at?: string;
  ended_at?: string;
}

export interface ItemsPage {
  items: Item[];
  /** Those that the items belong to, in the order of the queue. */
  runs: Run[];
  cursor: string;
  /** The log's last event that is in. */
  last_event: number;
  seq: number;
  /** There may be older items. */
  more?: boolean;
  /** There may be newer items. */
  newer?: boolean;
  /** Messages of the runs that are not among the items. */
  messages?: Asked[];
  /** The plan of the newest run, where it is not among the items. */
  plan?: PlanItem;
}

/** A message that stands before the items of a page, and with which item its answer begins: 0 where with none yet. */
export interface Asked {
  item: UserItem;
  before: number;
}

/** A file or folder, by its path in the folder that was asked for. */
export interface FoundFile {
  path: string;
  dir?: boolean;
}

export interface Folders {
  path: string;
  parent?: string;
  folders: { name: string; path: string }[];
  recent?: string[];
  more?: boolean;
}
