// A session as a person works with it: the tour, everything that an agent can show, a reload, the queue, two tabs.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { atBothSizes, bare, words } from './page.mjs';
import { until } from './world.mjs';

atBothSizes([
  [
    'the tour streams its introduction, asks before it acts, and acts',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      await page.addInitScript(() => {
        globalThis.lengths = new Set();
        const look = () => document.querySelector('.say.open') && globalThis.lengths.add(document.querySelector('.say.open').textContent.length);
        new MutationObserver(look).observe(document, { childList: true, subtree: true, characterData: true });
      });
      await person.start(/Tour/, 'Hello');
      await person.finished();
      assert.ok((await page.evaluate(() => globalThis.lengths.size)) > 2, 'the answer grows while it is open');
      assert.match(await person.shown(), /not a language model/);
      await person.notSideways();

      await person.send('write notes.txt Hello from the tour');
      const write = await person.question();
      await write.getByText('Hello from the tour').waitFor();
      assert.equal(existsSync(join(world.work, 'notes.txt')), false, 'nothing is written before the answer');
      await write.getByRole('button', { name: /Allow once/ }).click();
      await page.getByText('Allowed once').waitFor();
      await person.finished();
      assert.equal(readFileSync(join(world.work, 'notes.txt'), 'utf8'), 'Hello from the tour\n');

      await person.send('run echo $((6*7)) from a shell');
      const run = await person.question();
      await run.getByText('echo $((6*7)) from a shell').waitFor();
      await run.getByRole('button', { name: /Reject|Deny|Don.t/ }).first().click();
      await page.getByText('Denied').waitFor();
      await person.finished();
      assert.match(await person.shown(), /did not allow it/);
    },
  ],
  [
    'thought, plan, tools with arguments, output and a diff, and a permission',
    async ({ size, visitor }) => {
      const person = await visitor();
      const { page } = person;
      await person.begin(
        [
          'think "weighing two ways"',
          'plan "+Read the code|*Change it|Run the tests"',
          'tool t1 execute "go test ./..."',
          'tool-output t1 "ok  replay  0.21s\\n"',
          'tool-done t1',
          'diff src/backoff.go "a := 1\\nb := 2\\n" "a := 1\\nb := 3\\nc := 4\\n"',
          'tool t2 execute "make lint"',
          'tool-output t2 "backoff.go:3 unused\\n"',
          'tool-fail t2',
          'say "Before I go on: "',
          'ask q1 "Push" git push --force-with-lease origin main',
          'say " **Pushed**, with `one` command."',
        ].join('\n'),
      );
      const ask = await person.question();
      await ask.getByText('git push --force-with-lease origin main').waitFor();
      const names = (await ask.locator('.acts button').allTextContents()).map((text) => text.replace(/(⌘|Ctrl ).*/, '').trim());
      assert.deepEqual(names, ['Allow once', 'Always allow', 'Reject']);
      assert.deepEqual(await person.axe(), []);
      await person.notSideways();
      await ask.getByRole('button', { name: /Allow once/ }).click();
      await ask.waitFor({ state: 'detached' });
      await person.finished();

      const log = page.getByRole('log');
      await log.getByText('Allowed once').waitFor();
      await log.getByText('git push --force-with-lease origin main').last().waitFor();
      assert.equal(bare(await person.shown()), bare('Before I go on: [answer q1: allow_once] Pushed, with one command.'));
      assert.equal(await page.locator('.say strong').textContent(), 'Pushed');

      await log.getByRole('button', { name: /^Thought/ }).click();
      await log.getByText('weighing two ways', { exact: true }).waitFor();
      await log.getByRole('button', { name: /^Plan/ }).click();
      await log.locator('.steps', { hasText: 'Run the tests' }).waitFor();
      await log.getByRole('button', { name: /^Ran go test/ }).click();
      await log.locator('.out', { hasText: 'ok replay 0.21s' }).waitFor();
      // What failed stays open by itself.
      await log.locator('.card.fail', { hasText: 'backoff.go:3 unused' }).waitFor();
      const edit = log.locator('.card', { hasText: 'backoff.go' }).filter({ hasText: 'Edited' });
      assert.equal(await edit.locator('.diff .a').count(), 2);
      assert.equal(await edit.locator('.diff .d').count(), 1);
      if (!size.phone) await page.getByRole('complementary', { name: 'Run' }).getByText('Change it').waitFor();
      await person.notSideways();
    },
  ],
  [
    'a reload in mid-answer goes on with the whole transcript, nothing twice',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      // The question is a gate: the answer streams over the reload, and is under way after it however long that took.
      const parts = [words(120), words(20, '15ms', 120)];
      const text = `${parts[0].text} [answer gate: allow_once]${parts[1].text}`;
      const id = await person.begin(parts.map((part) => part.script).join('\nask gate "Go on" go on\n'));
      await until('a part of it', async () => (await person.shown()).includes('w0020'));
      await page.reload();
      await page.locator('.say', { hasText: 'w0000' }).waitFor();
      const atReload = bare(await person.shown());
      assert.ok(bare(text).startsWith(atReload), 'the reloaded page shows a beginning of the answer');
      assert.ok(atReload.length < bare(text).length, 'the answer is still under way');
      await (await person.question()).getByRole('button', { name: /Allow once/ }).click();
      await page.getByRole('log').getByText('Allowed once').waitFor();
      await person.finished();
      assert.equal(bare(await person.shown()), bare(text));
      assert.equal(await page.locator('.you').count(), 1);
      assert.equal(bare(await world.said(id)), bare(text));
    },
  ],
  [
    'Markdown that was folded while it streamed is what a fresh page makes of it',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      const id = await person.begin('stream 300 4ms seed=7\nsay "\\n\\n```go\\nfunc main() {}\\n```\\n\\n| a | b |\\n|---|---|\\n| 1 | 2 |\\n"');
      await until('a part of it', async () => (await person.shown()).length > 300);
      await page.reload();
      await page.locator('.say').first().waitFor();
      await person.finished();
      const streamed = await person.structure();
      await page.reload();
      await page.locator('.say table').waitFor();
      await person.finished();
      assert.equal(streamed, await person.structure());
      // No word of the log is missing on the page: Markdown's signs aside, its letters are the log's.
      const letters = (all) => all.replace(/[^\p{L}\p{N}]+/gu, '');
      const said = (await world.said(id)).replaceAll('&amp;', '&').replace('```go', '```').replace('|---|---|', '');
      const shown = await page.locator('.say').evaluateAll((boxes) =>
        boxes
          .map((box) => {
            const copy = box.cloneNode(true);
            for (const extra of copy.querySelectorAll('header, button')) extra.remove();
            return copy.textContent;
          })
          .join(''),
      );
      assert.equal(letters(shown), letters(said));
    },
  ],
  [
    'a message queues while a run is under way; stopping pauses the queue; resuming runs it',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      const id = await person.begin('say "begun "\nsleep 30s\nsay never');
      await page.locator('.say', { hasText: 'begun' }).waitFor();
      await person.send('say "the second"');
      await page.locator('.q', { hasText: 'the second' }).waitFor();
      await person.send('say "the third"');
      await page.locator('.q', { hasText: 'the third' }).waitFor();
      await page.locator('.q', { hasText: 'the third' }).getByRole('button', { name: 'Remove queued message' }).click();
      await page.locator('.q', { hasText: 'the third' }).waitFor({ state: 'detached' });
      await page.getByRole('button', { name: 'Stop', exact: true }).click();
      await page.locator('.tick', { hasText: 'Stopped' }).waitFor();
      await page.locator('.q', { hasText: 'The queue is paused' }).waitFor();
      // It stays paused over a reload, and nothing runs meanwhile.
      await page.reload();
      await page.locator('.q', { hasText: 'The queue is paused' }).waitFor();
      await sleep(300);
      assert.equal(world.heard('the second').length, 0);
      await page.getByRole('button', { name: 'Resume' }).click();
      await page.locator('.say', { hasText: 'the second' }).waitFor();
      await person.finished();
      assert.doesNotMatch(await world.said(id), /never|third/);
      assert.equal(world.heard('the third').length, 0);
    },
  ],
  [
    'a permission that is answered in one place closes in another tab and on another device',
    async ({ size, world, visitor }) => {
      const one = await visitor();
      const id = await one.begin('say "May I? "\nask q1 "Deploy" make deploy\nsay " Done."');
      const first = one.page;
      const tab = await one.tab();
      await tab.goto(`${world.base}/s/${id}`);
      const open = size.phone ? '.askbar' : 'div.ask';
      await tab.locator(open).waitFor();
      one.page = first;
      const two = await visitor();
      await two.page.goto(`${world.base}/s/${id}`);
      // Who looks at another tab is told by its title and its icon.
      await first.goto(`${world.base}/settings`);
      await until('the title counts', async () => (await first.title()).startsWith('(1) '));
      const icon = await first.locator('link[rel=icon]').evaluate((link) => link.href);
      assert.equal(icon, `${world.base}/icon-waits.svg`);
      assert.equal((await fetch(icon)).headers.get('content-type'), 'image/svg+xml');
      await first.goto(`${world.base}/s/${id}`);
      const here = await one.question();
      const there = await two.question();
      await here.getByRole('button', { name: /Allow once/ }).click();
      await there.waitFor({ state: 'detached' });
      for (const person of [one, two]) {
        await person.page.getByRole('log').getByText('Allowed once').waitFor();
        await person.finished();
        assert.equal(bare(await person.shown()), bare('May I? [answer q1: allow_once] Done.'));
        assert.equal(await person.page.locator(open).count(), 0);
      }
      await two.page.getByRole('log').getByText(/^\s*\d\d:\d\d · Chrome on Linux\s*$/).waitFor();
      await until('the title is bare again', async () => !(await first.title()).startsWith('('));
      await tab.getByRole('log').getByText('Allowed once').waitFor();
      assert.equal(await tab.locator(open).count(), 0);
      assert.equal(world.heard('"outcome":"selected"').length, 1);
    },
  ],
  [
    'a question is answered by keys, but not by one that was meant for something else',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      await person.begin('say "May I? "\nask q1 "Deploy" make deploy\nask q2 "Clean" make clean\nask-edit q3 notes.md "a" "b"\nsay " Done."');
      const ask = page.locator('div.ask');
      const ready = async (text) => {
        await ask.getByText(text).first().waitFor();
        await ask.locator('.acts button:enabled').first().waitFor();
      };
      await ready('make deploy');
      // With words in the composer the keys are the composer's.
      await person.composer.fill('and then?');
      await page.keyboard.press('Control+Backspace');
      assert.equal(world.heard('"outcome"').length, 0);
      await person.composer.fill('');
      await page.keyboard.press('Control+Enter');
      await ready('make clean');
      await page.keyboard.press('Control+Backspace');
      await ready('notes.md');
      // A change that waits for its answer is shown once: in the question.
      assert.equal(await page.locator('.diff').count(), 1);
      await page.keyboard.press('Control+Enter');
      await ask.waitFor({ state: 'detached' });
      await person.finished();
      assert.equal(bare(await person.shown()), bare('May I? [answer q1: allow_once][answer q2: reject_once][answer q3: allow_once] Done.'));
      await page.getByRole('log').getByText('Denied').waitFor();
    },
    { once: true },
  ],
]);
