// The list of sessions: what is done to one and to many, and how it stands still; the palette and the search.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { many } from './long.mjs';
import { atBothSizes, desktop, launch, Person, phone } from './page.mjs';
import { until } from './world.mjs';

const IMG = '<img src=x onerror=alert(1)>';

/** Sessions that nothing was said in, the last one on top. */
async function sessions(world, ...titles) {
  const ids = [];
  for (const title of titles) ids.push((await world.call('POST', '/api/v1/sessions', { agent: 'script', cwd: world.work, title })).id);
  return ids;
}

const rowOf = (page, title) => page.locator('.list .rowbox', { hasText: title });
const titles = (page) => page.locator('.list .rowbox .t').evaluateAll((all) => all.map((each) => each.firstChild.textContent.trim()));
const groups = (page) => page.locator('.list .grp').allTextContents();

async function menu(page, title, entry) {
  const row = rowOf(page, title);
  await row.hover();
  await row.getByRole('button', { name: /^Menu: / }).click();
  await page.getByRole('menuitem', { name: entry, exact: true }).click();
}

/** Sets something of a session as another device does. */
async function change(world, id, fields) {
  const { version } = await world.session(id);
  const answer = await fetch(`${world.base}/api/v1/sessions/${id}`, {
    method: 'PATCH',
    headers: { Authorization: `Bearer ${world.token}`, 'Content-Type': 'application/json', 'If-Match': `"${version}"` },
    body: JSON.stringify(fields),
  });
  assert.equal(answer.status, 200);
}

const toast = (page, text) => page.locator('.toast', { hasText: text });

/** Every row, as the host has them: what is shown is also what is kept. */
const list = async (world, query = '') => (await world.call('GET', `/api/v1/sessions?limit=500${query}`)).sessions;

atBothSizes([
  [
    'a session is pinned, named where it stands, archived, and had back',
    async ({ world, visitor, size }) => {
      await sessions(world, 'first', 'second', 'third');
      const { page } = await visitor();
      await page.goto(world.base);
      await rowOf(page, 'first').waitFor();

      await menu(page, 'first', 'Pin');
      await until('it is pinned', async () => (await groups(page))[0] === 'Pinned' && (await titles(page))[0] === 'first');
      await until('the host knows', async () => (await list(world)).find((row) => row.title === 'first').pinned);

      await menu(page, 'second', 'Rename');
      const name = page.locator('.list').getByRole('textbox', { name: 'Name' });
      assert.equal(await name.evaluate((field) => field.selectionEnd - field.selectionStart), 6, 'its name is selected');
      await name.fill(`${IMG} renamed`);
      await name.press('Enter');
      await rowOf(page, `${IMG} renamed`).waitFor();
      assert.equal(await page.locator('aside img, main img').count(), 0);
      assert.equal(await page.evaluate(() => document.activeElement.closest('.rowbox')?.textContent.includes('renamed')), true, 'the focus is back on the row');
      await menu(page, 'third', 'Rename');
      await name.fill('not this');
      await name.press('Escape');
      await rowOf(page, 'third').waitFor();

      await menu(page, 'third', 'Archive');
      await toast(page, 'Archived “third”.').waitFor();
      await rowOf(page, 'third').waitFor({ state: 'detached' });
      await toast(page, 'third').getByRole('button', { name: 'Undo' }).click();
      await rowOf(page, 'third').waitFor();
      await until('the host knows', async () => (await list(world)).length === 3);
      await menu(page, 'third', 'Archive');
      await page.getByRole('button', { name: 'Filter', exact: true }).click();
      await page.getByRole('menuitemradio', { name: 'Archived' }).click();
      await rowOf(page, 'third').waitFor();
      await until('nothing else is archived', async () => (await titles(page)).length === 1);
      await menu(page, 'third', 'Out of the archive');
      await rowOf(page, 'third').waitFor({ state: 'detached' });
      await page.getByRole('button', { name: 'Show all sessions' }).click();
      await until('all are there', async () => (await titles(page)).length === 3);
      if (size.phone) await page.locator('.tabs').waitFor();
    },
  ],
  [
    'a session is unread when something was said in it, however little, and not for what is set or falls asleep',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      const id = await person.begin('title Mine title\nsay "one"');
      await person.finished();
      await page.goto(world.base);
      await rowOf(page, 'Mine').waitFor();
      const unread = () => rowOf(page, 'Mine').locator('.row.unread').count();
      await world.call('POST', `/api/v1/sessions/${id}/agent/end`, {});
      await until('the agent sleeps', async () => (await world.session(id)).agent_state === 'ended');
      for (let n = 1; n < 10; n++) await change(world, id, { title: `Mine ${n}`, tags: [`t${n}`] });
      await change(world, id, { title: 'Mine again', pinned: true });
      await rowOf(page, 'Mine again').waitFor();
      assert.equal(await unread(), 0, 'what was set is no news');

      // On another device.
      await world.call('POST', `/api/v1/sessions/${id}/messages`, { client_id: 'elsewhere', text: 'say "two"' });
      await until('it is unread', unread);
      const tab = await person.tab();
      await tab.goto(`${world.base}/s/${id}`);
      await tab.getByText('two', { exact: true }).waitFor();
      await tab.close({ runBeforeUnload: true });
      await until('read in another tab it is not', async () => (await unread()) === 0);

      await world.call('POST', `/api/v1/sessions/${id}/messages`, { client_id: 'elsewhere 2', text: 'say "three"' });
      await until('it is unread', unread);
      await page.reload();
      await until('it still is', unread);
      await rowOf(page, 'Mine').locator('.row').click();
      await page.getByText('three', { exact: true }).waitFor();
      await page.goBack();
      await rowOf(page, 'Mine').waitFor();
      assert.equal(await unread(), 0, 'it was opened');
      await page.reload();
      await rowOf(page, 'Mine').waitFor();
      assert.equal(await unread(), 0, 'it was opened');

      // What an older page kept knows no event.
      const older = (at) => page.evaluate(([key, at]) => localStorage.setItem(key, JSON.stringify({ seq: 1, at })), [`holdfast.seen.${id}`, at]);
      await older(Date.now() + 60_000);
      await page.reload();
      await rowOf(page, 'Mine').waitFor();
      assert.equal(await unread(), 0, 'it was read after the last word');
    },
  ],
  [
    'a session is deleted without a question and had back within ten seconds; the open one too; the trash has the rest',
    async ({ world, visitor }) => {
      const [a] = await sessions(world, 'first', 'second');
      const person = await visitor();
      const { page } = person;
      await page.clock.install();
      await page.goto(world.base);
      await menu(page, 'second', 'Delete');
      await rowOf(page, 'second').waitFor({ state: 'detached' });
      const undo = toast(page, 'Deleted “second”.');
      // While somebody points at it, it stays.
      await undo.hover();
      await page.clock.runFor(60_000);
      await undo.getByRole('button', { name: 'Undo' }).click();
      await rowOf(page, 'second').waitFor();
      await until('it is restored', async () => (await list(world)).length === 2);

      await page.goto(`${world.base}/s/${a}`);
      await page.locator('.head').getByRole('button', { name: 'More' }).click();
      await page.getByRole('menuitem', { name: 'Delete' }).click();
      await page.getByRole('heading', { name: 'All sessions' }).waitFor();
      await toast(page, 'Deleted “first”.').getByRole('button', { name: 'Undo' }).click();
      await page.waitForURL(/\/s\//);
      await page.getByRole('heading', { name: 'first' }).waitFor();

      await page.goto(world.base);
      await menu(page, 'first', 'Delete');
      await toast(page, 'Deleted').waitFor();
      await page.mouse.move(700, 400);
      await page.clock.runFor(11_000);
      await toast(page, 'Deleted').waitFor({ state: 'detached' });
      await page.getByRole('button', { name: 'Filter', exact: true }).click();
      await page.getByRole('menuitemradio', { name: 'Trash' }).click();
      await rowOf(page, 'first').waitFor();
      await menu(page, 'first', 'Restore');
      await rowOf(page, 'first').waitFor({ state: 'detached' });
      await until('it is restored', async () => (await list(world)).length === 2);
    },
  ],
  [
    'what a toast offers stays under the pointer while others come',
    async ({ world, visitor }) => {
      await sessions(world, 'first', 'second', 'third', 'fourth');
      const { page } = await visitor();
      await page.goto(world.base);
      await menu(page, 'second', 'Delete');
      const undo = toast(page, 'Deleted “second”.').getByRole('button', { name: 'Undo' });
      await undo.hover();
      await until('it stands still', () => undo.evaluate((button) => document.getAnimations().every((each) => !each.effect.target.contains(button))));
      const place = await undo.boundingBox();
      // By keys: the pointer stays where it is.
      for (const title of ['third', 'fourth', 'first']) {
        await rowOf(page, title).getByRole('button', { name: /^Menu: / }).press('Enter');
        await page.getByRole('menuitem', { name: 'Delete' }).press('Enter');
        await toast(page, `Deleted “${title}”.`).waitFor();
        assert.deepEqual(await undo.boundingBox(), place);
      }
      await page.mouse.down();
      await page.mouse.up();
      await rowOf(page, 'second').waitFor();
      await until('nothing else is restored', async () => (await list(world)).map(({ title }) => title).join() === 'second');
      // Let go of, they are two again at the next.
      await page.mouse.move(700, 400);
      await menu(page, 'second', 'Delete');
      await until('the oldest are gone', async () => (await page.locator('.toast').count()) === 2);
    },
    { once: true },
  ],
  [
    'what a run costs is asked before its session is deleted',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      const id = await person.begin('title At work title\nask q1 "Go on" go on');
      await person.question();
      await page.goto(world.base);
      await page.locator('.list .grp', { hasText: 'Now' }).waitFor();
      await page.locator('.list .rowbox .wait').first().waitFor();
      await menu(page, 'At work', 'Delete');
      const dialog = page.getByRole('dialog', { name: 'Delete this session?' });
      await dialog.getByText('is cut off').waitFor();
      assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Keep it', 'the safe answer has the focus');
      await page.keyboard.press('Escape');
      await dialog.waitFor({ state: 'detached' });
      assert.equal((await world.session(id)).state, 'waiting');
      // What was asked of one session is not remembered for the next.
      const other = await person.begin('title Other one\nask q2 "Go on" go on');
      await person.question();
      if (await page.locator('dialog.sheet').count()) await page.keyboard.press('Escape');
      await page.locator('.head').getByRole('button', { name: 'More', exact: true }).click();
      await page.getByRole('menuitem', { name: 'End the agent' }).click();
      await page.getByRole('dialog', { name: 'End this agent now?' }).getByRole('button', { name: 'End Script' }).click();
      await until('the open one has ended', async () => (await world.session(other)).state === 'interrupted');
      assert.equal((await world.session(id)).state, 'waiting');
      await page.goto(world.base);
      await menu(page, 'At work', 'Delete');
      await dialog.getByRole('button', { name: 'Delete the session' }).click();
      await until('it is in the trash', async () => (await list(world, '&deleted=true')).length === 1);
    },
    { once: true },
  ],
  [
    'a duplicate has the transcript and a name of its own',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      const id = await person.begin('title Original title\nsay "the whole of it"');
      await person.finished();
      await page.goto(world.base);
      await menu(page, 'Original', 'Duplicate');
      await page.waitForURL((url) => url.pathname.startsWith('/s/') && !url.pathname.includes(id));
      await page.getByRole('heading', { name: /^Copy of .*Original/ }).waitFor();
      await page.getByText('the whole of it', { exact: true }).waitFor();
    },
  ],
  [
    'projects and tags are made, given from the menu, filtered by, renamed and removed',
    async ({ world, visitor }) => {
      const other = join(world.user, 'src', 'courier');
      mkdirSync(other, { recursive: true });
      await sessions(world, 'first', 'second');
      const { page } = await visitor();
      await page.goto(world.base);

      await menu(page, 'first', 'Tags…');
      const tag = page.getByRole('textbox', { name: 'A tag' });
      await tag.fill(IMG);
      await tag.press('Enter');
      await page.getByRole('checkbox', { name: IMG }).waitFor();
      await tag.fill('work');
      await tag.press('Enter');
      await page.getByRole('checkbox', { name: 'work' }).waitFor();
      await page.getByRole('checkbox', { name: IMG }).click();
      await page.getByRole('button', { name: 'Done' }).click();
      await until('the host knows', async () => (await list(world)).find((row) => row.title === 'first').tags?.join() === 'work');
      await rowOf(page, 'first').locator('.tag', { hasText: 'work' }).waitFor();

      await menu(page, 'second', 'Project…');
      await page.getByRole('button', { name: 'New project for replay' }).click();
      await page.getByRole('textbox', { name: 'Name' }).fill('Replay');
      await page.getByRole('combobox').selectOption('script');
      await page.getByRole('button', { name: 'Save' }).click();
      await toast(page, 'to Replay').waitFor();
      await page.getByRole('button', { name: 'Filter', exact: true }).click();
      await page.getByRole('menuitemradio', { name: 'Replay' }).click();
      await until('only those of the project', async () => (await titles(page)).join() === 'second');

      // Who looks at a project begins in it.
      await page.locator('a:visible[href$="/new"]').first().click();
      await page.locator('.field .m', { hasText: 'src/replay' }).waitFor();
      assert.equal(await page.getByRole('radio', { name: /Script/ }).getAttribute('aria-checked'), 'true');

      await page.goto(`${world.base}/projects`);
      await page.getByRole('button', { name: 'Rename work' }).click();
      await page.getByRole('textbox', { name: 'Name of the tag' }).fill('office');
      await page.keyboard.press('Enter');
      await page.getByRole('button', { name: 'Rename office' }).waitFor();
      await until('the host knows', async () => (await list(world)).find((row) => row.title === 'first').tags?.join() === 'office');
      await page.getByRole('button', { name: 'Change Replay' }).click();
      await page.getByRole('textbox', { name: 'Name' }).fill('Replays');
      await page.getByRole('button', { name: 'Save' }).click();
      await page.getByText('Replays').first().waitFor();
      await page.getByRole('button', { name: 'Remove Replays' }).click();
      await page.getByRole('button', { name: 'Remove', exact: true }).click();
      await page.getByRole('button', { name: 'Change Replays' }).waitFor({ state: 'detached' });
      await page.getByRole('button', { name: 'Remove office' }).click();
      await page.getByRole('button', { name: 'Remove', exact: true }).click();
      await page.getByText('A session gets tags').waitFor();
      await until('nothing of it is left', async () => (await list(world)).every((row) => !row.project && !row.tags?.length));
    },
  ],
  [
    'many are selected, by ticks, a range and the keyboard, and what is done to them is undone',
    async ({ world, visitor, size }) => {
      const names = ['one', 'two', 'three', 'four', 'five', 'six'];
      await sessions(world, ...names);
      const { page } = await visitor();
      await page.goto(world.base);
      await page.getByRole('button', { name: 'Select sessions' }).click();
      const box = (name) => page.locator('.list').getByRole('checkbox', { name: new RegExp(`^${name}`) });
      await box('six').click();
      if (size.phone) for (const name of ['five', 'four', 'three']) await box(name).click();
      else await box('three').click({ modifiers: ['Shift'] });
      await page.getByText('4 selected').waitFor();
      await page.getByRole('button', { name: 'Archive', exact: true }).click();
      await toast(page, 'Archived 4 sessions.').waitFor();
      await until('two are left', async () => (await titles(page)).length === 2);
      await until('the host knows', async () => (await list(world)).length === 2);
      await toast(page, 'Archived').getByRole('button', { name: 'Undo' }).click();
      await until('all are back', async () => (await titles(page)).length === 6 && (await list(world)).length === 6);

      if (!size.phone) {
        // By keyboard alone.
        await page.locator('.list .row').first().focus();
        await page.keyboard.press('Space');
        await page.keyboard.press('Shift+ArrowDown');
        await page.keyboard.press('Shift+ArrowDown');
        await page.getByText('3 selected').waitFor();
        await page.keyboard.press('Control+a');
        await page.getByText('6 selected').waitFor();
        await page.keyboard.press('Escape');
        await page.locator('.bulk').waitFor({ state: 'detached' });
      }
      await page.getByRole('button', { name: 'Select sessions' }).click();
      await box('one').click();
      await box('two').click();
      await page.getByRole('group', { name: 'Selected sessions' }).getByRole('button', { name: 'Tags…' }).click();
      await page.getByRole('textbox', { name: 'A tag' }).fill('both');
      await page.keyboard.press('Enter');
      await toast(page, 'Tagged 2 sessions: both.').waitFor();
      await page.getByRole('button', { name: 'Done' }).click();
      await until('both have it', async () => (await list(world, '&tag=both')).length === 2);

      await page.getByRole('button', { name: 'Select sessions' }).click();
      await box('one').click();
      await box('six').click();
      await page.getByRole('group', { name: 'Selected sessions' }).getByRole('button', { name: 'Delete' }).click();
      await until('they are gone', async () => (await list(world)).length === 4);
      await toast(page, 'Deleted 2 sessions.').getByRole('button', { name: 'Undo' }).click();
      await until('they are back', async () => (await titles(page)).length === 6 && (await list(world)).length === 6);
    },
  ],
  [
    'what a person sets of a session leaves it where it is, here, elsewhere and after a reload; a message brings it up',
    async ({ world, visitor }) => {
      const [a, b] = await sessions(world, 'first', 'second', 'third');
      const { page } = await visitor();
      const other = (await visitor()).page;
      for (const each of [page, other]) await each.goto(world.base);
      await rowOf(other, 'first').waitFor();
      await menu(page, 'first', 'Rename');
      const name = page.locator('.list').getByRole('textbox', { name: 'Name' });
      await name.fill('the first');
      await name.press('Enter');
      await rowOf(other, 'the first').waitFor();
      await menu(page, 'the first', 'Tags…');
      await page.getByRole('textbox', { name: 'A tag' }).fill('work');
      await page.keyboard.press('Enter');
      await page.getByRole('button', { name: 'Done' }).click();
      await menu(page, 'second', 'Archive');
      await rowOf(other, 'second').waitFor({ state: 'detached' });
      await toast(page, 'second').getByRole('button', { name: 'Undo' }).click();
      await rowOf(other, 'second').waitFor();
      await menu(page, 'the first', 'Delete');
      await rowOf(other, 'the first').waitFor({ state: 'detached' });
      await toast(page, 'Deleted “the first”.').getByRole('button', { name: 'Undo' }).click();
      await rowOf(other, 'the first').locator('.tag').waitFor();
      await page.mouse.move(900, 500);
      await rowOf(page, 'the first').locator('.tag').waitFor();
      const before = 'third,second,the first';
      assert.equal((await titles(page)).join(), before);
      assert.equal((await titles(other)).join(), before);
      await page.reload();
      await rowOf(page, 'second').waitFor();
      assert.equal((await titles(page)).join(), before);
      assert.equal((await list(world)).map((row) => row.id).slice(1).join(), [b, a].join(), 'so the host has them');
      await world.call('POST', `/api/v1/sessions/${a}/messages`, { client_id: 'm1', text: 'say "hello"' });
      await until('it comes up', async () => (await titles(page))[0] === 'the first' && (await titles(other))[0] === 'the first');
      await until('its run is over', async () => (await world.said(a)) === 'hello' && (await world.session(a)).state === 'idle');
    },
    { once: true },
  ],
  [
    'no row moves while the pointer is in the list',
    async ({ world, visitor }) => {
      const [a, b] = await sessions(world, 'first', 'second', 'third');
      const { page } = await visitor();
      await page.goto(world.base);
      await until('the order', async () => (await titles(page)).join() === 'third,second,first');
      await rowOf(page, 'second').hover();
      await world.call('POST', `/api/v1/sessions/${a}/messages`, { client_id: 'm1', text: 'ask q1 "Go on" go on' });
      // The row says so where it stands.
      await rowOf(page, 'first').locator('.wait').first().waitFor();
      assert.deepEqual(await titles(page), ['third', 'second', 'first']);
      await sessions(world, 'fourth');
      await world.call('POST', `/api/v1/sessions/${b}/messages`, { client_id: 'm2', text: 'say "something"' });
      await until('the host is done', async () => (await world.session(b)).seq > 5);
      assert.deepEqual(await titles(page), ['third', 'second', 'first']);
      await page.mouse.move(900, 500);
      await until('then they go to their places', async () => (await groups(page))[0] === 'Now' && (await titles(page))[0] === 'first');
      await rowOf(page, 'fourth').waitFor();
    },
    { once: true },
  ],
  [
    'two tabs: one deletes what the other renames, and nobody loses a word',
    async ({ world, visitor }) => {
      const [a] = await sessions(world, 'first', 'second');
      const person = await visitor();
      person.expect(/status of (404|412)/);
      const one = person.page;
      await one.goto(world.base);
      await rowOf(one, 'first').waitFor();
      const two = await person.tab();
      await two.goto(world.base);
      await menu(one, 'first', 'Rename');
      const name = one.locator('.list').getByRole('textbox', { name: 'Name' });
      await name.fill('my name for it');
      // Something else of it is changed meanwhile: the name is written all the same.
      await menu(two, 'first', 'Pin');
      await until('it is pinned', async () => (await world.session(a)).pinned);
      await name.press('Enter');
      await rowOf(two, 'my name for it').waitFor();
      assert.equal((await world.session(a)).pinned, true);

      // It was renamed there meanwhile: that stays, and it is said here.
      await menu(one, 'my name for it', 'Rename');
      await name.fill('too late');
      await change(world, a, { title: 'their name for it' });
      await rowOf(two, 'their name for it').waitFor();
      await name.press('Enter');
      await toast(one, 'keeps its name').waitFor();
      await rowOf(one, 'their name for it').waitFor();

      await menu(one, 'their name', 'Rename');
      await name.fill('of what is gone');
      await menu(two, 'their name', 'Delete');
      await until('it is deleted', async () => (await list(world)).length === 1);
      await rowOf(one, 'first').waitFor({ state: 'detached' });
      await one.locator('.list input').waitFor({ state: 'detached' });
      assert.deepEqual(await titles(one), ['second']);
    },
    { once: true },
  ],
  [
    'two tabs and another device act at once on tags, pins, projects and names: nothing is lost, and nobody’s change undone unseen',
    async ({ world, visitor }) => {
      const folders = ['alpha', 'beta'].map((name) => join(world.user, 'src', name));
      for (const folder of folders) mkdirSync(folder, { recursive: true });
      const [a, b, c] = await sessions(world, 'first', 'second', 'third');
      const [alpha, beta] = await Promise.all(folders.map((cwd) => world.call('POST', '/api/v1/projects', { cwd })));
      const person = await visitor();
      const other = await visitor();
      const one = person.page;
      const two = await person.tab();
      const three = other.page;
      person.expect(/status of 412/);
      for (const page of [one, two, three]) await page.goto(world.base);
      for (const page of [one, two, three]) await rowOf(page, 'first').waitFor();

      // Three tags at once.
      const tag = async (page, name) => {
        await menu(page, 'first', 'Tags…');
        await page.getByRole('textbox', { name: 'A tag' }).fill(name);
        await page.keyboard.press('Enter');
        await page.getByRole('button', { name: 'Done' }).click();
      };
      await Promise.all([tag(one, 'red'), tag(two, 'green'), tag(three, 'blue')]);
      await until('the host has all three', async () => (await world.session(a)).tags?.toSorted().join() === 'blue,green,red');
      for (const page of [one, two, three]) {
        await until('each page has all three', async () => (await rowOf(page, 'first').locator('.tag').allTextContents()).toSorted().join() === 'blue,green,red');
      }

      // A menu says what it did when it was opened: what somebody else did meanwhile is not turned round.
      await rowOf(one, 'second').hover();
      await rowOf(one, 'second').getByRole('button', { name: /^Menu: / }).click();
      await menu(three, 'second', 'Pin');
      await until('the row says so', () => two.locator('.list .grp', { hasText: 'Pinned' }).isVisible());
      await one.getByRole('menuitem', { name: 'Pin', exact: true }).click();
      await tag(one, 'after');
      await until('what came after it is there', async () => (await world.session(a)).tags.includes('after'));
      assert.equal((await world.session(b)).pinned, true);

      // To take a move back is not to take back the next one's.
      await menu(one, 'third', 'Project…');
      await one.getByRole('button', { name: 'alpha' }).click();
      await toast(one, 'to alpha').waitFor();
      await until('it is in alpha', async () => (await world.session(c)).project === alpha.id);
      await menu(three, 'third', 'Project…');
      await three.getByRole('button', { name: 'beta' }).click();
      await rowOf(one, 'third').getByText('beta').waitFor();
      await toast(one, 'to alpha').getByRole('button', { name: 'Undo' }).click();
      await toast(one, 'to alpha').waitFor({ state: 'detached' });

      // What is selected and leaves the list is not acted on.
      await one.getByRole('button', { name: 'Select sessions' }).click();
      for (const name of ['first', 'second', 'third']) await one.locator('.list').getByRole('checkbox', { name: new RegExp(`^${name}`) }).click();
      await one.getByText('3 selected').waitFor();
      await menu(three, 'second', 'Archive');
      await menu(two, 'first', 'Delete');
      await one.getByText('1 selected').waitFor();
      await one.getByRole('group', { name: 'Selected sessions' }).getByRole('button', { name: 'Tags…' }).click();
      await one.getByRole('textbox', { name: 'A tag' }).fill('late');
      await one.keyboard.press('Enter');
      await toast(one, 'Tagged “third”: late.').waitFor();
      await one.getByRole('button', { name: 'Done' }).click();
      await until('it has it', async () => (await world.session(c)).tags?.join() === 'late');
      assert.equal((await world.session(b)).tags?.length ?? 0, 0, 'the archived one has no tag');
      assert.equal((await world.session(c)).project, beta.id, 'the last move stands');

      // A project: another field of it goes along, the same one is a conflict, which is said.
      await Promise.all([one.goto(`${world.base}/projects`), three.goto(`${world.base}/projects`)]);
      const form = async (page, name, agent) => {
        await page.getByRole('button', { name: 'Change beta' }).click();
        if (name) await page.getByRole('textbox', { name: 'Name' }).fill(name);
        if (agent) await page.getByRole('combobox').selectOption(agent);
      };
      const save = (page) => page.getByRole('button', { name: 'Save' }).click();
      await form(one, 'Beta of mine');
      await form(three, '', 'script');
      await save(three);
      await until('the agent is set', async () => (await world.call('GET', '/api/v1/projects')).projects.find((each) => each.id === beta.id).agent === 'script');
      await save(one);
      await one.getByRole('button', { name: 'Change Beta of mine' }).waitFor();
      await until('both are kept', async () => {
        const project = (await world.call('GET', '/api/v1/projects')).projects.find((each) => each.id === beta.id);
        return project.name === 'Beta of mine' && project.agent === 'script';
      });
      await three.getByRole('button', { name: 'Change Beta of mine' }).waitFor();
      await one.getByRole('button', { name: 'Change Beta of mine' }).click();
      await one.getByRole('textbox', { name: 'Name' }).fill('too late');
      await three.getByRole('button', { name: 'Change Beta of mine' }).click();
      await three.getByRole('textbox', { name: 'Name' }).fill('Theirs');
      await save(three);
      await three.getByRole('button', { name: 'Change Theirs' }).waitFor();
      await save(one);
      await one.getByRole('alert').getByText('changed elsewhere', { exact: false }).waitFor();
      assert.equal(await one.getByRole('textbox', { name: 'Name' }).inputValue(), 'too late', 'what was written is still there');
      assert.equal((await world.call('GET', '/api/v1/projects')).projects.find((each) => each.id === beta.id).name, 'Theirs');

      // The tags that there are come to a page by themselves.
      await three.getByRole('button', { name: 'Rename late' }).waitFor();
      await world.call('POST', '/api/v1/sessions/bulk', { ids: [c], action: 'tag', tag: 'fresh' });
      await three.getByRole('button', { name: 'Rename fresh' }).waitFor();
    },
    { once: true },
  ],
  [
    'the palette finds sessions, text and commands by keyboard alone, and jumps to the place',
    async ({ world, visitor, size }) => {
      const person = await visitor();
      const { page } = person;
      await page.addInitScript(() => {
        globalThis.ran = 0;
        globalThis.alert = () => globalThis.ran++;
      });
      await person.begin(`title ${IMG} needle title\nsay "${IMG} the haystack of straw\\n\\n"\n${Array.from({ length: 60 }, (_, i) => `say "paragraph ${i}\\n\\n"`).join('\n')}`);
      await person.finished();
      await sessions(world, 'Another needle', 'Nothing');
      await until('the index has it', async () => {
        const { hits, behind } = await world.call('GET', '/api/v1/search?q=haystack');
        return behind === 0 && hits.length > 0;
      });
      await page.goto(world.base);
      await rowOf(page, 'Another').waitFor();
      if (size.phone) await page.locator('.head').getByRole('button', { name: 'Search' }).click();
      else await page.keyboard.press('Control+k');
      const box = page.getByRole('combobox');
      await box.waitFor();
      const selected = page.getByRole('option', { selected: true });
      assert.match(await selected.textContent(), /New session/, 'its first row');
      await box.fill('needle');
      await page.getByRole('option', { name: /Another/ }).waitFor();
      assert.equal(await page.getByRole('option').first().getAttribute('aria-selected'), 'true', 'the first hit is selected');
      assert.match(await page.getByRole('group', { name: 'Sessions', exact: true }).textContent(), /<img src=x onerror=alert\(1\)> needle/);
      for (let i = 0; i < 9 && !/Another/.test(await selected.textContent()); i++) await page.keyboard.press('ArrowDown');
      assert.deepEqual(await selected.locator('mark').allTextContents(), ['needle']);
      assert.equal(await box.getAttribute('aria-activedescendant'), await selected.getAttribute('id'));

      await box.fill('haystack');
      const hit = page.getByRole('option', { name: /haystack of straw/ });
      await hit.first().waitFor();
      assert.ok((await hit.first().locator('mark').allTextContents()).includes('haystack'));
      assert.deepEqual(await person.axe(), []);
      while (!/straw/.test(await selected.textContent())) await page.keyboard.press('ArrowDown');
      await page.keyboard.press('Enter');
      await page.waitForURL(/\/s\/[^/]+\?item=/);
      await page.locator('.entry.lit').waitFor();
      assert.match(await page.locator('.entry.lit').textContent(), /haystack|title/);

      // A command, and a name that is only there.
      if (!size.phone) {
        await page.keyboard.press('Control+k');
        await box.fill('dark th');
        await page.getByRole('option', { name: 'Dark theme' }).waitFor();
        await page.keyboard.press('Enter');
        await until('it is dark', () => page.evaluate(() => document.documentElement.dataset.theme === 'dark'));
        await box.waitFor({ state: 'detached' });
        await page.keyboard.press('Control+k');
        await box.waitFor();
        await page.keyboard.press('Escape');
        await box.waitFor({ state: 'detached' });
        assert.equal(await page.evaluate(() => document.activeElement.tagName), 'TEXTAREA', 'the focus is back');
      }
      assert.equal(await page.evaluate(() => globalThis.ran), 0);
      assert.equal(await page.locator('img').count(), 0);
    },
  ],
  [
    'the search has a page of its own with filters, which the address keeps',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      await page.addInitScript(() => (globalThis.alert = () => (globalThis.ran = 1)));
      await person.begin(`say "${IMG} a lighthouse stands"\ntool t1 execute "lighthouse.sh"\ntool-output t1 "lighthouse on\\n"\ntool-done t1`);
      await person.finished();
      const [titled] = await sessions(world, 'The lighthouse');
      await world.call('POST', '/api/v1/sessions/bulk', { ids: [titled], action: 'tag', tag: 'sea' });
      await world.call('POST', '/api/v1/sessions/bulk', { ids: [titled], action: 'archive' });
      await until('the index has it', async () => {
        const { hits, behind } = await world.call('GET', '/api/v1/search?q=lighthouse');
        return behind === 0 && hits.some((hit) => hit.kind === 'assistant') && hits.some((hit) => hit.kind === 'title');
      });
      await page.goto(`${world.base}/search`);
      await page.getByRole('searchbox').fill('lighthouse');
      const found = page.locator('.found');
      await found.first().waitFor();
      const all = await found.count();
      await page.getByRole('button', { name: 'Titles', exact: true }).click();
      await until('titles only', async () => (await found.count()) < all);
      assert.match((await found.allTextContents()).join(), /The lighthouse/);
      await page.getByRole('button', { name: 'Said', exact: true }).click();
      await found.filter({ hasText: '<img src=x onerror=alert(1)> a lighthouse stands' }).first().waitFor();
      assert.ok((await found.locator('mark').allTextContents()).every((text) => /lighthouse/i.test(text)));
      assert.match(page.url(), /q=lighthouse&kind=said/);
      assert.deepEqual(await person.axe(), []);

      // What the menu chooses stands beside it, is in the address, and goes again by a press.
      const narrow = async (entry) => {
        await page.getByRole('button', { name: 'Filter', exact: true }).last().click();
        await page.getByRole('menuitemradio', { name: entry, exact: true }).click();
      };
      await page.getByRole('group', { name: 'Show' }).getByRole('button', { name: 'All', exact: true }).click();
      await narrow('sea');
      await until('those of the tag', async () => (await found.count()) === 1 && /The lighthouse/.test(await found.textContent()));
      await narrow('Without archived');
      await page.getByText('Nothing found for “lighthouse”.').waitFor();
      await page.getByRole('button', { name: 'Without this condition: sea' }).click();
      await until('what is not archived', async () => (await found.count()) === all - 1);
      await narrow('Only archived');
      await until('what is archived', async () => (await found.count()) === 1);
      await page.getByRole('button', { name: 'Filter', exact: true }).last().click();
      assert.deepEqual(await person.axe(), []);
      await page.keyboard.press('Escape');
      await narrow('Script');
      await until('the address has all of it', () => page.url().endsWith('q=lighthouse&agent=script&archived=only'));
      await page.reload();
      await until('it is as it was', async () => (await found.count()) === 1);
      for (const name of ['Script', 'Only archived']) await page.getByRole('button', { name: `Without this condition: ${name}` }).click();
      await page.getByRole('button', { name: 'Said', exact: true }).click();
      await found.filter({ hasText: 'a lighthouse stands' }).first().waitFor();
      await person.notSideways();
      await page.reload();
      await found.filter({ hasText: 'a lighthouse stands' }).first().click();
      await page.waitForURL(/\/s\/[^/]+\?item=/);
      await page.locator('.entry.lit', { hasText: 'lighthouse' }).waitFor();
      await page.goBack();
      await found.first().waitFor();
      assert.equal(await page.getByRole('searchbox').inputValue(), 'lighthouse');
      assert.equal(await page.evaluate(() => globalThis.ran), undefined);
      assert.equal(await page.locator('img').count(), 0);
    },
  ],
  [
    'a session is taken out as a file, and comes in again from it',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      // From now on the browser asks the test for files, and no window.
      page.on('filechooser', () => {});
      await person.begin('title Of two hosts title\nsay "taken along"');
      await person.finished();
      await page.goto(world.base);
      await menu(page, 'Of two hosts', 'Export…');
      const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('menuitem', { name: 'Lines of JSON, to import again' }).click()]);
      const path = join(world.dir, 'session.jsonl');
      await file.saveAs(path);
      await page.keyboard.press('Control+k');
      await page.getByRole('combobox').fill('import');
      const [chooser] = await Promise.all([page.waitForEvent('filechooser'), page.keyboard.press('Enter')]);
      await chooser.setFiles(path);
      await page.waitForURL(/\/s\//);
      await toast(page, 'Imported 1 session.').waitFor();
      await page.getByText('taken along', { exact: true }).waitFor();
      assert.equal((await list(world)).length, 2);
    },
    { once: true },
  ],
  [
    'several sessions are one archive, which comes in again; how far it is and what is wrong is said',
    async ({ world, visitor, size }) => {
      const person = await visitor();
      const { page } = person;
      person.expect(/status of 400/);
      page.on('filechooser', () => {});
      await sessions(world, 'first', 'second', 'third');
      await page.goto(world.base);
      await page.getByRole('button', { name: 'Select sessions' }).click();
      for (const name of ['first', 'third']) await page.locator('.list').getByRole('checkbox', { name: new RegExp(`^${name}`) }).click();
      await page.getByRole('group', { name: 'Selected sessions' }).getByRole('button', { name: 'Export…' }).click();
      assert.deepEqual(await person.axe(), []);
      const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('menuitem', { name: 'Lines of JSON, to import again' }).click()]);
      assert.match(file.suggestedFilename(), /^holdfast-.*-jsonl\.zip$/);
      const path = join(world.dir, 'some.zip');
      await file.saveAs(path);
      await page.locator('.bulk').waitFor({ state: 'detached' });

      // On the phone the settings have it, at a desk the list itself, too.
      const button = size.phone ? 'Choose a file' : 'Import sessions from a file';
      if (size.phone) await page.goto(`${world.base}/settings`);
      const choose = async (name, files) => {
        const [chooser] = await Promise.all([page.waitForEvent('filechooser'), page.getByRole('button', { name, exact: true }).click()]);
        await chooser.setFiles(files);
      };
      const dialog = page.getByRole('dialog', { name: 'Import sessions' });
      await choose(button, { name: 'bad.jsonl', mimeType: 'application/octet-stream', buffer: Buffer.from(`${IMG}\n`) });
      await dialog.getByRole('alert').getByText('line 1', { exact: false }).waitFor();
      assert.deepEqual(await person.axe(), []);
      await person.notSideways();

      // While it is on its way it can be left alone, and called off.
      let go = [];
      await page.route('**/api/v1/import?*', async (route) => {
        await new Promise((done) => go.push(done));
        await route.continue().catch(() => {});
      });
      await choose('Another file', path);
      await dialog.getByRole('progressbar').waitFor();
      assert.deepEqual(await person.axe(), []);
      await dialog.getByRole('button', { name: 'Cancel the import' }).click();
      await dialog.waitFor({ state: 'detached' });
      await choose(button, path);
      await dialog.getByRole('button', { name: 'Go on with other things' }).click();
      await dialog.waitFor({ state: 'detached' });
      await page.getByRole('button', { name: size.phone ? 'Show' : button, exact: true }).click();
      await dialog.getByRole('progressbar').waitFor();
      await until('both are held', () => go.length === 2);
      for (const each of go) each();
      await toast(page, 'Imported 2 sessions.').waitFor();
      await dialog.waitFor({ state: 'detached' });
      assert.deepEqual((await list(world)).map((row) => row.title).sort(), ['first', 'first', 'second', 'third', 'third'], 'what was called off did not come');
    },
  ],
  [
    'a thousand sessions are one download, below a path and behind the worker, and what is no file is said',
    async ({ world, visitor }) => {
      world.base = new URL(world.base).origin;
      await many(world, 1000);
      const person = await visitor({ serviceWorkers: 'allow' });
      const { page } = person;
      await page.goto(`${world.base}/holdfast/`);
      await page.evaluate(async () => {
        await navigator.serviceWorker.ready;
        if (!navigator.serviceWorker.controller) await new Promise((done) => navigator.serviceWorker.addEventListener('controllerchange', done, { once: true }));
      });
      await until('all are there', () =>
        page.locator('.list').evaluate((list) => {
          list.scrollTop = list.scrollHeight;
          return [...list.querySelectorAll('.rowbox')].some((row) => row.textContent.includes('Number 0.'));
        }),
      );
      const select = async () => {
        await page.locator('.list').evaluate((list) => (list.scrollTop = 0));
        await page.locator('.list .row').first().focus();
        await page.keyboard.press('Space');
        await page.keyboard.press('Control+a');
        await page.getByText('1000 selected').first().waitFor();
        await page.getByRole('group', { name: 'Selected sessions' }).getByRole('button', { name: 'Export…' }).click();
      };
      const entry = page.getByRole('menuitem', { name: 'Lines of JSON, to import again' });
      const files = [];
      page.on('download', (file) => files.push(file));
      const asked = [];
      page.on('request', (request) => request.url().includes('/export') && asked.push(request));
      await select();
      await entry.click();
      await until('a file', () => files.length > 0);
      const path = join(world.dir, 'thousand.zip');
      await files[0].saveAs(path);
      assert.equal(await files[0].failure(), null);
      // The end of an archive says how many files it has.
      const end = readFileSync(path).subarray(-22);
      assert.deepEqual([end.readUInt32LE(0), end.readUInt16LE(10)], [0x06054b50, 1000]);
      assert.equal(asked.length, 1);
      assert.equal(asked[0].method(), 'POST');
      assert.ok(asked[0].url().startsWith(`${world.base}/holdfast/api/v1/export`), asked[0].url());
      assert.equal(await page.locator('.toast').count(), 0);

      person.expect(/frame-ancestors|status of 422/);
      await page.route('**/api/v1/export', (route) => route.continue({ postData: 'ids=' }));
      await select();
      await entry.click();
      await toast(page, 'Nothing was exported').waitFor();
      await page.getByRole('heading', { name: 'All sessions' }).waitFor();
      assert.equal(await page.locator('iframe').count(), 1, 'that of the download, which nothing tells of');
      assert.equal(files.length, 1);
    },
    { once: true, config: '[http]\nbase_path = "/holdfast"\n' },
  ],
  [
    'the keys of the list go through it, and Alt with the arrows through the sessions',
    async ({ world, visitor }) => {
      const ids = await sessions(world, ...Array.from({ length: 40 }, (_, i) => `session ${i}`));
      const { page } = await visitor();
      await page.goto(`${world.base}/s/${ids[39]}`);
      await page.locator('.list .row[aria-current]').waitFor();
      await page.keyboard.press('Alt+ArrowDown');
      await page.waitForURL(new RegExp(ids[38]));
      await page.keyboard.press('Alt+ArrowUp');
      await page.waitForURL(new RegExp(ids[39]));
      assert.equal(await page.locator('.list [tabindex="0"].row').count(), 1, 'one stop for the focus');
      await page.locator('.list .row').first().focus();
      const here = () => page.evaluate(() => document.activeElement.closest('.rowbox')?.querySelector('.t').firstChild.textContent.trim());
      await page.keyboard.press('End');
      await until('the last', async () => (await here()) === 'session 0');
      await page.keyboard.press('ArrowUp');
      await until('the one before', async () => (await here()) === 'session 1');
      await page.keyboard.press('Home');
      await until('the first', async () => (await here()) === 'session 39');
      await page.keyboard.press('F2');
      await page.keyboard.type('named');
      await page.keyboard.press('Enter');
      await until('it has its name', async () => (await world.session(ids[39])).title === 'named');
      await until('the focus stays', async () => (await here()) === 'named');
      await page.keyboard.press('Delete');
      await until('it is deleted', async () => (await list(world)).length === 39);
      await until('the next has the focus', async () => (await here()) === 'session 38');
      await page.keyboard.press('Control+z');
      await until('it is back', async () => (await list(world)).length === 40);
    },
    { once: true },
  ],
]);

// The page's stand-in for the host has so many sessions at once.
describe('ten thousand sessions', () => {
  let mock, browser, base;
  before(async () => {
    mock = spawn(process.execPath, [join(import.meta.dirname, '../../web/mock/server.mjs'), '--port', '0', '--many', '10000'], { stdio: ['ignore', 'pipe', 'inherit'] });
    base = String(await new Promise((done) => mock.stdout.once('data', done))).trim();
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    mock?.kill();
  });

  for (const size of [desktop, phone]) {
    test(`are scrolled through without a long task, few of them in the document (${size.name})`, { timeout: 240_000 }, async () => {
      const person = await Person.arrive(browser, { base, output: '' }, size, { link: false });
      const { page } = person;
      try {
        const box = page.locator('.list');
        // What a task costs the page's thread, whatever else this machine does; what happens once in three times is not
        // the page's.
        let slow = [];
        for (let tries = 0; tries < 3; tries++) {
          await page.goto(base);
          await box.locator('.row').first().waitFor();
          assert.equal(await box.locator('[role=listitem]').first().getAttribute('aria-posinset'), '1');
          await browser.startTracing(page, { categories: ['toplevel', 'devtools.timeline', '__metadata'] });
          let most = 0;
          // To the end, whose pages load on the way, as fast as a browser draws it.
          await until('the end', async () => {
            const [end, n] = await box.evaluate(async (list) => {
              let most = 0;
              for (let i = 0; i < 40; i++) {
                list.scrollTop += 700;
                await new Promise(requestAnimationFrame);
                most = Math.max(most, list.querySelectorAll('*').length);
              }
              return [list.textContent.includes('Session 10000'), most];
            });
            most = Math.max(most, n);
            return end;
          }, 90_000);
          assert.ok(most < 1500, `${most} elements`);
          const { traceEvents } = JSON.parse(await browser.stopTracing());
          const main = new Set(traceEvents.filter((e) => e.name === 'thread_name' && e.args.name === 'CrRendererMain').map((e) => `${e.pid} ${e.tid}`));
          const tasks = traceEvents.filter((e) => e.ph === 'X' && /RunTask$/.test(e.name) && main.has(`${e.pid} ${e.tid}`));
          assert.ok(tasks.length > 100, 'the tasks were counted');
          slow = tasks.map((e) => Math.round(e.tdur / 1000)).filter((ms) => ms > 50);
          if (slow.length === 0) break;
        }
        assert.deepEqual(slow, [], 'no task over 50 ms');
        assert.ok((await box.evaluate((list) => list.scrollHeight)) > 9_900 * 46);
        // What is in the middle is drawn at once, and the keys go on from there.
        await box.evaluate((list) => (list.scrollTop = list.scrollHeight / 2));
        await page.locator('.list .rowbox', { hasText: /Session 0(49|50)\d\d/ }).first().waitFor();
        if (!size.phone) {
          const row = page.locator('.list .rowbox', { hasText: /Session 0(49|50)\d\d/ }).nth(3).locator('.row');
          const before = await row.locator('.t').textContent();
          await row.focus();
          await page.keyboard.press('ArrowDown');
          const now = await page.evaluate(() => document.activeElement.querySelector('.t')?.textContent);
          assert.equal(Number(/\d+/.exec(now)[0]), Number(/\d+/.exec(before)[0]) + 1);
          await page.keyboard.press('Home');
          await until('the first', () => page.evaluate(() => document.activeElement.closest('[aria-posinset="1"]') !== null));
        }
        assert.deepEqual(await person.axe(), []);
        person.check();
      } finally {
        await person.leave();
      }
    });
  }
});
