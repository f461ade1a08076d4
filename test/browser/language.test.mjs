// The page in another language: chosen, kept, by the browser's own wish, and still whole at its width.

import assert from 'node:assert/strict';
import { atBothSizes } from './page.mjs';

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
]);
