// A session that is longer than a page, with messages that waited: nothing comes into the midst of what is shown.

import assert from 'node:assert/strict';
import { atBothSizes } from './page.mjs';
import { until } from './world.mjs';

const commands = (from, n) => Array.from({ length: n }, (_, i) => `tool t${from + i} execute step ${from + i}\ntool-done t${from + i}`).join('\n');

atBothSizes([
  [
    'a message that waited for longer than a page is in the queue, and then where its answer begins',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      const id = await person.begin(`say "first"\n${commands(0, 20)}\nask q1 "Go on" make\n${commands(20, 110)}\nask q2 "And on" make\nsay "done"`);
      const answer = async (name) => {
        const question = await until(name, async () => (await world.call('GET', '/api/v1/approvals?state=pending')).approvals.find((each) => each.title === name));
        await world.call('POST', `/api/v1/approvals/${question.id}`, { option: 'allow_once' });
      };
      await until('it asks', async () => (await world.session(id)).waiting === 1);
      await world.call('POST', `/api/v1/sessions/${id}/messages`, { client_id: 'later', text: 'say "second"' });
      await answer('Go on');
      await until('it asks again', async () => (await world.call('GET', '/api/v1/approvals?state=pending')).approvals.some((each) => each.title === 'And on'));
      await page.reload();
      await page.locator('.queue').getByText('say "second"').waitFor();
      await answer('And on');
      await person.finished();
      await page.reload();
      const rows = page.locator('.rows > .entry');
      const texts = () => rows.evaluateAll((all) => all.map((row) => row.querySelector('.you .text, .say')?.textContent.trim() ?? '').filter(Boolean));
      const end = ['[answer q2: allow_once]done', 'say "second"', 'second'];
      await until('the end is there', async () => (await texts()).length >= 3);
      assert.deepEqual((await texts()).slice(-3), end, 'the message stands before its answer, though it was sent a page before');
      await page.getByRole('log').focus();
      await until('the beginning is there', async () => {
        await page.keyboard.press('Home');
        return (await rows.first().textContent()).includes('first') || (await page.getByText('say "first"').count()) > 0;
      });
      await page.keyboard.press('End');
      await until('the end is there again', async () => (await texts()).slice(-3).join() === end.join());
      await until('the message is there once', async () => (await page.locator('.you', { hasText: 'say "second"' }).count()) === 1);
    },
  ],
  [
    'taking back a message that waited leaves the answer during which it was sent whole',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      const id = await person.begin('say "one "\nask q1 "Go on" make\ntool t1 execute after\ntool-done t1\nsay "the rest"');
      await until('it asks', async () => (await world.session(id)).waiting === 1);
      await world.call('POST', `/api/v1/sessions/${id}/messages`, { client_id: 'later', text: 'say "second"' });
      const [question] = (await world.call('GET', '/api/v1/approvals?state=pending')).approvals;
      await world.call('POST', `/api/v1/approvals/${question.id}`, { option: 'allow_once' });
      await page.locator('.say', { hasText: 'second' }).waitFor();
      await person.finished();
      const { items } = await world.call('GET', `/api/v1/sessions/${id}/items`);
      const message = items.find((item) => item.kind === 'user' && item.body.text === 'say "second"');
      await world.call('POST', `/api/v1/sessions/${id}/rewind`, { item: message.id });
      await until('it is taken back', async () => (await page.locator('.you', { hasText: 'second' }).count()) === 0);
      await page.locator('.say', { hasText: 'the rest' }).waitFor();
      assert.equal(await page.locator('.say', { hasText: 'second' }).count(), 0);
      await page.reload();
      await page.locator('.say', { hasText: 'the rest' }).waitFor();
      await page.getByRole('log').getByRole('button', { name: 'Show', exact: true }).click();
      const shown = page.locator('.takenback');
      await shown.locator('.say', { hasText: 'second' }).waitFor();
      assert.equal(await shown.getByText('the rest').count(), 0, 'what is shown as taken back is that alone');
      await person.notSideways();
    },
    { once: true },
  ],
]);
