// What the stand-in says of itself: a day with one leak that was mended, a month of lives, agents that cost something.

const MIN = 60_000;
const HOUR = 60 * MIN;
const DAY = 24 * HOUR;
const began = Date.now();

/** The same noise each time, so that pictures can be compared. */
function noise(i, size) {
  const x = Math.sin(i * 12.9898) * 43758.5453;
  return (x - Math.floor(x) - 0.5) * 2 * size;
}

function history(agents) {
  const points = [];
  for (let i = 0; i <= 288; i++) {
    const at = began - DAY + i * 5 * MIN;
    // Down for a quarter of an hour, twelve hours ago.
    if (i > 141 && i < 145) continue;
    const expected = i < 90 ? 24 : i < 200 ? 28 : 33;
    const leak = i > 110 && i < 142 ? (i - 110) * 1.3 : 0;
    const live = i < 60 ? 1 : i < 102 ? 2 : i < 141 ? 3 : i < 180 ? 4 : i < 214 ? 3 : agents;
    points.push({
      at: new Date(at).toISOString(),
      expected,
      observed: Math.round(expected + leak + (i % 97 === 0 ? 2 : 0)),
      rss: Math.round(38e6 + 6e6 * Math.sin(i / 40) + noise(i, 8e5)),
      goroutines: 60 + live * 6,
      wal: Math.round(2.4e6 + 1.2e6 * Math.abs(Math.sin(i / 9))),
      agents: live,
      agent_descriptors: live * 34,
      agent_rss: Math.round(live * 209e6 + noise(i + 7, 3e5)),
      streams: i < 66 ? 0 : i < 90 ? 1 : i < 120 ? 2 : i < 250 ? 3 : 4,
      probe_ms: Math.round((3 + noise(i, 0.8) + (i === 135 ? 9 : i === 212 ? 4 : 0)) * 10) / 10,
    });
  }
  return points;
}

const life = (started, ended, how, version, more = {}) => ({
  started: new Date(started).toISOString(),
  ended: new Date(ended).toISOString(),
  how,
  pid: 48_000,
  version,
  served: true,
  peak_memory: 71e6,
  peak_descriptors: 47,
  ...more,
});

const TRACE = `fatal error: concurrent map writes

goroutine 4117 [running]:
internal/sync.(*Map).store(0x0?, {0x104f1c2a0?, 0x14000610270?})
	holdfast/internal/session/worker.go:214 +0x1f4
created by main.(*host).run in goroutine 1
	holdfast/internal/app/app.go:141 +0x3a8`;

function lives() {
  const a = began - 11.97 * HOUR;
  return {
    now: life(a, began, '', '0.4.1', { peak_memory: 52e6, peak_descriptors: 72 }),
    lives: [
      life(a - 9.1 * DAY, a - 12 * MIN, 'crash', '0.4.1', { reason: 'fatal error: concurrent map writes', peak_descriptors: 72, peak_memory: 74e6, trace: TRACE, file: '/home/ada/.holdfast/crash/20261124-031204/runtime.out' }),
      life(a - 12.4 * DAY, a - 9.1 * DAY - 1000, 'upgrade', '0.4.0'),
      life(a - 17.4 * DAY, a - 12.41 * DAY, 'killed', '0.4.0', { peak_descriptors: 188 }),
      life(a - 21.5 * DAY, a - 17.4 * DAY - 1000, 'upgrade', '0.3.2', { peak_descriptors: 44, peak_memory: 52e6 }),
      life(a - 30.3 * DAY, a - 21.52 * DAY, 'reboot', '0.3.2', { peak_memory: 49e6 }),
      life(a - 33 * DAY, a - 30.31 * DAY, 'asked', '0.3.2', { peak_memory: 49e6, reason: 'holdfast stop' }),
    ],
  };
}

const LINES = [
  ['INFO', 'serve', 'address=127.0.0.1:8787 version=0.4.1'],
  ['INFO', 'logged in', 'from=192.168.1.20:51344 name="MacBook, Firefox"'],
  ['DEBUG', 'wake session', 'session=s12'],
  ['INFO', 'start agent', 'session=s12 agent=claude pid=48213'],
  ['WARN', 'the disk was slow', 'took=1.204s query="update canary"'],
  ['DEBUG', 'sample descriptors', 'observed=33 expected=33'],
  ['ERROR', 'run ended', 'session=s9 err="agent ended by itself: exit status 3"'],
  ['INFO', 'put agent to sleep', 'session=s9 agent=hermes idle=30m0s'],
  ['DEBUG', 'sample descriptors', 'observed=33 expected=33'],
];
const LEVELS = ['debug', 'info', 'warn', 'error'];
let level = 'info';
const lines = Array.from({ length: 40 }, (_, i) => {
  const [word, message, rest] = LINES[i % LINES.length];
  return `time=${new Date(began - (40 - i) * 97_000).toISOString()} level=${word} msg=${message.includes(' ') ? JSON.stringify(message) : message} ${rest}`;
});

export const SAFE = 'The host crashed 6 times in 10 minutes, so no agent is started or resumed until a person ends the safe mode.';

export function hostRoutes({ sessions, state }) {
  let safe = state === 'safe' ? SAFE : '';
  const problems =
    state === 'degraded'
      ? ['188 descriptors are open, and 33 are explained; most of the rest: 151 × /home/ada/.holdfast/state.db', 'the disk does not take writes, or is very slow']
      : state === 'failing'
        ? ['the list of sessions cannot be read']
        : [];
  const status = () => (state === 'failing' || state === 'degraded' ? state : safe ? 'degraded' : 'ok');
  const live = () => [...sessions.values()].filter((s) => s.run).slice(0, 4);
  const agents = () =>
    live().map((s, i) => ({
      session: s.id,
      title: s.title,
      agent: s.agent,
      busy: true,
      keeper_pid: 48_213 + i * 1741,
      descriptors: [38, 22, 61, 29][i],
      expected: 40,
      budget: i === 2 ? 60 : 200,
      kinds: { file: 12, pipe: 6, socket: 4 },
      top: [],
      rss: [212e6, 96e6, 340e6, 188e6][i],
      children: i,
      cpu_s: [840, 410, 2, 40][i] + ((Date.now() - began) / 1000) * [0.04, 0.31, 0, 0.12][i],
      age_s: [19_800, 1560, 4320, 120][i] + (Date.now() - began) / 1000,
    }));
  const observed = state === 'degraded' ? 188 : 33;
  return {
    safe: () => safe,
    health: () => [state === 'failing' ? 503 : 200, { status: status(), version: '0.4.1', problems }],
    routes: [
      ['GET', /^\/api\/v1\/host\/ledger$/, () => [200, {
        available: true,
        now: {
          at: new Date().toISOString(), limit: 256, expected: 33, observed, unexplained: observed - 33,
          owners: [
            { owner: 'database', kind: 'sqlite', expected: 12, bound: 15, observed: 12 },
            { owner: 'listener', kind: 'socket', expected: 1, bound: 1, observed: -1 },
            { owner: 'connections', kind: 'socket', expected: 6, bound: 400, observed: -1 },
            { owner: 'keepers', kind: 'socket', expected: 4, bound: 8, observed: -1 },
            { owner: 'log', kind: 'file', expected: 2, bound: 2, observed: 2 },
            { owner: 'lock', kind: 'file', expected: 1, bound: 1, observed: 1 },
            { owner: 'runtime', kind: 'event', expected: 4, bound: 6, observed: -1 },
          ],
          kinds: [
            { kind: 'device', expected: 3, observed: 3, top: [{ kind: 'device', target: '/dev/null', count: 3 }] },
            { kind: 'event', expected: 4, observed: 4, top: [{ kind: 'event', target: '', count: 4 }] },
            { kind: 'file', expected: 3, observed: 3, top: [{ kind: 'file', target: '/home/ada/.holdfast/logs/holdfast.log', count: 2 }, { kind: 'file', target: '/home/ada/.holdfast/host.lock', count: 1 }] },
            { kind: 'socket', expected: 11, observed: 11, top: [{ kind: 'socket', target: '', count: 11 }] },
            { kind: 'sqlite', expected: 12, observed: 12 + observed - 33, top: [{ kind: 'sqlite', target: '/home/ada/.holdfast/state.db', count: 4 + observed - 33 }, { kind: 'sqlite', target: '/home/ada/.holdfast/state.db-wal', count: 4 }, { kind: 'sqlite', target: '/home/ada/.holdfast/state.db-shm', count: 4 }] },
          ],
        },
        gauges: { rss: 41e6, rss_budget: 256e6, goroutines: 84, goroutines_expected: 90, wal: 2.4e6, disk_free: 214e9, probe_ms: 2.8 },
        findings: [],
        classes: [{ class: 'api', now: 1, bound: 64 }, { class: 'stream', now: 4, bound: 256 }],
        agents: agents(),
        history: history(live().length),
      }]],
      ['GET', /^\/api\/v1\/host\/lives$/, () => [200, { ...lives(), ...(safe && { safe_mode: safe }) }]],
      ['GET', /^\/api\/v1\/host\/log$/, (m, q) => {
        const least = LEVELS.indexOf(q.get('level') ?? 'debug');
        const rank = (line) => LEVELS.indexOf(/ level=(\w+)/.exec(line)[1].toLowerCase());
        return [200, { level, lines: lines.filter((line) => rank(line) >= least).slice(-(Number(q.get('limit')) || 200)) }];
      }],
      ['PUT', /^\/api\/v1\/host\/log$/, (m, q, body) => {
        level = body.level;
        lines.push(`time=${new Date().toISOString()} level=WARN msg="the level of the log was changed" level=${level}`);
        return [200, { level }];
      }],
      ['POST', /^\/api\/v1\/host\/resume$/, () => ((safe = ''), [204])],
      ['POST', /^\/api\/v1\/host\/diagnosis$/, () => [200, { stands_for: 'an archive' }]],
    ],
  };
}
