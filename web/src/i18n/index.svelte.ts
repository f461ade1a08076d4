// The words of the page in the language of the person: `t.chat.review`. What reads t in a component or in something
// derived is drawn anew when the language changes.

import { read, drop, write } from '../lib/storage';
import type { Words } from './en';

/** Each language in its own name, for those who cannot read the present one. */
export const languages = { en: 'English', de: 'Deutsch' } as const;
export type Language = keyof typeof languages;
/** system: the first of the browser's languages that the page has. */
export type Choice = 'system' | Language;

/** A browser reads the one that it speaks. */
const catalogues: Record<Language, () => Promise<Words>> = {
  en: () => import('./en').then((module) => module.en),
  de: () => import('./de').then((module) => module.de),
};

const isLanguage = (name: string | null): name is Language => name !== null && Object.hasOwn(catalogues, name);

// Nothing is said before the first has come.
let words = $state.raw({} as Words);
let choice = $state<Choice>(chosen());
let asked = 0;

export const t: Words = new Proxy({} as Words, { get: (_, place) => words[place as keyof Words] });

/** What was chosen in this browser. */
function chosen(): Choice {
  const kept = read('language');
  return isLanguage(kept) ? kept : 'system';
}

/** The first of some languages, as a browser lists them (BCP 47), that the page has; else English. */
export function firstKnown(wanted: readonly string[]): Language {
  return wanted.map((each) => each.toLowerCase().split('-')[0]!).find(isLanguage) ?? 'en';
}

async function speak(): Promise<void> {
  const mine = ++asked;
  const language = choice === 'system' ? firstKnown(navigator.languages) : choice;
  const next = await catalogues[language]();
  // Only the language that was asked for last is spoken.
  if (mine !== asked) return;
  words = next;
  document.documentElement.lang = language;
}

export const language = {
  get choice(): Choice {
    return choice;
  },

  /** Before the page is drawn. In place of a language that does not come it speaks English. */
  async start(): Promise<void> {
    window.addEventListener('languagechange', () => void speak().catch(() => undefined));
    await speak().catch(async () => (words = await catalogues.en()));
  },

  /** Changes the language and keeps the choice; fails, and changes nothing, where its words cannot be read. */
  async choose(next: Choice): Promise<void> {
    const before = choice;
    choice = next;
    try {
      await speak();
    } catch (error) {
      if (choice === next) choice = before;
      throw error;
    }
    if (choice !== next) return;
    if (next === 'system') drop('language');
    else write('language', next);
  },
};
