/** Tells screen readers an answer sentence by sentence, while it comes. */

import { byId } from "../element.js";

const END = /[.!?…:](?=\s)|\n/g;

export class Sentences {
  #told;

  /** @param {string} known what has been told already */
  constructor(known) {
    this.#told = known.length;
  }

  /** @param {string} text all of the answer so far @param {boolean} [isWhole] nothing follows */
  tell(text, isWhole = false) {
    let end = isWhole ? text.length : this.#told;
    if (!isWhole) {
      for (const { index } of text.slice(this.#told).matchAll(END)) end = this.#told + index + 1;
    }
    const sentences = plain(text.slice(this.#told, end));
    this.#told = end;
    if (sentences) byId("spoken").textContent = sentences;
  }
}

function plain(markdown) {
  const linked = markdown.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1");
  return linked
    .replace(/[*_`#>|]+/g, "")
    .replace(/\s+/g, " ")
    .trim();
}
