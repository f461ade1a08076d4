// The page behind nginx and Caddy, at a name of its own and below a path: log in, start a session, read its answer as it
// comes. The proxies are Debian's, each a process of its own with a configuration of its own.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { desktop, launch, Person, words } from './page.mjs';
import { until, World } from './world.mjs';

const NGINX = process.env.NGINX ?? '/usr/sbin/nginx';
const CADDY = process.env.CADDY ?? '/usr/bin/caddy';

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

const freePort = () =>
  new Promise((done, fail) => {
    const server = createServer().on('error', fail);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });

// As docs/remote.md has it.
const nginx = (dir, port, upstream, path) => `
daemon off; pid ${dir}/pid; error_log stderr warn;
events {}
http {
  access_log off;
  client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy; fastcgi_temp_path ${dir}/f; uwsgi_temp_path ${dir}/u; scgi_temp_path ${dir}/s;
  server {
    listen 127.0.0.1:${port};
    location ${path}/ {
      proxy_pass http://${upstream};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_read_timeout 1h;
      client_max_body_size 25m;
    }
  }
}`;

const caddy = (dir, port, upstream, route) => `
{
  admin off
  auto_https disable_redirects
  skip_install_trust
  storage file_system ${dir}/data
}
https://localhost:${port} {
  tls internal
  ${route(upstream)}
}`;

const cases = [
  { name: 'nginx at a name of its own', program: NGINX, path: '', make: nginx },
  { name: 'nginx below a path', program: NGINX, path: '/holdfast', make: nginx },
  { name: 'Caddy with TLS at a name of its own', program: CADDY, path: '', make: (...a) => caddy(...a.slice(0, 3), (to) => `reverse_proxy ${to}`), tls: true },
  {
    name: 'Caddy with TLS below a path that it takes off',
    program: CADDY,
    path: '/holdfast',
    make: (...a) => caddy(...a.slice(0, 3), (to) => `handle_path /holdfast/* {\n    reverse_proxy ${to}\n  }`),
    tls: true,
  },
];

for (const { name, program, path, make, tls } of cases) {
  test(name, { timeout: 90_000, skip: !existsSync(program) && !process.env.CI && `there is no ${program}` }, async () => {
    assert.ok(existsSync(program), `install ${program}`);
    const dir = mkdtempSync(join(tmpdir(), 'hfp'));
    const world = new World({ config: `[http]\ntrusted_proxies = ["127.0.0.1", "::1"]\nbase_path = "${path}"\n` });
    let proxy;
    let person;
    try {
      await world.start();
      const upstream = new URL(world.base).host;
      const port = await freePort();
      const file = join(dir, 'conf');
      writeFileSync(file, make(dir, port, upstream, path));
      const argv = program === NGINX ? ['-c', file, '-p', dir] : ['run', '--config', file, '--adapter', 'caddyfile'];
      proxy = spawn(program, argv, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, HOME: dir, XDG_DATA_HOME: dir, XDG_CONFIG_HOME: dir } });
      let said = '';
      for (const stream of [proxy.stdout, proxy.stderr]) stream.on('data', (data) => (said += data));
      const origin = `${tls ? 'https' : 'http'}://localhost:${port}`;

      person = await Person.arrive(browser, { ...world, base: origin, link: () => world.link() }, desktop, { link: false, ignoreHTTPSErrors: true });
      const { page } = person;
      await until(`${program} answers`, async () => {
        if (proxy.exitCode !== null) throw new Error(`${program} ended:\n${said}`);
        return page.request.get(`${origin}${path}/health`).then((answer) => answer.ok(), () => false);
      });

      const secret = (await world.link()).trim().split('#link=')[1];
      await page.goto(`${origin}${path}/#link=${secret}`);
      await page.getByRole('heading', { name: 'Choose an agent and a folder' }).waitFor();
      assert.equal(page.url(), `${origin}${path}/new`);
      const [cookie] = await person.context.cookies();
      assert.equal(cookie.secure, Boolean(tls), 'the cookie is Secure where the browser speaks https');
      assert.equal(cookie.path, `${path}/`);
      const devices = await page.evaluate((at) => fetch(at).then((r) => r.json()), `${path}/api/v1/devices`);
      assert.ok(devices.devices.some((device) => device.current));

      // The answer comes while it is being said: nothing between buffers it.
      const { id } = await world.call('POST', '/api/v1/sessions', { agent: 'script', cwd: world.work });
      await page.goto(`${origin}${path}/s/${id}`);
      const { script, text } = words(60, '60ms');
      await person.send(script);
      await until('the first words', async () => (await person.shown()).includes('w0003'));
      assert.ok(!(await person.shown()).includes('w0059'), 'the stream is not held back');
      await person.finished();
      assert.equal((await person.shown()).trim(), text);

      // Links and the history stay below the path.
      await page.getByRole('link', { name: 'Settings' }).first().click();
      await page.waitForURL(`${origin}${path}/settings`);
      await page.goBack();
      await page.waitForURL(`${origin}${path}/s/${id}`);
      await page.reload();
      await page.locator('.say').first().waitFor();
      person.check();
    } catch (error) {
      if (person) await person.report(name, world);
      throw error;
    } finally {
      await person?.leave();
      if (proxy && proxy.exitCode === null) {
        const ended = new Promise((done) => proxy.on('exit', done));
        proxy.kill('SIGTERM');
        await ended;
      }
      const left = await world.close();
      rmSync(dir, { recursive: true, force: true });
      assert.deepEqual(left, [], 'processes left running');
    }
  });
}
