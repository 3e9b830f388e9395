/** HTML that came from anybody becomes nodes that do no harm. */

import "../vendored/purify.min.js";

const { DOMPurify } = globalThis;

const ALLOWED = {
  USE_PROFILES: { html: true, mathMl: true },
  FORBID_TAGS: [
    "style",
    "form",
    "input",
    "button",
    "textarea",
    "select",
    "dialog",
    "img",
    "audio",
    "video",
  ],
  // Ours alone: nothing may pose as a part of the page.
  FORBID_ATTR: ["style", "id", "name", "class"],
  ADD_ATTR: ["encoding"],
  ADD_TAGS: ["semantics", "annotation"],
  RETURN_DOM_FRAGMENT: true,
};

/** @param {string} html @returns {DocumentFragment} */
export function harmless(html) {
  const fragment = DOMPurify.sanitize(html, ALLOWED);
  for (const link of fragment.querySelectorAll("a[href]")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer";
  }
  return fragment;
}
