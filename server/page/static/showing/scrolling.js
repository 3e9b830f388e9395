/** Keeps the end of a text in view while it grows, unless a person reads further up. */

const NEAR_PX = 80;

export class Following {
  #follows = true;

  /** @param {HTMLElement} scrolled */
  constructor(scrolled) {
    this.scrolled = scrolled;
    scrolled.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = scrolled;
      this.#follows = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    });
  }

  /** Something has grown. */
  follow() {
    if (this.#follows) this.scrolled.scrollTop = this.scrolled.scrollHeight;
  }

  /** Show the end, whatever was read. */
  toEnd() {
    this.#follows = true;
    this.follow();
  }
}
