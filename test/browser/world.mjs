// One state folder with the built host that serves it, real agents' processes beside it, and signals. Nothing of it is
// shared: a host starts and stops in a fifth of a second, less than its traces in another case would cost.

import { execFile, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const exec = promisify(execFile);
const bin = process.env.HOLDFAST_TEST_BIN;
const HOST = join(bin ?? '', 'holdfast');

/** Polls until probe gives something true, which it returns: what it waits for is another process. */
export async function until(what, probe, limit = 20_000) {
  for (const deadline = Date.now() + limit; ; await sleep(40)) {
    const found = await probe();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${limit} ms`);
  }
}

export class World {
  base = '';
  token = '';
  /** The link that the host printed when it started. */
  firstLink = '';
  output = '';
  host = null;

  /** env is the scripted agent's; config goes before its table. */
  constructor({ env = {}, config = '' } = {}) {
    if (!bin) throw new Error('HOLDFAST_TEST_BIN is not set: run the tests with npm test');
    this.dir = mkdtempSync(join(tmpdir(), 'hf'));
    this.home = join(this.dir, 'state');
    // A person's home with a project in it: what the folder chooser shows does not depend on this machine.
    this.user = join(this.dir, 'ada');
    this.work = join(this.user, 'src', 'replay');
    for (const folder of [this.home, this.work, join(this.dir, 'agent')]) mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.log = join(this.dir, 'agent.log');
    // Hermes Agent is known to be steered, by its id.
    this.agent = env.SCRIPT_AGENT_STEER ? 'hermes' : 'script';
    const vars = Object.entries({ SCRIPT_AGENT_LOG: this.log, SCRIPT_AGENT_STATE: join(this.dir, 'agent'), ...env });
    writeFileSync(
      join(this.home, 'config.toml'),
      `${config}\n[agents.${this.agent}]\nname = "Script"\ncommand = [${JSON.stringify(join(bin, 'scripted'))}]\n` +
        `env = { ${vars.map(([key, value]) => `${key} = ${JSON.stringify(value)}`).join(', ')} }\n`,
      { mode: 0o600 },
    );
    const { HOLDFAST_ADDR, HERMES_WEBUI_HOST, HERMES_WEBUI_PORT, ...rest } = process.env;
    this.environ = { ...rest, HOME: this.user, SHELL: '/bin/sh', HOLDFAST_HOME: this.home };
  }

  /**
   * Starts the host, at the address of its earlier life, as a page expects it. failpoints are armed in this life of it:
   * 'host.read=kill@3' (internal/failpoint).
   */
  async start(...failpoints) {
    const addr = this.base ? new URL(this.base).host : '127.0.0.1:0';
    const host = spawn(HOST, ['up', '--no-browser', '--addr', addr], {
      env: { ...this.environ, ...(failpoints.length && { HOLDFAST_FAILPOINT: failpoints.join(',') }) },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.host = host;
    this.ended = new Promise((done) => host.on('exit', done));
    let said = '';
    host.stdout.on('data', (data) => (said += data));
    for (const stream of [host.stdout, host.stderr]) stream.on('data', (data) => (this.output += data));
    await until('the host serves', async () => {
      if (host.exitCode !== null) throw new Error(`the host ended:\n${this.output}`);
      this.base ||= /runs at (http:\S+)/.exec(said)?.[1] ?? '';
      this.firstLink ||= /^\s*(http:\S+#link=\S+)$/m.exec(said)?.[1] ?? '';
      return this.base && (await fetch(`${this.base}/health`).then((answer) => answer.ok, () => false));
    });
    this.token ||= (await this.cli('token', 'create', '--name', 'test')).trim();
  }

  /** kill -9, or a crash: the host's; its agents go on, and start() finds them. */
  async kill(signal = 'SIGKILL') {
    this.host.kill(signal);
    await this.ended;
  }

  /** Stops the host and its agents, and says what is left running, which should be nothing. */
  async close() {
    if (this.host && this.host.exitCode === null && this.host.signalCode === null) {
      const late = setTimeout(() => this.host.kill('SIGKILL'), 15_000);
      await this.cli('stop', '--all').catch(() => {});
      await this.ended;
      clearTimeout(late);
    }
    const left = this.marked();
    for (const pid of left) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It ended by itself meanwhile.
      }
    }
    rmSync(this.dir, { recursive: true, force: true });
    return left;
  }

  async cli(...args) {
    return (await exec(HOST, args, { env: this.environ, timeout: 15_000 })).stdout;
  }

  link() {
    return this.cli('link').then((text) => text.trim());
  }

  async setPassword(password) {
    const child = spawn(HOST, ['password', 'set'], { env: this.environ, stdio: ['pipe', 'ignore', 'inherit'] });
    child.stdin.end(`${password}\n`);
    const code = await new Promise((done) => child.on('exit', done));
    if (code !== 0) throw new Error(`password set: exit code ${code}`);
  }

  async call(method, path, body) {
    const answer = await fetch(this.base + path, {
      method,
      headers: { Authorization: `Bearer ${this.token}`, ...(body && { 'Content-Type': 'application/json' }) },
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(20_000),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : undefined;
  }

  async items(session) {
    return (await this.call('GET', `/api/v1/sessions/${session}/items?limit=200`)).items;
  }

  /** All that the agent said in a session. */
  async said(session) {
    return (await this.items(session))
      .filter((item) => item.kind === 'assistant')
      .map((item) => item.body.text)
      .join('');
  }

  session(id) {
    return this.call('GET', `/api/v1/sessions/${id}`);
  }

  /** The lines that scripted agents got. */
  heard(contains) {
    return readFileSync(this.log, 'utf8')
      .split('\n')
      .filter((line) => line.includes(contains));
  }

  /** The processes that carry this world's mark: keepers, agents, and what those started. */
  marked() {
    return processes().filter((pid) => read(pid, 'environ').includes(`HOLDFAST_MARK=${this.home}:`));
  }

  keeper() {
    const pid = this.marked().find((each) => read(each, 'cmdline').includes('\0keeper\0'));
    if (!pid) throw new Error('no keeper runs');
    return pid;
  }
}

function processes() {
  return readdirSync('/proc').map(Number).filter(Boolean);
}

function read(pid, name) {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'latin1');
  } catch {
    return '';
  }
}
