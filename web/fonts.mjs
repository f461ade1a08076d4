// Makes src/fonts/commit-mono.woff2: the part of the code font that code is mostly written in, without the features that
// are off in code anyway. A third of the whole, which is still loaded where something else occurs.
//
//   npm run fonts

import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import subset from 'subset-font';

const ranges = [
  [0x20, 0x24f], // Latin
  [0x2000, 0x206f], // punctuation
  [0x20a0, 0x20bf], // currencies
  [0x2190, 0x22ff], // arrows, operators
  [0x2500, 0x25ff], // boxes, blocks, shapes
  [0xfffd, 0xfffd],
];
let text = '';
for (const [from, to] of ranges) for (let code = from; code <= to; code++) text += String.fromCodePoint(code);

const whole = createRequire(import.meta.url).resolve('@fontsource/commit-mono/files/commit-mono-latin-400-normal.woff2');
const part = await subset(readFileSync(whole), text, { targetFormat: 'woff2', keepFeatures: [] });
writeFileSync(new URL('src/fonts/commit-mono.woff2', import.meta.url), part);
console.log(`${part.length} bytes of ${readFileSync(whole).length}`);
