// What an agent prints beside what it says: while it is slow to start, while it lives, and after it was cut off.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { atBothSizes } from './page.mjs';
import { until } from './world.mjs';

const AWAY = /ERR_|Failed to load|Failed to fetch|NetworkError|503|502/;

atBothSizes([
  [
    'a slow start shows what the agent prints, also after a restart of the host in the middle of it',
    async ({ world, visitor }) => {
      const person = await visitor();
      person.expect(AWAY);
      const { page } = person;
      const id = await person.begin('say "here"');
      const log = page.getByRole('log').getByRole('group', { name: 'The agent’s log' });
      await page.getByText(/is starting · [0-4] s/).waitFor();
      assert.equal(await log.count(), 0, 'a quick start has no log');
      await log.getByText('loading 40 of 40 skills').waitFor();
      assert.doesNotMatch(await log.innerText(), /loading 32 of/, 'the last lines only');
      await page.getByRole('log').getByRole('button', { name: 'Show all' }).click();
      await log.getByText('loading 1 of 40 skills').waitFor();
      assert.match(await log.innerText(), /scripted agent, a banner/);
      assert.deepEqual(await person.axe(), []);
      await person.notSideways();
      await world.kill();
      await world.start();
      await page.reload();
      await log.getByText('loading 40 of 40 skills').waitFor();
      assert.equal((await world.items(id)).length, 1, 'nothing of it is in the transcript');
      writeFileSync(join(world.work, 'gate'), '');
      await person.finished();
      assert.match(await person.shown(), /here/);
      assert.equal(await log.count(), 0);
    },
    {
      env: {
        SCRIPT_AGENT_STARTUP_SAYS: Array.from({ length: 40 }, (_, i) => `loading ${i + 1} of 40 skills`).join('\n'),
        SCRIPT_AGENT_STARTUP_UNTIL: 'gate',
      },
    },
  ],
  [
    'the log of a living agent is shown by the page of the host, and by the run panel where there is one',
    async ({ world, visitor, size }) => {
      const person = await visitor();
      const { page } = person;
      await person.begin('title Prints a lot\nstderr "one\\ntwo \\u001b[31mred\\u001b[0m"\nsay "here"');
      await person.finished();
      const dialog = page.getByRole('dialog', { name: 'Log of Script' });
      if (!size.phone) {
        await page.getByRole('button', { name: 'Show its log' }).click();
        await dialog.getByText('two red').waitFor();
        await dialog.getByRole('button', { name: 'Close' }).click();
      }
      await page.goto(`${world.base}/host`);
      await page.getByRole('button', { name: 'Log of Script, Prints a lot' }).click();
      await dialog.getByText('two red').waitFor();
      await dialog.locator('.c1', { hasText: 'red' }).waitFor();
      assert.deepEqual(await person.axe(), []);
      await person.notSideways();
      await page.keyboard.press('Escape');
      await dialog.waitFor({ state: 'detached' });
    },
  ],
  [
    'a run that was cut off or has failed shows the last output: of its tool, and what the agent printed',
    async ({ visitor }) => {
      const person = await visitor();
      const { page } = person;
      await person.begin('stderr "panic: out of steps"\ntool t1 execute make all\ntool-output t1 "compiling\\nlinking\\n"\nexit 3');
      const cut = page.locator('.card.fail', { hasText: 'Interrupted at' });
      await cut.waitFor();
      assert.equal(await cut.getByText('panic: out of steps').count(), 0, 'folded until asked for');
      const show = cut.getByRole('button', { name: 'Show the last output' });
      await show.click();
      await cut.getByText('panic: out of steps').waitFor();
      await cut.getByRole('group', { name: 'Output' }).getByText('linking').waitFor();
      assert.match(await cut.innerText(), /exit code 3/);
      assert.deepEqual(await person.axe(), []);
      await person.notSideways();
      await page.reload();
      await show.click();
      await cut.getByText('panic: out of steps').waitFor();
      await cut.getByRole('button', { name: 'Hide the last output' }).click();
      await until('it is folded', async () => (await cut.getByText('panic: out of steps').count()) === 0);
      await person.send('stderr "traceback: no key"\nerror -32603 broken');
      const failed = page.locator('.card.fail', { hasText: 'Failed at' });
      await failed.getByRole('button', { name: 'Show the last output' }).click();
      await failed.getByText('traceback: no key').waitFor();
      assert.equal(await page.getByRole('log').getByText('The last that the agent printed').count(), 0, 'it is said once');
    },
  ],
]);
