// What the palette finds by itself: sessions and commands that have all the words, the best first, with the places of
// the words. Case and accents do not count, as in the host's search.

export interface Part {
  text: string;
  match?: boolean;
}

/** A text of the same length, so that places in it are places in the original. */
function plain(text: string): string {
  let out = '';
  for (let i = 0; i < text.length; i++) out += text.charAt(i).normalize('NFD').charAt(0).toLowerCase();
  return out;
}

export function wordsOf(query: string): string[] {
  return plain(query).replaceAll('"', ' ').split(/\s+/).filter(Boolean);
}

const WORD = /[\p{L}\p{N}]/u;

/** Where a word is in a text, at the beginning of one if it can be, and how well that fits: 0 is not at all. */
function find(text: string, word: string): { at: number; score: number } {
  let within = -1;
  for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + 1)) {
    if (at === 0) return { at, score: 4 };
    if (!WORD.test(text.charAt(at - 1))) return { at, score: 3 };
    if (within < 0) within = at;
  }
  return within < 0 ? { at: -1, score: 0 } : { at: within, score: 1 };
}

/** How well the words fit a text, where also beside it: 0 if one of them is in neither. */
export function score(words: readonly string[], text: string, beside = ''): number {
  const [first, second] = [plain(text), plain(beside)];
  let sum = 0;
  for (const word of words) {
    const best = find(first, word).score || (find(second, word).score > 0 ? 0.5 : 0);
    if (best === 0) return 0;
    sum += best;
  }
  return sum;
}

/** The things that fit, the best first; of equals the earlier one. */
export function ranked<T>(things: readonly T[], words: readonly string[], textOf: (thing: T) => [text: string, beside: string], most: number): T[] {
  if (words.length === 0) return things.slice(0, most);
  return things
    .map((thing) => ({ thing, score: score(words, ...textOf(thing)) }))
    .filter((each) => each.score > 0)
    .sort((a, b) => b.score - a.score)
    .slice(0, most)
    .map((each) => each.thing);
}

/** A text in parts, of which those match that are one of the words. Joined they are the text. */
export function marked(text: string, words: readonly string[]): Part[] {
  const flat = plain(text);
  const hit = new Uint8Array(text.length);
  for (const word of words) {
    const { at } = find(flat, word);
    if (at >= 0) hit.fill(1, at, at + word.length);
  }
  const parts: Part[] = [];
  for (let i = 0; i < text.length; ) {
    let end = i;
    while (end < text.length && hit[end] === hit[i]) end++;
    parts.push(hit[i] ? { text: text.slice(i, end), match: true } : { text: text.slice(i, end) });
    i = end;
  }
  return parts;
}
