import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { lines, plain } from './ansi';

const E = '\u001b';
const of = (text: string) => lines(text).map((line) => line.map((piece) => (piece.class ? `<${piece.class}:${piece.text}>` : piece.text)).join(''));

describe('lines', () => {
  it('keeps plain text as it is', () => {
    expect(of('one\n\n  two\tx\r\n')).toEqual(['one', '', '  two\tx', '']);
  });

  it('makes classes of colours and styles, over lines', () => {
    expect(of(`${E}[31mred${E}[0m ${E}[1;32mok${E}[m ${E}[2mfaint${E}[22;4munder${E}[24;7minv${E}[27m.`)).toEqual([
      '<c1:red> <c2 b:ok> <f:faint><u:under><v:inv>.',
    ]);
    expect(of(`${E}[33ma\nb${E}[39mc`)).toEqual(['<c3:a>', '<c3:b>c']);
    expect(of(`${E}[38;5;196mx${E}[38;2;10;200;10my${E}[48;5;22mz${E}[94mw`)).toEqual(['<c9:x><c2:yz><c12:w>']);
  });

  it('draws a progress bar as its last state', () => {
    expect(of('10 %\r 50 %\r100 %\n')).toEqual(['100 %', '']);
    expect(of(`building...\r${E}[Kdone`)).toEqual(['done']);
    expect(of(`abcdef\rXY`)).toEqual(['XYcdef']);
    expect(of(`abc\b\bZ`)).toEqual(['aZc']);
    expect(of(`abcdef${E}[3G${E}[K!`)).toEqual(['ab!']);
  });

  it('drops what moves, what names a title or a link, and what is cut', () => {
    expect(of(`${E}]0;title\u0007a${E}[2Jb${E}[10;5Hc${E}]8;;javascript:alert(1)${E}\\link${E}]8;;${E}\\${E}(B.\u0007`)).toEqual(['abclink.']);
    expect(of(`end${E}[3`)).toEqual(['end']);
    expect(of(`end${E}]8;;http`)).toEqual(['end']);
  });

  it('never makes a class that it does not know, nor keeps a control, whatever comes', () => {
    const bit = fc.oneof(fc.string(), fc.constantFrom(`${E}[`, 'm', ';', `${E}]`, '\r', '\b', '\n', '31', '38;5;', '38;2;', 'K', '2', E, '\u0007', '<b>', 'G'));
    fc.assert(
      fc.property(fc.array(bit, { maxLength: 30 }), (bits) => {
        for (const piece of lines(bits.join('')).flat()) {
          expect(piece.class).toMatch(/^(?:(?:c(?:\d|1[0-5])|[bfuv])(?: |$))*$/);
          // eslint-disable-next-line no-control-regex
          expect(piece.text).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f\n]/);
        }
      }),
    );
  });
});

describe('plain', () => {
  it('is the text of the lines', () => {
    expect(plain(`${E}[31ma${E}[0m\r\nb`)).toBe('a\nb');
  });
});
