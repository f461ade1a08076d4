import { expect, test } from 'vitest';
import { radioStep } from './radio';

test('arrows go round, Home and End go to the ends, other keys nowhere', () => {
  expect(['ArrowDown', 'ArrowRight', 'ArrowUp', 'ArrowLeft', 'Home', 'End', 'a'].map((key) => radioStep(key, 2, 3))).toEqual([0, 0, 1, 1, 0, 2, -1]);
  expect([radioStep('ArrowUp', 0, 3), radioStep('ArrowDown', 0, 1), radioStep('ArrowDown', -1, 0)]).toEqual([2, 0, -1]);
});
