/** Lines of a response while it comes. */

import { inWords } from "./calling.js";

/**
 * @param {Response} response
 * @returns {AsyncGenerator<string>} without their ends; leaving early cancels the response
 */
export async function* lines(response) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let held = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      held += decoder.decode(value, { stream: !done });
      const whole = held.split("\n");
      held = whole.pop();
      for (const line of whole) yield line.endsWith("\r") ? line.slice(0, -1) : line;
      if (done) return;
    }
  } catch (error) {
    throw inWords(error);
  } finally {
    reader.cancel().catch(() => {});
  }
}
