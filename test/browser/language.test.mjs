// The page in another language: chosen, kept, by the browser's own wish, and still whole at its width.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { atBothSizes, words } from './page.mjs';
import { until } from './world.mjs';

const lang = (page) => page.evaluate(() => document.documentElement.lang);

/** Nothing is wider than its place, but for what scrolls sideways by design. */
async function whole(person) {
  await person.notSideways();
  const wide = await person.page.evaluate(() =>
    [...document.querySelectorAll('.app main, .head, .page, .dock, .tabs, .tabs a, .seg, .side, .side-nav a, .srow, .ask, .askbar, .comp .bar, dialog')]
      .filter((box) => box.offsetWidth > 0 && box.scrollWidth > box.clientWidth + 1)
      .map((box) => `${box.tagName}.${box.className}: ${box.scrollWidth} in ${box.clientWidth}: ${box.textContent.trim().slice(0, 60)}`),
  );
  assert.deepEqual(wide, []);
}

atBothSizes([
  [
    'is German when it is chosen, stays so over a reload, and breaks no page',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      await page.goto(`${world.base}/settings`);
      await page.getByRole('heading', { name: 'Settings' }).waitFor();
      assert.equal(await lang(page), 'en');
      await page.getByRole('button', { name: 'Deutsch' }).click();
      await page.getByRole('heading', { name: 'Einstellungen' }).waitFor();
      assert.equal(await lang(page), 'de');
      assert.equal(await page.getByRole('button', { name: 'Deutsch' }).getAttribute('aria-pressed'), 'true');
      await whole(person);
      assert.deepEqual(await person.axe(), []);

      await page.reload();
      await page.getByRole('heading', { name: 'Einstellungen' }).waitFor();
      assert.equal(await page.title(), 'Einstellungen · Holdfast');
      assert.equal(await lang(page), 'de');

      for (const [path, head] of [
        ['/new', 'Wähle Agent und Ordner'],
        ['/needs-you', 'Nichts wartet auf dich'],
        ['/host', /^Gesund|^Eingeschränkt/],
      ]) {
        await page.goto(world.base + path);
        await page.getByRole('heading', { name: head }).waitFor();
        await whole(person);
      }

      await page.goto(`${world.base}/settings`);
      await page.getByRole('button', { name: 'English' }).click();
      await page.getByRole('heading', { name: 'Settings' }).waitFor();
      assert.equal(await lang(page), 'en');
    },
  ],
  [
    'follows the browser where nothing is chosen, from the login to an answer',
    async ({ world, visitor }) => {
      const person = await visitor({ link: false, locale: 'de-AT' });
      const { page } = person;
      person.expect(/status of 401/);
      await page.goto(world.base);
      await page.getByRole('heading', { name: 'Dieser Browser ist nicht angemeldet' }).waitFor();
      assert.equal(await lang(page), 'de');
      await whole(person);
      await page.getByLabel('Oder füge den Link ein').fill(await world.link());
      await page.getByRole('button', { name: 'Anmelden', exact: true }).click();
      await page.getByRole('heading', { name: 'Neue Sitzung' }).waitFor();

      const { id } = await world.call('POST', '/api/v1/sessions', { agent: 'script', cwd: world.work });
      await page.goto(`${world.base}/s/${id}`);
      await page.getByRole('textbox', { name: 'Nachricht' }).fill('say "Hello. "\nask q1 "Push" git push --force-with-lease origin jitter');
      await page.getByRole('button', { name: 'Senden', exact: true }).click();
      const ask = await person.question();
      await ask.getByRole('heading', { name: /Diesen Befehl ausführen\?/ }).waitFor();
      await whole(person);
      // What the agent offers as an answer is the agent's to word; what became of it is the page's.
      await ask.getByRole('button', { name: /Allow once/, disabled: false }).click();
      await page.locator('.tool', { hasText: 'Einmal erlaubt' }).waitFor();
      await page.goto(world.base);
      await page.getByText('Heute', { exact: true }).locator('visible=true').first().waitFor();
      await whole(person);
    },
  ],
  [
    'has what the host says in a session in its own language, and the log has it in the host’s',
    async ({ world, visitor }) => {
      const person = await visitor({ locale: 'de' });
      person.expect(/ERR_|Failed to load|Failed to fetch|NetworkError|503|502/);
      const { page } = person;
      const { id } = await world.call('POST', '/api/v1/sessions', { agent: 'script', cwd: world.work });
      const send = (text) => world.call('POST', `/api/v1/sessions/${id}/messages`, { client_id: text, text });
      const idle = () => until('the run is over', async () => (await world.session(id)).state === 'idle');
      await page.goto(`${world.base}/s/${id}`);
      await send(words(300).script);
      await page.getByText('w0020').waitFor();
      await world.kill();
      await world.start();
      const restarted = page.locator('.tick', { hasText: /^Der Host wurde um \d\d:\d\d:\d\d neu gestartet\. Der Lauf ging weiter\./ });
      await restarted.waitFor();
      await idle();
      await send('ask-async q1 "Push" git push origin jitter\nsleep 500ms\nexit 3');
      const cut = page.locator('.card.fail', { hasText: 'Script endete von selbst mit Exit-Code 3.' });
      await cut.waitFor();
      await page.locator('.tool', { hasText: 'Hinfällig' }).getByText('Der Lauf wurde unterbrochen.').waitFor();
      const { item } = await send('say "too much"');
      await idle();
      await world.call('POST', `/api/v1/sessions/${id}/rewind`, { item });
      await page.getByText(/^Um \d\d:\d\d zurückgenommen/).waitFor();
      for (const text of ['Host restarted', 'ended by itself', 'The run was']) assert.equal(await page.getByRole('log').getByText(text).count(), 0, text);
      await whole(person);
      assert.deepEqual(await person.axe(), []);

      // What it is told by events, a page that comes later has from the log.
      await page.reload();
      for (const said of [restarted, cut]) await said.waitFor();
      await page.evaluate(() => localStorage.setItem('holdfast.language', 'en'));
      await page.reload();
      await page.getByText(/^Host restarted at \d\d:\d\d:\d\d\. The run carried on\./).waitFor();
      await page.locator('.card.fail', { hasText: 'Script ended by itself with exit code 3.' }).waitFor();
      await page.locator('.tool', { hasText: 'Cancelled' }).getByText('The run was interrupted.').waitFor();
      await page.getByText(/^Taken back at /).waitFor();

      const notice = (await world.items(id)).find(({ body }) => body.code === 'host_restarted');
      assert.match(notice.body.text, /^Host restarted at/);
      assert.ok(Date.parse(notice.body.args.at) > 0);
      const { hits } = await world.call('GET', '/api/v1/search?q=restarted');
      assert.match(JSON.stringify(hits), /Host/);
      const exported = await page.request.get(`${world.base}/api/v1/sessions/${id}/export?format=md`).then((answer) => answer.text());
      for (const text of ['Host restarted at', 'ended by itself with exit code 3']) assert.ok(exported.includes(text), text);
    },
  ],
  [
    'has what is wrong with the host in its own language, on every page',
    async ({ world, visitor }) => {
      const free = join(world.dir, 'free');
      writeFileSync(free, String(100 * 2 ** 20));
      await world.kill();
      await world.start('ledger.every:=50ms', `disk.free:=${free}`);
      await until('the disk is found full', async () => (await world.call('GET', '/health')).status === 'degraded');
      const person = await visitor({ locale: 'de' });
      const { page } = person;
      await page.goto(`${world.base}/settings`);
      await page.locator('.ban', { hasText: 'sind nur noch 105 MB frei. Neue Sitzungen, Nachrichten und Anhänge werden nicht angenommen' }).waitFor();
      await whole(person);
      await page.goto(`${world.base}/host`);
      const problem = page.locator('.problem', { hasText: 'sind nur noch 105 MB frei' });
      await problem.getByText('Schaff Platz auf dem Datenträger').waitFor();
      assert.equal(await problem.count(), 1, 'it is said once');
      assert.equal(await page.locator('.ban, .problem', { hasText: 'The disk of the state folder' }).count(), 0);
      await whole(person);
      assert.deepEqual(await person.axe(), []);
      await page.evaluate(() => localStorage.setItem('holdfast.language', 'en'));
      await page.reload();
      await page.locator('.problem', { hasText: 'The disk of the state folder has only 105 MB left' }).waitFor();
    },
  ],
]);
