// Where the rows of a long list stand, of which only those near the window are in the document: a row is as high as it
// was measured, or as high as it is guessed to be. Pure; the component that draws the rows measures them.

/** The rows that are drawn, by their places, and the key of the first one. */
export interface Drawn {
  from: number;
  to: number;
  key: string;
}

export interface Window {
  /** Where the window begins; null: its end is that of the rows. */
  top: number | null;
  height: number;
  /** What is within this of the window is drawn in any case. */
  spare: number;
  /** So many are drawn at least. */
  few: number;
}

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

  /** The rows to draw for a window; the same object where they are those that are drawn. */
  around(drawn: Drawn, { top, height, spare, few }: Window): Drawn {
    const n = this.rows.length;
    const made = (from: number, to: number): Drawn => {
      const key = this.rows[from]?.key ?? '';
      return from === drawn.from && to === drawn.to && key === drawn.key ? drawn : { from, to, key };
    };
    if (n <= few || height === 0) return made(Math.max(0, n - few), n);
    if (top === null) {
      const from = Math.min(this.at(this.total - height - spare), n - few);
      // Rows are let go by the dozen, not one for each that comes.
      const keep = this.rows[drawn.from]?.key === drawn.key && drawn.from <= from && n - drawn.from <= few + 40;
      return made(keep ? drawn.from : from, n);
    }
    // What is drawn stays while half of its spare rows are left, and is found again where an older page came before it.
    let { from, to } = drawn;
    if (this.rows[from]?.key !== drawn.key) {
      const moved = this.rows.findIndex((each) => each.key === drawn.key) - from;
      from += moved;
      to += moved;
    }
    const enough =
      this.rows[from]?.key === drawn.key &&
      to <= n &&
      to - from >= few &&
      (from === 0 || this.top(from) <= top - spare / 2) &&
      (to === n || this.top(to) >= top + height + spare / 2);
    if (enough) return made(from, to);
    from = this.at(top - spare);
    to = Math.min(n, this.at(top + height + spare) + 1);
    const more = few - (to - from);
    if (more > 0) {
      from = Math.max(0, Math.min(from - (more >> 1), n - few));
      to = Math.min(n, from + few);
    }
    return made(from, to);
  }

  private height(i: number): number {
    const row = this.rows[i]!;
    return this.heights.get(row.key) ?? this.guess(row);
  }
}
