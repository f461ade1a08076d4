// Many tabs of one browser: all live by one stream, whoever has it.

import assert from 'node:assert/strict';
import { atBothSizes, bare, words } from './page.mjs';
import { until } from './world.mjs';

async function streams(world) {
  const answer = await fetch(`${world.base}/metrics`, { headers: { Authorization: `Bearer ${world.token}` } });
  const line = /^holdfast_http_requests_in_flight\{class="stream"\} (\d+)$/m.exec(await answer.text());
  return Number(line?.[1]);
}

const shown = (page) =>
  page
    .locator('.say')
    .allTextContents()
    .then((texts) => bare(texts.join('')));

atBothSizes(
  [
    [
      'eight tabs live by one stream, also when the leading ones close and the host is killed',
      async ({ world, visitor }) => {
        const person = await visitor();
        person.expect(/net::ERR_/);
        const first = person.page;
        // The questions are gates: nothing is said before the tabs are there.
        const parts = [words(10), words(100, '20ms', 10), words(100, '20ms', 110)];
        const id = await person.begin(parts.map((part) => part.script).join('\nask gate "Go on" go on\n'));
        const whole = (page, last) =>
          until(`all up to ${last}`, async () => {
            const text = bare(await world.said(id));
            return text.endsWith(last) && (await shown(page)) === text;
          }, 40_000);
        const open = async () => {
          const [question] = await until('a question', async () => {
            const { approvals } = await world.call('GET', '/api/v1/approvals?state=pending');
            return approvals.length > 0 && approvals;
          });
          await world.call('POST', `/api/v1/approvals/${question.id}`, { option: question.options[0].id });
        };
        const tabs = [first];
        while (tabs.length < 8) {
          const page = await person.tab();
          await page.goto(`${world.base}/s/${id}`);
          await page.locator('.say').first().waitFor();
          tabs.push(page);
        }
        assert.equal(await streams(world), 1, 'one stream for eight tabs');

        await open();
        // The first leads, then the second.
        await first.close();
        await tabs[1].close();
        for (const page of tabs.slice(2)) await whole(page, 'w0109');
        await until('one stream for six tabs', async () => (await streams(world)) === 1);

        await open();
        await world.kill();
        await world.start();
        for (const page of tabs.slice(2)) await whole(page, 'w0209');
        await until('one stream after the host is back', async () => (await streams(world)) === 1);
      },
      { once: true },
    ],
    [
      'two tabs with a session each, one of which is deleted',
      async ({ world, visitor }) => {
        const person = await visitor();
        const first = person.page;
        const a = await person.begin('say "one"');
        const second = await person.tab();
        const b = await person.begin('say "two"');
        await second.getByText('two', { exact: true }).waitFor();
        await world.call('DELETE', `/api/v1/sessions/${b}`);
        await second.waitForURL((url) => !url.pathname.includes(b));
        await world.call('POST', `/api/v1/sessions/${a}/messages`, { client_id: 'more', text: 'say "three"' });
        await first.getByText('three', { exact: true }).waitFor();
      },
      { once: true },
    ],
  ],
);
