// The words for states and ends, the same on every page.

import { plural, relativePath, stopwatch } from './format';
import type { Approval, SessionRow } from './types';

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
  return rests && row.agent_state === 'needs_login' ? { ...words, line: 'Needs a login', tone: 'bad' } : words;
}

function ofState(row: SessionRow, question?: Approval): StateWords {
  switch (row.state) {
    case 'waiting':
      return { name: 'Waiting for you', line: row.waiting > 1 ? `Asks ${row.waiting} questions` : asks(question), tone: 'wait' };
    case 'failed':
      if (row.agent_state === 'missing') return { name: 'Failed', line: 'Failed: its agent is missing', tone: 'bad' };
      return { name: 'Failed', line: withReason('Failed', row.reason), tone: 'bad' };
    case 'interrupted':
      return { name: 'Interrupted', line: withReason('Interrupted', row.reason), tone: 'bad' };
    case 'running':
      return { name: 'Running', line: row.agent_state === 'starting' ? 'Starting' : 'Running', tone: 'live' };
    case 'queued':
      if (row.agent_state === 'starting') return { name: 'Starting', line: 'Starting', tone: 'live' };
      return { name: 'Queued', line: `${plural(row.queued, 'queued message')}${row.paused ? ', paused' : ''}`, tone: '' };
    default:
      return { name: '', line: '', tone: '' };
  }
}

function asks(question?: Approval): string {
  if (question?.detail?.command) return 'Asks to run a command';
  if (question?.detail?.diff?.length) return 'Asks to change a file';
  return 'Asks for permission';
}

function withReason(state: string, reason?: string): string {
  // A code says what the state says already; words say more.
  return reason?.includes(' ') ? `${state}: ${reason}` : state;
}

/** Why an agent is missing, and the command that would change that, if the host names one. */
export function remedy(reason: string): { why: string; command: string } {
  const at = reason.indexOf(': ');
  return at > 0 && /install it with$/i.test(reason.slice(0, at)) ? { why: reason.slice(0, at), command: reason.slice(at + 2) } : { why: reason, command: '' };
}

/** The agent's own state, within a sentence. */
export function agentWords(state: string): string {
  return state === 'needs_login' ? 'needs a login' : state.replace(/_/g, ' ');
}

/** Why a message waits for its agent: the host's own words where it has some. */
export function waitWords(agent: string, state: string, text: string): string {
  switch (state) {
    case '':
    case 'starting':
      return text || `${agent} is starting`;
    case 'ending':
      return text || `${agent} is ending, then it starts anew`;
    case 'ended':
      return text ? `${text} ${agent} starts anew` : `${agent} starts anew`;
    default:
      return text || `Waits for ${agent}`;
  }
}

/** What ending an agent costs. */
export function endWarning(runs: boolean): string {
  return runs
    ? 'Its run is cut off and marked interrupted. What it wrote is kept; you can continue it later.'
    : 'It starts again with your next message.';
}

/** What a run that was cut off is gone on with. */
export const GO_ON = 'Continue where you were interrupted.';

export function endWords(reason: string): { title: string; tone: 'bad' | 'wait' | '' } {
  switch (reason) {
    case 'cancelled':
      return { title: 'Stopped', tone: '' };
    case 'interrupted':
      return { title: 'Interrupted', tone: 'bad' };
    case 'error':
      return { title: 'Failed', tone: 'bad' };
    case 'max_tokens':
      return { title: 'Ended: the answer reached its longest length', tone: 'wait' };
    case 'max_turn_requests':
      return { title: 'Ended: the agent reached its number of steps', tone: 'wait' };
    case 'refusal':
      return { title: 'Ended: the agent declined to go on', tone: 'wait' };
    default:
      return { title: `Ended: ${reason.replace(/_/g, ' ')}`, tone: '' };
  }
}

export function approvalVerb(approval: Approval): string {
  if (approval.state === 'pending') return 'Asked';
  if (approval.state === 'expired') return `Expired, ${whyExpired(approval)}`;
  if (approval.state === 'cancelled') return 'Cancelled';
  const option = approval.options.find((each) => each.id === approval.chosen);
  switch (option?.kind) {
    case 'allow_once':
      return 'Allowed once';
    case 'allow_always':
      return `Allowed: ${option.name}`;
    case 'reject_once':
      return 'Denied';
    case 'reject_always':
      return `Denied: ${option.name}`;
    default:
      return option ? `Answered: ${option.name}` : 'Answered';
  }
}

/** Expired is not denied: the agent's own deadline ran out. */
function whyExpired(approval: Approval): string {
  if (approval.chosen) return 'answered too late';
  if (!approval.expires_at) return 'not answered in time';
  const seconds = Math.round((Date.parse(approval.expires_at) - Date.parse(approval.at)) / 1000);
  return `not answered in ${seconds <= 120 ? `${seconds} s` : stopwatch(seconds * 1000)}`;
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
  if (approval.detail?.command) return 'Run this command?';
  const diff = approval.detail?.diff;
  if (diff?.length) return diff.length === 1 ? 'Make this change?' : `Change ${diff.length} files?`;
  const title = approval.title.trim();
  return title.endsWith('?') ? title : `${title || 'Allow this'}?`;
}
