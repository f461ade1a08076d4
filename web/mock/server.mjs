// A stand-in for the host: it speaks the API contract from memory, with a scripted agent, and serves dist with the
// host's Content-Security-Policy. For working on the page and for its pictures; nothing of it ships.
//
//   node mock/server.mjs [--port 8790] [--out] [--state ok|degraded|failing|safe] [--many 10000]
//
// --out: begins logged out; the link's secret is "letmein". --state: how the host says that it is. --many: so
// many older sessions.

import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';
import { crc32, deflateSync } from 'node:zlib';
import { fileURLToPath } from 'node:url';
import { hostRoutes } from './host.mjs';
import { many, shelfRoutes } from './shelf.mjs';

const args = process.argv.slice(2);
const port = args.includes('--port') ? Number(args[args.indexOf('--port') + 1]) : 8790;
const dist = fileURLToPath(new URL('../dist', import.meta.url));
const state = args.includes('--state') ? args[args.indexOf('--state') + 1] : 'ok';
let loggedIn = !args.includes('--out');

const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; frame-ancestors 'none'";
const HOME = '/home/ada';

const agents = [
  { id: 'claude', name: 'Claude Code', version: '2.1.4', path: '/opt/homebrew/bin/claude', ready: true, reason: '' },
  { id: 'hermes', name: 'Hermes', version: '0.9.2', path: `${HOME}/.local/bin/hermes`, ready: true, reason: '' },
  { id: 'opencode', name: 'OpenCode', version: '1.3.0', path: '/opt/homebrew/bin/opencode', ready: true, reason: '' },
  { id: 'codex', name: 'Codex', version: '0.61', path: '/opt/homebrew/bin/codex', ready: false, reason: 'Needs a login: run codex login' },
  { id: 'tour', name: 'Tour', version: '0.4.1', path: '', ready: true, reason: '' },
  { id: 'gemini', name: 'Gemini', version: '', path: '', ready: false, reason: 'Not found. Install it with npm, then reload.' },
  { id: 'goose', name: 'Goose', version: '', path: '', ready: false, reason: 'Not found. See its own page for an installer.' },
];

// Of https://mini.example.ts.net/#link=letmein, a row each.
const QR = '1fcb227f,1052f241,174b405d,1745635d,1753ee5d,1048e641,1fd5557f,ff900,1547bb12,a0490e9,1ff708b7,1c92fbf2,11daa9cb,188609c9,4941cb,1b86cf1a,1cdabbcb,8981d4d,12db9133,a2a9aba,15db7df0,1d1117,1fc38b5b,10442d18,17543df0,17471837,1757de39,104eff82,1fda3be3'
  .split(',')
  .map((row) => parseInt(row, 16).toString(2).padStart(29, '0'));

// The log

const log = [];
const sessions = new Map();
const items = new Map();
const runs = new Map();
const approvals = new Map();
const streams = new Set();
const attachments = new Map();
let ids = 0;
const GENERATION = 'g1';
const newId = (kind) => `${kind}${++ids}`;

/** Kinds of events that move no session in the list. */
const QUIET = new Set(['session.changed', 'session.deleted', 'session.restored', 'agent.state', 'agent.options', 'queue.changed', 'usage', 'agent.raw']);

function emit(session, kind, body, run = '', at = Date.now()) {
  const s = sessions.get(session);
  const event = { id: log.length + 1, session, seq: ++s.seq, run, at: new Date(at).toISOString(), kind, body };
  log.push(event);
  s.last_event = event.id;
  if (!QUIET.has(kind)) {
    s.last_at = event.at;
    s.activity = event.id;
  }
  apply(event);
  for (const stream of streams) stream.send(event);
  return event;
}

function changed(session) {
  const s = sessions.get(session);
  const mine = [...approvals.values()].filter((a) => a.session === session && a.state === 'pending').length;
  s.waiting = mine;
  if (s.run) s.state = mine ? 'waiting' : 'running';
  else if (s.fixed) s.state = s.fixed;
  else s.state = s.queued ? 'queued' : s.reason === 'interrupted' ? 'interrupted' : 'idle';
  emit(session, 'session.changed', row({ ...s, seq: s.seq + 1, last_event: log.length + 1 }));
}

function row(s) {
  const { queue, fixed, path, offered, ...rest } = s;
  return rest;
}

function itemsOf(session) {
  if (!items.has(session)) items.set(session, []);
  return items.get(session);
}

function apply(event) {
  const list = itemsOf(event.session);
  const body = event.body;
  const add = (kind, content, open) =>
    list.push({ id: body.item, session: event.session, run: event.run, kind, seq: event.seq, at: event.at, body: content, open });
  const { item: id, ...rest } = body ?? {};
  const it = list.find((each) => each.id === id);
  switch (event.kind) {
    case 'item.copied': list.push({ id, session: event.session, run: '', kind: body.kind, seq: event.seq, at: body.at, body: body.body, open: false }); break;
    case 'message.user': add('user', rest, false); break;
    case 'agent.options': sessions.get(event.session).offered = { ...sessions.get(event.session).offered, ...body }; break;
    case 'message.edited': it.body = { ...it.body, text: body.text }; break;
    case 'message.steered': it.run = event.run; it.body = { ...it.body, steer: { ...(it.body.steer ?? { seq: event.seq }), state: body.state } }; break;
    case 'text.delta': it ? (it.body = { text: it.body.text + body.text }) : add('assistant', { text: body.text }, true); break;
    case 'thought.delta': it ? (it.body = { text: it.body.text + body.text }) : add('thought', { text: body.text }, true); break;
    case 'tool.started': add('tool', rest, true); break;
    case 'tool.updated':
      it.body = { ...it.body, ...body.set };
      if (body.append) {
        const content = structuredClone(it.body.content);
        content[body.append.index].content.text += body.append.text;
        it.body.content = content;
      }
      break;
    case 'plan': it ? (it.body = { entries: body.entries }) : add('plan', { entries: body.entries }, true); break;
    case 'item.closed':
      it.open = false;
      if (body.status) it.body = { ...it.body, status: body.status };
      if (body.ended_at) it.body = { ...it.body, ended_at: body.ended_at };
      break;
    case 'approval.requested': add('approval', body, true); break;
    case 'approval.resolved': it.body = { ...it.body, ...rest }; it.open = false; break;
    case 'notice': add('notice', rest, false); break;
    case 'run.queued': runs.set(body.run, { id: body.run, item: body.item, state: 'queued' }); break;
    case 'run.started': runs.set(body.run, { id: body.run, item: body.item, state: 'current', started_at: event.at }); break;
    case 'run.ended':
      runs.set(body.run, { ...(runs.get(body.run) ?? { id: body.run, item: '' }), state: 'ended', reason: body.reason, detail: body.detail, ended_at: event.at });
      break;
  }
}

/** How the runs stand that some items belong to; one of the scripted past without an end of its own ended as usual. */
function runsOf(session, list) {
  const s = sessions.get(session);
  return [...new Set(list.map((item) => item.run).filter(Boolean))].map((id) => {
    const item = list.find((each) => each.run === id && each.kind === 'user')?.id ?? '';
    const at = list.find((each) => each.run === id).at;
    return runs.get(id) ?? (s.run === id ? { id, item, state: 'current', started_at: at } : { id, item, state: 'ended', reason: 'end_turn', started_at: at, ended_at: at });
  });
}

function session(agent, folder, title, ago, more = {}) {
  const id = newId('s');
  const at = new Date(Date.now() - ago).toISOString();
  sessions.set(id, {
    id, title, agent, cwd: `${HOME}/${folder}`, state: 'idle', waiting: 0, queued: 0, paused: false, run: '', agent_state: 'ready',
    reason: '', created_at: at, last_at: at, activity: 0, last_event: 0, seq: 0, version: 1, queue: [], ...more,
  });
  return id;
}

// The scripted past

const MIN = 60_000;
const HOUR = 60 * MIN;
const text = (t) => ({ type: 'content', content: { type: 'text', text: t } });

function say(s, run, words, at, open = false) {
  const item = newId('i');
  emit(s, 'text.delta', { item, text: words }, run, at);
  if (!open) emit(s, 'item.closed', { item }, run, at + 1000);
}
function ask(s, run, words, at) {
  const item = newId('i');
  emit(s, 'message.user', { item, text: words, client_id: newId('c') }, run, at);
  return item;
}
function tool(s, run, at, took, body, status = 'completed') {
  const item = newId('i');
  emit(s, 'tool.started', { item, tool_call_id: newId('t'), status: 'in_progress', ...body }, run, at);
  if (status) emit(s, 'item.closed', { item, status, ended_at: new Date(at + took).toISOString() }, run, at + took);
  return item;
}

const OLD = `package deliver

import "time"

const baseDelay = time.Second

// NextDelay doubles with each attempt.
func NextDelay(attempt int) time.Duration {
	return baseDelay << attempt
}
`;
const NEW = `package deliver

import "time"

const baseDelay = time.Second

// NextDelay draws from [0, min(Cap, Base<<attempt)): full jitter.
func (p Policy) NextDelay(attempt int) time.Duration {
	ceil := p.Cap
	if d := p.Base << attempt; d > 0 && d < ceil {
		ceil = d
	}
	return time.Duration(p.rand.Int64N(int64(ceil)))
}
`;

function past() {
  const now = Date.now();
  const quiet = (agent, folder, title, ago, words, more) => {
    const s = session(agent, folder, title, ago, more);
    const run = newId('r');
    ask(s, run, title, now - ago - 5 * MIN);
    say(s, run, words, now - ago);
    return s;
  };
  for (const [agent, folder, title] of [
    ['tour', 'src/infra', 'Shrink the base image'],
    ['claude', 'src/billing', 'Invoice mails in Dutch and Polish'],
    ['opencode', 'home', 'What changed in router firmware 4.1'],
    ['opencode', 'src/infra', 'Grafana panel for relay p99'],
  ]) quiet(agent, folder, title, 26 * HOUR, 'Done.');
  const failed = quiet('hermes', 'src/infra', 'Renew the wildcard certificate', 3.2 * HOUR, 'The DNS interface wants a login.', {
    fixed: 'failed', state: 'failed', reason: 'no login for the DNS API',
  });
  emit(failed, 'run.ended', { run: itemsOf(failed)[0].run, reason: 'error', detail: 'There is no login for the DNS API.' }, itemsOf(failed)[0].run, now - 3.2 * HOUR);
  const login = quiet('codex', 'src/courier', 'Speed up the mailer tests', 2.8 * HOUR, 'I look at the slowest ones first.', {
    fixed: 'failed', state: 'failed', reason: 'error', agent_state: 'needs_login',
  });
  const lrun = newId('r');
  ask(login, lrun, 'Go on with the next five', now - 2.8 * HOUR);
  emit(login, 'agent.state', { state: 'needs_login', text: 'Codex needs a login. Run codex login on mini, then send it again.' }, lrun, now - 2.8 * HOUR);
  emit(login, 'run.ended', { run: lrun, reason: 'error', detail: 'Codex needs a login.' }, lrun, now - 2.8 * HOUR);
  quiet('claude', 'src/courier', 'Release notes for 2.8', 2.6 * HOUR, RICH);
  interrupted(now);
  quiet('hermes', 'src', 'Nightly dependency report', 2 * HOUR, 'Three upgrades are worth a look.');
  const queued = session('claude', 'src/billing', 'Rename tenant_id in billing', 3 * MIN, { paused: true });
  const qi = ask(queued, 'rq1', 'Rename tenant_id to account_id everywhere', now - 3 * MIN);
  const qj = ask(queued, 'rq2', 'Then run the migration on a copy', now - 2 * MIN);
  Object.assign(sessions.get(queued), { queued: 2, queue: [{ run: 'rq1', item: qi }, { run: 'rq2', item: qj }] });
  emit(queued, 'run.queued', { run: 'rq1', item: qi }, 'rq1');
  emit(queued, 'run.queued', { run: 'rq2', item: qj }, 'rq2');
  emit(queued, 'queue.changed', { paused: true, queue: sessions.get(queued).queue });
  changed(queued);
  for (const [agent, folder, title, ago] of [
    ['opencode', 'src/app-ios', 'Find the slow iOS build step', 2 * MIN],
    ['hermes', 'src/infra', 'Postgres 17 upgrade, dry run', 26 * MIN],
  ]) {
    const s = session(agent, folder, title, ago);
    const run = newId('r');
    sessions.get(s).run = run;
    ask(s, run, title, now - ago);
    if (agent === 'hermes') steering(s, run, now - ago);
    tool(s, run, now - ago, 0, { title: 'pg_restore -j4 dump', kind: 'execute', raw_input: { command: 'pg_restore -j4 dump' } }, '');
    changed(s);
  }
  const photos = session('hermes', 'Pictures', 'Move photo archive to the NAS', 11 * MIN);
  const prun = newId('r');
  sessions.get(photos).run = prun;
  ask(photos, prun, 'Move the photo archive to the NAS', now - 14 * MIN);
  approval(photos, prun, 'Delete 214 files', { command: 'rm -r ~/Pictures/2019-import/', text: '214 files, 3.1 GB. All are on the NAS with the same checksum.' }, now - 11 * MIN, [
    { id: 'once', name: 'Allow once', kind: 'allow_once' }, { id: 'all', name: 'Allow this command in this session', kind: 'allow_always' }, { id: 'no', name: 'Deny', kind: 'reject_once' },
  ]);
  jitter(now);
  for (const [state, chosen, title, command, by, hours] of [
    ['answered', 'once', 'Push', 'git push -u origin notes-2.8', 'Pixel 9', 0.2],
    ['answered', 'no', 'Upgrade', 'brew upgrade postgresql@16', 'MacBook', 0.4],
    ['expired', undefined, 'Renew', 'certbot renew --force', undefined, 0.6],
  ]) {
    const id = newId('a');
    const at = new Date(now - hours * HOUR).toISOString();
    approvals.set(id, { id, session: photos, run: prun, state, title, item: '', at, detail: { command }, options: OPTIONS, chosen, by, answered_at: at });
  }
}

/** A run into which something was said. */
function steering(s, run, at) {
  emit(s, 'agent.options', {
    steer: true,
    models: { currentModelId: 'h4', availableModels: [{ modelId: 'h4', name: 'Hermes 4 405B' }, { modelId: 'h3', name: 'Hermes 3' }] },
    modes: { currentModeId: 'default', availableModes: [{ id: 'default', name: 'Ask first' }, { id: 'edits', name: 'Accept edits' }] },
    commands: [{ name: 'steer', description: 'Inject guidance into the currently running agent turn' }],
  }, run, at);
  tool(s, run, at + 5_000, 41_000, { title: 'pg_dump billing', kind: 'execute', raw_input: { command: 'pg_dump -Fd -j4 -f dump billing' }, content: [text('dumped 412 tables')] });
  const say1 = newId('i');
  emit(s, 'message.user', { item: say1, text: 'Leave audit_log out, it is 300 GB', client_id: newId('c'), steer: { state: 'read' } }, run, at + 20_000);
  say(s, run, 'I leave `audit_log` out and restore the rest into the new cluster.', at + 48_000);
}

const RICH = `The draft is in \`docs/notes-2.8.md\`. In short:

## What is new

1. **Retries** draw their delay with full jitter.
2. The relay has a dial deadline of *5 s*.
   - configurable per target
   - old configurations keep \`base_delay\`

| Area | Change | Risk |
|---|---|---|
| deliver | jitter | low |
| relay | deadline | medium |

\`\`\`go
p := deliver.Policy{Base: time.Second, Cap: 30 * time.Second}
fmt.Println(p.NextDelay(3))
\`\`\`

![Delays before and after](docs/delays.png)

With full jitter the $n$-th delay is drawn from $[0, \\min(c, b \\cdot 2^n))$, on average

$$
E(d_n) = \\frac{1}{2} \\min(c, b \\cdot 2^n), \\qquad \\sum_{n=0}^{k} E(d_n) \\le \\frac{k+1}{2}\\,c
$$

> The tag is not pushed yet.

- [x] Changelog line
- [ ] Announcement

See [the release page](https://example.com/releases) or <script>alert(1)</script>; [this one](javascript:alert(1)) is no link.`;

const PRINTED = Array.from({ length: 30 }, (_, i) => `14:31:${String(i + 10)} \u001b[32mINFO\u001b[0m  reading skills/${i}.md`).join('\n') + '\n14:31:41 \u001b[33mWARN\u001b[0m  the model answers slowly\n';

function interrupted(now) {
  const s = session('codex', 'src/courier', 'Flaky TestLease under -race', 2 * HOUR);
  const a = newId('r');
  ask(s, a, 'Which tests were flaky this week, and how often?', now - 2.3 * HOUR);
  tool(s, a, now - 2.3 * HOUR, 2100, { title: 'gh run list', kind: 'execute', raw_input: { command: 'gh run list --status failure --json name,createdAt' }, content: [text('TestLease 7\nTestMailerClock 1')] });
  say(s, a, 'Two. `TestLease` failed in 7 of 212 runs, always under `-race`. `TestMailerClock` failed once, on the night the clocks changed.', now - 2.3 * HOUR + 9000);
  const b = newId('r');
  const at = now - 2.2 * HOUR;
  ask(s, b, 'TestLease fails about once in 30 runs under -race. Find out why and fix the cause, not the test.', at);
  for (let i = 0; i < 5; i++) tool(s, b, at + 1000 * i, 120, { title: `Read lease${i}.go`, kind: 'read', locations: [{ path: `${HOME}/src/courier/internal/lease/lease${i}.go` }] });
  tool(s, b, at + 9000, 48_000, { title: 'go test', kind: 'execute', raw_input: { command: 'go test -race -run TestLease -count=200' }, raw_output: { exit_code: 1 }, content: [text('--- FAIL: TestLease (0.31s)\n    lease_test.go:88: lease was given up while it was held')] }, 'failed');
  emit(s, 'notice', { item: newId('i'), level: 'info', text: 'Host restarted at 09:09:51, upgrade to 0.4.1. The run carried on.', code: 'host_restarted' }, b, at + 60_000);
  say(s, b, 'The renewal goroutine reads `l.expires` without the lock that `Extend` holds. Most of the time it sees the new value; when the timer fires inside `Extend`, it sees the old one and gives the lease up. The smallest fix is to take', at + 70_000);
  const last = ['11:14:05 INFO  codex: 41 files in context', '11:14:06 WARN  codex: 14.2 GB of 16 GB in use', 'memory allocation of 1073741824 bytes failed'];
  emit(s, 'notice', { item: newId('i'), level: 'warning', code: 'agent_stderr', text: 'The last that the agent printed.', detail: `${last.join('\n')}\n` }, b, at + 89_000);
  sessions.get(s).reason = 'interrupted';
  sessions.get(s).fixed = 'interrupted';
  sessions.get(s).state = 'interrupted';
  emit(s, 'run.ended', { run: b, reason: 'interrupted', detail: 'The machine ran out of memory and ended the agent (signal 9).' }, b, at + 90_000);
  changed(s);
}

function approval(s, run, title, detail, at, options) {
  const item = newId('i');
  const a = { id: newId('a'), session: s, run, state: 'pending', title, item, at: new Date(at).toISOString(), detail, options };
  approvals.set(a.id, a);
  emit(s, 'approval.requested', a, run, at);
  changed(s);
  return a;
}

const OPTIONS = [
  { id: 'once', name: 'Allow once', kind: 'allow_once' },
  { id: 'session', name: 'This session', kind: 'allow_session' },
  { id: 'always', name: 'Always for replay', kind: 'allow_always' },
  { id: 'no', name: 'Deny', kind: 'reject_once' },
];

function jitter(now) {
  const s = session('claude', 'src/courier', 'Jitter for webhook retries', 4 * MIN);
  const run = newId('r');
  sessions.get(s).run = run;
  const at = now - 4 * MIN - 12_000;
  const question = ask(s, run, 'Webhook retries come in waves. Give them full jitter under a cap, keep old configurations working, and prove the spread with a test.', at);
  emit(s, 'run.started', { run, item: question }, run, at);
  emit(s, 'agent.options', {
    models: { currentModelId: 'opus', availableModels: [['opus', 'Opus 4.5'], ['sonnet', 'Sonnet 4.5'], ['haiku', 'Haiku 4.5']].map(([modelId, name]) => ({ modelId, name })) },
    modes: {
      currentModeId: 'ask',
      availableModes: [
        { id: 'ask', name: 'Ask first', description: 'Before every edit and command' },
        { id: 'edits', name: 'Accept edits', description: 'Asks before commands only' },
        { id: 'plan', name: 'Plan', description: 'Reads and plans, changes nothing' },
      ],
    },
    commands: [['review', 'Review the changes of this branch'], ['compact', 'Sum up what was said so far'], ['init', 'Write down how this project works']].map(([name, description]) => ({ name, description })),
  }, run, at);
  const thought = newId('i');
  emit(s, 'thought.delta', { item: thought, text: 'The delay is a shift of the base, so all clients that failed together come back together.' }, run, at + 1000);
  emit(s, 'item.closed', { item: thought, ended_at: new Date(at + 10_000).toISOString() }, run, at + 10_000);
  for (const f of ['internal/deliver/retry.go', 'internal/deliver/retry_test.go', 'config/retry.go'])
    tool(s, run, at + 11_000, 11, { title: `Read ${f}`, kind: 'read', locations: [{ path: `${HOME}/src/courier/${f}` }], content: [text('line\n'.repeat(84))] });
  const plan = newId('i');
  const entries = ['Find where the delay is drawn', 'Draw under a cap, full jitter', 'Keep base_delay in old configs', 'Prove the spread with a test', 'Write the changelog line']
    .map((content, i) => ({ content, priority: 'medium', status: i < 3 ? 'completed' : i === 3 ? 'in_progress' : 'pending' }));
  emit(s, 'plan', { item: plan, entries }, run, at + 14_000);
  say(s, run, 'The delay is drawn in one place. I change it there and leave `base_delay` as the name in old configurations.', at + 15_000);
  tool(s, run, at + 20_000, 40, { title: 'Edit retry.go', kind: 'edit', locations: [{ path: `${HOME}/src/courier/internal/deliver/retry.go` }], content: [{ type: 'diff', path: `${HOME}/src/courier/internal/deliver/retry.go`, oldText: OLD, newText: NEW }] });
  tool(s, run, at + 30_000, 3100, { title: 'go test', kind: 'execute', raw_input: { command: 'go test ./internal/deliver' }, raw_output: { exit_code: 1 }, content: [text('=== RUN\n'.repeat(20) + '--- FAIL: TestNextDelay (0.00s)\n    retry_test.go:28: attempt 3: got 5.21s, want 8s')] }, 'failed');
  say(s, run, 'The old test pinned exact delays. I replaced it with one that draws 10,000 delays and checks their spread.', at + 40_000);
  emit(s, 'usage', { used: 62_000, size: 200_000, cost: { amount: 0.41, currency: 'USD' } }, run, now - 20_000);
  tool(s, run, now - 18_000, 0, { title: 'go test', kind: 'execute', raw_input: { command: 'go test ./internal/deliver -race -count=50' }, content: [text('ok      courier/internal/deliver    0.412s  run 31\nok      courier/internal/deliver    0.407s  run 32')] }, '');
  say(s, run, 'While the race run goes on, I’d like to replay Tuesday’s failures against staging, so the spread is measured on real traffic and not only in', now - 41_000, true);
  approval(s, run, 'Replay failures', {
    command: './bin/replay --from 2026-11-17T14:02Z --rate 50 --target https://staging.courier.test/hooks',
    text: 'Sends about 3,000 requests to staging. Writes nothing in this folder.',
  }, now - 40_000, OPTIONS);
}

// The scripted agent: thinks, plans, reads, asks before it acts, answers word by word.

const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const answers = new Map();

async function work(s, run, item, words) {
  const state = sessions.get(s);
  state.run = run;
  state.reason = '';
  delete state.fixed;
  emit(s, 'run.started', { run, item }, run);
  changed(s);
  const gone = () => sessions.get(s)?.run !== run;
  const stream = async (kind, id, all, ms = 40) => {
    for (const part of all.match(/\S+\s*/g) ?? []) {
      if (gone()) return;
      emit(s, kind, { item: id, text: part }, run);
      await wait(ms);
    }
    if (!gone()) emit(s, 'item.closed', { item: id, ended_at: new Date().toISOString() }, run);
  };
  await stream('thought.delta', newId('i'), 'The person wants this done with care, so I look first and ask before I act.');
  const plan = newId('i');
  const steps = (n) => ['Look around', 'Ask before acting', 'Answer'].map((content, i) => ({ content, priority: 'medium', status: i < n ? 'completed' : i === n ? 'in_progress' : 'pending' }));
  if (gone()) return;
  emit(s, 'plan', { item: plan, entries: steps(0) }, run);
  const t = newId('i');
  emit(s, 'tool.started', { item: t, tool_call_id: t, title: 'ls -la', kind: 'execute', status: 'in_progress', raw_input: { command: 'ls -la' }, content: [text('')] }, run);
  for (let i = 1; i <= 14 && !gone(); i++) {
    emit(s, 'tool.updated', { item: t, append: { index: 0, text: `-rw-r--r--  ada  ${i * 412} file${i}.txt\n` } }, run);
    await wait(60);
  }
  if (gone()) return;
  emit(s, 'item.closed', { item: t, status: 'completed', ended_at: new Date().toISOString() }, run);
  emit(s, 'plan', { item: plan, entries: steps(1) }, run);
  if (/ask/.test(words)) {
    const a = approval(s, run, 'Run make bench', { command: 'make bench', text: 'Runs for about a minute.' }, Date.now(), OPTIONS);
    await new Promise((done) => answers.set(a.id, done));
    if (gone()) return;
  }
  if (/crash/.test(words)) {
    emit(s, 'notice', { item: newId('i'), level: 'warning', code: 'agent_stderr', text: 'The last that the agent printed.', detail: 'panic: no more steps\n\ngoroutine 1 [running]:\nmain.main()\n' }, run);
    end(s, run, 'interrupted', 'Tour ended by itself with exit code 3.');
    return;
  }
  if (/change/.test(words)) {
    const e = newId('i');
    const path = `${HOME}/src/courier/internal/deliver/retry.go`;
    emit(s, 'tool.started', { item: e, tool_call_id: e, title: 'Edit retry.go', kind: 'edit', status: 'pending', locations: [{ path }], content: [{ type: 'diff', path, oldText: OLD, newText: NEW }] }, run);
    const a = approval(s, run, 'Edit retry.go', { diff: [{ path, old: OLD, new: NEW }] }, Date.now(), OPTIONS);
    await new Promise((done) => answers.set(a.id, done));
    if (gone()) return;
    emit(s, 'item.closed', { item: e, status: a.chosen === 'no' ? 'failed' : 'completed', ended_at: new Date().toISOString() }, run);
  }
  if (/restart/.test(words)) {
    await stream('text.delta', newId('i'), 'I look once more before I go on.');
    if (gone()) return;
    emit(s, 'notice', { item: newId('i'), level: 'info', code: 'host_restarted', text: 'Host restarted at 14:31:52. The run carried on.' }, run);
    tool(s, run, Date.now(), 3, { title: 'git status', kind: 'execute', raw_input: { command: 'git status' } });
  }
  emit(s, 'plan', { item: plan, entries: steps(2) }, run);
  await stream('text.delta', newId('i'), /long/.test(words) ? `${RICH}\n\n${RICH}` : RICH, 25);
  if (!gone()) end(s, run, 'end_turn');
}

function end(s, run, reason, detail) {
  const state = sessions.get(s);
  for (const it of itemsOf(s)) if (it.run === run && it.open && it.kind !== 'approval' && it.kind !== 'plan')
    emit(s, 'item.closed', { item: it.id, ...(it.kind === 'tool' ? { status: 'cancelled', ended_at: new Date().toISOString() } : {}) }, run);
  for (const a of approvals.values()) if (a.run === run && a.state === 'pending') resolve(a, { state: 'cancelled', reason: 'the run ended first' });
  state.run = '';
  state.reason = reason;
  emit(s, 'run.ended', { run, reason, detail }, run);
  if (reason !== 'end_turn' && state.queue.length) {
    state.paused = true;
    emit(s, 'queue.changed', { paused: true, queue: state.queue });
  }
  changed(s);
  if (!state.paused) next(s);
}

function next(s) {
  const state = sessions.get(s);
  const entry = state.queue.shift();
  state.queued = state.queue.length;
  if (!entry) return;
  emit(s, 'queue.changed', { paused: state.paused, queue: state.queue });
  const item = itemsOf(s).find((each) => each.id === entry.item);
  void work(s, entry.run, entry.item, item.body.text);
}

function resolve(a, how) {
  Object.assign(a, how, { answered_at: new Date().toISOString() });
  emit(a.session, 'approval.resolved', { id: a.id, item: a.item, answered_at: a.answered_at, ...how }, a.run);
  answers.get(a.id)?.();
  changed(a.session);
}

// HTTP

const problem = (status, code, title, detail) => [status, { type: 'about:blank', title, status, detail, code }];

const messages = new Map();
const itself = hostRoutes({ sessions, state });
const routes = [
  ...itself.routes,
  ['GET', /^\/health$/, itself.health],
  ['GET', /^\/api\/v1\/me$/, () => [200, { name: 'MacBook, Firefox', kind: 'cookie', version: '0.4.1', host: 'mini', ...(itself.safe() && { safe_mode: itself.safe() }) }]],
  ['POST', /^\/api\/v1\/logout$/, () => ((loggedIn = false), [204])],
  ['GET', /^\/api\/v1\/devices$/, () => [200, { devices: [
    { id: 'd1', kind: 'cookie', name: 'MacBook, Firefox', last_used: new Date().toISOString(), current: true },
    { id: 'd2', kind: 'cookie', name: 'Pixel 9, Chrome', last_used: new Date(Date.now() - 3 * HOUR).toISOString(), current: false },
  ] }]],
  ['PATCH', /^\/api\/v1\/devices\/([^/]+)$/, () => [204]],
  ['DELETE', /^\/api\/v1\/devices(?:\/([^/]+))?$/, () => [204]],
  ['POST', /^\/api\/v1\/links$/, () => [201, { url: 'https://mini.example.ts.net/#link=letmein', elsewhere: true, expires_at: new Date(Date.now() + 600_000).toISOString(), qr: QR }]],
  ['GET', /^\/api\/v1\/passkeys$/, () => [200, { passkeys: [
    { id: 'k1', name: 'MacBook, Touch ID', host: 'mini.example.ts.net', created_at: new Date(Date.now() - 90 * HOUR).toISOString(), last_used: new Date(Date.now() - 5 * HOUR).toISOString() },
  ] }]],
  ['DELETE', /^\/api\/v1\/passkeys\/([^/]+)$/, () => [204]],
  ['GET', /^\/api\/v1\/push$/, () => [200, { public_key: '', subscribed: false, level: 'none', sessions: {} }]],
  ['POST', /^\/api\/v1\/presence$/, () => [204]],
  ['GET', /^\/api\/v1\/agents$/, () => [200, { agents }]],
  ['GET', /^\/api\/v1\/folders$/, (m, q) => {
    const path = q.get('path') || HOME;
    const names = { [HOME]: ['Pictures', 'src', 'Documents'], [`${HOME}/src`]: ['app-ios', 'billing', 'courier', 'infra'] }[path] ?? [];
    if (path.includes('secret')) return problem(403, 'folder_forbidden', 'The folder cannot be read', 'The service may not open it.');
    return [200, { path, parent: path === '/' ? '' : path.replace(/\/[^/]+$/, '') || '/', folders: names.map((name) => ({ name, path: `${path}/${name}` })), recent: ['courier', 'infra', 'app-ios', 'billing'].map((n) => `${HOME}/src/${n}`) }];
  }],
  ['POST', /^\/api\/v1\/folders$/, (m, q, body) => [201, { path: body.path }]],
  ['GET', /^\/api\/v1\/agents\/([^/]+)\/options$/, (m) => {
    const { modes, models, config, commands } = [...sessions.values()].findLast((each) => each.agent === m[1] && each.offered?.models)?.offered ?? {};
    return [200, { modes, models, config, commands }];
  }],
  ['POST', /^\/api\/v1\/sessions$/, (m, q, body) => {
    const { agent, cwd, title = '', client_id: _, ...chosen } = body;
    const id = session(agent, '', title, 0, { cwd });
    emit(id, 'session.created', row({ ...sessions.get(id), seq: 1, activity: log.length + 1, last_event: log.length + 1 }));
    if (Object.keys(chosen).length > 0) emit(id, 'agent.options', { chosen });
    return [201, row(sessions.get(id))];
  }],
  ['GET', /^\/api\/v1\/sessions\/([^/]+)$/, (m) => (sessions.has(m[1]) ? [200, { ...row(sessions.get(m[1])), options: sessions.get(m[1]).offered }] : problem(404, 'session_not_found', 'There is no such session', 'It may have been deleted.'))],
  ['GET', /^\/api\/v1\/sessions\/([^/]+)\/items$/, (m, q) => {
    if (!sessions.has(m[1])) return problem(404, 'session_not_found', 'There is no such session', 'It may have been deleted.');
    const limit = Number(q.get('limit')) || 50;
    const all = itemsOf(m[1]);
    const after = Number(q.get('after'));
    const around = q.get('around') ? all.findIndex((item) => item.id === q.get('around')) : 0;
    if (around < 0) return problem(404, 'not_found', 'Not found', 'The session has no such item.');
    const index = (found, none) => (found < 0 ? none : found);
    const to = q.get('before') ? index(all.findIndex((item) => item.seq >= Number(q.get('before'))), all.length) : all.length;
    let [from, end] = [Math.max(0, to - limit), to];
    if (after) [from, end] = [index(all.findIndex((item) => item.seq > after), all.length), all.length];
    if (q.get('around')) from = Math.max(0, around - (limit >> 1));
    end = Math.min(end, from + limit);
    const page = all.slice(from, end);
    return [200, { items: page, runs: runsOf(m[1], page), cursor: cursor(), last_event: log.length, seq: sessions.get(m[1]).seq, more: from > 0, newer: end < all.length }];
  }],
  ['GET', /^\/api\/v1\/sessions\/([^/]+)\/events$/, (m, q) => {
    const after = Number(q.get('after')) || 0;
    return [200, { events: log.filter((e) => e.session === m[1] && e.seq > after).slice(0, Number(q.get('limit')) || 1000), last: sessions.get(m[1])?.seq ?? 0 }];
  }],
  ['POST', /^\/api\/v1\/sessions\/([^/]+)\/messages$/, (m, q, body) => {
    const s = sessions.get(m[1]);
    if (!s) return problem(404, 'session_not_found', 'There is no such session', 'It may have been deleted.');
    if (/refuse/.test(body.text)) return problem(422, 'text_refused', 'The message was refused', 'It says refuse.');
    if (messages.has(body.client_id)) return [202, messages.get(body.client_id)];
    const run = newId('r');
    const item = newId('i');
    if (!s.title) s.title = body.text.slice(0, 60);
    const event = emit(m[1], 'message.user', { item, text: body.text, client_id: body.client_id }, run);
    const answer = { item, run, seq: event.seq, state: s.run ? 'queued' : 'started' };
    messages.set(body.client_id, answer);
    if (s.run) {
      s.queue.push({ run, item });
      s.queued = s.queue.length;
      emit(m[1], 'run.queued', { run, item, position: s.queued }, run);
      emit(m[1], 'queue.changed', { paused: s.paused, queue: s.queue });
      changed(m[1]);
    } else void work(m[1], run, item, body.text);
    return [202, answer];
  }],
  ['POST', /^\/api\/v1\/sessions\/([^/]+)\/steer$/, (m, q, body) => {
    const s = sessions.get(m[1]);
    if (!s.offered?.steer) return problem(409, 'cannot_steer', 'The agent takes nothing in the middle of a run', 'Send a message: it waits until the run is over.');
    if (s.run !== body.run) return problem(409, 'run_not_current', 'The run is not under way', 'It has ended.');
    if (messages.has(body.client_id)) return [202, messages.get(body.client_id)];
    const waits = s.queue.find((entry) => entry.run === body.queued);
    if (body.queued && !waits) return problem(409, 'not_queued', 'That message does not wait', 'It has begun.');
    const item = waits?.item ?? newId('i');
    const own = waits?.run ?? newId('r');
    const told = (state) => emit(m[1], 'message.steered', { item, state, own }, body.run);
    let event;
    if (waits) {
      s.queue = s.queue.filter((entry) => entry !== waits);
      s.queued = s.queue.length;
      event = told('sent');
      emit(m[1], 'queue.changed', { paused: s.paused, queue: s.queue });
      changed(m[1]);
    } else event = emit(m[1], 'message.user', { item, text: body.text, client_id: body.client_id, steer: { state: 'sent' } }, body.run);
    setTimeout(() => s.run === body.run && told('taken'), 400);
    const answer = { item, run: own, seq: event.seq, state: 'sent' };
    messages.set(body.client_id, answer);
    return [202, answer];
  }],
  ['POST', /^\/api\/v1\/sessions\/([^/]+)\/cancel$/, (m, q, body) => {
    const s = sessions.get(m[1]);
    if (s.run === body.run) {
      setTimeout(() => end(m[1], body.run, 'cancelled'), 300);
      return [202, {}];
    }
    return problem(409, 'run_not_current', 'That run is over', 'It ended before the stop came.');
  }],
  ['POST', /^\/api\/v1\/sessions\/([^/]+)\/queue$/, (m, q, body) => {
    sessions.get(m[1]).paused = body.paused;
    emit(m[1], 'queue.changed', { paused: body.paused, queue: sessions.get(m[1]).queue });
    if (!body.paused && !sessions.get(m[1]).run) next(m[1]);
    return [200, {}];
  }],
  ['PUT', /^\/api\/v1\/sessions\/([^/]+)\/queue$/, (m, q, body) => {
    const s = sessions.get(m[1]);
    s.queue = body.runs.map((run) => s.queue.find((entry) => entry.run === run));
    emit(m[1], 'queue.changed', { paused: s.paused, queue: s.queue });
    return [200, {}];
  }],
  ['PATCH', /^\/api\/v1\/sessions\/([^/]+)\/queue\/([^/]+)$/, (m, q, body) => {
    const entry = sessions.get(m[1]).queue.find((each) => each.run === m[2]);
    if (!entry) return problem(409, 'not_queued', 'That message does not wait', 'It has begun.');
    emit(m[1], 'message.edited', { item: entry.item, text: body.text }, entry.run);
    return [200, {}];
  }],
  ['DELETE', /^\/api\/v1\/sessions\/([^/]+)\/queue\/([^/]+)$/, (m) => {
    const s = sessions.get(m[1]);
    const at = s.queue.findIndex((entry) => entry.run === m[2]);
    if (at < 0) return problem(409, 'not_queued', 'That message does not wait', 'It has begun.');
    s.queue.splice(at, 1);
    s.queued = s.queue.length;
    emit(m[1], 'run.ended', { run: m[2], reason: 'cancelled' }, m[2]);
    emit(m[1], 'queue.changed', { paused: s.paused, queue: s.queue });
    changed(m[1]);
    return [204, null];
  }],
  ['POST', /^\/api\/v1\/sessions\/([^/]+)\/options$/, (m, q, body) => {
    emit(m[1], 'agent.options', { chosen: body });
    return [202, { options: {} }];
  }],
  ['GET', /^\/api\/v1\/(?:sessions\/[^/]+|folders)\/files$/, (m, q) => {
    const all = ['config/retry.go', 'internal/deliver/retry.go', 'internal/deliver/retry_test.go', 'internal/deliver/worker.go', 'internal/lease/lease.go', 'README.md', 'go.mod', 'docs/retries.md', 'Makefile'];
    const fits = new RegExp([...(q.get('q') ?? '')].map((letter) => letter.replace(/\W/, '\\$&')).join('.*'), 'i');
    return [200, { files: all.filter((path) => fits.test(path)).map((path) => ({ path })), more: false }];
  }],
  ['GET', /^\/api\/v1\/sessions\/([^/]+)\/agent\/log$/, (m) => [200, { agent: sessions.get(m[1]).agent, state: 'ready', started_at: new Date().toISOString(), text: PRINTED, size: PRINTED.length }]],
  ['POST', /^\/api\/v1\/sessions\/([^/]+)\/agent\/end$/, (m) => (end(m[1], sessions.get(m[1]).run, 'interrupted', 'A person ended the agent.'), [202, {}])],
  ['GET', /^\/api\/v1\/search$/, (m, q) => {
    const words = (q.get('q') ?? '').toLowerCase();
    const hits = [...sessions.keys()]
      .filter((id) => !q.get('session') || q.get('session') === id)
      .flatMap((id) => itemsOf(id).filter((item) => JSON.stringify(item.body).toLowerCase().includes(words)))
      .sort((a, b) => b.at.localeCompare(a.at))
      .map((item) => ({ session: item.session, title: sessions.get(item.session).title, item: item.id, kind: item.kind, seq: item.seq, at: item.at, snippet: [{ text: words, match: true }] }));
    return [200, { hits: words ? hits.slice(0, Number(q.get('limit')) || 20) : [], next: null, behind: 0 }];
  }],
  ['GET', /^\/api\/v1\/approvals$/, (m, q) => [200, { approvals: [...approvals.values()].filter((a) => a.state === (q.get('state') ?? 'pending')).sort((a, b) => a.at.localeCompare(b.at)) }]],
  ['POST', /^\/api\/v1\/approvals\/([^/]+)$/, (m, q, body) => {
    const a = approvals.get(m[1]);
    if (a.state !== 'pending') return problem(409, 'approval_answered', 'The question was answered', 'Another device was first.');
    resolve(a, { state: 'answered', chosen: body.option, by: 'MacBook' });
    return [200, a];
  }],
];

function cursor() {
  return `${GENERATION}-${log.length}`;
}

function openStream(request, response, query) {
  const wanted = new Set(query.getAll('session'));
  const from = request.headers['last-event-id'] || query.get('cursor') || cursor();
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
  const [generation, id] = from.split('-');
  if (generation !== GENERATION) {
    response.end('event: resync\ndata: {}\n\n');
    return;
  }
  const stream = {
    send(event) {
      if (wanted.has(event.session) || event.kind.startsWith('session.'))
        response.write(`id: ${GENERATION}-${event.id}\ndata: ${JSON.stringify(event)}\n\n`);
    },
  };
  for (const event of log.slice(Number(id))) stream.send(event);
  streams.add(stream);
  const beat = setInterval(() => response.write(`id: ${cursor()}\n\n`), 10_000);
  response.write(': open\n\n');
  request.on('close', () => {
    streams.delete(stream);
    clearInterval(beat);
  });
}

const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.woff2': 'font/woff2', '.webmanifest': 'application/manifest+json', '.png': 'image/png', '.txt': 'text/plain' };

async function file(path, response) {
  const name = normalize(path).replace(/^\/+/, '');
  try {
    let data = await readFile(join(dist, name || 'index.html'));
    // As the host does: the built page names its files relative to itself.
    if (!name || name === 'index.html') data = data.toString().replaceAll('="./', '="/').replace('<meta name="holdfast-page" content=""', '<meta name="holdfast-page" content="mock"');
    response.writeHead(200, { 'Content-Type': TYPES[extname(name || 'index.html')] ?? 'application/octet-stream', 'Content-Security-Policy': CSP });
    response.end(data);
  } catch {
    if (extname(name)) return void response.writeHead(404).end();
    await file('/index.html', response);
  }
}

/** A chart of some kind, as PNG. */
function plot(width = 560, height = 220) {
  const pixels = Buffer.alloc(height * (1 + width * 3), 255);
  for (let y = 0; y < height; y++) {
    pixels[y * (1 + width * 3)] = 0;
    for (let x = 0; x < width; x++) {
      const under = y > height - 12 - (height - 40) * Math.min(1, 2 ** (Math.floor(x / 80) - 5)) * (0.3 + 0.7 * Math.abs(Math.sin(x * 12.9898) * 43758.5453 % 1));
      if (under && y < height - 12) pixels.set([13, 111, 117], y * (1 + width * 3) + 1 + x * 3);
    }
  }
  const chunk = (kind, data) => {
    const body = Buffer.concat([Buffer.from(kind), data]);
    const frame = Buffer.alloc(8);
    frame.writeUInt32BE(data.length);
    frame.writeUInt32BE(crc32(body), 4);
    return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width);
  head.writeUInt32BE(height, 4);
  head.set([8, 2, 0, 0, 0], 8);
  return Buffer.concat([Buffer.from('89504e470d0a1a0a', 'hex'), chunk('IHDR', head), chunk('IDAT', deflateSync(pixels)), chunk('IEND', Buffer.alloc(0))]);
}

/** A form with one file is kept; by its id it comes back. */
async function attachment(request, response, id, json) {
  const had = attachments.get(id);
  if (id) return had ? void response.writeHead(200, { 'Content-Type': had.type }).end(had.data) : json(404, {});
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const form = Buffer.concat(chunks);
  const head = form.indexOf('\r\n\r\n');
  const [, name] = /filename="([^"]*)"/.exec(form.subarray(0, head).toString());
  const [, type] = /Content-Type: (\S+)/i.exec(form.subarray(0, head).toString());
  const data = form.subarray(head + 4, form.lastIndexOf('\r\n--'));
  const kept = newId('f');
  attachments.set(kept, { type, data });
  json(201, { id: kept, name, type, size: data.length });
}

const server = createServer(async (request, response) => {
  const url = new URL(request.url, 'http://mock');
  const json = (status, body) => {
    response.writeHead(status, { 'Content-Type': status >= 400 ? 'application/problem+json' : 'application/json' });
    response.end(body === undefined ? '' : JSON.stringify(body));
  };
  if (!url.pathname.startsWith('/api/') && url.pathname !== '/health') return file(url.pathname, response);
  const given = /^\/api\/v1\/attachments(?:\/(.+))?$/.exec(url.pathname);
  if (given) return attachment(request, response, given[1], json);
  let raw = '';
  for await (const chunk of request) raw += chunk;
  const body = raw ? JSON.parse(raw) : {};
  if (url.pathname === '/api/v1/login/link' || url.pathname === '/api/v1/login/password') {
    if ((body.secret ?? body.password) !== 'letmein')
      return json(...problem(401, 'link_used', 'The link did not work', 'That link was used at 09:14 by another browser.'));
    loggedIn = true;
    return json(204);
  }
  if (url.pathname === '/api/v1/login/passkey/begin') return json(200, { publicKey: { challenge: 'AAAA', rpId: 'localhost' } });
  if (!loggedIn && url.pathname !== '/health') return json(...problem(401, 'not_logged_in', 'This browser is not logged in', ''));
  if (url.pathname === '/api/v1/stream') return openStream(request, response, url.searchParams);
  if (/\/files\/raw$/.test(url.pathname)) return void response.writeHead(200, { 'Content-Type': 'image/png' }).end(plot());
  for (const [method, pattern, handle] of routes) {
    const match = request.method === method && pattern.exec(url.pathname);
    if (match) return json(...handle(match, url.searchParams, body));
  }
  json(...problem(404, 'not_found', 'There is no such address', url.pathname));
});

if (args.includes('--many')) many(Number(args[args.indexOf('--many') + 1]), { session, emit, sessions, row });
past();
routes.unshift(...shelfRoutes({ sessions, row, emit, changed, itemsOf, problem, newId, session, cursor, home: HOME }));
server.listen(port, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
