import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

/** Tells the service worker which files the page has; what is in public/ the worker keeps too, but for the licences. */
function shell(): Plugin {
  return {
    name: 'holdfast-shell',
    apply: 'build',
    generateBundle(_, bundle) {
      const worker = bundle['sw.js'];
      if (worker?.type !== 'chunk') throw new Error('the build has no service worker');
      const fixed = ['theme.js', 'icon.svg', 'manifest.webmanifest', ...readdirSync('public/icons').map((name) => `icons/${name}`)];
      const made = Object.keys(bundle).filter((name) => name.startsWith('assets/'));
      const hash = createHash('sha256').update(made.join());
      for (const name of fixed) hash.update(readFileSync(`public/${name}`));
      const files = [...made, ...fixed].sort();
      worker.code = worker.code.replace('__SHELL__', JSON.stringify({ build: hash.digest('hex').slice(0, 12), files }));
    },
  };
}

// The build is committed and embedded into the binary, and CI proves that dist equals a fresh build: file names carry
// a hash of the content and nothing in the output depends on the time or the machine.
export default defineConfig({
  plugins: [svelte(), shell()],
  // The host puts the path below which the page lies into index.html; all else finds its neighbours by itself.
  base: './',
  build: {
    // The first versions with light-dark(), which the tokens are written in.
    target: ['chrome123', 'edge123', 'firefox121', 'safari17.5'],
    // The page's Content-Security-Policy knows no data: fonts or inline code, so every asset is a file.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    sourcemap: false,
    rollupOptions: {
      input: { index: 'index.html', sw: 'src/sw/sw.ts' },
      // A worker is known by its address, which its scope is taken from.
      output: {
        entryFileNames: (chunk) => (chunk.name === 'sw' ? 'sw.js' : 'assets/[name]-[hash].js'),
        chunkFileNames: (chunk) => `assets/${chunk.name.split('~')[0]}-[hash].js`,
        // Every file that is asked for costs a slow phone as much time as kilobytes of it do: few of them, but none with
        // what another page needs. main.ts waits for the words, whose files may need the frame: it stands by itself.
        codeSplitting: {
          groups: [
            { name: 'frame', tags: ['$initial'], test: (id) => !/\/src\/sw\/|\/src\/main\.ts|index\.html/.test(id), priority: 2 },
            { name: 'shared', minShareCount: 2, entriesAware: true, entriesAwareMergeThreshold: 24_000, priority: 1 },
          ],
        },
      },
    },
    reportCompressedSize: true,
  },
  server: { proxy: { '/api': process.env.HOLDFAST_DEV_HOST ?? 'http://127.0.0.1:8787' } },
  test: { include: ['src/**/*.test.ts'], setupFiles: ['src/i18n/setup.ts'], environment: 'node' },
});
