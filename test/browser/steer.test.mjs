// Saying something into a run that is under way: in its middle, too late, and with what waits.

import assert from 'node:assert/strict';
import { atBothSizes } from './page.mjs';
import { until } from './world.mjs';

const env = { SCRIPT_AGENT_STEER: '1' };

/** Writes and presses Steer; where there are keys, by them. */
async function steer(person, text) {
  await person.composer.fill(text);
  if (person.size.phone) await person.page.getByRole('button', { name: 'Steer', exact: true }).click();
  else await person.composer.press('Control+Shift+Enter');
}

/** A message of the transcript, by its text. */
const message = (page, text) => page.locator('.entry .you').filter({ has: page.getByText(text, { exact: true }) });

/** What stands in the transcript, from top to bottom: messages and what the agent said. */
const order = (page) => page.locator('.entry .you .text, .entry .say').allTextContents();

atBothSizes([
  [
    'it is said into the run, stands where it was said, and tells when the agent has read it',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      const id = await person.begin('say one\ntool t execute ls\nawait-steer\nsleep 400ms\ntool-done t\nsay "\\ntwo"');
      await page.locator('.say', { hasText: 'one' }).waitFor();
      await steer(person, 'be brief');
      await message(page, 'be brief').getByText('the agent reads it after').or(message(page, 'be brief').getByText('read in this run')).waitFor();
      assert.equal(await person.composer.inputValue(), '');
      await person.finished();
      await message(page, 'be brief').getByText('read in this run').waitFor();
      assert.match(await person.shown(), /\[steered: be brief\]/);
      assert.doesNotMatch(await person.shown(), /⏩/, 'what the agent says of it is not in its answer');
      await page.reload();
      await message(page, 'be brief').getByText('read in this run').waitFor();
      assert.deepEqual(await person.axe(), []);
      await person.notSideways();
      assert.equal(world.heard('"/steer be brief"').length, 1);
      assert.equal((await world.items(id)).filter((item) => item.kind === 'user').length, 2);
    },
    { env },
  ],
  [
    'what comes too late is the next message, at the end and once, also where the host dies',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      person.expect(/ERR_|Failed to load/);
      const id = await person.begin('say one\nawait-steer\nsleep 1500ms\nsay "\\ntwo"');
      await page.locator('.say', { hasText: 'one' }).waitFor();
      await steer(person, 'hello again');
      await until('the agent was told', () => world.heard('"/steer hello again"').length === 1);
      await world.kill();
      await world.start();
      await person.finished();
      await message(page, 'hello again').getByText('too late for the run before').waitFor();
      assert.deepEqual((await order(page)).slice(-2), ['hello again', 'hello again'], 'the message, and its echo');
      assert.equal(world.heard('"session/prompt"').length, 3);
      assert.equal((await world.session(id)).queued, 0);
    },
    { env },
  ],
  [
    'a message that waits is said now, by the button in its row',
    async ({ visitor }) => {
      const person = await visitor();
      const { page } = person;
      await person.begin('say one\ntool t execute ls\nawait-steer\ntool-done t\nsay two\nsleep 10m');
      await page.locator('.say', { hasText: 'one' }).waitFor();
      await person.send('say waits');
      await person.send('use tabs');
      await page.locator('.queue .q').nth(1).waitFor();
      const row = page.locator('.queue .q', { hasText: 'use tabs' });
      await row.getByRole('button', { name: 'Steer with it now' }).click();
      await row.waitFor({ state: 'detached' });
      await message(page, 'use tabs').getByText('read in this run').waitFor();
      assert.deepEqual(await page.locator('.queue .q > .grow').allTextContents(), ['say waits']);
      await page.locator('.say', { hasText: '[steered: use tabs]' }).waitFor();
      const shown = await order(page);
      assert.ok(shown.indexOf('use tabs') > shown.indexOf('one'), `behind what was said before it: ${shown}`);
      assert.deepEqual(await person.axe(), []);

      // What is said into a run begins none: it is not edited or run again.
      const box = page.locator('.entry').filter({ has: page.getByText('use tabs', { exact: true }) });
      await box.hover();
      await box.getByRole('button', { name: 'More actions' }).click();
      await page.getByRole('menuitem', { name: 'Copy link' }).waitFor();
      assert.equal(await page.getByRole('menuitem', { name: 'Edit and run again' }).count(), 0);
    },
    { env },
  ],
  [
    'a run that ends first makes it a message, and an agent that cannot be steered has no button',
    async ({ world, size, visitor }) => {
      const person = await visitor();
      const { page } = person;
      const id = await person.begin('say one\nsleep 10m');
      await page.locator('.say', { hasText: 'one' }).waitFor();
      await person.composer.fill('two words');
      await page.getByRole('button', { name: 'Queue', exact: true }).waitFor();
      assert.equal(await page.getByRole('button', { name: 'Steer', exact: true }).count(), 0);
      if (size.phone) return;
      await person.composer.press('Control+Shift+Enter');
      await page.locator('.queue .q', { hasText: 'two words' }).waitFor();
      assert.equal((await world.session(id)).queued, 1, 'it waits, as with Enter');
    },
  ],
  [
    'between the key and the host the run ends: it is sent as a message by itself',
    async ({ visitor }) => {
      const person = await visitor();
      const { page } = person;
      person.expect(/409/);
      await person.begin('say one\ntool t execute ls\nawait-steer\ntool-done t');
      await page.locator('.say', { hasText: 'one' }).waitFor();
      // Held back until the run is over, as by a slow network.
      let free;
      const held = new Promise((done) => (free = done));
      await page.route('**/steer', async (route) => {
        await held;
        await route.continue();
      });
      await steer(person, 'hello again');
      await person.world.call('POST', `/api/v1/sessions/${person.session}/steer`, { client_id: 'x', run: (await person.world.session(person.session)).run, text: 'go' });
      await until('the run is over', async () => !(await person.world.session(person.session)).run);
      free();
      await page.locator('.say', { hasText: 'hello again' }).waitFor();
      await person.finished();
      assert.equal(await message(page, 'hello again').count(), 1);
    },
    { env },
  ],
]);
