/** A block of code with a button that copies it. */

import { element } from "../element.js";
import { copyButton } from "./copying.js";

/**
 * @param {{text: string, lang?: string}} token
 * @param {HTMLElement} [before] the block as it was, which goes on where it can
 * @returns {HTMLElement}
 */
export function codeBlock({ text, lang = "" }, before) {
  const language = lang.split(/\s/)[0].slice(0, 30);
  if (before?.dataset.language === language && before.matches("figure.code")) {
    before.querySelector("code").textContent = text;
    return before;
  }
  const code = element("code", { textContent: text });
  return element(
    "figure",
    { class: "code", "data-language": language },
    element(
      "figcaption",
      {},
      element("span", { textContent: language || "code" }),
      copyButton("Copy code", () => code.textContent),
    ),
    element(
      "pre",
      { tabIndex: 0, "aria-label": `Code, ${language || "no language named"}`, role: "region" },
      code,
    ),
  );
}
