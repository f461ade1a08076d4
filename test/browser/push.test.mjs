// What happens while nobody looks at the page: the host tells the device's push service, the page's worker shows it, and
// an answer given there is the agent's. The push service is a stand-in that receives what a browser's would.

import assert from 'node:assert/strict';
import { createDecipheriv, createECDH, hkdfSync, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { desktop, launch, Person } from './page.mjs';
import { until, World } from './world.mjs';

// The shell of Chromium forbids notifications whatever it is told.
const CHROMIUM = '/usr/bin/chromium';

/** The page's worker is at work, with all that it keeps. */
const ready = (page) =>
  page.evaluate(async () => {
    const registration = await navigator.serviceWorker.ready;
    if (!navigator.serviceWorker.controller) await new Promise((done) => navigator.serviceWorker.addEventListener('controllerchange', done, { once: true }));
    return { scope: registration.scope, active: registration.active.state };
  });

/** A stand-in for a browser's push service: what is sent to one subscription, decrypted as a browser would (RFC 8291). */
async function pushService() {
  const keys = createECDH('prime256v1');
  keys.generateKeys();
  const auth = randomBytes(16);
  const messages = [];
  const server = createServer(async (request, response) => {
    const body = [];
    for await (const chunk of request) body.push(chunk);
    messages.push({ url: request.url, headers: request.headers, payload: decrypt(Buffer.concat(body)) });
    response.writeHead(201).end();
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const derive = (secret, salt, info, n) => Buffer.from(hkdfSync('sha256', secret, salt, info, n));

  function decrypt(body) {
    const salt = body.subarray(0, 16);
    const theirs = body.subarray(21, 21 + body[20]);
    const text = body.subarray(21 + body[20]);
    const secret = derive(keys.computeSecret(theirs), auth, Buffer.concat([Buffer.from('WebPush: info\0'), keys.getPublicKey(), theirs]), 32);
    const decipher = createDecipheriv('aes-128-gcm', derive(secret, salt, 'Content-Encoding: aes128gcm\0', 16), derive(secret, salt, 'Content-Encoding: nonce\0', 12));
    decipher.setAuthTag(text.subarray(-16));
    const plain = Buffer.concat([decipher.update(text.subarray(0, -16)), decipher.final()]);
    return JSON.parse(plain.subarray(0, plain.lastIndexOf(2)).toString());
  }

  const host = `127.0.0.1:${server.address().port}`;
  return {
    host,
    /** The oldest message that was not looked at yet. */
    next: () => until('a message at the push service', () => messages.shift()),
    subscription: { endpoint: `http://${host}/one`, expirationTime: null, keys: { p256dh: keys.getPublicKey('base64url'), auth: auth.toString('base64url') } },
    close: () => new Promise((done) => (server.close(done), server.closeAllConnections())),
  };
}

/** Has the page's browser subscribe to that service, which a browser without a network cannot by itself. */
const subscribesTo = (page, subscription) =>
  page.addInitScript((json) => {
    const made = () => ({ endpoint: json.endpoint, toJSON: () => json, unsubscribe: async () => (localStorage.removeItem('test.made'), true) });
    PushManager.prototype.subscribe = async ({ userVisibleOnly, applicationServerKey }) => {
      if (!userVisibleOnly || applicationServerKey.length !== 87) throw new Error('not as browsers want it');
      localStorage.setItem('test.made', '1');
      return made();
    };
    PushManager.prototype.getSubscription = async () => (localStorage.getItem('test.made') ? made() : null);
  }, subscription);

/** Delivers what came to the service, as the browser does, and gives the notification that is shown then. */
async function deliver(person, { payload }) {
  const { page, world } = person;
  person.cdp ??= await (async () => {
    const cdp = await person.context.newCDPSession(page);
    const registered = new Promise((done) =>
      cdp.on('ServiceWorker.workerRegistrationUpdated', ({ registrations }) => registrations.forEach((each) => !each.isDeleted && done(each.registrationId))),
    );
    await cdp.send('ServiceWorker.enable');
    return { cdp, registrationId: await registered };
  })();
  const { cdp, registrationId } = person.cdp;
  await cdp.send('ServiceWorker.deliverPushMessage', { origin: world.base, registrationId, data: JSON.stringify(payload) });
  return until('the notification', () =>
    page.evaluate(async (tag) => {
      const [found] = await (await navigator.serviceWorker.ready).getNotifications({ tag });
      return found && { title: found.title, body: found.body, actions: found.actions, icon: found.icon };
    }, payload.tag),
  );
}

/** Taps on a notification, or on one of its answers. Only the system may; the worker hears it in the same way. */
async function tap(person, tag, action = '') {
  const [worker] = person.context.serviceWorkers();
  await worker.evaluate(
    async ([tag, action]) => {
      let done;
      ExtendableEvent.prototype.waitUntil = (promise) => (done = promise);
      const [notification] = await self.registration.getNotifications({ tag });
      self.dispatchEvent(new NotificationEvent('notificationclick', { notification, action }));
      await done.catch((error) => {
        // To bring a window to the front needs a real tap.
        if (error.name !== 'InvalidAccessError') throw error;
      });
    },
    [tag, action],
  );
}

test('a notification says what happened while the page was away, answers a question and opens its session', { timeout: 120_000, skip: !existsSync(CHROMIUM) && !process.env.CI && `there is no ${CHROMIUM}` }, async () => {
  const service = await pushService();
  const world = new World();
  let browser;
  let person;
  try {
    browser = await launch(CHROMIUM);
    await world.start(`push_test:=${service.host}`);
    person = await Person.arrive(browser, world, desktop, { serviceWorkers: 'allow', permissions: ['notifications'] });
    const { page } = person;
    await subscribesTo(page, service.subscription);
    await page.goto(`${world.base}/settings`);
    await ready(page);
    const toggle = page.getByRole('switch', { name: 'Notify this device' });
    await toggle.click();
    await page.getByRole('group', { name: 'Of what' }).waitFor();
    assert.equal(await toggle.getAttribute('aria-checked'), 'true');
    assert.deepEqual(await person.axe(), []);
    await person.notSideways();

    await page.getByRole('button', { name: 'Send one' }).click();
    const first = await service.next();
    assert.equal(first.payload.kind, 'test');
    const shown = await deliver(person, first);
    assert.equal(shown.title, 'Holdfast');
    assert.equal(shown.body, 'Notifications reach this device.');

    // A question, which the notification answers.
    const ask = async () => {
      const { id } = await world.call('POST', '/api/v1/sessions', { agent: 'script', cwd: world.work, title: 'Jitter' });
      await world.call('POST', `/api/v1/sessions/${id}/messages`, { client_id: `m-${id}`, text: 'ask q1 "Push" git push' });
      return id;
    };
    const id = await ask();
    const question = await service.next();
    const note = await deliver(person, question);
    assert.equal(note.title, 'Jitter');
    assert.match(note.body, /Push/);
    assert.deepEqual(note.actions.map((each) => each.action), ['allow', 'deny']);
    assert.ok(!JSON.stringify(note).includes('capability'), 'what answers is not shown');
    await tap(person, question.payload.tag, 'allow');
    await until('the answer', async () => /answer q1: .*allow/i.test(await world.said(id)));
    const ended = await service.next();
    assert.equal(ended.payload.kind, 'ended');
    assert.equal((await deliver(person, ended)).body, 'The run has ended.');

    // A second answer to the same question says that it came too late.
    await deliver(person, question);
    await tap(person, question.payload.tag, 'deny');
    await until('the refusal', async () =>
      page.evaluate(async (tag) => (await (await navigator.serviceWorker.ready).getNotifications({ tag })).some((each) => each.body === 'Answered elsewhere first.'), question.payload.tag),
    );

    // A tap opens the session in the window that is there.
    await tap(person, ended.payload.tag);
    await page.waitForURL(`${world.base}/s/${id}`);

    // Muted here, a session says nothing more; another does.
    await page.getByRole('button', { name: 'More', exact: true }).click();
    await page.getByRole('menuitem', { name: 'Mute on this device' }).click();
    await until('it is muted', async () => (await page.evaluate(() => fetch('/api/v1/push').then((answer) => answer.json()))).sessions[id] === 'none');
    await page.goto(`${world.base}/settings`);
    await page.getByText('Muted').waitFor();
    await world.call('POST', `/api/v1/sessions/${id}/messages`, { client_id: 'again', text: 'ask q2 "Again" git push' });
    await until('the muted question', async () => (await world.call('GET', '/api/v1/approvals?state=pending')).approvals.length === 1);
    const other = await ask();
    assert.equal((await service.next()).payload.session, other);

    // Off is off: at the host, and in the browser.
    await toggle.click();
    await page.getByRole('group', { name: 'Of what' }).waitFor({ state: 'detached' });
    const state = await page.evaluate(async () => [(await fetch('/api/v1/push').then((answer) => answer.json())).subscribed, localStorage.getItem('test.made')]);
    assert.deepEqual(state, [false, null]);
    person.check();
  } catch (error) {
    if (person) await person.report('push', world);
    throw error;
  } finally {
    await browser?.close();
    await service.close();
    const left = await world.close();
    assert.deepEqual(left, [], 'processes left running');
  }
});
