import { expect, it } from 'vitest';
import { bytes, isAddress, text } from './passkey';

it('writes bytes as base64url, and reads them', () => {
  for (const all of [[], [0], [255, 254], [62, 63, 251, 255], Array.from({ length: 64 }, (_, i) => (i * 37) % 256)]) {
    const made = text(new Uint8Array(all).buffer);
    expect(made).toMatch(/^[A-Za-z0-9_-]*$/);
    expect([...bytes(made)]).toEqual(all);
  }
});

it('tells a name from an address', () => {
  expect(['localhost', 'box.example.org', '10.example.org'].map(isAddress)).toEqual([false, false, false]);
  expect(['127.0.0.1', '192.168.1.20', '[::1]'].map(isAddress)).toEqual([true, true, true]);
});
