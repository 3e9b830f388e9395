/** What an answer waits for: its place in the queue, or the reading of the prompt, with a bar. */

import { element } from "../element.js";
import { duration } from "./figures.js";

export class StandingView {
  #line = element("p", { class: "standing-line", textContent: "Asking…" });
  #bar = element("progress", { max: 1, hidden: true, "aria-label": "Prompt read" });
  #began_ms;
  #beganAt;

  constructor() {
    this.element = element("div", { class: "standing", role: "status" }, this.#line, this.#bar);
  }

  /** @param {{kind: "waiting" | "reading"}} told as `asking/answers.js` tells it */
  show(told) {
    this.#bar.hidden = told.kind !== "reading";
    this.#say(told.kind === "reading" ? this.#reading(told) : waiting(told));
  }

  #reading({ done, total }) {
    const now_ms = performance.now();
    if (this.#began_ms === undefined) [this.#began_ms, this.#beganAt] = [now_ms, done];
    this.#bar.value = total ? done / total : 0;
    const perMs = (done - this.#beganAt) / (now_ms - this.#began_ms);
    const left = perMs > 0 ? `, ${duration((total - done) / perMs / 1000)} left` : "";
    return `Reading the prompt: ${done} of ${total} tokens${left}`;
  }

  #say(words) {
    if (this.#line.textContent !== words) this.#line.textContent = words;
  }
}

function waiting({ before, seconds, why }) {
  if (why) return `Waiting: ${why}`;
  if (before === undefined) return "Waiting for its turn…";
  const place = before === 0 ? "Next in the queue" : `${before} before you`;
  return seconds === undefined ? place : `${place}, about ${duration(Math.ceil(seconds))}`;
}
