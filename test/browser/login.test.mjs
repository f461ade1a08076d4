// How a browser comes in, and what it sees when it is not.

import assert from 'node:assert/strict';
import { atBothSizes } from './page.mjs';
import { until } from './world.mjs';

const NOT_LOGGED_IN = /status of 401/;
const USED = /status of 40[139]|status of 410/;

atBothSizes([
  [
    'the first link logs in, lands on the agents that were found, and leaves no trace in the history',
    async ({ world, visitor }) => {
      const person = await visitor({ link: false });
      const { page } = person;
      assert.match(world.firstLink, /#link=/);
      await page.goto(world.firstLink);
      await page.getByRole('heading', { name: 'Choose an agent and a folder' }).waitFor();
      assert.equal(page.url(), `${world.base}/new`);
      await page.getByRole('radio', { name: /Tour/ }).waitFor();
      await page.getByRole('radio', { name: /Script/ }).waitFor();
      assert.equal(await page.getByRole('radio', { name: /Tour/ }).isEnabled(), true);
      await person.notSideways();

      const cdp = await person.context.newCDPSession(page);
      const { entries } = await cdp.send('Page.getNavigationHistory');
      const secret = world.firstLink.split('#link=')[1];
      // What was typed is the browser's own; what a page, a share or a restored tab sees is the address.
      assert.deepEqual(entries.filter((entry) => entry.url.includes(secret)), [], 'the secret is gone from the history');
      // The cookie, not the link, is what logs this browser in from now on.
      const [cookie] = await person.context.cookies();
      assert.equal(cookie.httpOnly, true);
      assert.equal(cookie.sameSite === 'Lax' || cookie.sameSite === 'Strict', true);
      await page.reload();
      await page.getByRole('heading', { name: 'Choose an agent and a folder' }).waitFor();
    },
  ],
  [
    'a used link says so and what to do',
    async ({ world, visitor }) => {
      const link = await world.link();
      const first = await visitor({ link: false });
      await first.page.goto(link);
      await first.page.locator('.head h1').waitFor();
      const second = await visitor({ link: false });
      second.expect(NOT_LOGGED_IN, USED);
      await second.page.goto(link);
      await second.page.getByRole('heading', { name: 'This browser is not logged in' }).waitFor();
      const note = second.page.locator('#login-note');
      await note.getByText(/The link did not log in/).waitFor();
      assert.match(await note.textContent(), /used|works once|expired/);
      assert.match(await note.textContent(), /holdfast link/);
      assert.equal(new URL(second.page.url()).hash, '');
      await second.notSideways();
      // The same page takes a new one, pasted.
      await second.page.getByLabel('Or paste the link').fill(await world.link());
      await second.page.getByRole('button', { name: 'Log in', exact: true }).click();
      await second.page.locator('.head h1').waitFor();
    },
  ],
  [
    'a password logs in; a wrong one is refused; logging out ends in the login page',
    async ({ world, visitor }) => {
      await world.setPassword('correct horse battery');
      const person = await visitor({ link: false });
      person.expect(NOT_LOGGED_IN);
      const { page } = person;
      await page.goto(world.base);
      await page.getByRole('heading', { name: 'This browser is not logged in' }).waitFor();
      await page.getByRole('button', { name: 'Log in with a password' }).click();
      const field = page.getByLabel('Password', { exact: true });
      await field.fill('wrong horse battery');
      await page.getByRole('button', { name: 'Log in', exact: true }).click();
      await page.getByText(/The password did not log in/).waitFor();
      await field.fill('correct horse battery');
      await page.getByRole('button', { name: 'Log in', exact: true }).click();
      await page.getByRole('heading', { name: 'Choose an agent and a folder' }).waitFor();

      await page.goto(`${world.base}/settings`);
      await page.getByRole('button', { name: 'Log out', exact: true }).click();
      await page.getByRole('heading', { name: 'This browser is not logged in' }).waitFor();
      await page.goto(`${world.base}/settings`);
      await page.getByRole('heading', { name: 'This browser is not logged in' }).waitFor();
    },
  ],
  [
    'a login that ends in the middle of work keeps the draft and the message',
    async ({ world, visitor }) => {
      const person = await visitor();
      person.expect(NOT_LOGGED_IN);
      const { page } = person;
      const id = await person.begin('say ready');
      await person.finished();
      const again = async () => {
        await page.getByRole('heading', { name: 'This browser is not logged in' }).waitFor();
        await page.getByLabel('Or paste the link').fill(await world.link());
        await page.getByRole('button', { name: 'Log in', exact: true }).click();
        await person.composer.waitFor();
      };
      // What is sent without a login is refused, and sent once after the next one.
      await person.context.clearCookies();
      await person.send('say "sent once"');
      await again();
      await page.locator('.say', { hasText: 'sent once' }).waitFor();
      await person.finished();
      assert.equal((await world.items(id)).filter((item) => item.kind === 'user').length, 2);
      assert.equal(world.heard('sent once').length, 1);

      // Another device logs this one out while a person writes.
      await person.composer.fill('half a thought');
      const { devices } = await world.call('GET', '/api/v1/devices');
      for (const device of devices.filter((each) => each.kind !== 'token')) {
        await world.call('DELETE', `/api/v1/devices/${device.id}`);
      }
      await page.reload();
      await again();
      assert.equal(await person.composer.inputValue(), 'half a thought');
      await until('the session is open', () => person.session === id);
    },
  ],
  [
    'a passkey is made, logs in, is renamed and removed; by an address that is no name there is none',
    async ({ world, visitor }) => {
      const address = world.base;
      world.base = address.replace('127.0.0.1', 'localhost');
      const person = await visitor();
      person.expect(NOT_LOGGED_IN);
      const { page } = person;
      const cdp = await person.context.newCDPSession(page);
      await cdp.send('WebAuthn.enable');
      const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', {
        options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
      });
      await page.goto(`${world.base}/settings`);
      const section = page.getByRole('region', { name: 'Passkeys' });
      await section.getByRole('button', { name: 'Add a passkey' }).click();
      await page.getByLabel('Name of the passkey').fill('My finger');
      await page.getByRole('button', { name: 'Save' }).click();
      await section.getByText('for localhost · not used yet').waitFor();
      assert.deepEqual(await person.axe(), []);
      await person.notSideways();
      // The same authenticator makes no second one.
      await section.getByRole('button', { name: 'Add a passkey' }).click();
      await page.getByText('There is a passkey for this host already.').waitFor();
      const { credentials } = await cdp.send('WebAuthn.getCredentials', { authenticatorId });
      assert.equal(credentials.length, 1);
      assert.equal(credentials[0].rpId, 'localhost');
      assert.equal(credentials[0].isResidentCredential, true);

      const out = async () => {
        await page.goto(`${world.base}/settings`);
        await page.getByRole('button', { name: 'Log out', exact: true }).click();
        await page.getByRole('heading', { name: 'This browser is not logged in' }).waitFor();
      };
      await out();
      const button = page.getByRole('button', { name: 'Log in with a passkey' });
      await button.waitFor();
      assert.deepEqual(await person.axe(), []);
      await person.notSideways();
      // Whoever turns away stays out, without an error.
      await cdp.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: false });
      await button.click();
      await until('the person was asked', () => button.isEnabled());
      assert.equal(await page.locator('#login-note').innerText(), '');
      await cdp.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: true });
      await button.click();
      await section.getByText(/for localhost · last used/).waitFor();
      assert.equal((await world.call('GET', '/api/v1/devices')).devices.filter((device) => device.kind === 'cookie').length, 1);

      // One that was removed while the login page was open is refused.
      await out();
      await button.waitFor();
      const [{ id }] = (await world.call('GET', '/api/v1/passkeys')).passkeys;
      await page.route('**/api/v1/login/passkey', async (route) => {
        await world.call('DELETE', `/api/v1/passkeys/${id}`);
        await route.continue();
      });
      await button.click();
      await page.getByText(/The passkey did not log in/).waitFor();
      await page.reload();
      await page.getByRole('heading', { name: 'This browser is not logged in' }).waitFor();
      assert.equal(await button.count(), 0);

      world.base = address;
      const other = await visitor();
      await other.page.goto(`${world.base}/settings`);
      await other.page.getByText('A passkey is of a name.').waitFor();
      assert.equal(await other.page.getByRole('button', { name: 'Add a passkey' }).count(), 0);
    },
  ],
]);
