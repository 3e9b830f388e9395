/** Makes elements of the page. */

/**
 * @param {string} tag
 * @param {Record<string, unknown>} [properties] `class`, `aria-...` and `data-...` are attributes,
 *   `on...` are listeners, all else are the element's own properties
 * @param {...(Node | string)} children texts stay texts
 * @returns {HTMLElement}
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class" || name === "role" || name.includes("-"))
      made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/** @param {string} id @returns {HTMLElement} */
export const byId = (id) => document.getElementById(id);
