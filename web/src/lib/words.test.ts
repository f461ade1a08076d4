import { describe, expect, it } from 'vitest';
import { diffFile } from './diff';
import { compact, dayGroup, duration, listTime, relativePath, shortPath, stopwatch, tileOf } from './format';
import { keyName } from './keys';
import { argumentsOf, exitCode, outputOf, toolWords } from './tools';
import { agentWords, approvalQuestion, approvalVerb, remedy, stateWords, waitWords } from './words';
import type { Approval, SessionRow, ToolBody } from './types';

const tool = (more: Partial<ToolBody>): ToolBody => ({ tool_call_id: 't', title: 'A title', kind: 'other', status: 'completed', ...more });

describe('tools', () => {
  it.each([
    [tool({ kind: 'execute', raw_input: { command: 'go test ./...' } }), 'Ran', 'go test ./...'],
    [tool({ kind: 'execute', status: 'in_progress', raw_input: { command: ['git', 'log'] } }), 'Running', 'git log'],
    [tool({ kind: 'execute', title: '`ls -la`' }), 'Ran', 'ls -la'],
    [tool({ kind: 'read', title: 'Read /w/a/b.go', locations: [{ path: '/w/a/b.go' }] }), 'Read', 'a/b.go'],
    [tool({ kind: 'read', title: 'Read b.go' }), 'Read', 'b.go'],
    [tool({ kind: 'edit', status: 'cancelled', content: [{ type: 'diff', path: '/w/x', newText: '' }] }), 'Stopped', 'x'],
    [tool({ kind: 'search', raw_input: { pattern: 'TODO' } }), 'Searched', 'TODO'],
    [tool({ title: 'delegate' }), 'Used', 'delegate'],
  ])('%# has its words', (body, verb, object) => {
    expect(toolWords(body, '/w')).toMatchObject({ verb, object });
  });

  it('shows output as plain text', () => {
    const text = (t: string) => ({ type: 'content', content: { type: 'text', text: t } }) as const;
    expect(outputOf(tool({ content: [text('```\n\u001b[31mred\u001b[0m\r\n```'), text('two\n\n')] }))).toBe('\u001b[31mred\u001b[0m\ntwo');
    expect(outputOf(tool({ raw_output: { stdout: 'out\n', stderr: 'err\u001b[0m\n', exit_code: 1 } }))).toBe('out\n\nerr');
    expect(outputOf(tool({ raw_output: { output: 'both', stdout: 'out' } }))).toBe('both\nout');
    expect(outputOf(tool({ content: [{ type: 'content', content: { type: 'image', mimeType: 'image/png', data: 'AAAA' } }] }))).toBe('');
    expect(outputOf(tool({ content: [{ type: 'content', content: { type: 'audio', mimeType: 'audio/wav', data: 'AAAA' } }] }))).toBe('(audio, audio/wav)');
    expect(outputOf(tool({}))).toBe('');
  });

  it('finds the exit code and the arguments', () => {
    expect(exitCode(tool({ raw_output: { exit_code: 2 } }))).toBe(2);
    expect(exitCode(tool({ raw_output: 'text' }))).toBeNull();
    expect(argumentsOf(tool({ kind: 'execute', raw_input: { command: 'ls' } }))).toBe('');
    expect(argumentsOf(tool({ raw_input: { a: 1 } }))).toBe('{\n  "a": 1\n}');
    expect(argumentsOf(tool({ raw_input: {} }))).toBe('');
  });
});

describe('diffFile', () => {
  it('counts and numbers lines', () => {
    const diff = diffFile('f', 'a\nb\nc\n', 'a\nB\nB2\nc\n');
    expect(diff).toMatchObject({ added: 2, removed: 1, isNew: false });
    expect(diff.lines.map((line) => `${line.sign}${line.number}${line.text}`)).toEqual([' 1a', '-2b', '+2B', '+3B2', ' 4c']);
  });
  it('takes a missing old text for a new file', () => {
    expect(diffFile('f', null, 'x\n')).toMatchObject({ added: 1, removed: 0, isNew: true });
  });
  it('does not compare what is too large', () => {
    expect(diffFile('f', 'x\n'.repeat(200_000), 'y\n'.repeat(200_000)).lines).toHaveLength(1);
  });
});

describe('format', () => {
  it('writes durations', () => {
    expect([11, 1234, 9_000, 48_000, 64_000, 7_384_000].map(duration)).toEqual(['11 ms', '1.2 s', '9 s', '48 s', '1:04', '2:03:04']);
    expect(stopwatch(252_900)).toBe('4:12');
  });
  it('writes times of rows', () => {
    const now = new Date(2026, 10, 24, 14, 0).getTime();
    const at = (...parts: [number, number, number, number, number]) => new Date(...parts).toISOString();
    expect(listTime(at(2026, 10, 24, 13, 56), now, true)).toBe('4 m');
    expect(listTime(at(2026, 10, 24, 9, 14), now)).toBe('09:14');
    expect(listTime(at(2026, 10, 23, 9, 14), now)).toBe('Mon');
    expect(listTime(at(2025, 10, 3, 9, 14), now)).toBe('3 Nov 2025');
    expect(dayGroup(at(2026, 10, 24, 0, 1), now)).toBe('Today');
    expect(dayGroup(at(2026, 10, 23, 23, 59), now)).toBe('Yesterday');
    expect(dayGroup(at(2026, 9, 3, 1, 1), now)).toBe('October 2026');
  });
  it('writes paths and counts', () => {
    expect(shortPath('/home/ada/src')).toBe('~/src');
    expect(shortPath('/homework/x')).toBe('/homework/x');
    expect(relativePath('/home/ada/src/x.go', '/home/ada/src/')).toBe('x.go');
    expect(compact(62_000)).toBe('62 k');
    expect(tileOf('unknown', 'My Agent')).toBe('My');
  });
});

describe('words', () => {
  const row = (more: Partial<SessionRow>) => ({ state: 'idle', waiting: 0, queued: 0, paused: false, agent_state: 'ready', ...more }) as SessionRow;
  const asked = (more: Partial<Approval>) =>
    ({ state: 'pending', title: 'Edit', options: [{ id: 'o', name: 'Allow once', kind: 'allow_once' }, { id: 'n', name: 'Deny', kind: 'reject_once' }], ...more }) as Approval;

  it('says a state', () => {
    expect(stateWords(row({ state: 'waiting', waiting: 1 }), asked({ detail: { command: 'ls' } })).line).toBe('Asks to run a command');
    expect(stateWords(row({ state: 'interrupted', reason: 'interrupted' })).line).toBe('Interrupted');
    expect(stateWords(row({ state: 'failed', reason: 'no login here' })).line).toBe('Failed: no login here');
    expect(stateWords(row({ state: 'queued', queued: 1, paused: true })).line).toBe('1 queued message, paused');
    expect(stateWords(row({})).line).toBe('');
  });

  it('finds the command that installs an agent', () => {
    expect(remedy('no program goose was found. Install it with: curl -fsSL https://x | bash')).toMatchObject({ command: 'curl -fsSL https://x | bash' });
    expect(remedy('Needs a login: run codex login')).toEqual({ why: 'Needs a login: run codex login', command: '' });
  });

  it('says why a message waits', () => {
    expect(waitWords('Codex', 'starting', '')).toBe('Codex is starting');
    expect(waitWords('Codex', 'starting', 'Waiting for a place: all 2 are in use.')).toBe('Waiting for a place: all 2 are in use.');
    expect(waitWords('Codex', 'ending', '')).toBe('Codex is ending, then it starts anew');
    expect(waitWords('Codex', 'ended', 'It was killed.')).toBe('It was killed. Codex starts anew');
    expect(waitWords('Codex', 'ready', '')).toBe('Waits for Codex');
  });

  it('says that a login is needed however the run ended, and not while one is under way', () => {
    for (const state of ['idle', 'failed', 'interrupted', 'queued'] as const) {
      expect(stateWords(row({ state, agent_state: 'needs_login', reason: 'no login here', queued: 1 }))).toMatchObject({ line: 'Needs a login', tone: 'bad' });
    }
    expect(stateWords(row({ state: 'failed', agent_state: 'needs_login' })).name).toBe('Failed');
    expect(stateWords(row({ state: 'running', run: 'r', agent_state: 'needs_login' })).line).toBe('Running');
    expect(agentWords('needs_login')).toBe('needs a login');
  });

  it('names keys as the keyboard has them', () => {
    expect(keyName('⌘↵', 'MacIntel')).toBe('⌘↵');
    expect(keyName('⌘↵', 'iPad')).toBe('⌘↵');
    expect(keyName('⌘⌫', 'Linux x86_64')).toBe('Ctrl ⌫');
    expect(keyName('⌘.', 'Win32')).toBe('Ctrl .');
  });

  it('says an answer, and that expired is not denied', () => {
    expect(approvalVerb(asked({ state: 'answered', chosen: 'o' }))).toBe('Allowed once');
    expect(approvalVerb(asked({ state: 'answered', chosen: 'n' }))).toBe('Denied');
    expect(approvalVerb(asked({ state: 'expired', at: '2026-11-24T12:00:00.000Z', expires_at: '2026-11-24T12:00:59.998Z' }))).toBe('Expired, not answered in 60 s');
    expect(approvalVerb(asked({ state: 'expired' }))).toBe('Expired, not answered in time');
    expect(approvalVerb(asked({ state: 'expired', chosen: 'o' }))).toBe('Expired, answered too late');
    expect(approvalQuestion(asked({ detail: { diff: [{ path: 'x', new: '' }] } }))).toBe('Make this change?');
    expect(approvalQuestion(asked({ title: 'Send mail' }))).toBe('Send mail?');
  });
});
