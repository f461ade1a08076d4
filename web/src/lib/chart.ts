// What a chart is drawn from: points in time to paths of an SVG. The base is zero; time that has no points stays a gap.

export interface Point {
  /** Milliseconds. */
  at: number;
  /** null: not known then. */
  value: number | null;
}

/** What a chart shows, and the box that it is drawn in. */
export interface Frame {
  from: number;
  to: number;
  /** The value at the upper edge. */
  top: number;
  width: number;
  height: number;
}

/** Points further apart than this many usual distances have a gap between them. */
const GAP = 3;

/** The value at a chart's upper edge: some air above the highest, and a flat line does not fill the chart. */
export function topOf(series: Point[][], least = 1): number {
  let top = 0;
  for (const points of series) for (const point of points) top = Math.max(top, point.value ?? 0);
  return Math.max(least, top * 1.25);
}

/** From how many milliseconds on there is a gap between two points: the host was down, or asleep. */
export function gapOf(points: Point[]): number {
  const distances: number[] = [];
  for (let i = 1; i < points.length; i++) distances.push(points[i]!.at - points[i - 1]!.at);
  if (distances.length === 0) return Infinity;
  distances.sort((a, b) => a - b);
  return Math.max(60_000, distances[distances.length >> 1]! * GAP);
}

/** Cuts points where they are not known or where there is a gap. */
export function runsOf(points: Point[], gap = gapOf(points)): Required<{ at: number; value: number }>[][] {
  const runs: { at: number; value: number }[][] = [];
  let last = -Infinity;
  let run: { at: number; value: number }[] | null = null;
  for (const { at, value } of points) {
    if (value === null || !Number.isFinite(value)) {
      run = null;
      continue;
    }
    if (!run || at - last > gap) runs.push((run = []));
    run.push({ at, value });
    last = at;
  }
  return runs;
}

const round = (n: number) => Math.round(n * 10) / 10;

export function xOf(at: number, frame: Frame): number {
  return round(Math.min(1, Math.max(0, (at - frame.from) / (frame.to - frame.from))) * frame.width);
}

export function yOf(value: number, frame: Frame): number {
  return round(frame.height - Math.min(1, Math.max(0, value / frame.top)) * frame.height);
}

/** A line through points; counts are steps. A point that stands alone is a dot. */
export function linePath(points: Point[], frame: Frame, step = false): string {
  const inside = points.filter((point) => point.at >= frame.from && point.at <= frame.to);
  return runsOf(inside, gapOf(points))
    .map((run) => {
      const [first, ...rest] = run.map(({ at, value }) => [xOf(at, frame), yOf(value, frame)] as const);
      const start = `M${first![0]} ${first![1]}`;
      if (rest.length === 0) return `${start}h0.01`;
      return start + rest.map(([x, y]) => (step ? `H${x}V${y}` : `L${x} ${y}`)).join('');
    })
    .join('');
}

/** The area by which one line is above another, where it is by more than slack. */
export function excessPath(upper: Point[], lower: Point[], frame: Frame, slack: number): string {
  const floor = new Map(lower.map((point) => [point.at, point.value]));
  const over = upper.map(({ at, value }) => {
    const least = floor.get(at) ?? null;
    return { at, value: value !== null && least !== null && value > least + slack ? value : null };
  });
  return runsOf(over, gapOf(upper))
    .filter((run) => run.length > 1 && run[0]!.at >= frame.from)
    .map((run) => {
      const there = run.map(({ at, value }) => `${xOf(at, frame)} ${yOf(value, frame)}`);
      const back = run.map(({ at }) => `${xOf(at, frame)} ${yOf(floor.get(at) ?? 0, frame)}`).reverse();
      return `M${[...there, ...back].join('L')}Z`;
    })
    .join('');
}

/** The point next to a time, if there is one within reach. */
export function nearest(points: Point[], at: number, reach = Infinity): Point | null {
  let low = 0;
  let high = points.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle]!.at < at) low = middle + 1;
    else high = middle;
  }
  const [before, after] = [points[low - 1], points[low]];
  const best = !before ? after : !after ? before : at - before.at <= after.at - at ? before : after;
  return best && Math.abs(best.at - at) <= reach ? best : null;
}

export interface Extent {
  least: number;
  most: number;
  mostAt: number;
  last: number;
}

/** The least, the most and the last of points; null where nothing is known. */
export function extentOf(points: Point[]): Extent | null {
  let extent: Extent | null = null;
  for (const { at, value } of points) {
    if (value === null) continue;
    if (!extent) extent = { least: value, most: value, mostAt: at, last: value };
    extent.last = value;
    extent.least = Math.min(extent.least, value);
    if (value > extent.most) [extent.most, extent.mostAt] = [value, at];
  }
  return extent;
}

/** The same time in fewer rows, for a table: the last point of each whole hour, newest first. */
export function hourly(points: Point[]): Point[] {
  const byHour = new Map<number, Point>();
  for (const point of points) byHour.set(Math.floor(point.at / 3_600_000), point);
  return [...byHour.values()].reverse();
}
