import { describe, expect, it } from 'vitest';
import { hitsIn } from './find';

const found = (text: string, query: string) => hitsIn(text, query).map(([from, to]) => text.slice(from, to));

describe('hitsIn', () => {
  it('finds whole words without regard to case, and beginnings for the last', () => {
    expect(found('The relay waits. Relays wait; a replay does not.', 'the Rel')).toEqual(['The', 'rel', 'Rel']);
    expect(found('a relay', 'rel waits')).toEqual([]);
    expect(found('a b', 'a')).toEqual(['a']);
    expect(found('abc', 'a')).toEqual([]);
  });
  it('finds nothing for signs alone, and nothing wrong where letters change their length', () => {
    expect(found('a + b', '+')).toEqual([]);
    expect(hitsIn('İstanbul relay', 'relay')).toEqual([]);
  });
});
