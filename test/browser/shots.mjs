// Pictures of the page on a real session, at both sizes and themes, into tmp/shots.
//
//   npm run shots [-- name…]
//
// With DOCS=1 the two pictures of the documentation are taken as well, into docs/pictures.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { desktop, launch, Person, phone } from './page.mjs';
import { until, World } from './world.mjs';

const root = join(import.meta.dirname, '..', '..');
const out = join(root, 'tmp', 'shots');
const only = process.argv.slice(2);

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

const scenes = {
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
    await until('the last words', async () => (await person.shown()).includes('limit of 30 s'));
    await person.page.waitForTimeout(1500);
    await dress(person.page);
  },
  permission: async (person) => {
    await run(person, story('ask q1 "Push" git push --force-with-lease origin jitter'));
    await person.page.locator(person.size.phone ? '.askbar' : 'div.ask').waitFor();
    await dress(person.page);
    await person.page.waitForTimeout(600);
  },
  question: async (person) => {
    await scenes.permission(person);
    await person.question();
    await person.page.waitForTimeout(600);
  },
  resolved: async (person) => {
    await run(person, story('ask q1 "Push" git push --force-with-lease origin jitter\nsay "\\n\\nPushed."'));
    const ask = await person.question();
    await person.page.waitForTimeout(600);
    await ask.getByRole('button', { name: /Allow once/ }).click();
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
  // The picture of the documentation: what a newcomer sees who types these three messages.
  docs: async (person) => {
    const { page, world, size } = person;
    for (const [name, text] of Object.entries({ 'README.md': '# replay\n', 'backoff.go': BEFORE, 'go.mod': 'module example.org/replay\n', 'notes.md': 'Retries of all clients meet in the same second.\n' })) {
      writeFileSync(join(world.work, name), text);
    }
    await person.start(/Tour/, 'plan');
    await person.finished();
    await page.getByRole('button', { name: 'More', exact: true }).click();
    await page.getByRole('menuitem', { name: 'Rename' }).click();
    await page.getByRole('textbox', { name: 'Name' }).fill('Spread the webhook retries');
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
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
  settings: (person) => person.page.goto(`${person.world.base}/settings`),
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

mkdirSync(out, { recursive: true });
const browser = await launch();
let faults = 0;
try {
  for (const [name, scene] of Object.entries(scenes)) {
    if (only.length && !only.includes(name)) continue;
    for (const size of [desktop, phone]) {
      for (const colorScheme of ['light', 'dark']) {
        const world = new World();
        try {
          await world.start();
          const person = await Person.arrive(browser, world, size, { colorScheme });
          await scene(person);
          await person.page.waitForTimeout(400);
          const file = `real-${name}-${size.phone ? 390 : 1440}-${colorScheme}.png`;
          const picture = await person.page.screenshot({ path: join(out, file) });
          if (process.env.DOCS && name === 'docs' && colorScheme === 'dark') {
            const docs = join(root, 'docs', 'pictures');
            mkdirSync(docs, { recursive: true });
            writeFileSync(join(docs, size.phone ? 'phone.png' : 'chat.png'), picture);
          }
          await person.leave();
        } catch (error) {
          faults++;
          console.error(`${name} ${size.name} ${colorScheme}: ${error.message}`);
        } finally {
          await world.close();
        }
      }
    }
  }
} finally {
  await browser.close();
}
console.log(out);
process.exitCode = faults ? 1 : 0;
