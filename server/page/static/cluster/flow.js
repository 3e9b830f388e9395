/** Tokens on their way: as many a second as there are, until they would be a blur. */

import { svg } from "./drawing.js";

const MOST_A_SECOND = 12;
const PROMPT_TOKENS = 32; // one dot of a prompt stands for so many
const TRAVEL_MS = { fast: 900, slow: 3200 };

export class Flow {
  #rates = { read: 0, made: 0 };
  #due = { read: 0, made: 0 };
  #dots = [];
  #frame = 0;
  #last_ms = 0;
  #isCalm = matchMedia("(prefers-reduced-motion: reduce)");

  /** @param {SVGPathElement} path @param {SVGGElement} dots where they are drawn */
  constructor(path, dots) {
    this.path = path;
    this.layer = dots;
    this.#isCalm.addEventListener("change", () => this.#clear());
  }

  /** @param {{read: number, made: number}} rates tokens a second */
  set({ read, made }) {
    const rate = (wanted) => Math.min(MOST_A_SECOND, wanted);
    this.#rates = { read: rate(read / PROMPT_TOKENS), made: rate(made) };
    this.layer.dataset.made = made.toFixed(1);
    if (this.#isCalm.matches || this.#frame || !(read || made)) return;
    this.#last_ms = performance.now();
    this.#frame = requestAnimationFrame((now_ms) => this.#step(now_ms));
  }

  #step(now_ms) {
    const passed_ms = Math.min(100, now_ms - this.#last_ms); // a page that was hidden begins anew
    this.#last_ms = now_ms;
    for (const kind of ["read", "made"]) this.#send(kind, passed_ms);
    const length = this.path.getTotalLength();
    this.#dots = this.#dots.filter((dot) => move(dot, passed_ms, this.path, length));
    const goesOn = this.#dots.length || this.#rates.read || this.#rates.made;
    this.#frame = goesOn ? requestAnimationFrame((next_ms) => this.#step(next_ms)) : 0;
  }

  #send(kind, passed_ms) {
    this.#due[kind] += (this.#rates[kind] * passed_ms) / 1000;
    while (this.#due[kind] >= 1) {
      this.#due[kind] -= 1;
      const node = svg("circle", { class: `token ${kind}`, r: kind === "read" ? 5 : 3.5 });
      this.layer.append(node);
      // About what one token takes to go round, if there is one at a time.
      const round_ms = 1000 / Math.max(0.1, this.#rates[kind]);
      const travel_ms = Math.min(TRAVEL_MS.slow, Math.max(TRAVEL_MS.fast, round_ms));
      this.#dots.push({ node, share: 0, travel_ms });
    }
  }

  #clear() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#dots = [];
    this.layer.replaceChildren();
  }
}

function move(dot, passed_ms, path, length) {
  dot.share += passed_ms / dot.travel_ms;
  if (dot.share >= 1) {
    dot.node.remove();
    return false;
  }
  const { x, y } = path.getPointAtLength(dot.share * length);
  dot.node.setAttribute("cx", x);
  dot.node.setAttribute("cy", y);
  return true;
}
