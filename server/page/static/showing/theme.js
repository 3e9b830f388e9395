/** Light, dark, or as the system has it. */

import { keepTheme, keptTheme } from "../keeping/preferences.js";

const NEXT = { "": "light", light: "dark", dark: "" };
const WORDS = { "": "Auto", light: "Light", dark: "Dark" };

/** @param {HTMLElement} button */
export function switchTheme(button) {
  show(button, keptTheme());
  button.addEventListener("click", () => {
    keepTheme(NEXT[keptTheme()]);
    show(button, keptTheme());
  });
}

function show(button, theme) {
  document.documentElement.dataset.theme = theme;
  button.textContent = WORDS[theme];
  button.setAttribute("aria-label", `Colours: ${WORDS[theme]}`);
}
