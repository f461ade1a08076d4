// The page that says how the host is: what it shows, what it lets a person do, and when it asks.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { atBothSizes } from './page.mjs';
import { until } from './world.mjs';

const goHost = async (person) => {
  await person.page.goto(`${person.world.base}/host`);
  await person.page.getByRole('heading', { name: /^Healthy since/ }).waitFor();
  await person.page.locator('.tl').waitFor();
};

const chart = (page, name) => page.getByRole('slider', { name: `${name}, the last 10 minutes` });

/** The names of the files in a tar archive. */
function filesIn(tar) {
  const names = [];
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0; ) {
    const text = (from, to) => tar.toString('latin1', at + from, at + to).replace(/\0.*$/s, '');
    names.push(text(0, 100));
    at += 512 + Math.ceil(parseInt(text(124, 136), 8) / 512) * 512;
  }
  return names;
}

atBothSizes([
  [
    'charts, lives, open files, agents and the log are there, in numbers too, and axe finds nothing',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      await person.begin('title Costs something\nsay "here"\nsleep 60s');
      await page.locator('.say', { hasText: 'here' }).waitFor();
      await goHost(person);
      await page.getByText(/^All \d+ open files are explained, and one agent is live\.$/).waitFor();
      for (const name of ['Open files', 'Memory', 'Self-probe', 'Live agents', 'Open pages', 'Restarts']) {
        await until(name, async () => {
          await page.getByRole('button', { name: 'Look again' }).click();
          return /^\d\d:\d\d: \d/.test(await chart(page, name).getAttribute('aria-valuetext'));
        });
      }
      assert.equal(await page.locator('.chart').count(), 6);
      await chart(page, 'Open files').press('ArrowLeft');
      assert.match(await page.locator('.chart .ax').first().textContent(), /^\d\d:\d\d/, 'the keyboard moves the hairline');
      await chart(page, 'Open files').press('Escape');
      assert.match(await page.locator('.chart .ax').first().textContent(), /^10 min ago/);
      await page.getByText('The same in numbers').click();
      await page.getByRole('columnheader', { name: 'Open files, expected' }).waitFor();
      const row = page.getByRole('row').filter({ hasText: 'Script' });
      await row.getByText('Costs something').filter({ visible: true }).waitFor();
      assert.match(await row.innerText(), /\d+ (k|M)B/);
      await page.getByText('This is its first life.').waitFor();
      const kind = page.locator('.kinds details', { hasText: 'Database files' });
      await kind.locator('summary').click();
      await kind.getByText(/\.db$/).first().waitFor();
      await page.locator('.log .entry').first().waitFor();
      await person.notSideways();
      assert.equal(await page.evaluate(() => document.documentElement.scrollHeight <= innerHeight), true, 'the document does not scroll');
      for (const colorScheme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme });
        assert.deepEqual(await person.axe(), []);
      }
      assert.ok(world.marked().length > 0);
    },
  ],
  [
    'an agent is ended from there, after a question; its session goes on',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      const id = await person.begin('title Ends early\nsay "here"\nsleep 60s');
      await page.locator('.say', { hasText: 'here' }).waitFor();
      await goHost(person);
      await page.getByRole('button', { name: 'End Script, Ends early' }).click();
      const dialog = page.getByRole('dialog');
      await dialog.getByText('What it wrote is kept').waitFor();
      assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Keep it running', 'the safe answer has the focus');
      await page.keyboard.press('Escape');
      await dialog.waitFor({ state: 'detached' });
      assert.ok((await world.session(id)).run, 'nothing was ended');
      await page.getByRole('button', { name: 'End Script, Ends early' }).click();
      await dialog.getByRole('button', { name: 'End Script' }).click();
      await page.getByText('None. An agent starts with the first message').waitFor({ timeout: 30_000 });
      await until('its processes are gone', () => world.marked().length === 0, 30_000);
      assert.equal((await world.session(id)).reason, 'interrupted');
      await page.goto(`${world.base}/s/${id}`);
      await person.send('say "again"');
      await page.locator('.say', { hasText: 'again' }).waitFor();
    },
  ],
  [
    'an agent at work is restarted from there: a new one is asked to continue',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      const id = await person.begin('title Starts anew\nsay "here"\nsleep 60s');
      await page.locator('.say', { hasText: 'here' }).waitFor();
      const keeper = world.keeper();
      await goHost(person);
      await page.getByRole('button', { name: 'Restart Script, Starts anew' }).click();
      await page.getByRole('dialog').getByRole('button', { name: 'Restart Script' }).click();
      await until('the agent is asked to continue', () => world.heard('Continue where').length === 1, 40_000);
      assert.notEqual(world.keeper(), keeper);
      const said = (await world.items(id)).filter((item) => item.kind === 'user').map((item) => item.body.text);
      assert.equal(said.at(-1), 'Continue where you were interrupted.');
    },
  ],
  [
    'the level of the log is changed while the host runs, and filters what is shown',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      await goHost(person);
      const shows = page.getByRole('group', { name: 'Show from' });
      const writes = page.getByRole('group', { name: 'The host writes from' });
      await writes.getByRole('button', { name: 'Info', pressed: true }).waitFor();
      await page.locator('.log .entry', { hasText: 'logged in' }).first().waitFor();
      await writes.getByRole('button', { name: 'Debug' }).click();
      await writes.getByRole('button', { name: 'Debug', pressed: true }).waitFor();
      assert.equal((await world.call('GET', '/api/v1/host/log?limit=1')).level, 'debug');
      await page.locator('.log .entry', { hasText: 'the level of the log was changed' }).waitFor();
      await shows.getByRole('button', { name: 'Warnings' }).click();
      await page.locator('.log .entry', { hasText: 'logged in' }).first().waitFor({ state: 'detached' });
      assert.ok((await page.locator('.log .entry', { hasText: 'the level of the log was changed' }).count()) > 0);
    },
  ],
  [
    'a diagnosis is an archive without secrets',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      await goHost(person);
      const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Diagnosis' }).click()]);
      assert.match(download.suggestedFilename(), /^holdfast-\d{8}-\d{6}\.tar\.gz$/);
      const tar = gunzipSync(readFileSync(await download.path()));
      assert.ok(filesIn(tar).length >= 3, `files: ${filesIn(tar)}`);
      assert.equal(tar.includes(world.token), false, 'no token in it');
      await page.locator('.toast', { hasText: 'The diagnosis is made' }).waitFor();
    },
  ],
  [
    'a life that was killed is told of when the host is back',
    async ({ world, visitor }) => {
      const person = await visitor();
      person.expect(/net::ERR_/);
      const { page } = person;
      await goHost(person);
      await world.kill();
      await page.locator('.ban', { hasText: 'No answer' }).waitFor();
      await world.start();
      await page.locator('.ban').waitFor({ state: 'detached' });
      await page.getByRole('button', { name: 'Look again' }).click();
      await page.getByRole('cell', { name: /^Killed/ }).waitFor();
      await page.getByText('1 unasked').first().waitFor();
      await person.notSideways();
    },
  ],
  [
    'a host that is degraded or in safe mode says so on every page, once and the worst; a person ends the safe mode',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      let safe = '';
      await page.route('**/health*', (route) => route.fulfill({ json: { status: 'degraded', version: '1', problems: ['the disk does not take writes, or is very slow'] } }));
      await page.route('**/api/v1/me', async (route) => {
        const answer = await route.fetch();
        await route.fulfill({ response: answer, json: { ...(await answer.json()), ...(safe && { safe_mode: safe }) } });
      });
      await page.route('**/api/v1/host/resume', (route) => {
        safe = '';
        return route.fulfill({ status: 204 });
      });
      await page.goto(world.base);
      await page.locator('.ban', { hasText: 'The disk does not take writes' }).waitFor();
      await page.getByRole('link', { name: 'Look at the host' }).click();
      await page.getByRole('heading', { name: 'Degraded, but it works' }).waitFor();
      await page.locator('.said', { hasText: 'A restart does not mend it' }).waitFor();
      safe = 'the host crashed 6 times in 10 minutes';
      await page.getByRole('button', { name: 'Look again' }).click();
      await page.locator('.ban', { hasText: 'The host crashed 6 times in 10 minutes.' }).waitFor();
      assert.equal(await page.locator('.ban').count(), 1);
      assert.deepEqual(await person.axe(), []);
      await person.notSideways();
      await page.getByRole('button', { name: 'End safe mode' }).click();
      await page.locator('.ban', { hasText: 'The disk does not take writes' }).waitFor();
    },
  ],
  [
    'it is looked at while somebody looks, and not otherwise',
    async ({ visitor }) => {
      const person = await visitor();
      const { page } = person;
      await page.clock.install();
      await goHost(person);
      let asked = 0;
      page.on('request', (request) => (asked += request.url().includes('/host/ledger') ? 1 : 0));
      const show = (state) =>
        page.evaluate((to) => {
          Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => to });
          document.dispatchEvent(new Event('visibilitychange'));
        }, state);
      await page.clock.runFor(16_000);
      await until('it is asked again', () => asked === 1);
      await show('hidden');
      await page.clock.runFor(50_000);
      await sleep(200);
      assert.equal(asked, 1, 'nobody looks');
      await show('visible');
      await until('it is asked at once', () => asked === 2);
    },
  ],
]);
