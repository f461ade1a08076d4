// The main paths by the keyboard alone, and what a person has asked of the system: less motion, more contrast.

import assert from 'node:assert/strict';
import { atBothSizes } from './page.mjs';
import { until } from './world.mjs';

/** What has the focus: its name, and whether that is to be seen. */
const focused = (page) =>
  page.evaluate(() => {
    const at = document.activeElement;
    const box = at.getBoundingClientRect();
    const ringed = [at, at.parentElement, at.closest('form, .field, .findbar, .top')].some((each) => each && getComputedStyle(each).boxShadow !== 'none');
    return {
      name: at === document.body ? '' : (at.ariaLabel ?? at.labels?.[0]?.textContent ?? at.textContent ?? '').trim(),
      seen: at === document.body || (ringed && box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.left < innerWidth),
    };
  });

/** Goes on by Tab to what has a name; each stop on the way has to be seen. */
async function tabTo(page, name, key = 'Tab') {
  const stops = [];
  for (let i = 0; i < 80; i++) {
    await page.keyboard.press(key);
    const at = await focused(page);
    assert.ok(at.seen, `the focus is seen on “${at.name}”`);
    if (name.test(at.name)) return;
    stops.push(at.name.slice(0, 30));
  }
  assert.fail(`no ${name} among ${stops.join(' | ')}`);
}

atBothSizes([
  [
    'a session is begun, answered, renamed, found and left by keys alone',
    async ({ world, visitor }) => {
      const { page } = await visitor();
      const { keyboard } = page;
      await page.goto(world.base);
      await page.getByRole('heading', { name: 'All sessions' }).waitFor();

      await keyboard.press('n');
      await page.getByRole('radio', { name: /Script/ }).waitFor();
      await tabTo(page, /Script/);
      await keyboard.press('Space');
      await page.getByRole('radio', { name: /Script/, checked: true }).waitFor();
      await until('the text has the focus', async () => (await page.evaluate(() => document.activeElement.tagName)) === 'TEXTAREA');
      await keyboard.type('say "A needle. "');
      await keyboard.press('Shift+Enter');
      await keyboard.type('ask q1 "Push" git push');
      await keyboard.press('Enter');

      // The question stands before the composer, which keeps the focus.
      await page.locator('div.ask').getByRole('button', { name: /Allow once/, disabled: false }).waitFor();
      await until('the text has the focus', async () => (await page.evaluate(() => document.activeElement.tagName)) === 'TEXTAREA');
      await tabTo(page, /^Allow once/, 'Shift+Tab');
      await keyboard.press('Enter');
      await page.locator('.tool', { hasText: 'Allowed once' }).waitFor();
      await until('the focus is back', async () => (await page.evaluate(() => document.activeElement.tagName)) === 'TEXTAREA');

      await tabTo(page, /^More$/, 'Shift+Tab');
      await keyboard.press('Enter');
      await page.getByRole('menuitem', { name: 'Rename' }).waitFor();
      assert.match((await focused(page)).name, /Rename/);
      await keyboard.press('Enter');
      await page.getByRole('textbox', { name: 'Name' }).waitFor();
      await keyboard.type('Walked by keys');
      await keyboard.press('Enter');
      await page.getByRole('heading', { name: 'Walked by keys' }).waitFor();

      await until('the index has it', async () => {
        const { hits, behind } = await world.call('GET', '/api/v1/search?q=needle');
        return behind === 0 && hits.length > 0;
      });
      await page.goto(`${world.base}/needs-you`);
      await page.getByRole('heading', { name: 'Needs you' }).waitFor();
      await keyboard.press('Control+k');
      await page.getByRole('combobox').waitFor();
      await keyboard.type('Walked');
      await page.getByRole('option', { name: /Walked by keys/, selected: true }).waitFor();
      await keyboard.press('Enter');
      await page.waitForURL(/\/s\//);
      await page.getByRole('heading', { name: 'Walked by keys' }).waitFor();

      // The sheet of the keys, from outside of the text, and back to where it was opened.
      await page.locator('form.comp textarea').waitFor();
      await tabTo(page, /^More$/, 'Shift+Tab');
      await keyboard.press('?');
      const keys = page.getByRole('dialog', { name: 'Keys' });
      await keys.waitFor();
      await tabTo(page, /^Close$/);
      await keyboard.press('Enter');
      await keys.waitFor({ state: 'detached' });
      assert.equal((await focused(page)).name, 'More');
    },
    { once: true },
  ],
  [
    'less motion leaves nothing moving, and more contrast draws the lines',
    async ({ world, visitor }) => {
      const person = await visitor({ reducedMotion: 'reduce', contrast: 'more' });
      const { page } = person;
      await person.begin('say "Begun. "\nsleep 60s');
      await page.locator('.say.open').waitFor();
      await page.locator('.headdot').waitFor();
      const moving = () => page.evaluate(() => document.getAnimations().filter((each) => each.effect.getComputedTiming().duration > 0).map((each) => each.animationName ?? each.transitionProperty));
      assert.deepEqual(await moving(), []);
      if (person.size.phone) {
        await page.locator('.you').getByRole('button', { name: 'More actions' }).click();
        await page.locator('dialog.sheet').waitFor();
        assert.deepEqual(await moving(), []);
      }
      // The same place read as a colour.
      const colours = await page.evaluate(() =>
        ['--line', '--line-control', '--ink-3', '--ink-2'].map((name) => {
          const probe = document.body.appendChild(document.createElement('i'));
          probe.style.color = `var(${name})`;
          const { color } = getComputedStyle(probe);
          probe.remove();
          return color;
        }),
      );
      assert.equal(colours[0], colours[1]);
      assert.equal(colours[2], colours[3]);
      assert.deepEqual(await person.axe(), []);
    },
  ],
]);
