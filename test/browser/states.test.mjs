// Every state of the page that the pictures show: nothing for axe to find in either theme, and nothing to scroll sideways.

import assert from 'node:assert/strict';
import { atBothSizes } from './page.mjs';
import { scenes } from './scenes.mjs';

atBothSizes(
  // Of docs and back each part is another state already.
  Object.entries(scenes).filter(([name]) => name !== 'docs' && name !== 'back').map(([name, scene]) => {
    const { run = scene, end, setup, failpoints } = scene;
    return [
      name,
      async ({ world, visitor }) => {
        const person = await visitor();
        // A host that is away, and a link that is used up, are told of in the console too.
        person.expect(/Failed to load resource/, /net::ERR/);
        await run(person);
        for (const colorScheme of ['light', 'dark']) {
          await person.page.emulateMedia({ colorScheme });
          assert.deepEqual(await person.axe(), [], colorScheme);
        }
        await person.notSideways();
        await end?.(person);
        // Agents end in order with their host only.
        if (world.host.exitCode !== null || world.host.signalCode !== null) await world.start();
      },
      { ...setup, failpoints },
    ];
  }),
);
