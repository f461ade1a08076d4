import { expect, it } from 'vitest';
import { unread } from './seen';

const row = (activity: number) => ({ activity, last_at: '2026-11-24T12:00:00.000Z' });
const at = Date.parse('2026-11-24T12:00:00.000Z');

it('knows what was said after the last event that was shown, and nothing else', () => {
  expect(unread(row(41), { seq: 7, event: 40, at }, 0)).toBe(true);
  expect(unread(row(40), { seq: 7, event: 40, at }, 0)).toBe(false);
  // The name and the agent's sleep came after what was said.
  expect(unread(row(40), { seq: 9, event: 44, at }, 0)).toBe(false);
});

it('counts what was never opened as read up to where this browser came in', () => {
  expect(unread(row(40), null, 40)).toBe(false);
  expect(unread(row(41), null, 40)).toBe(true);
});

it('goes by the time where an older page kept no event', () => {
  expect(unread(row(40), { seq: 7, at: at + 1 }, 0)).toBe(false);
  expect(unread(row(40), { seq: 7, at: at - 1 }, 0)).toBe(true);
});
