/**
 * Markdown as blocks, each of which is rendered by itself: of an answer that grows, all but the
 * last stay as they are, with what a reader has selected in them.
 */

import { Marked } from "../vendored/marked.esm.js";
import { codeBlock } from "./code.js";
import { formulas, showFormulas } from "./formulas.js";
import { harmless } from "./sanitising.js";
import { element } from "../element.js";

const marked = new Marked({ gfm: true, breaks: true });
marked.use({
  extensions: formulas,
  renderer: {
    // HTML that a model writes is shown as it is written; a line break is one.
    html: ({ text }) => (/^<br\s*\/?>$/i.test(text.trim()) ? "<br>" : escaped(text)),
    // A picture would be fetched from wherever the text says.
    image: ({ href, text }) => `<a href="${escaped(href)}">${escaped(text || href)}</a>`,
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  },
});

/** A text as Markdown in an element, which may grow. */
export class MarkdownView {
  /** @type {{raw: string, node: HTMLElement}[]} */
  #blocks = [];

  constructor() {
    this.element = element("div", { class: "markdown" });
  }

  /** @param {string} text all of it */
  show(text) {
    const tokens = marked.lexer(text);
    const blocks = tokens.filter(({ type }) => type !== "space" && type !== "def");
    blocks.forEach((token, index) => this.#showBlock(token, index, tokens.links));
    for (const { node } of this.#blocks.splice(blocks.length)) node.remove();
  }

  #showBlock(token, index, links) {
    const before = this.#blocks[index];
    // A link's address may come later than the block that refers to it.
    const raw = token.raw + (token.raw.includes("[") ? JSON.stringify(links) : "");
    if (before?.raw === raw) return;
    const node = token.type === "code" ? codeBlock(token, before?.node) : rendered(token, links);
    if (!before) this.element.append(node);
    else if (before.node !== node) before.node.replaceWith(node);
    this.#blocks[index] = { raw, node };
  }
}

function rendered(token, links) {
  const tokens = Object.assign([token], { links });
  const block = element("div", { class: "block" }, harmless(marked.parser(tokens)));
  for (const code of block.querySelectorAll("pre")) {
    code.replaceWith(codeBlock({ text: code.textContent.replace(/\n$/, "") }));
  }
  for (const table of block.querySelectorAll("table")) {
    const scrolls = element("div", {
      class: "wide",
      tabIndex: 0,
      role: "region",
      "aria-label": "Table",
    });
    table.replaceWith(scrolls);
    scrolls.append(table);
  }
  showFormulas(block);
  return block;
}

const REPLACED = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** @param {string} text @returns {string} the same for HTML to show */
function escaped(text) {
  return text.replace(/[&<>"']/g, (letter) => REPLACED[letter]);
}
