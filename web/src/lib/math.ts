// TeX as MathML, which browsers draw by themselves. Loaded where a formula occurs, not before. What temml makes is a
// tree; it becomes elements one by one, of known names, attributes and styles only, and never HTML text.

import temml from 'temml';

const NAMESPACE = 'http://www.w3.org/1998/Math/MathML';
const ELEMENTS =
  /^(math|mrow|mi|mn|mo|ms|mtext|mspace|mfrac|msqrt|mroot|msub|msup|msubsup|munder|mover|munderover|mmultiscripts|mprescripts|none|mtable|mtr|mtd|mstyle|mpadded|mphantom|menclose)$/;
const ATTRIBUTES =
  /^(display|displaystyle|scriptlevel|mathvariant|stretchy|fence|separator|form|lspace|rspace|accent|accentunder|minsize|maxsize|symmetric|largeop|movablelimits|linethickness|width|height|depth|voffset|rowspan|columnspan|columnalign|rowspacing|columnspacing|columnlines|rowlines|notation|dir)$/;
const STYLES = /^(color|display|fontWeight|fontStyle|mathDepth|math-depth|textAlign|width|height|padding(Top|Right|Bottom|Left)?|border(Top|Right|Bottom|Left)?)$/;

interface Node {
  type?: string;
  text?: string;
  attributes?: Record<string, unknown>;
  style?: Record<string, unknown>;
  classes?: string[];
  children?: Node[];
}

/** The formula as an element; null where it cannot be read. */
export function drawMath(tex: string, display: boolean): Element | null {
  try {
    const tree = temml.__renderToMathMLTree(tex, { displayMode: display, throwOnError: true, trust: false, strict: false, maxSize: [25, 300], maxExpand: 500 }) as Node;
    const drawn = draw(tree);
    return drawn instanceof Element ? drawn : null;
  } catch {
    return null;
  }
}

function draw(node: Node): globalThis.Node {
  if (node.text !== undefined && !node.children) return document.createTextNode(node.text);
  const children = (node.children ?? []).map(draw);
  if (!node.type) {
    const all = document.createDocumentFragment();
    all.append(...children);
    return all;
  }
  // An unknown element keeps what is in it.
  const element = document.createElementNS(NAMESPACE, ELEMENTS.test(node.type) ? node.type : 'mrow') as MathMLElement;
  for (const [name, value] of Object.entries(node.attributes ?? {})) {
    if (ATTRIBUTES.test(name)) element.setAttribute(name, String(value));
  }
  const classes = (node.classes ?? []).filter((name) => /^[\w-]+$/.test(name));
  if (classes.length > 0) element.setAttribute('class', classes.join(' '));
  for (const [name, value] of Object.entries(node.style ?? {})) {
    if (STYLES.test(name)) element.style.setProperty(name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`), String(value));
  }
  element.append(...children);
  return element;
}
