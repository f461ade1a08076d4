// The states of the page, on a real session: states.test.mjs looks for faults in each, shots.mjs takes their pictures.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from './world.mjs';

const BEFORE = `package replay

// Backoff is how long to wait before attempt n.
func Backoff(n int) time.Duration {
	d := base << n
	if d > limit {
		d = limit
	}
	return d
}
`;
const AFTER = BEFORE.replace('	return d\n', '	// Half of it is random, so that clients do not come back together.\n	return d/2 + rand.N(d/2)\n');

const icon = new URL('../../web/public/icons/icon-192.png', import.meta.url);
const FILES = [
  { name: 'failures-eu.png', mimeType: 'image/png', buffer: readFileSync(icon) },
  { name: 'deliveries-2026-11-24.log', mimeType: 'text/plain', buffer: Buffer.from('14:02:11 retry 3 of 8\n') },
  { name: 'deliveries-2026-11-25.log', mimeType: 'text/plain', buffer: Buffer.from('14:02:11 retry 3 of 8\n') },
  { name: 'deliveries-of-the-whole-november-in-both-regions.csv', mimeType: 'text/csv', buffer: Buffer.from('a,b\n') },
];

/** A session as a person has it: title and script do not stand in the transcript, as an agent would not say them. */
const story = (end) =>
  [
    'title Jitter for webhook retries',
    'think "The retries of all clients fall on the same second. Backoff doubles, but nothing spreads it."',
    'sleep 1200ms',
    'plan "+Read the retry code|*Spread the waits|Run the tests|Push the branch"',
    'say "The waits double, but every client computes **the same ones**: after an outage all of them come back in the same second. I will make half of each wait random.\\n\\n"',
    'tool r1 read internal/replay/backoff.go',
    `tool-output r1 ${JSON.stringify(BEFORE)}`,
    'tool-done r1',
    `diff internal/replay/backoff.go ${JSON.stringify(BEFORE)} ${JSON.stringify(AFTER)}`,
    'plan "+Read the retry code|+Spread the waits|*Run the tests|Push the branch"',
    'tool t1 execute "go test -race ./internal/replay/..."',
    'sleep 900ms',
    'tool-output t1 "ok  \\texample.org/replay/internal/replay\\t1.204s\\n"',
    'tool-done t1',
    'plan "+Read the retry code|+Spread the waits|+Run the tests|*Push the branch"',
    'say "The tests pass. What changes for a caller:\\n\\n- `Backoff(n)` lies between **half** and the whole of the old wait;\\n- the limit of 30 s holds as before.\\n\\n"',
    'usage 48210 200000',
    end,
  ].join('\n');

/** Sends through the API: the script that a test's agent needs as its prompt is not what a person would write. */
async function run(person, script) {
  const { world, page } = person;
  const { id } = await world.call('POST', '/api/v1/sessions', { agent: 'script', cwd: world.work });
  await page.goto(`${world.base}/s/${id}`);
  await world.call('POST', `/api/v1/sessions/${id}/messages`, { client_id: `shot-${id}`, text: script });
  return id;
}

/** Shows a person's words where the script stands. Only these pictures need that, as only here an agent obeys lines. */
async function dress(page, text = 'All clients retry in the same second after an outage. Spread the waits, run the tests, and push the branch.') {
  await page.evaluate((words) => {
    for (const box of document.querySelectorAll('.you .text')) if (/^title /.test(box.textContent)) box.textContent = words;
  }, text);
}

/**
 * The states of the page, each by its name as a person comes to it: a function, or one with what World takes as `setup`,
 * the failpoints of the host's first life as `failpoints`, and what ends the state as `end`.
 */
export const scenes = {
  login: async (person) => {
    await person.context.clearCookies();
    // Another address of the same page would not load it again.
    await person.page.goto('about:blank');
    await person.page.goto(`${person.world.base}/#link=used-already`);
    await person.page.locator('#login-note > span').waitFor();
  },
  new: async (person) => {
    await person.page.goto(`${person.world.base}/new`);
    await person.page.getByRole('radio', { name: /Tour/ }).click();
  },
  // The first message with its files: of two of them the host has nothing yet, one it refuses.
  written: async (person) => {
    const { page } = person;
    await scenes.new(person);
    await person.composer.fill('Why do these deliveries fail since Tuesday?\nThe graph is of eu, the logs are of both regions.');
    await page.locator('input[type=file]').setInputFiles([FILES[0], FILES[1]]);
    await page.locator('.gift', { hasText: FILES[1].name }).getByText(/ B$/).waitFor();
    await page.route('**/api/v1/attachments', (route) => route.fulfill({ status: 507, contentType: 'application/problem+json', body: '{"code":"disk_full","title":"The disk is full","detail":"The disk of this machine is full."}' }), { times: 1 });
    await page.locator('input[type=file]').setInputFiles([FILES[2]]);
    await page.locator('.gift.bad').waitFor();
    await page.route('**/api/v1/attachments', () => {});
    await page.locator('input[type=file]').setInputFiles([FILES[3]]);
    await page.locator('.gift', { hasText: FILES[3].name }).waitFor();
  },
  uploading: async (person) => {
    const { page } = person;
    await scenes.tour(person);
    await page.locator('input[type=file]').setInputFiles([FILES[0]]);
    await page.locator('.gift img').waitFor();
    await page.route('**/api/v1/attachments', () => {});
    await page.locator('input[type=file]').setInputFiles([FILES[1], FILES[3]]);
    await person.send('Why do these deliveries fail since Tuesday?');
    await page.locator('.you').getByText('Sending, 2 files to go').waitFor();
  },
  folders: async (person) => {
    await person.page.goto(`${person.world.base}/new`);
    await person.openFolder(person.world.user);
  },
  tour: async (person) => {
    await person.start(/Tour/, 'Hello');
    await person.finished();
  },
  streaming: async (person) => {
    await run(person, story('stream 300 30ms seed=5'));
    await person.page.locator('.say.open').nth(0).waitFor();
    // Past the last words that it says by itself, in the midst of those that stream.
    await until('the last words', async () => (await person.shown()).split('holds as before.')[1]?.length > 200);
    await dress(person.page);
  },
  permission: async (person) => {
    await run(person, story('ask q1 "Push" git push --force-with-lease origin jitter'));
    await person.page.locator(person.size.phone ? '.askbar' : 'div.ask').waitFor();
    await dress(person.page);
    if (!person.size.phone) await person.page.getByRole('button', { name: /Allow once/, disabled: false }).waitFor();
  },
  question: async (person) => {
    await scenes.permission(person);
    const ask = await person.question();
    await ask.getByRole('button', { name: /Allow once/, disabled: false }).waitFor();
  },
  resolved: async (person) => {
    await run(person, story('ask q1 "Push" git push --force-with-lease origin jitter\nsay "\\n\\nPushed."'));
    const ask = await person.question();
    await ask.getByRole('button', { name: /Allow once/, disabled: false }).click();
    await person.finished();
    await dress(person.page);
  },
  queue: async (person) => {
    await run(person, 'title Rename tenant_id\nsay "Renaming in 48 files. "\nsleep 60s');
    await person.page.locator('.say').waitFor();
    await dress(person.page, 'Rename tenant_id to account_id everywhere.');
    await person.send('Then update the changelog.');
    await person.page.locator('.q').waitFor();
  },
  paused: async (person) => {
    await scenes.queue(person);
    await person.page.getByRole('button', { name: 'Stop', exact: true }).click();
    await person.page.locator('.q', { hasText: 'paused' }).waitFor();
  },
  'no-answer': async (person) => {
    await scenes.streaming(person);
    await person.world.kill();
    await person.page.locator('.ban').waitFor();
    await person.send('And say why in a comment.');
  },
  back: async (person) => {
    await scenes['no-answer'](person);
    await person.world.start();
    await person.page.locator('.toast').waitFor();
    await dress(person.page);
  },
  interrupted: async (person) => {
    await run(person, story('stream 300 30ms seed=5'));
    await until('the last words', async () => (await person.shown()).includes('limit of 30 s'));
    process.kill(person.world.keeper(), 'SIGKILL');
    await person.page.locator('.card.fail', { hasText: 'Interrupted' }).waitFor();
    await dress(person.page);
  },
  'last-output': async (person) => {
    await run(person, `${story('stderr "INFO  41 files in context\\nWARN  14.2 GB of 16 GB in use\\nmemory allocation of 1073741824 bytes failed"')}\nexit 134`);
    await person.page.locator('.card.fail').getByRole('button', { name: 'Show the last output' }).click();
    await person.page.locator('.card.fail').getByText('memory allocation').waitFor();
    await dress(person.page);
  },
  stopping: async (person) => {
    await run(person, 'title Bisect the flaky test\nsay "Bisecting. "\nhang');
    await person.page.locator('.say').waitFor();
    await person.page.getByRole('button', { name: 'Stop', exact: true }).click();
    await person.page.getByRole('button', { name: 'End the agent' }).waitFor();
    await dress(person.page, 'Find the commit that made it flaky.');
  },
  'needs-you': async (person) => {
    await run(person, story('ask q1 "Push" git push --force-with-lease origin jitter'));
    await until('a question', async () => (await person.world.call('GET', '/api/v1/approvals?state=pending')).approvals.length > 0);
    await person.page.goto(`${person.world.base}/needs-you`);
    await person.page.locator('div.ask').waitFor();
  },
  sessions: async (person) => {
    await run(person, story('sleep 30s'));
    await run(person, 'title Release notes for 2.4\nsay "Written."');
    await person.page.goto(person.world.base);
    await person.page.locator('a:visible', { hasText: 'Release notes' }).first().waitFor();
  },
  empty: async (person) => {
    await person.page.goto(person.world.base);
    await person.page.getByText('No sessions yet').filter({ visible: true }).first().waitFor();
  },
  palette: async (person) => {
    await scenes.sessions(person);
    await person.page.keyboard.press('ControlOrMeta+k');
    await person.page.getByRole('combobox').fill('release');
    await person.page.getByRole('option', { name: /Release notes/ }).first().waitFor();
  },
  keys: async (person) => {
    await scenes.sessions(person);
    await person.page.keyboard.press('?');
    await person.page.getByRole('dialog', { name: 'Keys' }).waitFor();
  },
  search: async (person) => {
    await scenes.sessions(person);
    await person.page.goto(`${person.world.base}/search?q=limit`);
    await person.page.locator('mark').first().waitFor();
  },
  projects: async (person) => {
    await person.world.call('POST', '/api/v1/projects', { name: 'replay', cwd: person.world.work, agent: 'script' });
    await person.page.goto(`${person.world.base}/projects`);
    await person.page.getByText('replay').first().waitFor();
  },
  missing: async (person) => {
    await person.page.goto(`${person.world.base}/nowhere`);
    await person.page.locator('main h1').waitFor();
  },
  starting: {
    setup: { env: { SCRIPT_AGENT_STARTUP_DELAY: '8s' } },
    run: async (person) => {
      await run(person, 'title Slow to come\nsay "here"');
      await person.page.getByText(/is starting · [1-7] s/).waitFor();
      await dress(person.page, 'Are you there?');
    },
    // An agent that is not there yet cannot be told to end.
    end: (person) => person.finished(),
  },
  'slow-start': {
    setup: { env: { SCRIPT_AGENT_STARTUP_SAYS: Array.from({ length: 30 }, (_, i) => `INFO  reading skills/${i}.md`).join('\n') + '\nWARN  the index is old, making it anew', SCRIPT_AGENT_STARTUP_DELAY: '14s' } },
    run: async (person) => {
      await run(person, 'title Slow to come\nsay "here"');
      await person.page.getByText('the index is old').waitFor();
      await dress(person.page, 'Are you there?');
    },
    end: (person) => person.finished(),
  },
  'needs-login': {
    setup: { env: { SCRIPT_AGENT_LOGIN: '1' } },
    run: async (person) => {
      const id = await run(person, 'say "here"');
      await until('the login is asked for', async () => (await person.world.session(id)).agent_state === 'needs_login');
      await person.page.getByText('Needs a login').first().waitFor();
      await dress(person.page, 'Are you there?');
    },
  },
  'disk-full': async (person) => {
    const free = join(person.world.dir, 'free');
    writeFileSync(free, '104857600');
    await person.world.kill();
    await person.world.start(`disk.free:=${free}`, 'ledger.every:=150ms');
    await person.page.goto(person.world.base);
    await person.page.locator('.ban').waitFor();
  },
  'safe-mode': async (person) => {
    for (let i = 0; i < 6; i++) {
      await person.world.kill('SIGABRT');
      await person.world.start();
    }
    await person.page.goto(person.world.base);
    await person.page.locator('.ban').waitFor();
  },
  // The picture of the documentation: what a newcomer sees who types these three messages.
  docs: async (person) => {
    const { page, world, size } = person;
    for (const [name, text] of Object.entries({ 'README.md': '# replay\n', 'backoff.go': BEFORE, 'go.mod': 'module example.org/replay\n', 'notes.md': 'Retries of all clients meet in the same second.\n' })) {
      writeFileSync(join(world.work, name), text);
    }
    await person.start(/Tour/, 'plan');
    await person.finished();
    await page.locator('main > .head').getByRole('button', { name: 'More' }).click();
    await page.getByRole('menuitem', { name: 'Rename' }).click();
    await page.getByRole('textbox', { name: 'Name' }).fill('Spread the webhook retries');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Spread the webhook retries' }).waitFor();
    await person.send('run wc -l *.md *.go; date +%A');
    const ask = await person.question();
    await page.waitForTimeout(600);
    await ask.getByRole('button', { name: /Allow once/ }).click();
    await ask.waitFor({ state: 'detached' });
    await person.finished();
    await page.locator('button.tool', { hasText: 'wc -l' }).click();
    await person.send('write notes.md Retries of all clients meet in the same second: spread them.');
    await page.locator(size.phone ? '.askbar' : 'div.ask').waitFor();
    await page.waitForTimeout(600);
    // The temporary home of this run is a person's home elsewhere.
    await page.evaluate((home) => {
      const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      while (walker.nextNode()) walker.currentNode.data = walker.currentNode.data.replaceAll(home, '~');
    }, world.user);
  },
  settings: async (person) => {
    await person.page.goto(`${person.world.base}/settings`);
    await person.page.locator('main h1').waitFor();
  },
  // A host that was killed once and has an agent at work.
  host: async (person) => {
    await person.world.kill();
    await person.world.start();
    await run(person, story('sleep 30s'));
    await until('its last words', async () => (await person.shown()).includes('limit of 30 s'));
    await person.page.goto(`${person.world.base}/host`);
    await person.page.getByRole('button', { name: /^End Script/ }).waitFor();
    await person.page.getByRole('cell', { name: /^Killed/ }).waitFor();
  },
};
