// Where words stand in what is shown: the host finds the item by its index, this finds the letters in it.

/** The words of a search, without the signs around them. */
export function wordsOf(query: string): string[] {
  return query.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
}

/** Where these words begin in a text: [from, to), in order. The last word may be the beginning of one. */
export function hitsIn(text: string, query: string): [from: number, to: number][] {
  const words = wordsOf(query);
  if (words.length === 0) return [];
  const lower = text.toLowerCase();
  // A letter that has another length in lower case would shift all places after it.
  if (lower.length !== text.length) return [];
  const hits: [number, number][] = [];
  for (const match of lower.matchAll(/[\p{L}\p{N}]+/gu)) {
    const word = match[0];
    const last = words.at(-1)!;
    if (words.includes(word)) hits.push([match.index, match.index + word.length]);
    else if (last.length >= 2 && word.startsWith(last)) hits.push([match.index, match.index + last.length]);
  }
  return hits;
}

/** The places of these words in an element, as ranges. What only the page says of an item is not looked at. */
export function rangesOf(element: Element, query: string): Range[] {
  const ranges: Range[] = [];
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (node.parentElement?.closest('.itemacts, .sr, header')) continue;
    for (const [from, to] of hitsIn(node.textContent ?? '', query)) {
      const range = document.createRange();
      range.setStart(node, from);
      range.setEnd(node, to);
      ranges.push(range);
    }
  }
  return ranges;
}
