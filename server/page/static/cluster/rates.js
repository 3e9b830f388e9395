/** How fast tokens flow now, from counters that only grow. */

export class Rates {
  #before;

  /**
   * @param {import("./state.js").ClusterState} state
   * @returns {{read: number, made: number}} tokens a second, read of prompts and generated
   */
  of({ unix_s, tokens }) {
    const now = { unix_s, prompt: tokens?.prompt ?? 0, generated: tokens?.generated ?? 0 };
    const before = this.#before ?? now;
    this.#before = now;
    const passed_s = now.unix_s - before.unix_s;
    if (passed_s <= 0) return { read: 0, made: 0 };
    // A new server counts from 0.
    const rate = (name) => Math.max(0, now[name] - before[name]) / passed_s;
    return { read: rate("prompt"), made: rate("generated") };
  }
}
