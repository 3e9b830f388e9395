/** Calls the server: with the key that it wants, and with errors in plain words. */

import { keptKey } from "../keeping/preferences.js";

/** What the server refused, or that it did not answer. */
export class CallError extends Error {
  /** @param {string} message @param {number} status 0 where nothing came back */
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }

  /** Whether a key is wanted, or another one. */
  get wantsKey() {
    return this.status === 401;
  }
}

/**
 * @param {string} path
 * @param {{body?: unknown, signal?: AbortSignal, headers?: Record<string, string>}} [options]
 * @returns {Promise<Response>} one that is well; all else throws a `CallError`
 */
export async function call(path, { body, signal, headers = {} } = {}) {
  const key = keptKey();
  if (key) headers = { ...headers, authorization: `Bearer ${key}` };
  if (body !== undefined) headers = { ...headers, "content-type": "application/json" };
  let response;
  try {
    response = await fetch(path, {
      method: body === undefined ? "GET" : "POST",
      body: body === undefined ? undefined : JSON.stringify(body),
      headers,
      signal,
      cache: "no-store",
    });
  } catch (error) {
    throw inWords(error);
  }
  if (!response.ok) throw new CallError(await wordsOf(response), response.status);
  return response;
}

/** @param {unknown} error what fetch threw @returns {unknown} */
export function inWords(error) {
  if (error instanceof CallError || error?.name === "AbortError") return error;
  return new CallError("The connection to the server broke off. It may be starting again.");
}

async function wordsOf(response) {
  const text = await response.text().catch(() => "");
  let said = "";
  try {
    said = JSON.parse(text).error?.message ?? "";
  } catch {
    // Not the server's own words, such as those of a proxy before it.
  }
  if (response.status === 401) return said || "The server wants an API key.";
  if (response.status === 429) return said || "Too many are waiting already. Try again in a while.";
  return said || `The server answered ${response.status} ${response.statusText}`.trim() + ".";
}
