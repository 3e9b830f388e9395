/** The state of the cluster, as the server tells it again and again. */

import { call, CallError } from "../asking/calling.js";
import { lines } from "../asking/lines.js";

/**
 * What `/cluster/v1/state` says; anything may be missing, and is then not known.
 * @typedef {{node: string, layers: [number, number], state: string, is_well: boolean, why?: string,
 *   load?: number, rows_ps?: number, temperature_c?: number, memory_bytes?: number,
 *   free_memory_bytes?: number, stage_bytes?: number}} Stage
 * @typedef {{unix_s: number, cluster: string, condition: string, note: string,
 *   model: {id: string, layers: number, context?: number, thinks: boolean}, stages: Stage[],
 *   requests: {running: number, waiting: number},
 *   tokens: {prompt: number, cached: number, generated: number}}} ClusterState
 */

const SILENCE_MS = 20_000; // the server tells something every 5 s
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5_000;

/**
 * Follow the state until `signal` ends it; a server that is away is asked again.
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<ClusterState | CallError>} an error when it is away
 */
export async function* follow(signal) {
  let pause_ms = FIRST_PAUSE_MS;
  while (!signal.aborted) {
    try {
      for await (const state of oneStream(signal)) {
        pause_ms = FIRST_PAUSE_MS;
        yield state;
      }
    } catch (error) {
      if (signal.aborted) return;
      yield error instanceof CallError ? error : new CallError("The server fell silent.");
    }
    await pause(pause_ms, signal);
    pause_ms = Math.min(2 * pause_ms, LONGEST_PAUSE_MS);
  }
}

async function* oneStream(signal) {
  const stream = new AbortController();
  const end = () => stream.abort();
  signal.addEventListener("abort", end);
  let silence = setTimeout(end, SILENCE_MS);
  try {
    for await (const line of lines(
      await call("/cluster/v1/state?stream=1", { signal: stream.signal }),
    )) {
      clearTimeout(silence);
      silence = setTimeout(end, SILENCE_MS);
      if (line.startsWith("data:")) yield JSON.parse(line.slice(5));
    }
  } finally {
    clearTimeout(silence);
    signal.removeEventListener("abort", end);
    end();
  }
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
