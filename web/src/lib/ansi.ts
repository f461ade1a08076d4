// The output of a terminal as lines of styled pieces: colours, bold, faint, underline, inverse, and the carriage returns
// and erasures with which programs draw a progress bar. Everything else that moves a cursor is dropped. Colours become
// classes, so nothing of an output is ever a style or HTML.

export interface Piece {
  text: string;
  /** Classes of transcript.css: c0 to c15 for a colour, b for bold, f faint, u underlined, v inverse; or ''. */
  class: string;
}
export type Line = Piece[];

interface Style {
  colour: number;
  bold: boolean;
  faint: boolean;
  underline: boolean;
  inverse: boolean;
}

const PLAIN: Style = { colour: -1, bold: false, faint: false, underline: false, inverse: false };

// eslint-disable-next-line no-control-regex
const ESCAPE = /\u001b(?:\[([0-9;:?<=>]*)[ -/]*([@-~])|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[PX^_][^\u001b]*\u001b\\|[ -/]+[0-~]|[0-OQ-WYZ\\`a-~])/g;
/** What is left of a control that was cut at an end, and characters that nobody sees. */
// eslint-disable-next-line no-control-regex
const UNSEEN = /\u001b[\s\S]{0,20}$|[\u0000-\u0007\u000b\u000c\u000e-\u001f\u007f]/g;

/** Whether a text has anything that lines() would take as more than text. */
export function hasControls(text: string): boolean {
  // eslint-disable-next-line no-control-regex
  return /[\u0000-\u0008\u000b-\u001f\u007f]/.test(text);
}

/** The lines of an output. Neighbouring pieces of one style are one piece. */
export function lines(text: string): Line[] {
  const made: Line[] = [];
  let style = PLAIN;
  for (const raw of text.replace(/\r+\n/g, '\n').split('\n')) {
    const [line, after] = lineOf(raw, style);
    made.push(line);
    style = after;
  }
  return made;
}

/** The text of an output as it would stand in a terminal, without colours. */
export function plain(text: string): string {
  if (!hasControls(text)) return text;
  return lines(text)
    .map((line) => line.map((piece) => piece.text).join(''))
    .join('\n');
}

function lineOf(raw: string, begin: Style): [Line, Style] {
  let style = begin;
  if (!hasControls(raw)) return [raw === '' ? [] : [{ text: raw, class: classOf(style) }], style];
  // A carriage return begins the line anew: what is written then covers what stood there.
  let cells: Line = [];
  let at = 0;
  const write = (text: string) => {
    if (text === '') return;
    cells = overwritten(cells, at, { text, class: classOf(style) });
    at += text.length;
  };
  const put = (text: string) => {
    for (const part of text.split(/([\r\b])/)) {
      if (part === '\r') at = 0;
      else if (part === '\b') at = Math.max(0, at - 1);
      else write(part.replace(UNSEEN, ''));
    }
  };
  let from = 0;
  for (const match of raw.matchAll(ESCAPE)) {
    put(raw.slice(from, match.index));
    from = match.index + match[0].length;
    if (match[2] === 'm') style = styled(style, match[1] ?? '');
    else if (match[2] === 'K') {
      const mode = match[1] || '0';
      if (mode === '2') cells = [];
      if (mode === '2' && at > 0) cells = overwritten([], at, { text: '', class: '' });
      if (mode === '0') cells = firstOf(cells, at);
    } else if (match[2] === 'G') at = Math.max(0, (Number(match[1]) || 1) - 1);
  }
  put(raw.slice(from));
  return [joined(cells), style];
}

/** The cells with a piece written over what stands at a column. */
function overwritten(cells: Line, at: number, piece: Piece): Line {
  const width = cells.reduce((sum, each) => sum + each.text.length, 0);
  if (at > width) cells = [...cells, { text: ' '.repeat(Math.min(at - width, 1000)), class: '' }];
  if (at >= width) return [...cells, piece];
  return [...firstOf(cells, at), piece, ...restOf(cells, at + piece.text.length)];
}

function firstOf(cells: Line, n: number): Line {
  const kept: Line = [];
  for (const each of cells) {
    if (n <= 0) break;
    kept.push({ ...each, text: each.text.slice(0, n) });
    n -= each.text.length;
  }
  return kept;
}

function restOf(cells: Line, n: number): Line {
  const kept: Line = [];
  for (const each of cells) {
    if (each.text.length > n) kept.push({ ...each, text: each.text.slice(Math.max(0, n)) });
    n -= each.text.length;
  }
  return kept;
}

function joined(cells: Line): Line {
  const made: Line = [];
  for (const each of cells) {
    const last = made[made.length - 1];
    if (each.text === '') continue;
    if (last && last.class === each.class) last.text += each.text;
    else made.push({ ...each });
  }
  return made;
}

/** The style after a list of SGR numbers (ECMA-48 §8.3.117; 38 and 48 as xterm has them). */
function styled(style: Style, list: string): Style {
  const codes = list === '' ? [0] : list.split(/[;:]/).map((code) => Number(code) || 0);
  let next = { ...style };
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i]!;
    if (code === 0) next = { ...PLAIN };
    else if (code === 1) next.bold = true;
    else if (code === 2) next.faint = true;
    else if (code === 4) next.underline = true;
    else if (code === 7) next.inverse = true;
    else if (code === 22) next.bold = next.faint = false;
    else if (code === 24) next.underline = false;
    else if (code === 27) next.inverse = false;
    else if (code >= 30 && code <= 37) next.colour = code - 30;
    else if (code >= 90 && code <= 97) next.colour = code - 90 + 8;
    else if (code === 39) next.colour = -1;
    else if (code === 38 || code === 48) {
      const [colour, used] = extended(codes.slice(i + 1));
      if (code === 38) next.colour = colour;
      i += used;
    }
  }
  return next;
}

/** A colour of 256 or of 24 bit as the nearest of the sixteen, and how many numbers it took. */
function extended(codes: number[]): [colour: number, used: number] {
  if (codes[0] === 5) {
    const n = codes[1] ?? 0;
    if (n < 16) return [n, 2];
    if (n >= 232) return [n < 244 ? 8 : 7, 2];
    const cube = n - 16;
    return [nearest(Math.floor(cube / 36) * 51, (Math.floor(cube / 6) % 6) * 51, (cube % 6) * 51), 2];
  }
  if (codes[0] === 2) return [nearest(codes[1] ?? 0, codes[2] ?? 0, codes[3] ?? 0), 4];
  return [-1, 1];
}

function nearest(r: number, g: number, b: number): number {
  const most = Math.max(r, g, b);
  if (most < 64) return 8;
  if (most - Math.min(r, g, b) < 40) return 7;
  const bit = (value: number) => (value > most / 2 ? 1 : 0);
  return bit(r) + 2 * bit(g) + 4 * bit(b) + (most > 200 ? 8 : 0);
}

function classOf(style: Style): string {
  const names = [];
  if (style.colour >= 0) names.push(`c${style.colour}`);
  if (style.bold) names.push('b');
  if (style.faint) names.push('f');
  if (style.underline) names.push('u');
  if (style.inverse) names.push('v');
  return names.join(' ');
}
