// The page as an app on a phone: installed, opened while the host is away, renewed after the host; and who is logged in.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import jsQR from 'jsqr';
import { atBothSizes } from './page.mjs';
import { until } from './world.mjs';

const WITH_WORKER = { serviceWorkers: 'allow' };
const AWAY = /ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE_CHUNKED|ERR_FAILED|ERR_NETWORK/;

/** The page's worker is at work, with all that it keeps. */
const ready = (page) =>
  page.evaluate(async () => {
    const registration = await navigator.serviceWorker.ready;
    if (!navigator.serviceWorker.controller) await new Promise((done) => navigator.serviceWorker.addEventListener('controllerchange', done, { once: true }));
    return { scope: registration.scope, active: registration.active.state };
  });

/** What a QR code says: dark is a square of a few pixels, with a margin around. */
function decode(rows) {
  const scale = 4;
  const margin = 4;
  const size = (rows.length + 2 * margin) * scale;
  const pixels = new Uint8ClampedArray(size * size * 4).fill(255);
  rows.forEach((row, y) =>
    [...row].forEach((square, x) => {
      if (square !== '1') return;
      for (let dy = 0; dy < scale; dy++)
        for (let dx = 0; dx < scale; dx++) pixels.fill(0, (((y + margin) * scale + dy) * size + (x + margin) * scale + dx) * 4, (((y + margin) * scale + dy) * size + (x + margin) * scale + dx) * 4 + 3);
    }),
  );
  return jsQR(pixels, size, size)?.data;
}

async function installable({ world, visitor }, path = '') {
  world.base = new URL(world.base).origin;
  const person = await visitor(WITH_WORKER);
  person.expect(AWAY);
  const { page } = person;
  await page.goto(`${world.base}${path}/settings`);
  await page.getByRole('heading', { name: 'Devices' }).waitFor();
  const { scope } = await ready(page);
  assert.equal(scope, `${world.base}${path}/`);

  const cdp = await person.context.newCDPSession(page);
  const { url, errors, data } = await cdp.send('Page.getAppManifest');
  assert.equal(url, `${world.base}${path}/manifest.webmanifest`);
  assert.deepEqual(errors, []);
  const manifest = JSON.parse(data);
  assert.equal(new URL(manifest.start_url, url).href, `${world.base}${path}/`);
  for (const size of ['192x192', '512x512']) assert.ok(manifest.icons.some((icon) => icon.sizes === size && !icon.purpose), `an icon of ${size}`);
  assert.ok(manifest.icons.some((icon) => icon.purpose === 'maskable'));
  const sizes = await page.evaluate(
    (list) =>
      Promise.all(
        list.map(async ([src, size]) => {
          const image = new Image();
          image.src = src;
          await image.decode();
          return [`${image.naturalWidth}x${image.naturalHeight}`, size];
        }),
      ),
    manifest.icons.map((icon) => [new URL(icon.src, url).href, icon.sizes]),
  );
  for (const [is, says] of sizes) assert.equal(is, says);
  const { installabilityErrors } = await cdp.send('Page.getInstallabilityErrors').catch(() => ({ installabilityErrors: [] }));
  assert.deepEqual(installabilityErrors.map((error) => error.errorId).filter((id) => id !== 'in-incognito'), []);

  // The worker keeps the shell, and nothing that a login is needed for.
  const kept = await page.evaluate(async () => {
    const all = [];
    for (const name of await caches.keys()) for (const request of await (await caches.open(name)).keys()) all.push(new URL(request.url).pathname);
    return all;
  });
  assert.ok(kept.includes(`${path}/`) && kept.some((file) => file.startsWith(`${path}/assets/index-`)), kept.join(' '));
  assert.deepEqual(kept.filter((file) => file.includes('/api/') || file.endsWith('/health')), []);

  // With the host away the page still opens, says so, and comes back by itself.
  await world.kill();
  await page.reload();
  await page.getByRole('heading', { name: /No answer from/ }).waitFor();
  await person.notSideways();
  await world.start();
  await page.getByRole('heading', { name: 'Devices' }).waitFor();
}

atBothSizes([
  ['is an app that can be installed, and opens while the host is away', installable],
  ['is one below a path too', (all) => installable(all, '/holdfast'), { once: true, config: '[http]\nbase_path = "/holdfast"\n' }],
  [
    'a page that is older than the host says so, and keeps the draft when it is reloaded',
    async ({ visitor }) => {
      const person = await visitor();
      const { page } = person;
      const id = await person.begin('say ready');
      await person.finished();
      await person.composer.fill('half a thought');
      const banner = page.getByText('The host has a newer version of this page');
      assert.equal(await banner.count(), 0);
      // A host that was upgraded says so of itself when it is asked the next time, which is when somebody looks.
      await page.route('**/api/v1/me', async (route) => {
        const answer = await route.fetch();
        await route.fulfill({ response: answer, json: { ...(await answer.json()), page: 'another' } });
      });
      await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
      await banner.waitFor();
      assert.deepEqual(await person.axe(), []);
      await person.notSideways();
      await page.unrouteAll({ behavior: 'ignoreErrors' });
      await page.getByRole('button', { name: 'Reload' }).click();
      await banner.waitFor({ state: 'detached' });
      await person.composer.waitFor();
      assert.equal(await person.composer.inputValue(), 'half a thought');
      assert.equal(person.session, id);
    },
  ],
  [
    'back from the background it goes on by one request of the log, and misses nothing',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      await page.clock.install();
      const id = await person.begin('say ready');
      await person.finished();
      const turn = (state) =>
        page.evaluate((to) => {
          Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => to });
          Object.defineProperty(document, 'hidden', { configurable: true, get: () => to === 'hidden' });
          document.dispatchEvent(new Event('visibilitychange'));
        }, state);
      const given = page.waitForEvent('requestfailed', (request) => request.url().includes('/api/v1/stream'));
      await turn('hidden');
      await page.clock.fastForward(61_000);
      await given; // the connection is given back
      await world.call('POST', `/api/v1/sessions/${id}/messages`, { client_id: 'far', text: 'say "meanwhile"' });
      await until('the answer', async () => (await world.said(id)).includes('meanwhile'));
      const asked = [];
      page.on('request', (request) => asked.push(new URL(request.url()).pathname));
      await turn('visible');
      await page.locator('.say', { hasText: 'meanwhile' }).waitFor();
      // Beside the log only what says how the host is, and that somebody looks.
      assert.deepEqual(asked.filter((path) => !['/health', '/api/v1/me', '/api/v1/presence'].includes(path)), ['/api/v1/stream']);
    },
  ],
  [
    'the bar of the system has the colour of the page, also where another theme was chosen',
    async ({ world, visitor }) => {
      const person = await visitor({ colorScheme: 'light' });
      const { page } = person;
      await page.goto(`${world.base}/settings`);
      const colour = () => page.evaluate(() => [...document.querySelectorAll('meta[name=theme-color]')].filter((meta) => matchMedia(meta.media).matches).map((meta) => meta.content));
      const [light, dark] = ['#fbfcfa', '#12191b'];
      await page.getByRole('button', { name: 'Dark' }).click();
      assert.deepEqual(await colour(), [dark]);
      await page.reload();
      await page.getByRole('button', { name: 'Light' }).waitFor();
      assert.deepEqual(await colour(), [dark]);
      await page.getByRole('button', { name: 'Light' }).click();
      assert.deepEqual(await colour(), [light]);
      await page.getByRole('group', { name: 'Appearance' }).getByRole('button', { name: 'System' }).click();
      assert.deepEqual(await colour(), [light]);
      await page.emulateMedia({ colorScheme: 'dark' });
      assert.deepEqual(await colour(), [dark]);
    },
    { once: true },
  ],
  [
    'devices are listed, named and logged out, each at once',
    async ({ visitor }) => {
      const here = await visitor();
      const there = await visitor();
      const third = await visitor();
      for (const person of [there, third]) person.expect(/status of 401/);
      await there.begin('say hello');
      await there.finished();
      const { page } = here;
      await page.goto(`${here.world.base}/settings`);
      const devices = page.getByRole('region', { name: 'Devices' });
      const rows = devices.locator('.srow', { hasText: /Browser ·/ });
      await rows.nth(2).waitFor();
      assert.equal(await devices.getByText('this one', { exact: true }).count(), 1);
      assert.match(await rows.first().textContent(), /this one.*in use now/s);
      assert.deepEqual(await here.axe(), []);
      await here.notSideways();

      // Each is called as its browser is; a name of one's own tells them apart.
      const rename = async (row, name) => {
        await row.getByRole('button', { name: /^Rename/ }).click();
        await page.getByLabel('Name of the device').fill(name);
        await page.getByRole('button', { name: 'Save' }).click();
        await devices.getByText(name, { exact: true }).waitFor();
      };
      const ids = (await here.world.call('GET', '/api/v1/devices')).devices.filter((device) => device.kind === 'cookie').map((device) => device.id);
      await rename(rows.nth(1), 'One');
      await rename(rows.nth(2), 'Two');
      const now = (await here.world.call('GET', '/api/v1/devices')).devices;
      assert.deepEqual(now.map((device) => device.name).sort(), ['One', 'Two', 'test', now.find((device) => device.id === ids[2]).name].sort());

      // One is logged out: whoever it is sees the login, without touching anything.
      await page.getByRole('button', { name: 'Log out One' }).click();
      await devices.getByText('One', { exact: true }).waitFor({ state: 'detached' });
      await page.reload();
      await devices.getByText('Two', { exact: true }).waitFor();

      // Then all others.
      const fourth = await visitor();
      fourth.expect(/status of 401/);
      await fourth.begin('say hello');
      await page.reload();
      await page.getByRole('button', { name: 'Log out all others' }).click();
      await page.getByRole('button', { name: 'Log out 2 browsers' }).click();
      await devices.getByText('Two', { exact: true }).waitFor({ state: 'detached' });
      for (const person of [there, fourth]) await person.page.getByRole('heading', { name: 'This browser is not logged in' }).waitFor();
      assert.equal((await here.world.call('GET', '/api/v1/devices')).devices.filter((device) => device.kind === 'cookie').length, 1);
    },
  ],
  [
    'a phone comes in by a QR code, once',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      await page.goto(`${world.base}/settings`);
      await page.getByRole('button', { name: 'Show the code' }).click();
      const code = page.getByRole('img', { name: 'QR code of the link' });
      await code.waitFor();
      assert.deepEqual(await person.axe(), []);
      await person.notSideways();
      const box = await code.boundingBox();
      assert.ok(box.width >= 180 && Math.abs(box.width - box.height) < 1, 'large enough for a camera');
      // What a camera sees: the picture on the screen.
      const shot = await code.screenshot({ type: 'png' });
      const pixels = await pixelsOf(page, shot);
      const link = jsQR(new Uint8ClampedArray(pixels.data), pixels.width, pixels.height)?.data;
      assert.match(link ?? '', /^https:\/\/box\.example\.org\/#link=/, 'by the address that the configuration names');

      const phone = await visitor({ link: false, userAgent: 'Mozilla/5.0 (Linux; Android 16; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36' });
      await phone.page.goto(`${world.base}/#${link.split('#')[1]}`);
      await phone.page.getByRole('heading', { name: 'Choose an agent and a folder' }).waitFor();
      // The code has done what it was for, and is shown no longer.
      await page.getByText('Chrome on Android is logged in.').waitFor();
      await code.waitFor({ state: 'detached' });
      const late = await visitor({ link: false });
      late.expect(/status of 401/);
      await late.page.goto(`${world.base}/#${link.split('#')[1]}`);
      await late.page.getByText(/The link did not log in/).waitFor();
    },
    { config: '[http]\npublic_url = "https://box.example.org"\n' },
  ],
  [
    'a host that only its own machine reaches says that no phone does; the terminal draws its link too',
    async ({ world, visitor }) => {
      const person = await visitor();
      const { page } = person;
      await page.goto(`${world.base}/settings`);
      await page.getByRole('button', { name: 'Show the code' }).click();
      await page.getByText('A phone cannot reach this address').waitFor();
      assert.equal(await page.getByRole('img', { name: 'QR code of the link' }).count(), 0);
      assert.deepEqual(await person.axe(), []);
      await person.notSideways();

      const { stdout, stderr } = await promisify(execFile)(join(process.env.HOLDFAST_TEST_BIN, 'holdfast'), ['link', '--qr'], { env: world.environ });
      const lines = stderr.split('\n').filter((line) => /^[█▀▄ ]{29,}$/.test(line));
      const upper = { '█': '0', '▀': '0', '▄': '1', ' ': '1' };
      const lower = { '█': '0', '▄': '0', '▀': '1', ' ': '1' };
      const rows = lines.flatMap((line) => [[...line].map((c) => upper[c]).join(''), [...line].map((c) => lower[c]).join('')]);
      assert.equal(decode(rows), stdout.trim());
    },
    { once: true },
  ],
]);

/** The pixels of a picture, which the page's browser reads. */
async function pixelsOf(page, png) {
  return page.evaluate(async (bytes) => {
    const image = new Image();
    image.src = URL.createObjectURL(new Blob([new Uint8Array(bytes)], { type: 'image/png' }));
    await image.decode();
    const canvas = new OffscreenCanvas(image.width, image.height);
    const context = canvas.getContext('2d');
    context.drawImage(image, 0, 0);
    return { width: image.width, height: image.height, data: [...context.getImageData(0, 0, image.width, image.height).data] };
  }, [...png]);
}
