// Builds the programs under test once, into a temporary folder, and runs the tests of this folder or takes the
// pictures.
//
//   npm test [-- login.test.mjs …]     npm run shots [-- name…]
//
// HOLDFAST_TEST_QUICK=1 is the quick part: each case at one of the two sizes, by turns.
//
// CHROMIUM is the path of the browser. Without it the tests take chromium-headless-shell where it is installed: the same
// pages for a quarter of the work, because nothing of a window is made. The pictures, and web/mock/drive.mjs, take the
// whole Chromium. Without any everything is skipped, which is a failure where CI is set.

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const here = import.meta.dirname;
const root = join(here, '..', '..');
const [what, ...names] = process.argv.slice(2);

const whole = '/usr/bin/chromium';
const shell = '/usr/bin/chromium-headless-shell';
const chromium = process.env.CHROMIUM ?? (what !== 'shots' && existsSync(shell) ? shell : whole);
if (!existsSync(chromium)) {
  console.error(`SKIPPED: the tests in a browser did not run. There is no ${chromium}; install Chromium or set CHROMIUM to its path.`);
  process.exit(process.env.CI ? 1 : 0);
}

/** The longest come first: begun last, one of them would run alone at the end. */
const LONGEST = ['looks', 'sessions', 'states', 'transcript', 'composer', 'access', 'faults', 'writing', 'chat'];
const rank = (file) => (LONGEST.includes(file.split('.')[0]) ? LONGEST.indexOf(file.split('.')[0]) : LONGEST.length);

const bin = mkdtempSync(join(tmpdir(), 'hf-browser'));
const children = new Set();
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    for (const child of children) child.kill(signal);
  });
}
let code = 1;
try {
  code = build() ? await run() : 1;
} finally {
  rmSync(bin, { recursive: true, force: true });
}
process.exit(code);

function build() {
  return [
    ['holdfast', './cmd/holdfast', ...(what === 'bench' ? [] : ['-tags', 'failpoints'])],
    ['scripted', './test/agent'],
  ].every(([name, from, ...flags]) => {
    const made = spawnSync('go', ['build', ...flags, '-o', join(bin, name), from], { cwd: root, stdio: 'inherit' });
    if (made.error) console.error(`build ${name}: ${made.error.message}`);
    return made.status === 0;
  });
}

async function run() {
  if (what !== 'test') return node([`${what}.mjs`, ...names], 'inherit');
  const files = names.length ? names : readdirSync(here).filter((name) => name.endsWith('.test.mjs')).sort((a, b) => rank(a) - rank(b));
  const failed = [];
  const begun = performance.now();
  // Each file by a node of its own and not by `node --test`, which loops for ever over what a file that ends in mid-report
  // leaves (nodejs/node#62693).
  const next = async () => {
    for (let file; (file = files.shift()); ) {
      if ((await node(['--test-force-exit', '--test-reporter=spec', file], 'pipe')) !== 0) failed.push(file);
    }
  };
  await Promise.all(Array.from({ length: 2 }, next));
  console.log(`${Math.round((performance.now() - begun) / 1000)} s${failed.length ? `; failed: ${failed.join(', ')}` : ''}`);
  return failed.length ? 1 : 0;
}

/** Runs node here, what it says kept together where it is piped, and gives its exit code. */
async function node(args, stdio) {
  const child = spawn(process.execPath, args, {
    cwd: here,
    stdio: ['ignore', stdio, stdio],
    env: { ...process.env, HOLDFAST_TEST_BIN: bin, CHROMIUM: chromium },
    // A file that hangs is a failure like any other.
    timeout: what === 'test' ? 600_000 : undefined,
    killSignal: 'SIGKILL',
  });
  children.add(child);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', (text) => (said += text));
  // 'exit' and not 'close': what a host left behind may hold the pipe.
  const code = await new Promise((done) => child.on('exit', (status) => setImmediate(done, status ?? 1)));
  children.delete(child);
  if (stdio === 'pipe') process.stdout.write(`\n${args.at(-1)}\n${said}`);
  return code;
}
