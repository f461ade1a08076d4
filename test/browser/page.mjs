// The browser, the people in it, and what they do on the page. How a test is written stands in README.md.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';
import { beyond, small } from './measure.mjs';
import { until, World } from './world.mjs';

export const desktop = { name: '1440×900', phone: false, options: { viewport: { width: 1440, height: 900 } } };
export const phone = {
  name: '390×844',
  phone: true,
  options: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true },
};

/** Tells whether the i-th of the cases that are for both sizes is run at this one: in the quick part each is at one, by turns. */
export function runsAt(size, i) {
  return process.env.HOLDFAST_TEST_QUICK !== '1' || size.phone === (i % 2 === 1);
}

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Starts a browser. */
export function launch(executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium') {
  return chromium.launch({
    executablePath,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

let shared;

/** The browser of this process, started for the first who asks. Profiles do not see each other: it is shared by all cases. */
function browser() {
  return (shared ??= launch());
}

/**
 * Runs cases at both sizes, the two at once: [name, run] or [name, run, setup].
 *
 * Each case has a host of its own, which it may kill, a person's home and a folder for work; each visitor is a fresh
 * profile in the process's browser. At the end the consoles have to be clean, no request may have gone to another host,
 * and no process may be left.
 *
 * run gets { world, size, visitor }; setup is what World takes. once is for a case that is about no size, which runs at the
 * larger only, thumb for one that is about touch, at the smaller; failpoints arms places in the host's first life.
 */
export function atBothSizes(cases) {
  after(async () => {
    if (shared) await Promise.race([shared.then((it) => it.close()), sleep(5_000, undefined, { ref: false })]);
  });
  describe('at both sizes', { concurrency: 2 }, () => {
    for (const size of [desktop, phone]) {
      describe(size.name, { concurrency: 1 }, () => {
        for (const [i, [name, run, setup = {}]] of cases.entries()) {
          const { once, thumb, ...rest } = setup;
          if (once || thumb ? size.phone === Boolean(thumb) : runsAt(size, i)) test(name, { timeout: 120_000 }, () => one(name, run, rest, size));
        }
      });
    }
  });
}

async function one(name, run, { failpoints = [], ...setup }, size) {
  const world = new World(setup);
  const open = [];
  let failed = true;
  try {
    await world.start(...failpoints);
    const visitor = async (options) => {
      const person = await Person.arrive(await browser(), world, size, options);
      open.push(person);
      return person;
    };
    await run({ world, size, visitor });
    for (const person of open) person.check();
    failed = false;
  } finally {
    if (failed) for (const person of open) await person.report(`${size.phone ? 'phone' : 'desktop'} ${name}`, world);
    await Promise.all(open.map((person) => person.leave()));
    const left = await world.close();
    if (!failed) assert.deepEqual(left, [], 'processes left running');
  }
}

/** A person with a browser: a page, its profile, and what went wrong on it. */
export class Person {
  faults = [];
  /** Console errors that belong to a case, such as a refused login. */
  expected = [];

  /**
   * Comes with a fresh profile and an empty tab, logged in unless link is false. Other options are those of a
   * playwright context, such as colorScheme. The page has its service worker where serviceWorkers is 'allow': it would
   * read all files of the page once more in every case.
   */
  static async arrive(browser, world, size, options = {}) {
    const person = new Person();
    const { link = true, ...context } = options;
    Object.assign(person, { world, size, context: await browser.newContext({ serviceWorkers: 'block', ...size.options, ...context }) });
    // What the page does with a link is login.test.mjs's; here it would cost every case one more page.
    if (link) await person.redeem(await world.link());
    await person.tab();
    return person;
  }

  /** Takes the cookie that a link gives, without a page. */
  async redeem(link) {
    const answer = await this.context.request.post(`${this.world.base}/api/v1/login/link`, { data: { secret: link.split('#link=')[1] } });
    assert.ok(answer.ok(), `log in: ${answer.status()} ${await answer.text()}`);
  }

  /** Opens another tab of the same profile and makes it the current one. */
  async tab() {
    const page = await this.context.newPage();
    page.setDefaultTimeout(30_000);
    page.on('console', (message) => {
      if (message.type() === 'error' || message.text().includes('Content Security Policy')) this.fault(message.text());
    });
    page.on('pageerror', (error) => this.fault(error.stack ?? String(error)));
    page.on('dialog', (dialog) => {
      this.fault(`a dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on('request', (request) => {
      const url = new URL(request.url());
      if (url.protocol !== 'data:' && url.protocol !== 'blob:' && url.origin !== this.world.base) this.fault(`a request to ${url.href}`);
    });
    this.page = page;
    return page;
  }

  fault(text) {
    this.faults.push(text);
  }

  expect(...patterns) {
    this.expected.push(...patterns);
  }

  check() {
    const faults = this.faults.filter((text) => !this.expected.some((pattern) => pattern.test(text)));
    assert.deepEqual(faults, [], 'the console is clean, and no other host is asked');
  }

  /** Closes the profile; a browser that has died does not keep the test. */
  async leave() {
    // A request may be in a test's hands just now.
    await Promise.all([this.context, ...this.context.pages()].map((it) => it.unrouteAll({ behavior: 'ignoreErrors' }).catch(() => {})));
    await Promise.race([this.context.close().catch(() => {}), sleep(5_000, undefined, { ref: false })]);
  }

  async report(name, world) {
    const file = new URL(`../../tmp/shots/failed-${name.replace(/\W+/g, '-')}.png`, import.meta.url).pathname;
    await this.page.screenshot({ path: file, timeout: 5_000 }).catch(() => {});
    console.error(`${name}: ${file}\nconsole: ${this.faults.join('\n')}\nhost: ${world.output.slice(-3000)}`);
  }

  // What a person does

  get composer() {
    return this.page.locator('form.comp textarea');
  }

  /** The id of the session that is open. */
  get session() {
    return /\/s\/([^/]+)$/.exec(new URL(this.page.url()).pathname)?.[1] ?? '';
  }

  async chooseAgent(name) {
    await this.page.getByRole('radio', { name }).click();
  }

  /** Opens the folder chooser and goes to a folder by writing its path. */
  async openFolder(path) {
    await this.page.getByRole('button', { name: 'Change', exact: true }).click();
    await this.page.locator('.picks .opt').first().waitFor();
    await this.page.getByLabel('Path').fill(path);
    await this.page.getByRole('button', { name: 'Open', exact: true }).click();
    const parent = path.slice(0, path.lastIndexOf('/'));
    await this.page.locator('.picks .opt').first().getByText(parent.slice(-20)).waitFor();
  }

  /** Starts a session on the page for it, in the world's folder. */
  async start(agent, text) {
    await this.page.goto(`${this.world.base}/new`);
    await this.chooseAgent(agent);
    await this.openFolder(this.world.work);
    await this.page.getByRole('button', { name: 'Use this folder' }).click();
    await this.composer.fill(text);
    await this.page.getByRole('button', { name: 'Send', exact: true }).click();
    await this.page.waitForURL(/\/s\//);
    await this.page.locator('.you').first().waitFor();
    return this.session;
  }

  /** Opens a new session with the scripted agent, and sends its first message. */
  async begin(text) {
    const { id } = await this.world.call('POST', '/api/v1/sessions', { agent: this.world.agent, cwd: this.world.work });
    await this.page.goto(`${this.world.base}/s/${id}`);
    await this.send(text);
    await this.page.locator('.you').first().waitFor();
    return id;
  }

  /** Sends, or queues where a run is under way. */
  async send(text) {
    await this.composer.fill(text);
    if (this.size.phone) await this.page.getByRole('button', { name: /^(Send|Queue|Keep)$/ }).click();
    else await this.composer.press('Enter');
  }

  /** What was sent is in the log, its run is over, and the composer sends again. */
  async finished() {
    // Looked at as one: between two looks a message that was on its way may have become a run.
    await this.page.waitForFunction(() => {
      const sends = [...document.querySelectorAll('button')].some((each) => each.checkVisibility() && (each.ariaLabel ?? each.textContent).trim() === 'Send');
      // The last is what waits for its agent to start, which the list may not tell of yet.
      const busy = '.you:not(.entry *), .say.open, .head .meta .live, .head .meta .wait, .it.run > div > .tick';
      return sends && document.querySelector('.entry') && !document.querySelector(busy);
    });
  }

  /** What the agent says, as the page shows it. */
  async shown() {
    return (await this.page.locator('.say').allTextContents()).join('');
  }

  /** The same with its structure; without the colours of code, which come when they are ready. */
  async structure() {
    const html = await this.page.locator('.say').evaluateAll((boxes) =>
      boxes.map((box) => {
        const copy = box.cloneNode(true);
        for (const code of copy.querySelectorAll('pre')) code.textContent = code.textContent;
        return copy.innerHTML;
      }),
    );
    return html.join('\n').replace(/<!--.*?-->/g, '');
  }

  /** The open question, where it is answered at this size: docked, or in the phone's sheet. */
  async question() {
    if (this.size.phone) {
      await this.page.locator('.askbar').click();
      const sheet = this.page.locator('dialog.sheet');
      await sheet.waitFor();
      return sheet;
    }
    const ask = this.page.locator('div.ask');
    await ask.waitFor();
    return ask;
  }

  axe(...rules) {
    return axe(this.page, ...rules);
  }

  async notSideways() {
    assert.deepEqual(await beyond(this.page), [], 'nothing to scroll sideways');
  }
}

/**
 * What axe finds, one line each; by all of its rules, or by some. The page's policy keeps scripts out; a debugger's do not
 * count as the page's.
 */
export async function axe(page, ...rules) {
  if (!(await page.evaluate(() => Boolean(globalThis.axe)))) await page.evaluate(AXE);
  return page.evaluate(async (only) => {
    // A colour on its way to another is neither.
    await Promise.all(document.getAnimations().filter((each) => each.effect.getComputedTiming().endTime < Infinity).map((each) => each.finished));
    const { violations } = await globalThis.axe.run(document, { resultTypes: ['violations'], ...(only.length && { runOnly: only }) });
    return violations.flatMap((v) => v.nodes.map((node) => `${v.id}: ${node.target.join(' ')} ${node.any[0]?.message ?? ''}`));
  }, rules);
}

/** Looks for faults in what a page shows, in both themes, for a thumb where it is a phone's, and at the narrowest. */
export async function faultless(page, size) {
  assert.deepEqual(await axe(page), [], 'axe');
  // All other rules see no theme.
  await page.emulateMedia({ colorScheme: 'dark' });
  assert.deepEqual(await axe(page, 'color-contrast'), [], 'axe, dark');
  await page.emulateMedia({ colorScheme: 'light' });
  if (size.phone) assert.deepEqual(await small(page), [], 'targets of less than 44 px');
  assert.deepEqual(await beyond(page), [], 'out of reach');
}

/** A text without its white space: Markdown drops what stands at the end of a paragraph. */
export const bare = (text) => text.replace(/\s+/g, '');

/** A script that says n numbered words, and the text that it makes. */
export function words(n, delay = '15ms', first = 0) {
  const text = Array.from({ length: n }, (_, i) => `w${String(first + i).padStart(4, '0')}`).join(' ');
  return { script: `words ${n} ${delay} ${first}`, text };
}
