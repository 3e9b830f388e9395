/** Questions of the page to a person. They need an answer, or Esc. */

import { element } from "../element.js";

/** @param {string} text @param {string} verb @returns {Promise<boolean>} */
export async function confirmed(text, verb) {
  return (await asked("Are you sure?", [element("p", { textContent: text })], verb)) !== undefined;
}

/**
 * @param {string} title @param {string} label @param {string} value
 * @returns {Promise<string | undefined>}
 */
export async function askedText(title, label, value) {
  const input = element("input", { id: "asked-text", value, autocomplete: "off", maxLength: 200 });
  const fields = [element("label", { htmlFor: input.id, textContent: label }), input];
  return (await asked(title, fields, "Save")) && input.value.trim();
}

/** @param {string} why @returns {Promise<string | undefined>} */
export async function askedKey(why) {
  const input = element("input", {
    id: "asked-key",
    type: "password",
    autocomplete: "current-password",
    required: true,
  });
  const fields = [
    element("p", { textContent: why }),
    element("label", { htmlFor: input.id, textContent: "API key" }),
    input,
    element("p", {
      class: "hint",
      textContent:
        "Who runs the cluster makes one with “pi-cluster key create”. This browser keeps it, " +
        "readable to whoever can open this page here. Settings forget it.",
    }),
  ];
  return (await asked("This server wants a key", fields, "Use it")) && input.value.trim();
}

/**
 * @param {string} title
 * @param {HTMLElement[]} fields
 * @param {string} verb
 * @returns {Promise<true | undefined>} undefined where it was closed
 */
export function asked(title, fields, verb) {
  const heading = element("h2", { id: "dialog-title", textContent: title });
  const cancel = element("button", { type: "button", textContent: "Cancel" });
  const form = element(
    "form",
    { method: "dialog" },
    heading,
    ...fields,
    element(
      "p",
      { class: "verbs" },
      cancel,
      element("button", { class: "main", value: "yes", textContent: verb }),
    ),
  );
  const dialog = element("dialog", { "aria-labelledby": heading.id }, form);
  cancel.addEventListener("click", () => dialog.close(""));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? true : undefined);
    });
  });
}
