// What a person chooses before a session exists: the agent, and its model, mode and options.

import assert from 'node:assert/strict';
import { atBothSizes, faultless } from './page.mjs';

atBothSizes([
  [
    'the agent and its model, mode and options are chosen by keys, or with a thumb, and are those of the first answer',
    async ({ world, size, visitor }) => {
      const person = await visitor();
      const { page } = person;
      const begin = async () => {
        const told = page.waitForResponse((answer) => answer.url().endsWith(`/agents/${world.agent}/options`));
        await page.goto(`${world.base}/new`);
        await person.chooseAgent('Script');
        await told;
      };
      const answer = async (text) => {
        await person.send('options');
        await page.waitForURL(/\/s\//);
        await page.locator('.say', { hasText: text }).waitFor();
        assert.equal(await page.locator('.tick.wait').count(), 0, 'nothing was refused');
      };

      await begin();
      await person.composer.fill('options');
      assert.equal(await page.locator('.options').count(), 0, 'an agent that never ran offers nothing');
      const radios = page.getByRole('radio');
      if (!size.phone) {
        const names = await radios.and(page.locator(':enabled')).allTextContents();
        const checked = () => page.evaluate(() => [document.activeElement.textContent, document.activeElement.ariaChecked]);
        assert.ok(names.length > 1, 'there is something to choose from');
        assert.equal(await page.locator('[role=radio][tabindex="0"]').count(), 1);
        await page.locator('[role=radio][tabindex="0"]').focus();
        for (const [key, at] of [['End', names.length - 1], ['ArrowDown', 0], ['ArrowUp', names.length - 1], ['Home', 0], ['ArrowRight', 1], ['ArrowLeft', 0]]) {
          await page.keyboard.press(key);
          assert.deepEqual(await checked(), [names[at], 'true'], key);
          assert.equal(await radios.and(page.locator('[aria-checked=true]')).count(), 1);
        }
        await page.keyboard.press('Tab');
        assert.ok(!(await page.evaluate(() => document.activeElement.role === 'radio')), 'the group is one stop');
      }

      await person.chooseAgent('Script');
      await person.openFolder(world.work);
      await page.getByRole('button', { name: 'Use this folder' }).click();
      await person.send('options');
      await page.waitForURL(/\/s\//);
      await page.locator('.say', { hasText: '[mode=default model=small verbose=false]' }).waitFor();

      await begin();
      if (size.phone) {
        await page.getByRole('button', { name: 'Options' }).tap();
        const sheet = page.getByRole('dialog', { name: 'Options' });
        for (const [name, value] of [['Model', 'Large'], ['Mode', 'Ask'], ['Verbose', 'Verbose: on']]) {
          await sheet.getByRole('button', { name: `${name} Agent's default` }).tap();
          await sheet.getByRole('option', { name: value }).tap();
          await sheet.getByRole('button', { name: `${name} ${value}` }).waitFor();
        }
        await faultless(page, size);
        await page.keyboard.press('Escape');
        await page.getByRole('button', { name: 'Options, now Ask' }).waitFor();
      } else {
        for (const [name, key, value] of [['Model', 'l', 'Large'], ['Mode', 'End', 'Ask'], ['Verbose', 'ArrowDown', 'Verbose: on']]) {
          const button = page.getByRole('button', { name: `${name}: Agent's default` });
          await button.press('ArrowUp');
          await page.getByRole('listbox', { name }).waitFor();
          await page.keyboard.press(key);
          await page.keyboard.press('Enter');
          await page.getByRole('button', { name: `${name}: ${value}` }).waitFor();
        }
      }
      assert.deepEqual(await person.axe(), []);
      await person.notSideways();
      await answer('[mode=ask model=large verbose=true]');

      // What was chosen last is chosen again, and can be left to the agent.
      await begin();
      if (size.phone) {
        await page.getByRole('button', { name: 'Options, now Ask' }).tap();
        await page.getByRole('button', { name: 'Model Large' }).tap();
        await page.getByRole('option', { name: "Agent's default" }).tap();
        await page.getByRole('button', { name: "Model Agent's default" }).waitFor();
        await page.keyboard.press('Escape');
      } else {
        await page.getByRole('button', { name: 'Model: Large' }).press('Enter');
        await page.getByRole('listbox', { name: 'Model' }).waitFor();
        await page.keyboard.press('Home');
        await page.keyboard.press('Enter');
        await page.getByRole('button', { name: "Model: Agent's default" }).waitFor();
      }
      await answer('[mode=ask model=small verbose=true]');
    },
    { env: { SCRIPT_AGENT_MODES: '1' } },
  ],
]);
