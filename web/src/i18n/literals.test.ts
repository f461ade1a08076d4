// No word of the page stands outside of the catalogue: the components and what is beside them are read as code, and a
// literal that a person would see is a failure.

import { parse } from 'svelte/compiler';
import { describe, expect, it } from 'vitest';

const SOURCES = import.meta.glob<string>(['../**/*.svelte', '../**/*.ts', '!../**/*.test.ts', '!../i18n/**'], { query: '?raw', import: 'default', eager: true });

/** Names, commands and units, the same in every language. */
const SAME = new Set(['Holdfast', 'holdfast', 'holdfast link', 's', 'ms', 'B', 'kB', 'MB', 'GB', 'k', 'M']);
/** Keys of the keyboard, headers of HTTP, and the letters of an agent's tile. */
const CODE = /^(Arrow\w+|Page(Up|Down)|Enter|Escape|Home|End|Backspace|Accept|Content-\w+|If-Match|Retry-After|Last-Event-ID|[A-Z][a-z])$/;
/** What people see or hear of an element. Of a component these are properties by which it is told a text. */
const SEEN = new Set(['aria-label', 'aria-description', 'aria-valuetext', 'aria-roledescription', 'title', 'placeholder', 'alt', 'label', 'text', 'caption', 'note', 'hint']);
/** Methods that take what a text is compared with, or a selector. */
const SELECTS = new Set(['closest', 'querySelector', 'querySelectorAll', 'includes', 'startsWith', 'endsWith']);
const MARKUP = /^(Text|ExpressionTag|Fragment|Attribute|\w+(Directive|Block|Element)|Component|Svelte\w+|SlotElement|TitleElement|ConstTag|HtmlTag|RenderTag)$/;
const COMPARES = new Set(['===', '!==', '==', '!=', 'in']);

interface Node {
  type: string;
  start: number;
  [key: string]: unknown;
}

const isNode = (value: unknown): value is Node => typeof value === 'object' && value !== null && typeof (value as Node).type === 'string';

/** Whether a text where it can be seen has something to translate. */
const tells = (text: string) => /\p{L}/u.test(text) && text.split(/[·,:()–…“”]/).some((part) => /\p{L}/u.test(part) && !SAME.has(part.trim()));
/** Whether a string within code is a text for people: several words, or one with a capital. */
const speaks = (text: string) => (/\p{L}{2,},? \p{L}{2,}/u.test(text) || /^\p{Lu}\p{Ll}/u.test(text)) && !CODE.test(text) && !SAME.has(text.trim());

/** The literals of a component that a person would see or hear, each with its place. */
function literalsIn(source: string): [at: number, text: string][] {
  const found: [number, string][] = [];
  const note = (node: Node, text: unknown, judge: (text: string) => boolean) => {
    if (typeof text === 'string' && judge(text)) found.push([node.start, text.trim()]);
  };
  const each = (node: Node, visit: (child: Node) => void, but: string[] = []) => {
    for (const [key, value] of Object.entries(node)) {
      if (!but.includes(key)) for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) visit(child);
    }
  };
  const code = (node: Node, judge: (text: string) => boolean): void => {
    const within = (child: Node) => code(child, judge);
    switch (node.type) {
      case 'Literal':
        return note(node, node.value, judge);
      case 'TemplateElement':
        return note(node, (node.value as { cooked: string }).cooked, judge);
      case 'BinaryExpression':
        return COMPARES.has(node.operator as string) ? undefined : each(node, within);
      case 'CallExpression': {
        const name = ((node.callee as Node).property as Node | undefined)?.name;
        return each(node, within, SELECTS.has(name as string) ? ['arguments'] : []);
      }
      case 'ConditionalExpression':
      case 'SwitchCase':
        // What is compared is not shown; within it something may be said all the same.
        if (isNode(node.test)) code(node.test, speaks);
        return each(node, within, ['test']);
      case 'MemberExpression':
        return each(node, within, ['property']);
      case 'Property':
      case 'PropertyDefinition':
        return each(node, within, ['key']);
      case 'ImportDeclaration':
      case 'ExportNamedDeclaration':
      case 'ExportAllDeclaration':
        return each(node, within, ['source']);
      default:
        // Of types nothing is left when the page runs.
        if (node.type.startsWith('TS') && !isNode(node.expression)) return;
        return each(node, within, ['typeAnnotation', 'typeParameters', 'typeArguments', 'returnType']);
    }
  };
  const markup = (node: Node): void => {
    switch (node.type) {
      case 'Text':
        return note(node, node.data, tells);
      case 'ExpressionTag':
        return code(node.expression as Node, tells);
      case 'Attribute': {
        const seen = SEEN.has(node.name as string);
        return each(node, (part) => {
          if (seen) markup(part);
          // A handler is code, and a class is no text.
          else if (part.type === 'ExpressionTag') code(part.expression as Node, speaks);
        });
      }
      case 'StyleDirective':
        return;
      case 'Fragment':
        return each(node, markup);
      default:
        // Elements and blocks have fragments and attributes; what else hangs on them is code.
        return each(node, (child) => (MARKUP.test(child.type) ? markup(child) : code(child, speaks)));
    }
  };
  const { fragment, instance, module } = parse(source, { modern: true });
  markup(fragment as unknown as Node);
  for (const script of [module, instance]) if (script) code(script.content as unknown as Node, speaks);
  return found;
}

const literalsOf = (name: string, source: string) => {
  // A file of code is to the compiler what a component's script is.
  const whole = name.endsWith('.svelte') ? source : `<script lang="ts">${source}\n</script>`;
  return literalsIn(whole).map(([at, text]) => `${name}:${whole.slice(0, at).split('\n').length} ${text}`);
};

describe('the words of the page', () => {
  it('are all in the catalogue', () => {
    const files = Object.entries(SOURCES);
    expect(files.length).toBeGreaterThan(40);
    expect(files.flatMap(([name, source]) => literalsOf(name, source))).toEqual([]);
  }, 60_000);

  it.each([
    ['<p>Nothing is <b>wrong</b></p>', ['Nothing is', 'wrong']],
    ['<button aria-label="Copy">{t.common.copy}</button>', ['Copy']],
    ['<p>{n === 1 ? "one" : `${n} more`}</p>', ['one', 'more']],
    ['<Button label={done ? "copied" : t.common.copy} />', ['copied']],
    ['<button onclick={() => app.toast("It is done")}>{t.x}</button>', ['It is done']],
    ['{@const word = ok ? "Ready" : "bad"}<p class={word}>{word}</p>', ['Ready']],
    ['<script lang="ts">const a = "Try again"; const tone = b === "Now" ? "bad" : "wait";</script>', ['Try again']],
    ['<title>{t.frame.host} · Holdfast</title><p class="meta big">{row.state === "idle" ? t.a : t.b} {ms} ms</p>', []],
  ])('are found where they are not: %s', (source, texts) => {
    expect(literalsOf('x.svelte', source).map((each) => each.slice(each.indexOf(' ') + 1))).toEqual(texts);
  });
});
