// Pictures of the page on a real session, at both sizes and themes, into tmp/shots.
//
//   npm run shots [-- name…]
//
// With DOCS=1 the two pictures of the documentation are taken as well, into docs/pictures.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { desktop, launch, Person, phone } from './page.mjs';
import { scenes } from './scenes.mjs';
import { World } from './world.mjs';

const root = join(import.meta.dirname, '..', '..');
const out = join(root, 'tmp', 'shots');
const only = process.argv.slice(2);

mkdirSync(out, { recursive: true });
const browser = await launch();
let faults = 0;
try {
  for (const [name, scene] of Object.entries(scenes)) {
    if (only.length && !only.includes(name)) continue;
    for (const size of [desktop, phone]) {
      for (const colorScheme of ['light', 'dark']) {
        const { run = scene, setup, failpoints = [] } = scene;
        const world = new World(setup);
        try {
          await world.start(...failpoints);
          const person = await Person.arrive(browser, world, size, { colorScheme });
          await run(person);
          await person.page.waitForTimeout(400);
          const file = `real-${name}-${size.phone ? 390 : 1440}-${colorScheme}.png`;
          const picture = await person.page.screenshot({ path: join(out, file) });
          if (process.env.DOCS && name === 'docs' && colorScheme === 'dark') {
            const docs = join(root, 'docs', 'pictures');
            mkdirSync(docs, { recursive: true });
            writeFileSync(join(docs, size.phone ? 'phone.png' : 'chat.png'), picture);
          }
          await person.leave();
        } catch (error) {
          faults++;
          console.error(`${name} ${size.name} ${colorScheme}: ${error.message}`);
        } finally {
          await world.close();
        }
      }
    }
  }
} finally {
  await browser.close();
}
console.log(out);
process.exitCode = faults ? 1 : 0;
