/** To the clipboard, also over plain http, where browsers have no `navigator.clipboard`. */

import { element } from "../element.js";

const SHOWN_MS = 1600;

/**
 * @param {string} label
 * @param {() => string} text what it copies
 * @returns {HTMLElement}
 */
export function copyButton(label, text) {
  const word = element("span", { textContent: "Copy" });
  const button = element("button", { type: "button", class: "small", "aria-label": label }, word);
  button.addEventListener("click", async () => {
    word.textContent = (await copied(text())) ? "Copied" : "Cannot copy";
    button.setAttribute("aria-label", word.textContent);
    setTimeout(() => {
      word.textContent = "Copy";
      button.setAttribute("aria-label", label);
    }, SHOWN_MS);
  });
  return button;
}

/** @param {string} text @returns {Promise<boolean>} */
export async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedBySelection(text); // no secure context, or not allowed
  }
}

function copiedBySelection(text) {
  const focused = document.activeElement;
  const field = element("textarea", { value: text, class: "hidden", readOnly: true });
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  focused?.focus();
  return done;
}
