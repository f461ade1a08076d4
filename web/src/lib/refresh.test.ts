import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { whileVisible } from './refresh';

class Page extends EventTarget {
  visibilityState = 'visible';
  turn(state: 'visible' | 'hidden') {
    this.visibilityState = state;
    this.dispatchEvent(new Event('visibilitychange'));
  }
}

describe('whileVisible', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('runs at once, then again and again, and no more when it is ended', async () => {
    const run = vi.fn(() => Promise.resolve());
    const end = whileVisible(run, 15_000, new Page());
    expect(run).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(45_000);
    expect(run).toHaveBeenCalledTimes(4);
    end();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(run).toHaveBeenCalledTimes(4);
  });

  it('rests while nobody looks, and runs when somebody does again', async () => {
    const page = new Page();
    const run = vi.fn(() => Promise.resolve());
    const end = whileVisible(run, 15_000, page);
    await vi.advanceTimersByTimeAsync(1000);
    page.turn('hidden');
    await vi.advanceTimersByTimeAsync(600_000);
    expect(run).toHaveBeenCalledTimes(1);
    page.turn('visible');
    expect(run).toHaveBeenCalledTimes(2);
    await vi.advanceTimersByTimeAsync(15_000);
    expect(run).toHaveBeenCalledTimes(3);
    end();
  });

  it('does not join a run that takes long', async () => {
    const page = new Page();
    let done = () => {};
    const run = vi.fn(() => new Promise<void>((resolve) => (done = resolve)));
    const end = whileVisible(run, 15_000, page);
    page.turn('hidden');
    page.turn('visible');
    await vi.advanceTimersByTimeAsync(60_000);
    expect(run).toHaveBeenCalledTimes(1);
    done();
    await vi.advanceTimersByTimeAsync(15_000);
    expect(run).toHaveBeenCalledTimes(2);
    end();
  });
});
