/** Lines at the top that say what is the matter, until it is over or they are closed. */

import { byId, element } from "../element.js";

/**
 * @param {string} text
 * @param {{name?: string}} [options] a later notice of the same name takes its place
 */
export function notice(text, { name = "notice" } = {}) {
  closeNotice(name);
  const close = () => closeNotice(name);
  byId("notices").append(
    element(
      "p",
      { class: "notice", "data-name": name },
      text,
      element("button", { class: "small", textContent: "Close", onclick: close }),
    ),
  );
}

/** @param {string} name */
export function closeNotice(name) {
  byId("notices").querySelector(`[data-name="${name}"]`)?.remove();
}
