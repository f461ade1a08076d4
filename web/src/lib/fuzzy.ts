// Finding a name by letters of it that stand in order.

/** How well the letters fit the name, higher is better; 0 where they do not. */
export function fits(letters: string, name: string): number {
  const want = letters.toLowerCase();
  const have = name.toLowerCase();
  if (want === '') return 1;
  if (have === want) return 1000;
  if (have.startsWith(want)) return 900 - have.length;
  const within = have.indexOf(want);
  if (within >= 0) return (startsWord(have, within) ? 700 : 500) - within;
  let score = 100;
  let from = 0;
  for (const letter of want) {
    const place = have.indexOf(letter, from);
    if (place < 0) return 0;
    score += startsWord(have, place) ? 10 : -(place - from);
    from = place + 1;
  }
  return Math.max(1, score);
}

function startsWord(text: string, at: number): boolean {
  return at === 0 || /[^\p{L}\p{N}]/u.test(text[at - 1]!);
}

/** Those whose name fits, the best first; equal ones stay in their order. */
export function best<T>(all: T[], letters: string, name: (one: T) => string): T[] {
  return all
    .map((one) => ({ one, score: fits(letters, name(one)) }))
    .filter(({ score }) => score > 0)
    .sort((a, b) => b.score - a.score)
    .map(({ one }) => one);
}
