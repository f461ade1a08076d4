// Builds the programs under test once, into a temporary folder, and runs the tests of this folder or takes the
// pictures.
//
//   npm test [-- login.test.mjs …]     npm run shots [-- name…]
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
const chromium = process.env.CHROMIUM ?? (what === 'test' && existsSync(shell) ? shell : whole);
if (!existsSync(chromium)) {
  console.error(`SKIPPED: the tests in a browser did not run. There is no ${chromium}; install Chromium or set CHROMIUM to its path.`);
  process.exit(process.env.CI ? 1 : 0);
}

const bin = mkdtempSync(join(tmpdir(), 'hf-browser'));
let code = 1;
try {
  code = build() ? await run() : 1;
} finally {
  rmSync(bin, { recursive: true, force: true });
}
process.exit(code);

function build() {
  return [
    ['holdfast', './cmd/holdfast', '-tags', 'failpoints'],
    ['scripted', './test/agent'],
  ].every(([name, from, ...flags]) => {
    const made = spawnSync('go', ['build', ...flags, '-o', join(bin, name), from], { cwd: root, stdio: 'inherit' });
    if (made.error) console.error(`build ${name}: ${made.error.message}`);
    return made.status === 0;
  });
}

async function run() {
  let args;
  if (what === 'shots') {
    args = [join(here, 'shots.mjs'), ...names];
  } else {
    const files = names.length ? names : readdirSync(here).filter((name) => name.endsWith('.test.mjs'));
    args = ['--test', '--test-concurrency=2', '--test-force-exit', '--test-reporter=spec', ...files.map((name) => join(here, name))];
  }
  const child = spawn(process.execPath, args, {
    cwd: here,
    stdio: 'inherit',
    env: { ...process.env, HOLDFAST_TEST_BIN: bin, CHROMIUM: chromium },
  });
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
  return new Promise((done) => child.on('exit', (status) => done(status ?? 1)));
}
