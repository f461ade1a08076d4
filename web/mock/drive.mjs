// Drives the built page against the mock server as a person would, and fails where it does not behave: streaming,
// questions, the queue, stopping, a lost connection, a reload in the middle, scrolling.
//
//   npm run build && npm run drive

import { spawn } from 'node:child_process';
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const mock = fileURLToPath(new URL('./server.mjs', import.meta.url));
const PORT = 8793;
const BASE = process.env.BASE ?? `http://127.0.0.1:${PORT}`;

async function start(...args) {
  const child = spawn(process.execPath, [mock, '--port', String(PORT), ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((done) => child.stdout.once('data', done));
  return child;
}

let host = await start('--out');
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
const page = await context.newPage();
page.setDefaultTimeout(15_000);
const foreign = [];
page.on('request', (request) => {
  if (!request.url().startsWith(BASE)) foreign.push(request.url());
});
page.on('pageerror', (error) => {
  console.error(error.stack);
  process.exitCode = 1;
});
page.on('console', (message) => {
  if (message.text().includes('Content Security Policy')) {
    console.error(message.text());
    process.exitCode = 1;
  }
});

const steps = [];
const step = (name, run) => steps.push([name, run]);
const composer = () => page.locator('textarea');
const send = async (text) => {
  await composer().fill(text);
  await composer().press('Enter');
};

step('a used link says so, a good one logs in and leaves the address', async () => {
  await page.goto(`${BASE}/#link=stale`);
  await page.getByText('that link was used').waitFor();
  await page.getByText('holdfast link', { exact: true }).first().waitFor();
  assert.equal(new URL(page.url()).hash, '');
  await page.goto(`${BASE}/?a#link=letmein`);
  await page.getByRole('heading', { name: 'All sessions' }).waitFor();
  assert.equal(new URL(page.url()).hash, '');
});

step('a new session streams, asks and finishes', async () => {
  await page.keyboard.press('n');
  await page.locator('.chip').first().waitFor();
  await page.getByRole('radio', { name: /Tour/ }).click();
  await send('Please ask before you act');
  await page.waitForURL(/\/s\//);
  await page.locator('.you', { hasText: 'Please ask before you act' }).waitFor();
  assert.equal(await page.locator('.you').count(), 1, 'the message stands once');
  await page.getByText('Thinking').waitFor();
  await page.evaluate(() => {
    new MutationObserver((_, observer) => {
      const button = document.querySelector('.ask .amber');
      if (!button) return;
      window.deadAtFirst = button.disabled;
      observer.disconnect();
    }).observe(document.body, { childList: true, subtree: true });
  });
  await page.locator('.card', { hasText: 'Running' }).waitFor();
  const ask = page.locator('div.ask');
  await ask.waitFor();
  assert.equal(await page.evaluate(() => window.deadAtFirst), true, 'dead at first');
  await page.waitForTimeout(500);
  await page.locator('.side .nav .count', { hasText: '3' }).waitFor();
  await composer().press('Control+Enter');
  await page.getByText('Allowed once').waitFor();
  await page.locator('.say h2', { hasText: 'What is new' }).waitFor();
  await page.locator('.say table').waitFor();
  await page.getByRole('button', { name: 'Send', exact: true }).waitFor();
  assert.equal(await page.locator('.say script, .say a[href^="javascript"]').count(), 0);
});

step('a queued message waits, is edited, and runs next', async () => {
  await send('first');
  await page.getByRole('button', { name: 'Stop', exact: true }).waitFor();
  await send('second, queued');
  await page.locator('.q', { hasText: 'second, queued' }).waitFor();
  await page.getByRole('button', { name: 'Edit queued message' }).click();
  await page.waitForFunction(() => document.querySelector('textarea').value === 'second, queued');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.locator('.q', { hasText: 'second, queued' }).waitFor();
  await page.getByRole('button', { name: 'Stop', exact: true }).click();
  await page.locator('.tick', { hasText: 'Stopped' }).waitFor();
  await page.getByRole('button', { name: 'Resume' }).click();
  await page.locator('.you', { hasText: 'second, queued' }).last().waitFor();
  await page.getByRole('button', { name: 'Stop', exact: true }).waitFor();
  const order = await page.locator('.you .text').allTextContents();
  assert.equal(order.at(-1), 'second, queued');
});

step('a reload in the middle of a stream goes on from where it is', async () => {
  await page.reload();
  await page.locator('.you', { hasText: 'second, queued' }).last().waitFor();
  await page.getByRole('button', { name: 'Send', exact: true }).waitFor();
  await page.waitForTimeout(300);
  const answers = await page.locator('.say').last().locator('h2', { hasText: 'What is new' }).count();
  assert.equal(answers, 1, 'nothing twice');
});

step('reading above is not moved by growth; the pill leads back', async () => {
  await send('long answer, please');
  await page.locator('.say.open h2').first().waitFor();
  const scroll = page.locator('.scroll');
  await scroll.hover();
  await page.mouse.wheel(0, -600);
  await page.locator('.jump').waitFor();
  const before = await scroll.evaluate((box) => box.scrollTop);
  await page.waitForTimeout(1500);
  assert.equal(await scroll.evaluate((box) => box.scrollTop), before);
  await page.locator('.jump').click();
  // What has just grown is followed in the next frame.
  const atEnd = () => {
    const box = document.querySelector('.scroll');
    return box.scrollHeight - box.scrollTop - box.clientHeight <= 8;
  };
  await page.waitForFunction(atEnd);
  await page.waitForTimeout(1500);
  await page.waitForFunction(atEnd); // it follows
  await page.getByRole('button', { name: 'Stop', exact: true }).click();
  await page.getByRole('button', { name: 'Send', exact: true }).waitFor();
});

step('a change counts as made when it is; a restart is a quiet mark', async () => {
  await send('change it, over a restart');
  const ask = page.locator('div.ask');
  await ask.locator('.diff .a').first().waitFor();
  assert.match(await ask.locator('kbd').first().textContent(), /^Ctrl /);
  assert.equal(await page.locator('.panel', { hasText: 'Changed in this run' }).count(), 0, 'it waits for its permission');
  await page.waitForTimeout(500);
  await composer().press('Control+Enter');
  await page.locator('.panel', { hasText: 'Changed in this run' }).waitFor();
  const mark = page.locator('.tick', { hasText: 'Host restarted at 14:31:52. The run carried on.' });
  await mark.waitFor();
  assert.equal(await mark.getAttribute('class').then((all) => /wait|bad/.test(all)), false, 'no warning');
  const quick = page.locator('.tool', { hasText: 'git status' });
  await quick.waitFor();
  assert.equal(/ms/.test(await quick.textContent()), false, 'what took no time has none');
  await page.getByRole('button', { name: 'Stop', exact: true }).click();
  await page.getByRole('button', { name: 'Send', exact: true }).waitFor();
});

step('the folder chooser keeps what is typed before its first answer', async () => {
  const here = page.url();
  await page.goto(`${BASE}/new`);
  await page.locator('.chip').first().waitFor();
  await page.route('**/api/v1/folders?path=*', async (route) => {
    await new Promise((done) => setTimeout(done, 600));
    await route.continue();
  }, { times: 1 });
  await page.getByRole('button', { name: 'Change', exact: true }).click();
  await page.getByLabel('Path').fill('/home/ada/src');
  await page.locator('.picks .opt').nth(1).waitFor();
  assert.equal(await page.getByLabel('Path').inputValue(), '/home/ada/src');
  await page.goto(here);
  await composer().waitFor();
});

step('a refused message can be tried again or thrown away', async () => {
  await send('refuse this');
  await page.getByText('Not sent: It says refuse.').waitFor();
  await page.getByRole('button', { name: 'Discard' }).click();
  assert.equal(await page.locator('.you', { hasText: 'refuse this' }).count(), 0);
});

step('a crash is an interruption that a person goes on from', async () => {
  await send('crash now');
  await page.getByText('Interrupted at').waitFor();
  await page.getByText('Tour ended by itself with exit code 3.').waitFor();
  await page.reload();
  await page.getByText('Tour ended by itself with exit code 3.').waitFor();
  await page.getByRole('button', { name: 'Show the last output' }).click();
  await page.locator('.card.fail .out', { hasText: 'panic: no more steps' }).waitFor();
  assert.equal(await page.locator('.panel .steps .live').count(), 0, 'nothing is at a step of a run that ended');
  await page.getByRole('button', { name: 'Continue the run' }).click();
  await page.locator('.you', { hasText: 'Continue where' }).waitFor();
  await page.getByRole('button', { name: 'Stop', exact: true }).click();
  await page.getByRole('button', { name: 'Send', exact: true }).waitFor();
});

step('a draft survives a reload', async () => {
  await composer().fill('half a thought');
  await page.reload();
  await composer().waitFor();
  assert.equal(await composer().inputValue(), 'half a thought');
  await composer().fill('');
});

step('without an answer the banner says so, what is written is kept, and a new host gets it once', async () => {
  host.kill();
  await page.locator('.ban', { hasText: 'No answer' }).waitFor();
  await send('kept while away');
  await page.locator('.q', { hasText: 'kept while away' }).waitFor();
  await page.reload().catch(() => {});
  host = await start();
  // The new mock has forgotten the session, as no host does; what counts is that the page comes back by itself.
  await page.goto(BASE);
  await page.getByRole('heading', { name: 'All sessions' }).waitFor();
});

step('a host that comes back with another log resyncs the page', async () => {
  await page.locator('td a', { hasText: 'Jitter for webhook' }).click();
  await page.locator('div.ask').waitFor();
  host.kill();
  await page.locator('.ban', { hasText: 'No answer' }).waitFor();
  host = await start();
  const toast = page.locator('.toast', { hasText: 'Back on' });
  await toast.waitFor();
  const foot = await page.locator('.side-foot').boundingBox();
  const box = await toast.boundingBox();
  assert.ok(box.x + box.width <= foot.x + foot.width && box.y + box.height <= foot.y, 'the toast covers neither composer nor foot');
  await page.locator('.ban').waitFor({ state: 'detached' });
  await page.locator('div.ask').waitFor();
});

step('narrow and zoomed pages do not scroll sideways', async () => {
  for (const [width, height] of [[320, 640], [768, 1024], [1024, 768], [1279, 800]]) {
    await page.setViewportSize({ width, height });
    for (const path of ['/', '/new', '/needs-you', '/settings', '/host']) {
      await page.goto(BASE + path);
      await page.locator('main h1').waitFor();
      await page.waitForTimeout(150);
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${path} at ${width}`);
    }
    await page.goto(BASE);
    await page.locator('a:visible', { hasText: 'Jitter for webhook' }).first().click();
    await composer().waitFor();
    await page.waitForTimeout(300);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `chat at ${width}`);
    await page.screenshot({ path: fileURLToPath(new URL(`../../tmp/shots/chat-${width}.png`, import.meta.url)) });
  }
  await page.setViewportSize({ width: 1440, height: 900 });
});

step('a session is renamed, and deleted', async () => {
  await page.goto(BASE);
  await page.locator('td a', { hasText: 'Shrink the base image' }).click();
  await page.getByRole('button', { name: 'More', exact: true }).click();
  await page.getByRole('menuitem', { name: 'Rename' }).click();
  await page.getByRole('textbox', { name: 'Name' }).fill('Smaller image');
  await page.keyboard.press('Enter');
  await page.locator('.head h1', { hasText: 'Smaller image' }).waitFor();
  await page.locator('.side .row', { hasText: 'Smaller image' }).waitFor();
  await page.getByRole('button', { name: 'More', exact: true }).click();
  await page.getByRole('menuitem', { name: 'Delete' }).click();
  await page.getByRole('heading', { name: 'All sessions' }).waitFor();
  assert.equal(await page.locator('.side .row', { hasText: 'Smaller image' }).count(), 0);
});

step('logging out ends in the login page', async () => {
  await page.goto(`${BASE}/settings`);
  await page.getByRole('button', { name: 'Log out', exact: true }).click();
  await page.getByRole('heading', { name: 'This browser is not logged in' }).waitFor();
});

try {
  for (const [name, run] of steps) {
    const began = Date.now();
    try {
      await run();
    } catch (error) {
      await page.screenshot({ path: fileURLToPath(new URL('../../tmp/shots/drive-failed.png', import.meta.url)) });
      throw new Error(`${name}: ${error.message}`, { cause: error });
    }
    console.log(`ok ${name} (${Date.now() - began} ms)`);
  }
  assert.deepEqual(foreign, [], 'no request to another host');
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await browser.close();
  host.kill();
}
