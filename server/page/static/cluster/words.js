/** A node's figures in words, for the drawing and for the table. */

const GIB = 2 ** 30;

/** @param {import("./state.js").Stage} stage @returns {string} the last layer is one of them */
export const layersOf = ({ layers: [start, stop] }) =>
  stop - start === 1 ? `layer ${start}` : `layers ${start}–${stop - 1}`;

/** @param {number?} share @returns {string} */
export const percent = (share) => (share == null ? "not known" : `${Math.round(share * 100)} %`);

/** @param {number?} celsius @returns {string} */
export const degrees = (celsius) => (celsius == null ? "not known" : `${Math.round(celsius)} °C`);

/** @param {import("./state.js").Stage} stage @returns {number | undefined} 0 to 1 */
export function memoryShare({ memory_bytes, free_memory_bytes }) {
  if (!memory_bytes || free_memory_bytes == null) return undefined;
  return Math.min(1, Math.max(0, 1 - free_memory_bytes / memory_bytes));
}

/** @param {import("./state.js").Stage} stage @returns {string} */
export function memoryOf({ memory_bytes, free_memory_bytes }) {
  if (!memory_bytes || free_memory_bytes == null) return "not known";
  const gib = (bytes) => (bytes / GIB).toFixed(1);
  return `${gib(Math.max(0, memory_bytes - free_memory_bytes))} of ${gib(memory_bytes)} GiB`;
}

/**
 * @param {import("./state.js").ClusterState} state
 * @param {{read: number, made: number}} rates
 * @returns {string} what all of it does
 */
export function summary({ requests, condition }, { read, made }) {
  const parts = condition === "ready" ? [] : [condition];
  if (requests?.running) parts.push(`${requests.running} running`);
  if (requests?.waiting) parts.push(`${requests.waiting} waiting`);
  if (!requests?.running && !requests?.waiting) parts.push("nobody asks");
  if (made >= 0.05) parts.push(`${made.toFixed(1)} tokens/s`);
  if (read >= 0.5) parts.push(`reading ${Math.round(read)} tokens/s`);
  return parts.join(" · ");
}
