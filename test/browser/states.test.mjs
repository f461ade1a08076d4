// Every state of the page that needs a real host: nothing for axe to find in either theme, no target that a thumb would miss,
// and nothing to scroll sideways.

import { atBothSizes, faultless } from './page.mjs';
import { scenes } from './scenes.mjs';

/** Of docs and back each part is another state already; the stand-in shows the others with more in them (looks.test.mjs). */
const elsewhere = ['docs', 'back', 'login', 'new', 'folders', 'sessions', 'palette', 'search', 'projects', 'needs-you', 'settings', 'permission', 'question', 'queue', 'interrupted'];

atBothSizes(
  Object.entries(scenes).filter(([name]) => !elsewhere.includes(name)).map(([name, scene]) => {
    const { run = scene, end, setup, failpoints } = scene;
    return [
      name,
      async ({ world, size, visitor }) => {
        const person = await visitor();
        // A host that is away, and a link that is used up, are told of in the console too.
        person.expect(/Failed to load resource/, /net::ERR/);
        await run(person);
        await faultless(person.page, size);
        await end?.(person);
        // Agents end in order with their host only.
        if (world.host.exitCode !== null || world.host.signalCode !== null) await world.start();
      },
      { ...setup, failpoints },
    ];
  }),
);
