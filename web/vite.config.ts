import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

// The build is committed and embedded into the binary, and CI proves that dist equals a fresh build: file names carry
// a hash of the content and nothing in the output depends on the time or the machine.
export default defineConfig({
  plugins: [svelte()],
  // The host puts the path below which the page lies into index.html; all else finds its neighbours by itself.
  base: './',
  build: {
    // The first versions with light-dark(), which the tokens are written in.
    target: ['chrome123', 'edge123', 'firefox121', 'safari17.5'],
    // The page's Content-Security-Policy knows no data: fonts or inline code, so every asset is a file.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    sourcemap: false,
    reportCompressedSize: true,
  },
  server: { proxy: { '/api': process.env.HOLDFAST_DEV_HOST ?? 'http://127.0.0.1:8787' } },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
