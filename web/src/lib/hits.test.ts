import { describe, expect, it } from 'vitest';
import { addressOf, ANYTHING, askedOf, conditionsOf, type Conditions } from './hits';

const all: Conditions = { kind: 'run', session: 's1', project: 'p 1', tag: 'a&b', agent: 'hermes', archived: 'only' };

describe('the conditions of a search', () => {
  it('come back from the address as they went into it', () => {
    for (const conditions of [all, ANYTHING, { ...ANYTHING, archived: 'no' } as Conditions]) {
      const query = new URLSearchParams(addressOf('some words', conditions));
      expect(query.get('q')).toBe('some words');
      expect(conditionsOf(query)).toEqual(conditions);
    }
    expect(addressOf('', ANYTHING)).toBe('');
  });

  it('are only what the page knows', () => {
    expect(conditionsOf(new URLSearchParams('kind=everything&archived=perhaps&tag=x'))).toEqual({ ...ANYTHING, tag: 'x' });
  });

  it('are the host’s words', () => {
    expect(askedOf('w', all).toString()).toBe('q=w&kind=run&session=s1&project=p+1&tag=a%26b&agent=hermes&archived=true');
    expect(askedOf('w', { ...ANYTHING, archived: 'no' }).toString()).toBe('q=w&archived=false');
  });
});
