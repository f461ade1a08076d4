// Makes the two fonts of src/fonts: of the text's the weights that the page uses, of the code's the part that code is mostly
// written in, both without the features that are off anyway. Half of the whole; what is left out is still loaded where it
// occurs (styles/tokens.css).
//
//   npm run fonts

import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import subset from 'subset-font';

const ranges = [
  [0x20, 0x24f], // Latin
  [0x2bb, 0x2dc], // marks, also those that combine
  [0x300, 0x33f],
  [0x2122, 0x2122], // trade mark
  [0x2000, 0x206f], // punctuation
  [0x20a0, 0x20bf], // currencies
  [0x2190, 0x22ff], // arrows, operators
  [0x2500, 0x25ff], // boxes, blocks, shapes
  [0xfffd, 0xfffd],
];
let text = '';
for (const [from, to] of ranges) for (let code = from; code <= to; code++) text += String.fromCodePoint(code);

const { resolve } = createRequire(import.meta.url);
for (const [name, from, options] of [
  [
    'atkinson-next',
    '@fontsource-variable/atkinson-hyperlegible-next/files/atkinson-hyperlegible-next-latin-wght-normal.woff2',
    { keepFeatures: ['kern', 'mark', 'mkmk', 'ccmp', 'locl', 'tnum'], variationAxes: { wght: { min: 400, max: 700 } } },
  ],
  ['commit-mono', '@fontsource/commit-mono/files/commit-mono-latin-400-normal.woff2', { keepFeatures: [] }],
]) {
  const whole = readFileSync(resolve(from));
  const part = await subset(whole, text, { targetFormat: 'woff2', ...options });
  writeFileSync(new URL(`src/fonts/${name}.woff2`, import.meta.url), part);
  console.log(`${name}: ${part.length} bytes of ${whole.length}`);
}
