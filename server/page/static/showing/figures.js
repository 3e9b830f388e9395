/** What an answer took, in a line below it. */

/**
 * @typedef {{tokens?: number, tokensPerSecond?: number, firstAfter_s?: number,
 *   promptTokens?: number, cachedTokens?: number}} Figures
 */

/**
 * @param {{usage?: object, timings?: object, asked_ms: number, first_ms?: number,
 *   ended_ms: number}} told what server and clock say of an answer
 * @returns {Figures}
 */
export function figuresOf({ usage, timings, asked_ms, first_ms, ended_ms }) {
  const tokens = usage?.completion_tokens ?? timings?.predicted_n;
  const decode_s = first_ms === undefined ? 0 : (ended_ms - first_ms) / 1000;
  const measured = tokens > 1 && decode_s > 0 ? (tokens - 1) / decode_s : undefined;
  const figures = {
    tokens,
    tokensPerSecond: timings?.predicted_per_second || measured,
    firstAfter_s: first_ms === undefined ? undefined : (first_ms - asked_ms) / 1000,
    promptTokens: usage?.prompt_tokens ?? timings?.prompt_n,
    cachedTokens: usage?.prompt_tokens_details?.cached_tokens ?? timings?.cache_n,
  };
  return Object.fromEntries(Object.entries(figures).filter(([, value]) => Number.isFinite(value)));
}

/** @param {Figures} figures @returns {string} */
export function figuresLine(figures) {
  const { tokens, tokensPerSecond, firstAfter_s, promptTokens, cachedTokens } = figures;
  const parts = [];
  if (tokensPerSecond) parts.push(`${tokensPerSecond.toFixed(1)} tokens/s`);
  if (tokens) parts.push(counted(tokens, "token"));
  if (firstAfter_s !== undefined) parts.push(`first after ${duration(firstAfter_s)}`);
  if (promptTokens) {
    const cached = cachedTokens ? `, ${cachedTokens} known already` : "";
    parts.push(`prompt of ${promptTokens}${cached}`);
  }
  return parts.join(" · ");
}

/** @param {number} count @param {string} word @returns {string} */
export const counted = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

/** @param {number} seconds @returns {string} */
export function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  return seconds < 120 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
}
