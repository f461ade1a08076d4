// Draws the icons that a system wants as pictures, from the mark, into public/icons: run after a change of the mark.
//
//   node icons.mjs

import { mkdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const path = /<path d="([^"]+)"/.exec(readFileSync(new URL('./public/icon.svg', import.meta.url), 'utf8'))[1];
const out = fileURLToPath(new URL('./public/icons', import.meta.url));
mkdirSync(out, { recursive: true });

const PETROL = '#0d6f75';
const PAPER = '#fbfcfa';

// part: how much of the edge the mark takes. A maskable icon may be cut to a circle of 80 %.
const icons = [
  { name: 'icon-192', size: 192, part: 0.66, ground: PETROL, round: 0.22, ink: PAPER },
  { name: 'icon-512', size: 512, part: 0.66, ground: PETROL, round: 0.22, ink: PAPER },
  { name: 'maskable-512', size: 512, part: 0.52, ground: PETROL, round: 0, ink: PAPER },
  { name: 'apple-touch-180', size: 180, part: 0.62, ground: PETROL, round: 0, ink: PAPER },
  // Of a badge only the alpha counts.
  { name: 'badge-96', size: 96, part: 0.92, ground: 'none', round: 0, ink: '#fff' },
];

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--headless', '--no-sandbox', '--disable-gpu'] });
try {
  for (const { name, size, part, ground, round, ink } of icons) {
    const page = await browser.newPage({ viewport: { width: size, height: size } });
    const scale = (size * part) / 24;
    const at = (size - 24 * scale) / 2;
    await page.setContent(
      `<body style="margin:0"><svg xmlns="http://www.w3.org/2000/svg" width="${size}" height="${size}" style="display:block">` +
        `<rect width="${size}" height="${size}" rx="${size * round}" fill="${ground}"/>` +
        `<path transform="translate(${at} ${at}) scale(${scale})" d="${path}" fill="none" stroke="${ink}" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/></svg>`,
    );
    await page.screenshot({ path: `${out}/${name}.png`, omitBackground: true });
    await page.close();
  }
} finally {
  await browser.close();
}
