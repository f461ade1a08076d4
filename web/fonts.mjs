// Makes the fonts of src/fonts: of the text's the weights that the page uses, of the code's the part that code is mostly
// written in, and what its output is drawn with, all without the features that are off anyway. The first two come with the
// first load; the third, and what is left out, where it occurs (styles/tokens.css).
//
//   npm run fonts

import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import subset from 'subset-font';

/** What tokens.css says of the same: what code is written in, and what its output is drawn with now and then. */
const code = [
  [0x20, 0x7e], // Latin
  [0xa0, 0xff],
  [0x2000, 0x206f], // punctuation
  [0x20ac, 0x20ac], // euro
  [0x2190, 0x2193], // arrows
  [0xfffd, 0xfffd],
];
const drawn = [
  [0x100, 0x17f], // more Latin
  [0x2194, 0x2199], // more arrows
  [0x2500, 0x25ff], // boxes, blocks, shapes
];
/** The whole of what Fontsource calls Latin. */
const words = [[0x20, 0xffff]];
const textOf = (ranges) => ranges.map(([from, to]) => String.fromCodePoint(...Array.from({ length: to - from + 1 }, (_, i) => from + i).filter((point) => point < 0xd800 || point > 0xdfff))).join('');

const { resolve } = createRequire(import.meta.url);
for (const [name, from, ranges, options] of [
  [
    'atkinson-next',
    '@fontsource-variable/atkinson-hyperlegible-next/files/atkinson-hyperlegible-next-latin-wght-normal.woff2',
    words,
    { keepFeatures: ['kern', 'mark', 'mkmk', 'ccmp', 'locl', 'tnum'], variationAxes: { wght: { min: 400, max: 700 } } },
  ],
  ['commit-mono', '@fontsource/commit-mono/files/commit-mono-latin-400-normal.woff2', code, { keepFeatures: [] }],
  ['commit-mono-drawn', '@fontsource/commit-mono/files/commit-mono-latin-400-normal.woff2', drawn, { keepFeatures: [] }],
]) {
  const whole = readFileSync(resolve(from));
  const part = await subset(whole, textOf(ranges), { targetFormat: 'woff2', ...options });
  writeFileSync(new URL(`src/fonts/${name}.woff2`, import.meta.url), part);
  console.log(`${name}: ${part.length} bytes of ${whole.length}`);
}
