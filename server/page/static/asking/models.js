/** Which model the server has. */

import { call } from "./calling.js";

/** @param {AbortSignal} [signal] @returns {Promise<string>} its name */
export async function servedModel(signal) {
  const { data } = await (await call("/v1/models", { signal })).json();
  return data[0].id;
}
