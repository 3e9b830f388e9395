/** Where a question is written: Enter sends, Shift+Enter begins a line, Esc stops the answer. */

import { byId } from "../element.js";

const MAX_HEIGHT_PX = 240;

/** @param {{send: (text: string) => void, stop: () => void}} actions */
export function listenToComposer({ send, stop }) {
  const field = byId("question");
  const submit = () => {
    const text = field.value.trim();
    if (!text || byId("send").hidden) return;
    field.value = "";
    fit(field);
    send(text);
  };
  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  field.addEventListener("input", () => fit(field));
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });
  byId("stop").addEventListener("click", stop);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !document.querySelector("dialog[open]")) stop();
  });
}

/** @param {boolean} isBusy whether an answer comes */
export function showBusy(isBusy) {
  const hadFocus = [byId("send"), byId("stop")].includes(document.activeElement);
  byId("send").hidden = isBusy;
  byId("stop").hidden = !isBusy;
  if (hadFocus) byId(isBusy ? "stop" : "question").focus();
}

function fit(field) {
  field.style.height = "auto";
  field.style.height = `${Math.min(field.scrollHeight + 2, MAX_HEIGHT_PX)}px`;
}
