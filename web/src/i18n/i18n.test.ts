import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { storageIn } from '../lib/storage.stub';
import { explain, Problem } from '../lib/api';
import { compact, count, dayGroup, duration, listTime, money, size } from '../lib/format';
import { summary, type Ledger } from '../lib/host';
import { endWords, loginFailed, stateWords } from '../lib/words';
import type { SessionRow } from '../lib/types';
import { de } from './de';
import { en } from './en';
import { counting } from './forms';
import { firstKnown, language, languages, t } from './index.svelte';

const kept = new Map<string, string>();
const root = { lang: 'en' };

beforeEach(() => {
  vi.stubGlobal('document', { documentElement: root });
  vi.stubGlobal('localStorage', storageIn(kept));
});
afterEach(async () => {
  await language.choose('en');
  vi.unstubAllGlobals();
});

describe('the language', () => {
  it('is the first of the browser’s that there is', () => {
    expect(firstKnown(['fr-CA', 'de-AT', 'en'])).toBe('de');
    expect(firstKnown(['DE'])).toBe('de');
    expect(firstKnown(['fr', 'constructor'])).toBe('en');
    expect(firstKnown([])).toBe('en');
  });

  it('changes the words at once, is said to the browser, and is kept', async () => {
    await language.choose('de');
    expect(t.frame.settings).toBe('Einstellungen');
    expect([root.lang, language.choice, kept.get('holdfast.language')]).toEqual(['de', 'de', 'de']);
    vi.stubGlobal('navigator', { languages: ['en-GB'] });
    await language.choose('system');
    expect([t.frame.settings, root.lang, kept.has('holdfast.language')]).toEqual(['Settings', 'en', false]);
  });

  it('is the one that was asked for last, whichever comes first', async () => {
    await Promise.all([language.choose('de'), language.choose('en')]);
    expect([t.frame.settings, language.choice, kept.get('holdfast.language')]).toEqual(['Settings', 'en', 'en']);
  });
});

describe('German', () => {
  beforeEach(() => language.choose('de'));

  it('has its numbers, dates and plurals', () => {
    const now = new Date(2026, 10, 24, 14, 0).getTime();
    const at = (...parts: [number, number, number]) => new Date(...parts).toISOString();
    expect([count(1840), duration(1234), compact(1_240_000), size(4_200_000)]).toEqual(['1.840', '1,2 s', '1,2 M', '4,2 MB']);
    expect(money(1.5, 'USD').replace(/\s/, ' ')).toBe('1,50 $');
    expect([listTime(at(2025, 10, 3), now), listTime(at(2026, 10, 23), now)]).toEqual(['3. Nov. 2025', 'Mo']);
    expect([dayGroup(at(2026, 10, 23), now), dayGroup(at(2026, 9, 3), now)]).toEqual(['Gestern', 'Oktober 2026']);
    expect([t.state.queuedMessages(1), t.state.queuedMessages(2)]).toEqual(['1 wartende Nachricht', '2 wartende Nachrichten']);
    expect(summary({ available: true, now: { observed: 1033, unexplained: 0 }, agents: [{}] } as unknown as Ledger)).toBe('Alle 1.033 offenen Dateien sind erklärt, und ein Agent ist aktiv.');
  });

  it('says states, and leaves the host its own words', () => {
    expect(stateWords({ state: 'interrupted', reason: 'interrupted', agent_state: 'ready' } as SessionRow).line).toBe('Unterbrochen');
    const denied = new Problem(401, 'login_denied', 'Login denied', 'the link is unknown');
    expect(loginFailed('link', denied)).toBe('Anmeldung mit dem Link fehlgeschlagen: Er ist unbekannt, älter als 10 Minuten oder schon benutzt.');
    expect(loginFailed('link', new Problem(429, 'too_many_logins', 'Too many', 'Wait 5 s'))).toContain('Wait 5 s.');
    expect(endWords('cancelled').title).toBe('Gestoppt');
    expect(explain('Die Liste wurde nicht geladen', new Problem(503, 'shed', 'Busy', 'The host is shedding load'))).toBe('Die Liste wurde nicht geladen: The host is shedding load.');
  });
});

describe('money', () => {
  it('takes what an agent calls a currency', () => {
    expect([money(1.5, 'USD'), money(0.12, 'EUR'), money(3, 'credits')]).toEqual(['$1.50', '€0.12', '3.00 credits']);
  });
});

describe('a catalogue', () => {
  it('counts by the rules of its language', () => {
    const { times } = counting('pl');
    const files = { one: 'plik', few: 'pliki', many: 'plików', other: 'pliku' };
    expect([1, 3, 5].map((n) => times(n, files))).toEqual(['1 plik', '3 pliki', '5 plików']);
  });

  it('is there for each language that can be chosen, with every text a text', () => {
    expect(Object.keys(languages)).toEqual(['en', 'de']);
    const texts = (value: unknown): unknown[] => (typeof value === 'object' && value !== null ? Object.values(value).flatMap(texts) : [value]);
    for (const words of [en, de]) {
      for (const text of texts(words)) {
        expect(['string', 'function']).toContain(typeof text);
        // Code in a text begins and ends.
        if (typeof text === 'string') expect([text, text.split('`').length % 2]).toEqual([text, 1]);
      }
    }
  });
});
