// What a thumb does beyond tapping: it stays, it draws a sheet down, and it has a keyboard come up.

import assert from 'node:assert/strict';
import { atBothSizes } from './page.mjs';

/** A finger on the page, by real touch events. */
async function finger(page) {
  const debug = await page.context().newCDPSession(page);
  let at;
  const send = (type) => debug.send('Input.dispatchTouchEvent', { type, touchPoints: at ? [at] : [] });
  return {
    async down(target) {
      const box = await target.boundingBox();
      at = { x: box.x + box.width / 2, y: box.y + Math.min(box.height / 2, 30) };
      await send('touchStart');
    },
    /** In steps, as a thumb moves. */
    async by(dx, dy) {
      for (let i = 0; i < 10; i++) {
        at = { x: at.x + dx / 10, y: at.y + dy / 10 };
        await send('touchMove');
      }
    },
    async up() {
      at = undefined;
      await send('touchEnd');
    },
  };
}

const sheet = (page) => page.locator('dialog.sheet');
const selection = (page) => page.evaluate(() => getSelection().toString().trim());

atBothSizes([
  [
    'held, a message opens its menu, from where its words are selected; code is selected at once',
    async ({ visitor }) => {
      const person = await visitor();
      const { page } = person;
      await person.begin('say "The first words.\\n\\n```sh\\nmake check\\n```\\n"');
      await person.finished();
      const thumb = await finger(page);
      // Only the time that the thumb stays is pretended.
      await page.clock.install();

      for (const message of [page.locator('.you'), page.locator('.say p')]) {
        await thumb.down(message);
        await page.clock.runFor(600);
        await sheet(page).getByRole('menuitem', { name: 'Copy as Markdown' }).waitFor();
        await thumb.up();
        assert.equal(await sheet(page).count(), 1, 'lifting it does nothing more');
        assert.equal(await selection(page), '', 'and nothing was selected');
        await sheet(page).getByRole('button', { name: 'Close' }).click();
        await sheet(page).waitFor({ state: 'detached' });
      }

      // A thumb that moves scrolls.
      await thumb.down(page.locator('.say p'));
      await thumb.by(0, -40);
      await page.clock.runFor(600);
      await thumb.up();
      assert.equal(await sheet(page).count(), 0);

      await page.locator('.msg').getByRole('button', { name: 'More actions' }).click();
      await page.getByRole('menuitem', { name: 'Select text' }).click();
      await sheet(page).waitFor({ state: 'detached' });
      await page.waitForFunction(() => getSelection().toString().includes('The first words.'));
      const kept = (selector) => page.locator(selector).first().evaluate((box) => getComputedStyle(box).userSelect);
      assert.deepEqual([await kept('.msg'), await kept('.you'), await kept('.say pre')], ['auto', 'none', 'text']);
      // Until nothing is.
      await page.evaluate(() => getSelection().removeAllRanges());
      await page.locator('.itemacts.selecting').waitFor({ state: 'detached' });
      assert.deepEqual([await kept('.msg'), await kept('.say pre')], ['none', 'text']);
    },
    { thumb: true },
  ],
  [
    'held, a row of the list opens its menu and is not gone to; a sheet that is drawn down closes and does nothing',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      await world.call('POST', '/api/v1/sessions', { agent: 'script', cwd: world.work, title: 'first' });
      const { id } = await world.call('POST', '/api/v1/sessions', { agent: 'script', cwd: world.work, title: 'asks' });
      await world.call('POST', `/api/v1/sessions/${id}/messages`, { client_id: 'asks', text: 'ask q1 "Push" git push' });
      await page.goto(world.base);
      const row = page.locator('.list .rowbox', { hasText: 'first' });
      await row.waitFor();
      const thumb = await finger(page);
      await page.clock.install();
      await thumb.down(row.locator('a'));
      await page.clock.runFor(600);
      await sheet(page).getByRole('menuitem', { name: 'Pin' }).waitFor();
      await thumb.up();
      assert.equal(new URL(page.url()).pathname, '/');

      // A little is not enough, and is taken back; from the middle as well as by the bar.
      const title = sheet(page).getByText('first');
      await thumb.down(title);
      await thumb.by(0, 40);
      assert.match(await sheet(page).evaluate((box) => box.style.transform), /translateY/);
      await thumb.up();
      assert.equal(await sheet(page).evaluate((box) => box.style.transform), '');
      await thumb.down(sheet(page).getByRole('menuitem', { name: 'Pin' }));
      await thumb.by(0, 200);
      await thumb.up();
      await sheet(page).waitFor({ state: 'detached' });
      assert.equal((await world.call('GET', '/api/v1/sessions')).sessions.find((each) => each.title === 'first').pinned ?? false, false);

      await page.goto(`${world.base}/s/${id}`);
      const ask = await person.question();
      await thumb.down(ask.locator('.grab'));
      await thumb.by(0, 200);
      await thumb.up();
      await ask.waitFor({ state: 'detached' });
      assert.equal((await world.call('GET', '/api/v1/approvals?state=pending')).approvals.length, 1, 'nothing was answered');
    },
    { thumb: true },
  ],
  [
    'while the keyboard is up the bars step aside and the header stays',
    async ({ world, visitor, size }) => {
      const { page } = await visitor();
      const { width, height } = size.options.viewport;
      const keyboard = (up) => page.setViewportSize({ width, height: up ? 500 : height });
      await page.goto(`${world.base}/projects`);
      await page.locator('.tabs').waitFor();
      await page.getByRole('button', { name: 'New project' }).click();
      await page.locator('main input').first().focus();
      await keyboard(true);
      await page.locator('.tabs').waitFor({ state: 'hidden' });
      await keyboard(false);
      await page.locator('.tabs').waitFor();

      const { id } = await world.call('POST', '/api/v1/sessions', { agent: 'script', cwd: world.work });
      await page.goto(`${world.base}/s/${id}`);
      await page.locator('.planbar').waitFor();
      await page.locator('form.comp textarea').focus();
      await keyboard(true);
      await page.locator('.planbar').waitFor({ state: 'hidden' });
      const stands = (selector) => page.locator(selector).evaluate((box) => box.getBoundingClientRect().bottom <= innerHeight && box.getBoundingClientRect().top >= 0);
      assert.deepEqual([await stands('main > .head'), await stands('form.comp')], [true, true]);
      await keyboard(false);
      await page.locator('.planbar').waitFor();
    },
    { thumb: true },
  ],
]);
