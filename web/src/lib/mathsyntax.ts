// Maths in Markdown: $a$, \(a\) within a line, $$a$$ and \[a\] that may go over lines, and blocks between lines of $$.
// A dollar is a currency or a shell's sign more often than not, so a single one has to look like an opening, and its
// end like an end: $5 to $10, $HOME/$USER and `US$` are text.

import type { Extension as MdastExtension } from 'mdast-util-from-markdown';
import { mathFromMarkdown } from 'mdast-util-math';
import { math } from 'micromark-extension-math';
import type { Code, Construct, Effects, Extension, State, TokenizeContext, TokenType } from 'micromark-util-types';

declare module 'mdast-util-math' {
  interface InlineMath {
    /** It stands alone: $$a$$ or \[a\]. */
    display?: boolean;
  }
}

const DOLLAR = 36;
const BACKSLASH = 92;
const [ROUND, ROUND_END, SQUARE, SQUARE_END] = [40, 41, 91, 93];

const isEol = (code: Code) => code !== null && code < -2;
const isSpace = (code: Code) => code !== null && (code < 0 || code === 32);
/** A letter, a digit, an underscore or what opens a shell's name: no formula ends before it. */
const isWord = (code: Code) => code !== null && code > 0 && /[\p{L}\p{N}_{]/u.test(String.fromCodePoint(code));

const DATA = 'mathTextData' as TokenType;
const TEXT = 'mathText' as TokenType;
const SEQUENCE = 'mathTextSequence' as TokenType;

function tokenize(this: TokenizeContext, effects: Effects, ok: State, nok: State): State {
  const before = this.previous;
  /** The code that ends it behind a backslash, or 0: dollars end it. */
  let closer = 0;
  let dollars = 0;
  let last: Code = null;
  let some = false;

  return function start(code) {
    if (code === DOLLAR && (before === DOLLAR || isWord(before))) return nok(code);
    effects.enter(TEXT);
    effects.enter(SEQUENCE);
    effects.consume(code);
    if (code === BACKSLASH) return bracket;
    dollars = 1;
    return second;
  };

  function bracket(code: Code): State | undefined {
    if (code !== ROUND && code !== SQUARE) return nok(code);
    closer = code === ROUND ? ROUND_END! : SQUARE_END!;
    effects.consume(code);
    effects.exit(SEQUENCE);
    return inside;
  }

  function second(code: Code): State | undefined {
    if (code === DOLLAR) {
      if (++dollars > 2) return nok(code);
      effects.consume(code);
      return second;
    }
    effects.exit(SEQUENCE);
    return dollars === 1 && (code === null || isSpace(code)) ? nok(code) : inside(code);
  }

  /** Where a token of text begins, or something else. */
  function inside(code: Code): State | undefined {
    if (code === null) return nok(code);
    if (isEol(code)) {
      if (dollars === 1) return nok(code);
      effects.enter('lineEnding');
      effects.consume(code);
      effects.exit('lineEnding');
      return inside;
    }
    if (closer ? code === BACKSLASH : code === DOLLAR) {
      effects.enter(SEQUENCE);
      effects.consume(code);
      return closer ? endBracket : endDollar;
    }
    effects.enter(DATA);
    return data(code);
  }

  function data(code: Code): State | undefined {
    if (code === null || isEol(code) || (closer ? code === BACKSLASH : code === DOLLAR)) {
      effects.exit(DATA);
      return inside(code);
    }
    some = true;
    last = code;
    effects.consume(code);
    return !closer && code === BACKSLASH ? escaped : data;
  }

  function escaped(code: Code): State | undefined {
    if (code === null || isEol(code)) return data(code);
    last = code;
    effects.consume(code);
    return data;
  }

  function endBracket(code: Code): State | undefined {
    if (code === closer) {
      if (!some) return nok(code);
      effects.consume(code);
      return done;
    }
    // A command of TeX: the sign is part of the formula, as what follows it is.
    if (code === null || isEol(code)) return nok(code);
    return asData(code);
  }

  function endDollar(code: Code): State | undefined {
    if (dollars === 2) {
      if (code !== DOLLAR || !some) return nok(code);
      effects.consume(code);
      return done;
    }
    if (isSpace(last) || code === DOLLAR || isWord(code)) return nok(code);
    return done(code);
  }

  function asData(code: Code): State | undefined {
    effects.exit(SEQUENCE).type = DATA;
    effects.enter(DATA);
    some = true;
    last = code;
    effects.consume(code);
    return data;
  }

  function done(code: Code): State | undefined {
    effects.exit(SEQUENCE);
    effects.exit(TEXT);
    return ok(code);
  }
}

const text: Construct = { name: 'mathText', tokenize };
const { flow } = math();

export const mathSyntax: Extension = { flow, text: { [DOLLAR]: text, [BACKSLASH]: text } };

export const mathTree: MdastExtension[] = [
  mathFromMarkdown(),
  {
    enter: {
      mathText(token) {
        const display = /^(\$\$|\\\[)/.test(this.sliceSerialize(token));
        this.enter({ type: 'inlineMath', value: '', ...(display && { display }) }, token);
        this.buffer();
      },
    },
    exit: {
      mathText(token) {
        const value = this.resume();
        const node = this.stack[this.stack.length - 1]!;
        this.exit(token);
        if (node.type === 'inlineMath') node.value = value.trim();
      },
    },
  },
];
