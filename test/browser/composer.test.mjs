// What a person does with the composer: drafts, earlier messages, commands, files, what waits, and the agent's options.

import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { atBothSizes } from './page.mjs';
import { until } from './world.mjs';

const PNG = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==', 'base64');

/** The texts that wait, first to go first. */
const waiting = (page) => page.locator('.queue .q > .grow').allTextContents();

async function queued(page, ...texts) {
  await page.waitForFunction(
    (want) => JSON.stringify([...document.querySelectorAll('.queue .q > .grow')].map((each) => each.textContent)) === JSON.stringify(want),
    texts,
  );
}

/** A run that goes on until it is stopped. */
async function busy(person) {
  const id = await person.begin('say on it\nsleep 10m');
  await person.page.locator('.say', { hasText: 'on it' }).waitFor();
  return id;
}

/** Lets go of files over the page. */
async function drop(page, name, type, text) {
  const data = await page.evaluateHandle(
    ([name, type, text]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([text], name, { type }));
      return transfer;
    },
    [name, type, text],
  );
  await page.dispatchEvent('.entry', 'dragover', { dataTransfer: data });
  await page.locator('.dropnote').waitFor();
  await page.dispatchEvent('.entry', 'drop', { dataTransfer: data });
}

atBothSizes([
  [
    'a draft outlives a reload and the host, grows to ten lines, and is sent by the key that is chosen',
    async ({ world, size, visitor }) => {
      const person = await visitor();
      const { page } = person;
      person.expect(/ERR_|Failed to load/);
      const id = await person.begin('say first');
      await person.finished();
      const heights = [];
      for (const lines of [1, 5, 10, 30]) {
        await person.composer.fill(Array.from({ length: lines }, (_, i) => `line ${i}`).join('\n'));
        heights.push(await person.composer.evaluate((area) => area.clientHeight));
      }
      assert.ok(heights[0] < heights[1] && heights[1] < heights[2] && heights[2] === heights[3], `it grows, then scrolls: ${heights}`);
      await person.composer.fill('say half a thought');
      await page.reload();
      assert.equal(await person.composer.inputValue(), 'say half a thought');
      await world.kill();
      await world.start();
      await page.reload();
      assert.equal(await person.composer.inputValue(), 'say half a thought');

      if (size.phone) return;
      await page.goto(`${world.base}/settings`);
      await page.getByRole('group', { name: 'Send a message with' }).getByRole('button').last().click();
      await page.goto(`${world.base}/s/${id}`);
      await person.composer.press('End');
      await person.composer.press('Enter');
      await person.composer.pressSequentially('say the rest');
      assert.equal(await person.composer.inputValue(), 'say half a thought\nsay the rest', 'Enter begins a line');
      await person.composer.press('Control+Enter');
      await page.locator('.say', { hasText: 'the rest' }).waitFor();
      assert.equal(await person.composer.inputValue(), '');
    },
  ],
  [
    'the arrow keys go through earlier messages and back',
    async ({ visitor }) => {
      const person = await visitor();
      await person.begin('say one');
      await person.finished();
      await person.send('say two');
      await person.finished();
      const { composer } = person;
      for (const [key, text] of [['ArrowUp', 'say two'], ['ArrowUp', 'say one'], ['ArrowUp', 'say one'], ['ArrowDown', 'say two'], ['ArrowDown', '']]) {
        await composer.press(key);
        assert.equal(await composer.inputValue(), text, key);
      }
      await composer.press('ArrowUp');
      await composer.pressSequentially(' more');
      await composer.press('ArrowUp');
      assert.equal(await composer.inputValue(), 'say two more', 'what was changed stays');
    },
    { once: true },
  ],
  [
    'a slash opens the commands of the agent and of Holdfast',
    async ({ size, visitor }) => {
      const person = await visitor();
      const { page, composer } = person;
      await person.begin('commands web,review,rename\nsay ready');
      await person.finished();
      const list = page.getByRole('listbox', { name: 'Commands' });
      const names = () => list.locator('.nm').allTextContents();
      await composer.fill('/');
      await list.waitFor();
      const all = ['/web', '/review', '/rename', '/new', '/fork'];
      await until('a name of the agent is the agent’s', async () => isDeepStrictEqual(await names(), all));
      assert.deepEqual(await person.axe(), []);
      await composer.press('ArrowDown');
      const active = await composer.getAttribute('aria-activedescendant');
      assert.equal(await page.locator(`[id="${active}"]`).getAttribute('aria-selected'), 'true');
      await composer.press('Escape');
      await list.waitFor({ state: 'detached' });
      assert.equal(await composer.inputValue(), '/');
      await composer.fill('');
      await composer.pressSequentially('/rv');
      await until('it is narrowed down', async () => isDeepStrictEqual(await names(), ['/review']));
      if (size.phone) await list.getByRole('option').first().tap();
      else await composer.press('Enter');
      assert.equal(await composer.inputValue(), '/review ', 'the agent’s is text for it');

      await composer.fill('');
      await composer.pressSequentially('/new');
      if (size.phone) await list.getByRole('option').first().tap();
      else await composer.press('Tab');
      await page.waitForURL(/\/new$/);
    },
  ],
  [
    'an @ finds files of the folder by their letters',
    async ({ world, size, visitor }) => {
      mkdirSync(join(world.work, 'internal', 'deliver'), { recursive: true });
      for (const name of ['internal/deliver/retry.go', 'internal/deliver/my notes.md', 'README.md']) writeFileSync(join(world.work, name), 'x');
      const person = await visitor();
      const { page, composer } = person;
      await person.begin('say ready');
      await person.finished();
      const list = page.getByRole('listbox', { name: 'Files' });
      const pick = async (name) => {
        const option = list.getByRole('option').filter({ hasText: name }).first();
        await option.waitFor();
        if (size.phone) return option.tap();
        await page.waitForFunction((name) => document.querySelector('.sug.on')?.textContent.includes(name), name);
        await composer.press('Enter');
      };
      await composer.pressSequentially('see @dlvret');
      await pick('retry.go');
      assert.equal(await composer.inputValue(), 'see @internal/deliver/retry.go ');
      await composer.pressSequentially('and @notes');
      await pick('my notes.md');
      assert.equal(await composer.inputValue(), 'see @internal/deliver/retry.go and @"internal/deliver/my notes.md" ');
      assert.equal(await list.count(), 0);
      await person.send(await composer.inputValue());
      await until('the agent has it', () => world.heard('@internal/deliver/retry.go and').length > 0);
    },
  ],
  [
    'files are picked, pasted and dropped, and the message that they go with shows them',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page, composer } = person;
      person.expect(/400|413/);
      const id = await person.begin('say ready');
      await person.finished();
      const chips = page.getByRole('list', { name: 'Attached files' }).getByRole('listitem');
      await page.locator('input[type=file]').setInputFiles([{ name: 'graph.png', mimeType: 'image/png', buffer: PNG }]);
      await chips.filter({ hasText: 'graph.png' }).locator('img.thumb').waitFor();
      await composer.evaluate((area) => {
        const clipboardData = new DataTransfer();
        clipboardData.items.add(new File(['a,b\n1,2\n'], 'failures-eu.csv', { type: 'text/csv' }));
        area.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }));
      });
      await chips.filter({ hasText: 'failures-eu.csv' }).getByText('8 B').waitFor();
      await drop(page, 'notes.txt', 'text/plain', 'dropped');
      await chips.filter({ hasText: 'notes.txt' }).getByText('7 B').waitFor();
      await drop(page, 'gone.txt', 'text/plain', 'not this one');
      await page.getByRole('button', { name: 'Remove gone.txt' }).click();
      await composer.evaluate((area) => {
        const clipboardData = new DataTransfer();
        clipboardData.items.add(new File([new Uint8Array(20 * 1024 * 1024 + 1)], 'film.mov'));
        area.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }));
      });
      await chips.filter({ hasText: 'film.mov' }).getByText(/Too large: a file has at most/).waitFor();
      assert.deepEqual(await person.axe(), []);
      await person.notSideways();
      await page.getByRole('button', { name: 'Remove film.mov' }).click();

      await page.reload();
      await chips.nth(2).waitFor();
      assert.equal(await chips.count(), 3, 'they stay with the draft');
      await person.send('say got them');
      await person.finished();
      assert.equal(await chips.count(), 0);
      const sent = page.locator('.you').last();
      await sent.getByRole('img', { name: 'graph.png' }).waitFor();
      assert.equal(await sent.getByRole('img').evaluate((image) => image.complete && image.naturalWidth), 1);
      await sent.getByText('failures-eu.csv').waitFor();
      await sent.getByText('notes.txt').waitFor();
      const [message] = (await world.items(id)).filter((item) => item.body.text === 'say got them');
      assert.deepEqual(message.body.files.map((file) => file.name), ['graph.png', 'failures-eu.csv', 'notes.txt']);
      const [prompt] = world.heard('say got them');
      assert.ok(prompt.includes(PNG.toString('base64')) && prompt.includes('1,2') && prompt.includes('dropped'), 'the agent has all three');
    },
  ],
  [
    'what waits is edited, put in another order by hand and by keys, and taken out',
    async ({ world, size, visitor }) => {
      const person = await visitor();
      const { page, composer } = person;
      const id = await busy(person);
      for (const text of ['say a', 'say b', 'say c']) {
        await person.send(text);
        await page.locator('.queue').getByText(text).waitFor();
      }
      await queued(page, 'say a', 'say b', 'say c');
      assert.deepEqual(await person.axe(), []);

      await composer.fill('a draft');
      await page.getByRole('button', { name: 'Edit queued message' }).nth(1).click();
      assert.equal(await composer.inputValue(), 'say b');
      await composer.fill('say b, better');
      await page.getByRole('button', { name: 'Save' }).click();
      await queued(page, 'say a', 'say b, better', 'say c');
      assert.equal(await composer.inputValue(), 'a draft', 'the draft is back');

      await composer.fill('');
      await composer.press('ArrowUp');
      assert.equal(await composer.inputValue(), 'say c', 'the last one');
      await composer.press('Escape');
      assert.equal(await composer.inputValue(), '');

      await page.getByRole('button', { name: /^Move queued message, place 3/ }).press('ArrowUp');
      await queued(page, 'say a', 'say c', 'say b, better');
      await page.waitForFunction(() => document.activeElement?.ariaLabel?.startsWith('Move queued message, place 2'));
      await page.keyboard.press('ArrowUp');
      await queued(page, 'say c', 'say a', 'say b, better');
      await page.getByRole('button', { name: 'Move up' }).last().click();
      await queued(page, 'say c', 'say b, better', 'say a');

      const from = await page.locator('.hold').first().boundingBox();
      const to = await page.locator('.hold').last().boundingBox();
      await page.mouse.move(from.x + 8, from.y + 10);
      await page.mouse.down();
      await page.mouse.move(from.x + 8, from.y + 30, { steps: 3 });
      await page.mouse.move(to.x + 8, to.y + to.height - 2, { steps: 5 });
      await page.mouse.up();
      await queued(page, 'say b, better', 'say a', 'say c');
      if (!size.phone) await page.mouse.move(0, 0);

      await page.getByRole('button', { name: 'Remove queued message' }).nth(1).click();
      await queued(page, 'say b, better', 'say c');
      await person.notSideways();
      await page.getByRole('button', { name: 'Stop', exact: true }).click();
      await page.getByRole('button', { name: 'Resume' }).click();
      await until('both ran', async () => (await world.said(id)).includes('b, betterc'));
      assert.ok(!(await world.said(id)).includes('a'.repeat(2)));
      assert.equal(world.heard('say a').filter((line) => line.includes('session/prompt')).length, 0, 'what was taken out is never heard');
    },
  ],
  [
    'two tabs change the queue: each sees the other’s, and nobody’s words are lost',
    async ({ visitor }) => {
      const person = await visitor();
      const id = await busy(person);
      const first = person.page;
      await person.send('say a');
      await person.send('say b');
      await queued(first, 'say a', 'say b');
      const second = await person.tab();
      await second.goto(first.url());
      await queued(second, 'say a', 'say b');
      const area = (page) => page.locator('form.comp textarea');

      await first.getByRole('button', { name: 'Edit queued message' }).first().click();
      await area(first).fill('say a from the first');
      await second.getByRole('button', { name: 'Edit queued message' }).first().click();
      await area(second).fill('say a from the second');
      await second.getByRole('button', { name: 'Save' }).click();
      await queued(first, 'say a from the second', 'say b');
      await first.getByText(/Changed elsewhere meanwhile: “say a from the second”/).waitFor();
      assert.equal(await area(first).inputValue(), 'say a from the first');

      await second.getByRole('button', { name: 'Remove queued message' }).first().click();
      await queued(first, 'say b');
      await first.getByText(/What you wrote is kept here/).waitFor();
      assert.equal(await area(first).inputValue(), 'say a from the first', 'it is a draft now');
      assert.ok(id);
    },
    { once: true },
  ],
  [
    'an edit that was not saved outlives a reload',
    async ({ visitor }) => {
      const person = await visitor();
      await busy(person);
      await person.send('say a');
      await queued(person.page, 'say a');
      await person.composer.fill('my draft');
      await person.page.getByRole('button', { name: 'Edit queued message' }).click();
      await person.composer.fill('say a, half');
      await person.page.reload();
      assert.equal(await person.composer.inputValue(), 'say a, half');
      await person.composer.press('Escape');
      assert.equal(await person.composer.inputValue(), 'my draft');
      assert.deepEqual(await waiting(person.page), ['say a']);
    },
    { once: true },
  ],
  [
    'stop says that it stops, and then offers to end an agent that does not',
    async ({ visitor }) => {
      const person = await visitor();
      const { page } = person;
      await person.begin('hang');
      await page.locator('.say', { hasText: '[hang]' }).waitFor();
      const stop = page.getByRole('button', { name: 'Stop', exact: true });
      const box = await stop.boundingBox();
      const comp = await page.locator('form.comp').boundingBox();
      assert.ok(comp.x + comp.width - (box.x + box.width) < 16, 'at the far right');
      await stop.click();
      await page.getByText('Stopping…').waitFor();
      await page.locator('form.comp').getByRole('button', { name: /End/ }).click();
      await page.getByRole('dialog').getByRole('button', { name: /^End/ }).click();
      await stop.waitFor({ state: 'detached' });
    },
  ],
  [
    'what is written while the host is away is kept, and sent once when it is back',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page, composer } = person;
      person.expect(/ERR_|Failed to load/);
      const id = await person.begin('say ready');
      await person.finished();
      await world.kill();
      await page.getByRole('button', { name: 'Keep' }).waitFor();
      await composer.fill('say kept words');
      await page.getByRole('button', { name: 'Keep' }).click();
      await page.locator('form.comp .q', { hasText: 'say kept words' }).waitFor();
      await composer.fill('say no');
      await page.getByRole('button', { name: 'Keep' }).click();
      await page.getByRole('button', { name: 'Discard kept message' }).last().click();
      assert.deepEqual(await person.axe(), []);
      const other = await person.context.newPage();
      await world.start();
      await other.goto(page.url());
      await until('it is said', async () => (await world.said(id)).includes('kept words'));
      await person.finished();
      const messages = (await world.items(id)).filter((item) => item.kind === 'user').map((item) => item.body.text);
      assert.deepEqual(messages, ['say ready', 'say kept words']);
      await until('both messages stand there', async () => (await page.locator('.you').count()) === 2);
    },
  ],
  [
    'model, mode and options are chosen by keys at a desk and in a sheet on the phone',
    async ({ size, visitor }) => {
      const person = await visitor();
      const { page } = person;
      await person.begin('options');
      await page.locator('.say', { hasText: '[mode=default model=small verbose=false]' }).waitFor();
      await person.finished();
      if (size.phone) {
        const fold = page.getByRole('button', { name: 'Options, now Default' });
        await fold.tap();
        const sheet = page.getByRole('dialog', { name: 'Options' });
        await sheet.getByRole('button', { name: /^Model/ }).tap();
        await sheet.getByRole('option', { name: 'Large' }).tap();
        await sheet.getByRole('button', { name: 'Model Large' }).waitFor();
        await sheet.getByRole('switch', { name: 'Verbose' }).tap();
        await sheet.locator('[role=switch][aria-checked=true]').waitFor();
        assert.deepEqual(await person.axe(), []);
        await page.keyboard.press('Escape');
        await sheet.waitFor({ state: 'detached' });
        await person.send('options');
        await page.locator('.say', { hasText: '[mode=default model=large verbose=true]' }).waitFor();
        return;
      }
      const model = page.getByRole('button', { name: 'Model: Small' });
      await model.focus();
      await page.keyboard.press('ArrowDown');
      const list = page.getByRole('listbox', { name: 'Model' });
      await list.waitFor();
      assert.deepEqual(await person.axe(), []);
      await page.keyboard.press('Escape');
      assert.equal(await list.count(), 0);
      assert.ok(await model.evaluate((button) => button === document.activeElement), 'the focus is back');
      await page.keyboard.press('Enter');
      await list.waitFor();
      await page.keyboard.press('l');
      await page.keyboard.press('Enter');
      await page.getByRole('button', { name: 'Model: Large' }).waitFor();
      await page.getByRole('button', { name: 'Mode: Default' }).focus();
      await page.keyboard.press('ArrowDown');
      await page.getByRole('listbox', { name: 'Mode' }).waitFor();
      await page.keyboard.press('End');
      await page.keyboard.press('Enter');
      await page.getByRole('button', { name: 'Mode: Ask' }).waitFor();
      await page.getByRole('button', { name: 'Verbose' }).press('Space');
      await page.locator('[aria-pressed=true]', { hasText: 'Verbose' }).waitFor();
      await person.send('options');
      await page.locator('.say', { hasText: '[mode=ask model=large verbose=true]' }).waitFor();
      await page.reload();
      await page.getByRole('button', { name: 'Model: Large' }).waitFor();
    },
    { env: { SCRIPT_AGENT_MODES: '1' } },
  ],
]);
