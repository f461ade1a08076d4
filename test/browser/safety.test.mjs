// Nothing that an agent says or names becomes a script, and everybody can read the page.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { atBothSizes } from './page.mjs';
import { until } from './world.mjs';

const IMG = '<img src=x onerror=alert(1)>';

atBothSizes([
  [
    'texts, titles, names and links of an agent run nothing',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      await page.addInitScript(() => {
        globalThis.ran = 0;
        globalThis.alert = () => globalThis.ran++;
      });
      mkdirSync(join(world.work, '<img src=x onerror=alert(2)>'));
      await person.begin(
        [
          `title ${IMG} title`,
          `say "${IMG} <script>alert(1)</script>\\n\\n"`,
          'say "[one](javascript:alert(1)) [two](JaVaScRiPt:alert(1)) [three](data:text/html,<script>alert(1)</script>)\\n\\n"',
          'say "[four](java\\tscript:alert(1)) <javascript:alert(1)> [five](vbscript:x) [good](https://example.com/)\\n\\n"',
          'say "![picture](javascript:alert(1)) ![remote](https://example.com/pixel.png)\\n\\n"',
          'say "[six][evil] ![seven][evil] [evil][] eight[^<img/src=x/onerror=alert(1)>]\\n\\n"',
          'say "[evil]: JaVaScRiPt:alert(1)\\n\\n[^<img/src=x/onerror=alert(1)>]: <img src=x onerror=alert(1)> [evil]\\n\\n"',
          'say "<svg onload=alert(1)><iframe srcdoc=\'<script>alert(1)</script>\'></iframe>\\n\\n"',
          'say "| a |\\n|---|\\n| <img src=x onerror=alert(1)> |\\n\\n```<img\\n<img src=x onerror=alert(1)>\\n```\\n\\n"',
          `think "${IMG}"`,
          `plan "*${IMG}|+done"`,
          `tool t1 execute "${IMG}"`,
          `tool-output t1 "${IMG}\\n\\u001b]8;;javascript:alert(1)\\u0007link\\u001b]8;;\\u0007\\n"`,
          'tool-fail t1',
          `diff "${IMG}.txt" "a\\n" "${IMG}\\n"`,
          `notice error "${IMG}"`,
          'commands "<img/src=x/onerror=alert(1)>"',
          `ask q1 "${IMG}" echo "${IMG}"`,
        ].join('\n'),
      );
      const ask = await person.question();
      assert.match(await ask.textContent(), /<img src=x onerror=alert\(1\)>/, 'the command is shown as it is');
      await ask.getByRole('button', { name: /Reject/ }).click();
      await person.finished();
      for (const row of await page.getByRole('button', { name: /^(Thought|Plan)/ }).all()) await row.click();
      await page.locator('h1', { hasText: `${IMG} title` }).waitFor();
      assert.match(await page.title(), /<img src=x/);

      const found = await page.evaluate(() => ({
        ran: globalThis.ran,
        made: document.querySelectorAll('main img, main script, main iframe, main [onerror], main [onload], aside img').length,
        links: [...document.querySelectorAll('.say a')].map((a) => [a.getAttribute('href'), a.rel, a.target]),
      }));
      assert.equal(found.ran, 0);
      assert.equal(found.made, 0);
      for (const [href, rel, target] of found.links) {
        assert.match(href, /^https?:\/\/|^mailto:/);
        assert.match(rel, /noopener/);
        assert.equal(target, '_blank');
      }
      assert.ok(found.links.some(([href]) => href === 'https://example.com/'));

      // The names of folders, in the chooser.
      await page.goto(`${world.base}/new`);
      await person.openFolder(world.work);
      await page.locator('.picks', { hasText: '<img src=x onerror=alert(2)>' }).waitFor();
      assert.equal(await page.evaluate(() => globalThis.ran), 0);
      assert.equal(await page.locator('img').count(), 0);
      await page.goto(world.base);
      await page.locator('a:visible', { hasText: `${IMG} title` }).first().waitFor();
      assert.equal(await page.evaluate(() => globalThis.ran), 0);
    },
  ],
  ...['light', 'dark'].map((colorScheme) => [
    `axe finds nothing in ${colorScheme}: login, new, chat, question, settings, list`,
    async ({ world, size, visitor }) => {
      const out = await visitor({ link: false, colorScheme });
      out.expect(/status of 401/);
      await out.page.goto(world.base);
      await out.page.getByRole('heading', { name: 'This browser is not logged in' }).waitFor();
      assert.deepEqual(await out.axe(), [], 'login');

      const person = await visitor({ colorScheme });
      const { page } = person;
      await page.goto(`${world.base}/new`);
      await page.getByRole('radio', { name: /Tour/ }).waitFor();
      assert.deepEqual(await person.axe(), [], 'new');
      await page.getByRole('button', { name: 'Change', exact: true }).click();
      await page.locator('.picks .opt').first().waitFor();
      assert.deepEqual(await person.axe(), [], 'folders');
      const id = await person.begin(
        'think hm\nplan "+One|*Two"\ntool t1 execute "make"\ntool-output t1 "bad\\n"\ntool-fail t1\n' +
          'diff a.go "a\\n" "b\\n"\nsay "# Head\\n\\nText with `code` and a [link](https://example.com).\\n\\n```go\\nfunc main() {}\\n```\\n"\nask q1 "Push" git push\nsay " Done."',
      );
      await page.locator(size.phone ? '.askbar' : 'div.ask').waitFor();
      await page.locator('.say h2').waitFor();
      // Buttons are dead, and pale, for a moment after a question appears.
      await page.waitForTimeout(500);
      assert.deepEqual(await person.axe(), [], 'chat with a permission');
      const ask = await person.question();
      await page.waitForTimeout(600);
      assert.deepEqual(await person.axe(), [], 'the question');
      await ask.getByRole('button', { name: /Allow once/ }).click();
      await person.finished();
      assert.deepEqual(await person.axe(), [], 'chat at rest');
      process.kill(world.keeper(), 'SIGKILL');
      await until('the keeper is gone', () => world.marked().length === 0);
      for (const path of ['/', '/needs-you', '/settings', '/host', `/s/${id}`]) {
        await page.goto(world.base + path);
        await page.locator('main h1').first().waitFor();
        await page.waitForTimeout(200);
        assert.deepEqual(await person.axe(), [], path);
        await person.notSideways();
      }
    },
  ]),
]);
