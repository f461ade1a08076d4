// What a catalogue is made with: counted things, and the numbers in its sentences, by the rules of its language.

/** The forms of a word by number (CLDR's plural categories); a language has those that it needs. */
export type Forms = Partial<Record<Intl.LDMLPluralRule, string>> & { other: string };

/** The counting of one language: `times` writes the number and the fitting form, `form` the form alone. */
export function counting(locale: string) {
  const rules = new Intl.PluralRules(locale);
  const numbers = new Intl.NumberFormat(locale);
  const form = (n: number, forms: Forms) => forms[rules.select(n)] ?? forms.other;
  return { form, times: (n: number, forms: Forms) => `${numbers.format(n)} ${form(n, forms)}` };
}
