// What a person sees when something dies: the host, the keeper, an agent that hangs.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { atBothSizes, bare, words } from './page.mjs';
import { until } from './world.mjs';

/** What the browser itself says of a host that is away. */
const AWAY = /net::ERR_(CONNECTION_REFUSED|CONNECTION_RESET|INCOMPLETE_CHUNKED_ENCODING|EMPTY_RESPONSE|SOCKET_NOT_CONNECTED)/;

atBothSizes([
  [
    'the host is killed in mid-answer: the page says so, comes back by itself, and the answer is whole',
    async ({ size, world, visitor }) => {
      const person = await visitor();
      person.expect(AWAY);
      const { page } = person;
      const { script, text } = words(400);
      const id = await person.begin(`pid\n${script}`);
      await until('a part of it', async () => (await person.shown()).includes('w0020'));
      const agent = /^(\d+)w0000/.exec(await person.shown())?.[1];
      assert.ok(agent, 'the agent says its pid');
      const whole = `${agent}${text}and then this`;
      const before = (await person.shown()).length;
      await world.kill();
      await page.locator('.ban', { hasText: 'No answer' }).waitFor();
      if (!size.phone) await page.getByText(/No answer since/).waitFor();
      assert.ok((await person.shown()).length >= before, 'what was read stays');
      await person.notSideways();
      // Written while nobody answers, it is kept and sent once.
      await person.send('say "and then this"');
      await page.locator('.q', { hasText: 'and then this' }).waitFor();
      await world.start();
      await page.locator('.ban').waitFor({ state: 'detached' });
      await page.locator('.toast', { hasText: 'nothing lost' }).waitFor();
      await page.locator('.say', { hasText: 'w0399' }).waitFor({ timeout: 30_000 });
      await page.locator('.say', { hasText: 'and then this' }).waitFor();
      await person.finished();
      assert.equal(bare(await person.shown()), bare(whole));
      assert.equal(bare(await world.said(id)), bare(whole));
      assert.equal(world.heard('and then this').length, 1);
      await page.reload();
      await page.locator('.say', { hasText: 'and then this' }).waitFor();
      assert.equal(bare(await person.shown()), bare(whole));
    },
  ],
  [
    'the host is restarted in place in mid-answer: nobody notices',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      const { script, text } = words(300);
      const id = await person.begin(script);
      await until('a part of it', async () => (await person.shown()).includes('w0020'));
      await page.evaluate(() => {
        globalThis.banners = 0;
        new MutationObserver(() => (globalThis.banners += document.querySelectorAll('.ban, .toast').length)).observe(document.body, {
          childList: true,
          subtree: true,
        });
      });
      for (let i = 0; i < 4; i++) {
        await world.cli('restart');
        const before = (await person.shown()).length;
        await until('the answer goes on', async () => (await person.shown()).length > Math.min(before, text.length - 1));
      }
      await page.locator('.say', { hasText: 'w0299' }).waitFor({ timeout: 30_000 });
      await person.finished();
      assert.equal(bare(await person.shown()), bare(text));
      assert.equal(bare(await world.said(id)), bare(text));
      assert.equal(await page.evaluate(() => globalThis.banners), 0, 'nothing was said of it');
    },
  ],
  [
    'a permission waits over a restart of the host',
    async ({ world, visitor }) => {
      const person = await visitor();
      person.expect(AWAY);
      const { page } = person;
      await person.begin('ask q1 "Deploy" make deploy\nsay " Done."');
      await page.locator(person.size.phone ? '.askbar' : 'div.ask').waitFor();
      await world.kill();
      await world.start();
      await until('the page is back', () => page.evaluate(() => fetch('/api/v1/me').then((answer) => answer.ok, () => false)));
      const ask = await person.question();
      await until('it is answered', async () => {
        await ask.getByRole('button', { name: /Allow once/ }).click({ timeout: 1000 }).catch(() => {});
        return (await page.getByRole('log').getByText('Allowed once').count()) > 0;
      });
      await person.finished();
      assert.equal(bare(await person.shown()), bare('[answer q1: allow_once] Done.'));
      assert.equal(world.heard('"outcome":"selected"').length, 1);
    },
  ],
  [
    'an agent that hangs is ended from the page, and the session goes on',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      await person.begin('say "so far "\nhang');
      await page.locator('.say', { hasText: '[hang]' }).waitFor();
      await page.getByRole('button', { name: 'Stop', exact: true }).click();
      await page.getByText('Stopping…').waitFor();
      await page.getByRole('button', { name: 'End the agent' }).click({ timeout: 30_000 });
      const dialog = page.getByRole('dialog');
      await dialog.getByText('What it wrote is kept').waitFor();
      await dialog.getByRole('button', { name: 'End Script' }).click();
      await until('the run is over', async () => (await person.page.getByRole('button', { name: 'Stop', exact: true }).count()) === 0, 30_000);
      assert.match(await person.shown(), /so far \[hang\]/);
      await person.notSideways();
      await person.send('say "again"');
      await page.locator('.say', { hasText: 'again' }).waitFor();
      await person.finished();
      await until('the hung agent is gone', () => world.marked().length <= 2);
    },
  ],
  [
    'the keeper is killed: a card says when and why, the partial text is kept, and the run is continued',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      const { script, text } = words(400, '20ms');
      const id = await person.begin(script);
      await until('a part of it', async () => (await person.shown()).includes('w0020'));
      process.kill(world.keeper(), 'SIGKILL');
      const card = page.locator('.card.fail', { hasText: 'Interrupted at' });
      await card.waitFor();
      assert.match(await card.textContent(), /Everything up to the last word is kept/);
      const kept = (await person.shown()).trim();
      assert.ok(kept.includes('w0020') && text.startsWith(kept), 'the partial text is a beginning of the answer');
      await until('no process is left', () => world.marked().length === 0);
      const reason = await card.textContent();
      await page.reload();
      await card.waitFor();
      assert.equal((await person.shown()).trim(), kept);
      assert.equal((await card.textContent()).replace(/\s+/g, ' '), reason.replace(/\s+/g, ' '), 'the reason survives a reload');
      await person.notSideways();
      await page.getByRole('button', { name: 'Continue the run' }).click();
      await page.locator('.you', { hasText: 'Continue where you were interrupted' }).waitFor();
      await until('the agent hears it', () => world.heard('Continue where').length === 1);
      await person.finished();
      assert.equal((await world.items(id)).filter((item) => item.kind === 'user').length, 2);
    },
  ],
  [
    'a host that goes away before the list was read is told of, and the list comes with it',
    async ({ world, visitor }) => {
      const person = await visitor();
      person.expect(/net::ERR_FAILED|net::ERR_CONNECTION_FAILED/);
      const { page } = person;
      await person.begin('say ready');
      await person.finished();
      // Nothing is answered but the question who this is.
      const away = (route) => (route.request().url().includes('/api/v1/me') ? route.continue() : route.abort('connectionfailed'));
      await page.route('**/api/**', away);
      await page.goto(world.base);
      await page.locator('.ban', { hasText: 'No answer' }).waitFor();
      const now = page.getByRole('button', { name: 'Try now' });
      await now.waitFor();
      await page.unroute('**/api/**', away);
      // The page also comes back by itself, and then there is nothing left to press.
      await Promise.race([now.click().catch(() => {}), page.locator('.ban').waitFor({ state: 'detached' })]);
      await page.locator('.ban').waitFor({ state: 'detached' });
      await page.getByText('say ready').filter({ visible: true }).first().waitFor();
    },
  ],
  [
    'the list waits for a host that is away, too',
    async ({ world, visitor }) => {
      const person = await visitor();
      person.expect(AWAY);
      const { page } = person;
      const id = await person.begin('say ready');
      await person.finished();
      await page.goto(world.base);
      await page.locator('.head h1').waitFor();
      await world.kill();
      await page.locator('.ban', { hasText: 'No answer' }).waitFor();
      await sleep(100);
      await world.start();
      await page.locator('.ban').waitFor({ state: 'detached' });
      await page.goto(`${world.base}/s/${id}`);
      await page.locator('.say', { hasText: 'ready' }).waitFor();
    },
  ],
]);
