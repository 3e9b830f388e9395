/** Formulas in Markdown: `$x$`, `\(x\)`, `$$x$$`, `\[x\]`. KaTeX is fetched with the first one. */

import { harmless } from "./sanitising.js";

const INLINE = [/^\\\(([\s\S]+?)\\\)/, /^\$(?![\s$])((?:\\.|[^$\\\n])*?[^\s\\$])\$(?!\d)/];
const DISPLAY = [/^\\\[([\s\S]+?)\\\]/, /^\$\$([\s\S]+?)\$\$/];
// A block begins a line: within one, a price would end the paragraph.
const BLOCK_STARTS = /\n(?=\$\$|\\\[)/;
const STARTS = /\$|\\[([]/;
const MARK = { inline: "data-formula", display: "data-display" };

/** Extensions of marked. A formula travels through sanitising as the text of an element. */
export const formulas = [
  extension("displayFormula", "block", DISPLAY, MARK.display),
  extension("displayFormulaInText", "inline", DISPLAY, MARK.display),
  extension("formula", "inline", INLINE, MARK.inline),
];

/** @param {HTMLElement} block whose formulas are shown once KaTeX is there, till then as written */
export function showFormulas(block) {
  for (const span of block.querySelectorAll(`[${MARK.inline}], [${MARK.display}]`)) {
    void showFormula(span, span.hasAttribute(MARK.display));
  }
}

function extension(name, level, patterns, mark) {
  return {
    name,
    level,
    start: (text) => text.search(level === "block" ? BLOCK_STARTS : STARTS),
    tokenizer(text) {
      for (const pattern of patterns) {
        const found = pattern.exec(text);
        if (found) return { type: name, raw: found[0], source: found[1].trim() };
      }
      return undefined;
    },
    renderer: ({ source }) => `<span ${mark}="">${escapedText(source)}</span>`,
  };
}

async function showFormula(span, displayMode) {
  const source = span.textContent;
  try {
    const katex = await load();
    const html = katex.renderToString(source, {
      output: "mathml",
      displayMode,
      throwOnError: true,
      trust: false,
      strict: "ignore",
      maxSize: 20,
      maxExpand: 200,
    });
    span.replaceChildren(harmless(html.replaceAll(/ style="[^"]*"/g, "")));
  } catch {
    span.classList.add("source"); // no formula, or one that KaTeX cannot read
  }
}

let loading;

function load() {
  loading ??= import("../vendored/katex.min.js").then(() => globalThis.katex);
  return loading;
}

const escapedText = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;");
