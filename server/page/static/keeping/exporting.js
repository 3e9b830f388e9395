/** All conversations as one JSON text, and back; what comes back is checked before it is kept. */

import { newId } from "./conversation.js";
import { NO_SETTINGS } from "./preferences.js";

const FORMAT = "pi-cluster conversations";
const VERSION = 1;

/** @param {import("./conversation.js").Conversation[]} conversations @returns {string} */
export function exported(conversations) {
  return JSON.stringify({ format: FORMAT, version: VERSION, conversations }, null, 1);
}

/**
 * @param {string} text
 * @returns {import("./conversation.js").Conversation[]}
 * @throws {Error} in words for people, where it is nothing that `exported` wrote
 */
export function imported(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error("This file is no JSON: choose one that “Export all” wrote.");
  }
  if (value?.format !== FORMAT || !Array.isArray(value.conversations)) {
    throw new Error("This file holds no conversations: choose one that “Export all” wrote.");
  }
  if (value.version !== VERSION) {
    throw new Error("This file is of another version of the page: export it there again.");
  }
  return value.conversations.map(checked);
}

function checked(one, index) {
  if (!one || !Array.isArray(one.messages)) {
    throw new Error(`Conversation ${index + 1} of this file has no messages.`);
  }
  return {
    id: text(one.id) || newId(),
    title: text(one.title),
    changed: number(one.changed) ?? Date.now(),
    settings: settings(one.settings),
    messages: one.messages.map((message) => checkedMessage(message, index)),
  };
}

function checkedMessage(message, index) {
  const isTurn = ["user", "assistant"].includes(message?.role);
  if (!isTurn || typeof message.content !== "string") {
    throw new Error(`Conversation ${index + 1} of this file has a message that is none.`);
  }
  const { role, content } = message;
  const kept = { id: text(message.id) || newId(), role, content };
  for (const name of ["thought", "ended", "failure"]) {
    if (text(message[name])) kept[name] = message[name];
  }
  const figures = Object.entries(message.figures ?? {}).filter(
    ([, value]) => number(value) != null,
  );
  if (figures.length) kept.figures = Object.fromEntries(figures);
  return kept;
}

function settings(given) {
  const kept = { ...NO_SETTINGS, system: text(given?.system) };
  for (const name of ["temperature", "top_p", "top_k", "max_tokens", "seed"]) {
    kept[name] = number(given?.[name]) ?? null;
  }
  if (typeof given?.think === "boolean") kept.think = given.think;
  return kept;
}

const text = (value) => (typeof value === "string" ? value : "");
const number = (value) => (Number.isFinite(value) ? value : undefined);
