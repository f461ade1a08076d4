import { describe, expect, it } from 'vitest';
import { marked, ranked, score, wordsOf } from './palette';

const find = (query: string, ...titles: string[]) => ranked(titles, wordsOf(query), (title) => [title, 'Claude Code ~/src/courier'], 10);

describe('the palette', () => {
  it('puts what begins with the word before words that begin with it, and those before the rest', () => {
    expect(find('re', 'More bread', 'Old release', 'Release notes', 'Care', 'None')).toEqual(['Release notes', 'Old release', 'More bread', 'Care']);
  });

  it('wants every word, in any order, in the title or beside it', () => {
    expect(find('webhook jit', 'Jitter for webhook retries', 'Jitter', 'A webhook')).toEqual(['Jitter for webhook retries']);
    expect(find('courier jitter', 'Jitter', 'Other')).toEqual(['Jitter']);
    expect(score(['jit'], 'Jitter', '')).toBeGreaterThan(score(['claude'], 'Jitter', 'Claude Code'));
  });

  it('leaves equals in their order, which is that of the list', () => {
    expect(find('test', 'Test b', 'Test a', 'Test c')).toEqual(['Test b', 'Test a', 'Test c']);
    expect(find('', 'b', 'a')).toEqual(['b', 'a']);
  });

  it('looks at neither case nor accents nor quotes', () => {
    expect(find('"uber" ECLAIR', 'Über Éclairs')).toEqual(['Über Éclairs']);
  });

  it('marks what was found, and changes nothing of the text', () => {
    expect(marked('Jitter for webhook retries', ['retri', 'for'])).toEqual([
      { text: 'Jitter ' },
      { text: 'for', match: true },
      { text: ' webhook ' },
      { text: 'retri', match: true },
      { text: 'es' },
    ]);
    for (const text of ['Éclair 👩‍🚀 <img src=x>', 'ﬁne İstanbul', '']) {
      expect(marked(text, wordsOf('ist img e')).map((part) => part.text).join('')).toBe(text);
    }
    expect(marked('Ärger', ['arg'])).toEqual([{ text: 'Ärg', match: true }, { text: 'er' }]);
  });
});
