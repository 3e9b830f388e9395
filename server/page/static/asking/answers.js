/** Asks for an answer, and tells what comes of it. */

import { call, CallError } from "./calling.js";
import { lines } from "./lines.js";

/**
 * @typedef {{kind: "said" | "thought", text: string}} Grown
 * @typedef {{kind: "waiting", before?: number, seconds?: number, why?: string}} Waiting
 * @typedef {{kind: "reading", done: number, total: number}} Reading
 * @typedef {{kind: "ended", reason: string, timings?: object}} Ended
 * @typedef {{kind: "counted", usage: object}} Counted
 */

/**
 * @param {string} model
 * @param {{role: string, content: string}[]} messages all of the conversation, as it always was:
 *   what the cluster has read already it need not read again
 * @param {import("../keeping/preferences.js").Settings} settings
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<Grown | Waiting | Reading | Ended | Counted>}
 */
export async function* answer(model, messages, settings, signal) {
  const body = {
    model,
    messages,
    stream: true,
    stream_options: { include_usage: true },
    ...sampling(settings),
  };
  const headers = { "x-progress": "1" };
  const response = await call("/v1/chat/completions", { body, signal, headers });
  let hasEnded = false;
  for await (const line of lines(response)) {
    const told = line.startsWith(":") ? standing(line.slice(1).trim()) : undefined;
    if (told) yield told;
    if (!line.startsWith("data:")) continue;
    const data = line.slice(5).trim();
    if (data === "[DONE]") {
      hasEnded = true;
      continue;
    }
    for (const event of eventsOf(JSON.parse(data))) {
      hasEnded ||= event.kind === "ended";
      yield event;
    }
  }
  if (!hasEnded) throw new CallError("The answer broke off: the server ended the connection.");
}

/** What a heartbeat says: `waiting 2 30`, `prompt 512/3000`, `held pi2 does not answer`. */
export function standing(comment) {
  if (comment.startsWith("held ")) return { kind: "waiting", why: comment.slice(5) };
  const waiting = /^waiting(?: (\d+)(?:[ ,~]+([\d.]+))?)?/.exec(comment);
  if (waiting) {
    const [before, seconds] = waiting.slice(1).map((told) => told && Number(told));
    return { kind: "waiting", before, seconds };
  }
  const reading = /^prompt (\d+)\/(\d+)/.exec(comment);
  if (reading) return { kind: "reading", done: Number(reading[1]), total: Number(reading[2]) };
  return undefined;
}

function* eventsOf(chunk) {
  if (chunk.error) throw new CallError(chunk.error.message ?? String(chunk.error));
  const choice = chunk.choices?.[0];
  if (choice?.delta?.reasoning_content) {
    yield { kind: "thought", text: choice.delta.reasoning_content };
  }
  if (choice?.delta?.content) yield { kind: "said", text: choice.delta.content };
  if (choice?.finish_reason) {
    yield { kind: "ended", reason: choice.finish_reason, timings: chunk.timings };
  }
  if (chunk.usage) yield { kind: "counted", usage: chunk.usage };
}

/** Only what was chosen: the rest is as the server has it. */
function sampling({ temperature, top_p, top_k, max_tokens, seed, think }) {
  const chosen = { temperature, top_p, top_k, max_tokens, seed };
  const sent = Object.fromEntries(Object.entries(chosen).filter(([, value]) => value != null));
  if (think != null) sent.chat_template_kwargs = { enable_thinking: think };
  return sent;
}
