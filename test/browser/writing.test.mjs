// Messages that are written and what goes with them: the first one of a session, files on their way, long texts, and
// options of which there are many.

import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { many } from './long.mjs';
import { atBothSizes } from './page.mjs';
import { tasks } from './work.mjs';
import { until } from './world.mjs';

const file = (name, text = name) => ({ name, mimeType: 'text/plain', buffer: Buffer.from(text) });
const pickFiles = (page, ...names) => page.locator('input[type=file]').setInputFiles(names.map((name) => file(name)));
const chips = (page) => page.locator('form.comp').getByRole('list', { name: 'Attached files' }).getByRole('listitem');
const send = (page) => page.getByRole('button', { name: 'Send', exact: true });

/** Keeps uploads from the host until they are let go, one after the other or all. */
async function held(page) {
  const waiting = [];
  let open = false;
  await page.route('**/api/v1/attachments', async (route) => {
    if (!open) await new Promise((go) => waiting.push(go));
    // The page may have been reloaded meanwhile.
    await route.continue().catch(() => {});
  });
  const seen = (n) => until(`${n} uploads have begun`, () => waiting.length >= n);
  return {
    seen,
    async one() {
      await seen(1);
      waiting.shift()();
    },
    all() {
      open = true;
      for (const go of waiting.splice(0)) go();
    },
  };
}

/** The messages of a session by their texts and the names of their files, as the host has them. */
async function messages(world, id) {
  return (await world.items(id)).filter((item) => item.kind === 'user').map((item) => [item.body.text, ...(item.body.files ?? []).map((each) => each.name)].join(' + '));
}

/** A session in which something was said already. */
async function ready(person) {
  const id = await person.begin('say ready');
  await person.finished();
  return id;
}

atBothSizes([
  [
    'the first message has what all others have: files, commands of the agent, files of the folder, a draft that stays',
    async ({ world, size, visitor }) => {
      mkdirSync(join(world.work, 'internal'));
      for (const name of ['internal/retry.go', 'README.md']) writeFileSync(join(world.work, name), 'x');
      const person = await visitor();
      const { page, composer } = person;
      person.expect(/ERR_|Failed to load/);
      await person.begin('commands web,review\nsay ready');
      await person.finished();
      // That session is not among the newest.
      await many(world, 100, 'tour');

      await page.goto(`${world.base}/new`);
      await person.chooseAgent('Script');
      const commands = page.getByRole('listbox', { name: 'Commands' });
      await until('the agent’s commands are known', async () => {
        await composer.fill('');
        await composer.pressSequentially('/');
        return (await commands.locator('.nm').allTextContents()).join() === '/web,/review,/folder';
      });
      assert.deepEqual(await person.axe(), []);
      await composer.pressSequentially('fol');
      if (size.phone) await commands.getByRole('option').first().tap();
      else await composer.press('Enter');
      await page.getByRole('heading', { name: 'Choose a folder' }).waitFor();
      assert.equal(await composer.inputValue(), '', 'a command of Holdfast is done, not sent');
      await page.keyboard.press('Escape');
      await page.locator('dialog').waitFor({ state: 'detached' });

      await composer.pressSequentially('say got @rtry');
      const files = page.getByRole('listbox', { name: 'Files' });
      await files.getByRole('option', { name: 'retry.go' }).waitFor();
      if (size.phone) await files.getByRole('option').first().tap();
      else await composer.press('Tab');
      assert.equal(await composer.inputValue(), 'say got @internal/retry.go ');
      await pickFiles(page, 'picked.txt');
      await composer.evaluate((area) => {
        const clipboardData = new DataTransfer();
        clipboardData.items.add(new File(['pasted'], 'pasted.txt', { type: 'text/plain' }));
        area.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }));
      });
      const data = await page.evaluateHandle(() => {
        const transfer = new DataTransfer();
        transfer.items.add(new File(['dropped'], 'dropped.txt', { type: 'text/plain' }));
        return transfer;
      });
      await page.dispatchEvent('.page', 'dragover', { dataTransfer: data });
      await page.locator('.dropnote').waitFor();
      await page.dispatchEvent('.page', 'drop', { dataTransfer: data });
      await chips(page).filter({ hasText: 'dropped.txt' }).getByText('7 B').waitFor();
      assert.deepEqual(await person.axe(), []);
      await person.notSideways();

      await world.kill();
      await world.start();
      await page.reload();
      assert.equal(await composer.inputValue(), 'say got @internal/retry.go ');
      assert.equal(await chips(page).count(), 3);
      await person.chooseAgent('Script');
      await send(page).click();
      await page.waitForURL(/\/s\//);
      await page.locator('.say', { hasText: 'got @internal/retry.go' }).waitFor();
      assert.deepEqual(await messages(world, person.session), ['say got @internal/retry.go + picked.txt + pasted.txt + dropped.txt']);
      await page.goto(`${world.base}/new`);
      assert.equal(await composer.inputValue(), '', 'what was sent is no draft any more');
      assert.equal(await chips(page).count(), 0);
    },
  ],
  [
    'a first message that is sent while its file is on its way goes with it',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page, composer } = person;
      await ready(person);
      await page.goto(`${world.base}/new`);
      await person.chooseAgent('Script');
      const uploads = await held(page);
      await pickFiles(page, 'late.txt');
      await composer.fill('say with a file');
      await send(page).click();
      await page.waitForURL(/\/s\//);
      await page.locator('.you').getByText('Sending, 1 file to go').waitFor();
      uploads.all();
      await page.locator('.say', { hasText: 'with a file' }).waitFor();
      assert.deepEqual(await messages(world, person.session), ['say with a file + late.txt']);
    },
    { once: true },
  ],
  [
    'a message waits for its files, keeps its place, and can be taken back',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page, composer } = person;
      const id = await ready(person);
      const uploads = await held(page);
      await pickFiles(page, 'a.txt', 'b.txt');
      await composer.fill('say with both');
      await send(page).click();
      assert.equal(await composer.inputValue(), '');
      assert.equal(await chips(page).count(), 0, 'the composer is free for the next');
      await page.locator('.you').getByText('Sending, 2 files to go').waitFor();
      assert.deepEqual(await person.axe(), []);
      await person.notSideways();
      await person.send('say after');
      await page.locator('.you', { hasText: 'say after' }).waitFor();

      await page.getByRole('button', { name: 'Take back' }).click();
      assert.equal(await composer.inputValue(), 'say with both');
      assert.equal(await chips(page).count(), 2);
      await page.locator('.say', { hasText: 'after' }).waitFor();
      await person.finished();
      assert.deepEqual(await messages(world, id), ['say ready', 'say after'], 'what stood behind it is sent alone');

      await send(page).click();
      await uploads.one();
      await page.locator('.you').getByText('Sending, 1 file to go').waitFor();
      // It goes on while the person looks at something else.
      await page.evaluate(() => history.pushState(null, '', '/settings'));
      await page.evaluate(() => dispatchEvent(new PopStateEvent('popstate')));
      await page.getByRole('heading', { name: 'Devices' }).waitFor();
      uploads.all();
      await until('it is sent', async () => (await messages(world, id)).length === 3);
      assert.deepEqual((await messages(world, id))[2], 'say with both + a.txt + b.txt');
    },
  ],
  [
    'a reload makes a draft of a message whose files are not there yet, and says which are lost',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page, composer } = person;
      person.expect(/ERR_/);
      const id = await ready(person);
      const uploads = await held(page);
      await pickFiles(page, 'there.txt', 'lost.txt');
      await composer.fill('say with files');
      await uploads.seen(2);
      await uploads.one();
      await chips(page).filter({ hasText: 'there.txt' }).getByText('9 B').waitFor();
      await send(page).click();
      await page.locator('.you').getByText('Sending, 1 file to go').waitFor();
      await page.reload();
      await composer.waitFor();
      assert.equal(await composer.inputValue(), 'say with files');
      await chips(page).filter({ hasText: 'there.txt' }).getByText('9 B').waitFor();
      await chips(page).filter({ hasText: 'lost.txt' }).getByText(/^Lost when the page was reloaded/).waitFor();
      assert.ok(await send(page).isDisabled(), 'a person decides what becomes of it');
      assert.deepEqual(await person.axe(), []);
      await page.reload();
      await chips(page).filter({ hasText: 'lost.txt' }).getByText(/^Lost when the page was reloaded/).waitFor();
      await page.getByRole('button', { name: 'Remove lost.txt' }).click();
      // One that was left for too long is another that a person has to give again.
      person.expect(/404/);
      await page.evaluate((key) => {
        const kept = JSON.parse(localStorage.getItem(key));
        localStorage.setItem(key, JSON.stringify([...kept, { ...kept[0], id: 'f-none', name: 'gone.txt' }]));
      }, `holdfast.draftfiles.${id}`);
      await page.reload();
      await chips(page).filter({ hasText: 'gone.txt' }).getByText(/^Not at the host any more/).waitFor();
      await page.getByRole('button', { name: 'Remove gone.txt' }).click();
      await send(page).click();
      await page.locator('.say', { hasText: 'with files' }).waitFor();
      assert.deepEqual(await messages(world, id), ['say ready', 'say with files + there.txt']);
    },
  ],
  [
    'an upload says how far it is; one that failed is tried again, and a message waits for that too',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page, composer } = person;
      person.expect(/500/);
      const id = await ready(person);
      const wire = await person.context.newCDPSession(page);
      const slow = (upload) => wire.send('Network.emulateNetworkConditions', { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: upload });
      await wire.send('Network.enable');
      await slow(200_000);
      await page.locator('input[type=file]').setInputFiles([file('large.txt', 'x'.repeat(900_000))]);
      await page.locator('form.comp .gift', { hasText: /[1-9]\d? %/ }).waitFor();
      const bar = page.getByRole('progressbar', { name: 'Uploading large.txt' });
      const [first, later] = [await bar.evaluate((each) => each.value), await until('it goes on', () => bar.evaluate((each) => each.value > 0.2 && each.value).catch(() => 1))];
      assert.ok(first > 0 && later > first, `${first}, then ${later}`);
      await slow(-1);
      await chips(page).filter({ hasText: 'large.txt' }).getByText('900 kB').waitFor();

      const problem = { status: 500, contentType: 'application/problem+json', body: JSON.stringify({ code: 'internal', title: 'Something broke', detail: 'The disk says no.' }) };
      await page.route('**/api/v1/attachments', (route) => route.fulfill(problem), { times: 2 });
      await pickFiles(page, 'unlucky.txt');
      await chips(page).filter({ hasText: 'unlucky.txt' }).getByText('The disk says no.').waitFor();
      await composer.fill('say all there');
      assert.ok(await send(page).isDisabled());
      await page.getByRole('button', { name: 'Upload unlucky.txt again' }).click();
      await page.getByRole('button', { name: 'Upload unlucky.txt again' }).click();
      await chips(page).filter({ hasText: 'unlucky.txt' }).getByText('11 B').waitFor();

      // The same once the message is sent already.
      let refuse;
      await page.route('**/api/v1/attachments', (route) => new Promise((done) => (refuse = () => done(route.fulfill(problem)))), { times: 1 });
      await pickFiles(page, 'last.txt');
      await send(page).click();
      await page.locator('.you').getByText('Sending, 1 file to go').waitFor();
      await until('it is on its way', () => refuse);
      refuse();
      await page.getByText('Not sent: a file did not reach the host').waitFor();
      assert.deepEqual(await person.axe(), []);
      await page.getByRole('button', { name: 'Upload last.txt again' }).click();
      await page.locator('.say', { hasText: 'all there' }).waitFor();
      assert.deepEqual(await messages(world, id), ['say ready', 'say all there + large.txt + unlucky.txt + last.txt']);
    },
  ],
  [
    'an older page is not reloaded while files are on their way, in the composer or in a message',
    async ({ visitor }) => {
      const person = await visitor();
      const { page, composer } = person;
      await page.clock.install();
      await ready(person);
      const uploads = await held(page);
      await page.route('**/api/v1/me', async (route) => {
        const answer = await route.fetch();
        await route.fulfill({ response: answer, json: { ...(await answer.json()), page: 'another' } });
      });
      await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
      await page.getByText('The host has a newer version of this page').waitFor();
      await pickFiles(page, 'late.txt');
      await uploads.seen(1);
      await page.evaluate(() => (globalThis.same = true));
      await page.clock.runFor(640_000);
      assert.ok(await page.evaluate(() => globalThis.same), 'while a file of the draft is on its way');
      assert.equal(await page.locator('form.comp [data-unsaved]').count(), 1);
      await composer.fill('say with it');
      await send(page).click();
      await page.clock.runFor(640_000);
      assert.ok(await page.evaluate(() => globalThis.same), 'while a message waits for it');
      uploads.all();
      await page.locator('.say', { hasText: 'with it' }).waitFor();
      await person.finished();
      await page.clock.runFor(600_000);
      await until('it is reloaded', async () => {
        await page.clock.runFor(20_000).catch(() => {});
        return page.evaluate(() => globalThis.same === undefined).catch(() => false);
      });
    },
    { once: true },
  ],
  ...[true, false].map((fits) => [
    `ten thousand characters are taken at once where the browser ${fits ? 'fits the field to its text' : 'does not fit the field to its text'}`,
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page, composer } = person;
      if (!fits) {
        await page.addInitScript(() => {
          CSS.supports = () => false;
          const sheet = new CSSStyleSheet();
          sheet.replaceSync('.comp textarea { field-sizing: fixed !important }');
          document.adoptedStyleSheets = [sheet];
        });
      }
      await ready(person);
      const words = Array.from({ length: 400 }, (_, i) => `line ${1000 + i} of a log that is long`).join('\n');
      // As a person does: text that a test types comes line by line as editing commands, which cost any field a lot.
      await person.context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: world.base });
      await page.evaluate((text) => navigator.clipboard.writeText(text), words);
      await composer.focus();
      const costs = await tasks(page, async () => {
        await page.keyboard.press('Control+V');
        await page.waitForFunction((n) => document.querySelector('form.comp textarea').value.length === n, words.length);
        await page.keyboard.type(' and a few more');
        await page.waitForFunction(() => document.querySelector('form.comp textarea').clientHeight > 200);
      });
      console.log(`  ${words.length} characters: the longest task ${costs[0].toFixed(1)} ms of CPU`);
      assert.ok(costs[0] < 50, `the longest tasks: ${costs.slice(0, 5)}`);
      const heights = [];
      for (const lines of [1, 5, 10, 30]) {
        await composer.fill(Array.from({ length: lines }, (_, i) => `line ${i}`).join('\n'));
        await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
        heights.push(await composer.evaluate((area) => area.clientHeight));
      }
      assert.ok(heights[0] < heights[1] && heights[1] < heights[2] && heights[2] === heights[3], `it grows, then scrolls: ${heights}`);
    },
    { once: true },
  ]),
  [
    'one of many models is found by keys, and all options are in a dialog at a desk, in a sheet on the phone',
    async ({ size, visitor }) => {
      const person = await visitor();
      const { page } = person;
      await person.begin('options');
      await person.finished();
      if (!size.phone) {
        await page.getByRole('button', { name: 'Model: Small' }).press('ArrowDown');
        const field = page.getByRole('combobox', { name: 'Find: Model' });
        await page.waitForFunction(() => document.activeElement?.getAttribute('role') === 'combobox');
        const list = page.getByRole('listbox', { name: 'Model' });
        assert.equal(await list.getByRole('option').count(), 14);
        await field.pressSequentially('del 1');
        assert.deepEqual((await list.getByRole('option').allTextContents()).map((each) => each.trim()), ['Model 1', 'Model 10', 'Model 11']);
        await field.press('ArrowDown');
        await field.press('ArrowDown');
        await field.press('ArrowUp');
        const active = await field.getAttribute('aria-activedescendant');
        assert.equal((await page.locator(`[id="${active}"]`).textContent()).trim(), 'Model 10');
        assert.deepEqual(await person.axe(), []);
        await field.press('Enter');
        const chosen = page.getByRole('button', { name: 'Model: Model 10' });
        await chosen.waitFor();
        assert.ok(await chosen.evaluate((button) => button === document.activeElement), 'the focus is back');
        await chosen.press('ArrowUp');
        await field.pressSequentially('zzz');
        await page.getByText('None fits').waitFor();
        await field.press('Enter');
        await field.press('Escape');
        assert.equal(await field.count(), 0);
      }

      // What has no room in the row.
      const fold = page.getByRole('button', { name: /^Options/ });
      if (size.phone) await fold.tap();
      else await fold.press('Enter');
      const dialog = page.getByRole('dialog', { name: 'Options' });
      await dialog.waitFor();
      assert.equal(await dialog.evaluate((each) => each.classList.contains('sheet')), size.phone);
      const model = dialog.getByRole('button', { name: /^Model/ });
      await model.press('Enter');
      await dialog.getByRole('combobox', { name: 'Find: Model' }).fill('model 7');
      await page.keyboard.press('Enter');
      await dialog.getByRole('button', { name: 'Model Model 7' }).waitFor();
      assert.ok(await model.evaluate((button) => button === document.activeElement), 'the focus is at what was chosen');
      const effort = dialog.getByRole('button', { name: /^Effort/ });
      await effort.press('Enter');
      await dialog.getByRole('listbox', { name: 'Effort' }).waitFor();
      await page.keyboard.press('End');
      assert.deepEqual(await person.axe(), []);
      await person.notSideways();
      await page.keyboard.press('Enter');
      await dialog.getByRole('button', { name: 'Effort High' }).waitFor();
      await dialog.getByRole('switch', { name: 'Verbose' }).press('Space');
      await dialog.locator('[role=switch][aria-checked=true]').waitFor();
      if (size.phone) {
        // Down by its grip, which is as good as closing it.
        const box = await dialog.boundingBox();
        await page.mouse.move(box.x + box.width / 2, box.y + 10);
        await page.mouse.down();
        await page.mouse.move(box.x + box.width / 2, box.y + 400, { steps: 5 });
        await page.mouse.up();
      } else await page.keyboard.press('Escape');
      await dialog.waitFor({ state: 'detached' });
      await person.send('options');
      await page.locator('.say', { hasText: '[mode=default model=m7 verbose=true]' }).waitFor();
    },
    { env: { SCRIPT_AGENT_MODES: 'many' } },
  ],
]);
