// Where the rows of a long list stand, of which only those near the window are in the document: a row is as high as it
// was measured, or as high as it is guessed to be. Pure; the component that draws the rows measures them.

export class Layout<R extends { key: string }> {
  private rows: readonly R[] = [];
  private heights = new Map<string, number>();
  /** tops[i] is where row i begins, tops[n] where the last one ends; right up to the index `known`. */
  private tops = new Float64Array(64);
  private known = 0;

  constructor(private readonly guess: (row: R) => number) {}

  get length(): number {
    return this.rows.length;
  }

  /** Takes the rows as they are now. What is the same from the first one on is not computed again. */
  set(rows: readonly R[]): void {
    let same = 0;
    const both = Math.min(rows.length, this.rows.length);
    while (same < both && rows[same] === this.rows[same]) same++;
    this.rows = rows;
    this.known = Math.min(this.known, same);
    if (this.tops.length <= rows.length) {
      const grown = new Float64Array(rows.length * 2 + 1);
      grown.set(this.tops);
      this.tops = grown;
    }
  }

  /** A row, which is the one at i, is so high. */
  measure(i: number, height: number): void {
    const row = this.rows[i];
    if (!row || this.heights.get(row.key) === height) return;
    this.heights.set(row.key, height);
    this.known = Math.min(this.known, i);
  }

  /** Forgets what was measured: the width is another one. */
  forget(): void {
    this.heights.clear();
    this.known = 0;
  }

  /** Where row i begins, in pixels from the first one's top; for the number of rows, where the last one ends. */
  top(i: number): number {
    for (let at = this.known; at < i; at++) this.tops[at + 1] = this.tops[at]! + this.height(at);
    this.known = Math.max(this.known, i);
    return this.tops[i]!;
  }

  get total(): number {
    return this.top(this.rows.length);
  }

  /** The row that y is in: the last one that begins at or above it. */
  at(y: number): number {
    const total = this.total;
    if (y >= total) return Math.max(0, this.rows.length - 1);
    let low = 0;
    let high = this.rows.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.tops[middle]! <= y) low = middle;
      else high = middle - 1;
    }
    return Math.max(0, low);
  }

  private height(i: number): number {
    const row = this.rows[i]!;
    return this.heights.get(row.key) ?? this.guess(row);
  }
}
