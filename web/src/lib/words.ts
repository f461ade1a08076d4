// The words for states and ends, the same on every page.

import { t } from '../i18n/index.svelte';
import { explain, Problem } from './api';
import { clockSeconds, relativePath, size, stopwatch } from './format';
import type { Approval, Said, SessionRow, Steer } from './types';

export interface StateWords {
  /** The state's name, for those who do not see its shape. */
  name: string;
  /** What the row says of it, or '' at rest. */
  line: string;
  tone: '' | 'wait' | 'live' | 'bad';
}

export function stateWords(row: SessionRow, question?: Approval): StateWords {
  const words = ofState(row, question);
  // At rest nothing goes on before the login is done, however the last run ended and whatever waits.
  const rests = !row.run && row.state !== 'waiting' && row.state !== 'running';
  return rests && row.agent_state === 'needs_login' ? { ...words, line: t.state.needsLogin, tone: 'bad' } : words;
}

function ofState(row: SessionRow, question?: Approval): StateWords {
  switch (row.state) {
    case 'waiting':
      return { name: t.state.waiting, line: row.waiting > 1 ? t.state.asksSeveral(row.waiting) : asks(question), tone: 'wait' };
    case 'failed':
      if (row.agent_state === 'missing') return { name: t.state.failed, line: t.state.missing, tone: 'bad' };
      return { name: t.state.failed, line: withReason(t.state.failed, row.reason), tone: 'bad' };
    case 'interrupted':
      return { name: t.state.interrupted, line: withReason(t.state.interrupted, row.reason), tone: 'bad' };
    case 'running':
      return { name: t.state.running, line: row.agent_state === 'starting' ? t.state.starting : t.state.running, tone: 'live' };
    case 'queued':
      if (row.agent_state === 'starting') return { name: t.state.starting, line: t.state.starting, tone: 'live' };
      return { name: t.state.queued, line: queued(row), tone: '' };
    default:
      return { name: '', line: '', tone: '' };
  }
}

function queued(row: SessionRow): string {
  const messages = t.state.queuedMessages(row.queued);
  return row.paused ? t.state.queuePaused(messages) : messages;
}

function asks(question?: Approval): string {
  if (question?.detail?.command) return t.state.asksCommand;
  if (question?.detail?.diff?.length) return t.state.asksChange;
  return t.state.asksPermission;
}

function withReason(state: string, reason?: string): string {
  // A code says what the state says already; words say more.
  return reason?.includes(' ') ? t.state.because(state, reason) : state;
}

/** Why an agent is missing, and the command that would change that, if the host names one. */
export function remedy(reason: string): { why: string; command: string } {
  const at = reason.indexOf(': ');
  return at > 0 && /install it with$/i.test(reason.slice(0, at)) ? { why: reason.slice(0, at), command: reason.slice(at + 2) } : { why: reason, command: '' };
}

/** The agent's own state, within a sentence. */
export function agentWords(state: string): string {
  return t.state.agent[state as keyof typeof t.state.agent] ?? state.replace(/_/g, ' ');
}

/** Whether a state is that of a process: it can be ended, and asked what it printed. */
export function agentLives(state: string): boolean {
  return state !== '' && !['ended', 'missing', 'needs_login'].includes(state);
}

/**
 * What the host said in a session, in the language of the page; text is what it said in its own. That is shown of a sentence
 * that the page does not know, or without what it has in it, as of an older host; and it is what an agent said.
 */
export function hostWords({ text, code = '', args }: Said & { text: string }): string {
  const words = Object.hasOwn(t.told, code) ? t.told[code as keyof typeof t.told] : text;
  if (typeof words === 'string') return words;
  return args ? (words as (args: unknown) => string)(Object.fromEntries(Object.entries(args).map(shown))) : text;
}

/** A time and a size come as a machine has them. */
function shown([name, value]: [string, string | number]): [string, string | number] {
  if (name === 'at') return [name, clockSeconds(value)];
  return [name, name.endsWith('bytes') ? size(Number(value)) : value];
}

/** Why a message waits for its agent: the host's own words where it has some. */
export function waitWords(agent: string, state: string, text: string): string {
  switch (state) {
    case '':
    case 'starting':
      return text || t.state.waits.starting(agent);
    case 'ending':
      return text || t.state.waits.ending(agent);
    case 'ended':
      return `${text} ${t.state.waits.ended(agent)}`.trim();
    default:
      return text || t.state.waits.other(agent);
  }
}

/** Why a login failed. That it was denied the host says in one sentence for all; the page knows by what. */
export function loginFailed(way: 'link' | 'password' | 'passkey', error: unknown): string {
  const [thing, denied] = {
    link: [t.said.linkFailed, t.login.linkDenied],
    password: [t.login.passwordFailed, t.login.passwordDenied],
    passkey: [t.login.passkeyFailed, t.login.passkeyDenied],
  }[way] as [string, string];
  return error instanceof Problem && error.code === 'login_denied' ? t.common.cause(thing, denied) : explain(thing, error);
}

/** What ending an agent costs. */
export function endWarning(runs: boolean): string {
  return runs ? t.dialog.endRuns : t.dialog.endIdle;
}

export function endWords(reason: string): { title: string; tone: 'bad' | 'wait' | '' } {
  const title = t.run.ends[reason as keyof typeof t.run.ends];
  if (!title) return { title: t.run.ended(reason.replace(/_/g, ' ')), tone: '' };
  return { title, tone: reason === 'cancelled' ? '' : reason === 'interrupted' || reason === 'error' ? 'bad' : 'wait' };
}

/** The answer that was chosen. */
const answerOf = (approval: Approval) => approval.options.find((each) => each.id === approval.chosen);

export function approvalVerb(approval: Approval): string {
  if (approval.state === 'pending') return t.ask.pending;
  if (approval.state === 'expired') return t.ask.expired(whyExpired(approval));
  if (approval.state === 'cancelled') return t.ask.cancelled;
  const option = answerOf(approval);
  switch (option?.kind) {
    case 'allow_once':
      return t.ask.allowedOnce;
    case 'allow_always':
      return t.ask.allowed(option.name);
    case 'reject_once':
      return t.ask.denied;
    case 'reject_always':
      return t.ask.deniedAs(option.name);
    default:
      return option ? t.ask.answeredAs(option.name) : t.ask.answered;
  }
}

/** What became of a message that was said into a run; live: of the run that is under way. */
export function steerWords(steer: Steer, live: boolean): string {
  const passing = steer.state === 'sent' || steer.state === 'taken';
  return passing && !live ? t.chat.steer.said : t.chat.steer[steer.state];
}

export function wasDenied(approval: Approval): boolean {
  return approval.state === 'answered' && (answerOf(approval)?.kind.startsWith('reject') ?? false);
}

/** Expired is not denied: the agent's own deadline ran out. */
function whyExpired(approval: Approval): string {
  if (approval.chosen) return t.ask.tooLate;
  if (!approval.expires_at) return t.ask.notInTime;
  const seconds = Math.round((Date.parse(approval.expires_at) - Date.parse(approval.at)) / 1000);
  return t.ask.notIn(seconds <= 120 ? `${seconds} s` : stopwatch(seconds * 1000));
}

/** What the question is about, in one line. */
export function approvalObject(approval: Approval, cwd = ''): string {
  const detail = approval.detail;
  if (detail?.command) return detail.command.split('\n')[0]!;
  if (detail?.diff?.[0]) return relativePath(detail.diff[0].path, cwd);
  return approval.title;
}

/** The question itself. */
export function approvalQuestion(approval: Approval): string {
  if (approval.detail?.command) return t.ask.command;
  const diff = approval.detail?.diff;
  if (diff?.length) return diff.length === 1 ? t.ask.change : t.ask.changes(diff.length);
  const title = approval.title.trim();
  return title.endsWith('?') ? title : `${title || t.ask.allow}?`;
}

/** What an answer is said to consist of: nothing of Markdown is needed for that. */
export function countParagraphs(text: string): number {
  return text.split(/\n\s*\n/).filter((part) => part.trim() !== '').length;
}
