/** What a conversation is, and how its text becomes a question. */

import { keptSettings } from "./preferences.js";

/**
 * @typedef {{id: string, role: "user" | "assistant", content: string, thought?: string,
 *   ended?: string, failure?: string, figures?: import("../showing/figures.js").Figures}} Message
 *   `ended`: why an answer ended, as the server says it, `stopped` by hand; none while it comes
 * @typedef {{id: string, title: string, changed: number, messages: Message[],
 *   settings: import("./preferences.js").Settings}} Conversation
 *   `changed` in milliseconds since 1970
 */

/** @returns {string} 32 hexadecimal digits; `crypto.randomUUID` is missing over plain http */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @returns {Conversation} */
export function newConversation() {
  return { id: newId(), title: "", changed: Date.now(), messages: [], settings: keptSettings() };
}

/** @param {"user" | "assistant"} role @param {string} content @returns {Message} */
export const newMessage = (role, content = "") => ({ id: newId(), role, content });

/** @param {Conversation} conversation @returns {string} */
export function titleOf({ title, messages }) {
  const first = title || messages[0]?.content.trim().split("\n")[0] || "New conversation";
  return first.length > 60 ? first.slice(0, 59).trimEnd() + "…" : first;
}

/**
 * What is sent: all turns as they were said, without thoughts and without empty answers.
 * @param {Conversation} conversation
 * @returns {{role: string, content: string}[]}
 */
export function turnsOf({ messages, settings }) {
  const turns = messages
    .filter(({ role, content }) => role === "user" || content)
    .map(({ role, content }) => ({ role, content }));
  return settings.system ? [{ role: "system", content: settings.system }, ...turns] : turns;
}

/** @param {Conversation} conversation @param {string} words @returns {boolean} */
export function mentions(conversation, words) {
  const wanted = words.toLowerCase();
  return [titleOf(conversation), ...conversation.messages.map(({ content }) => content)].some(
    (text) => text.toLowerCase().includes(wanted),
  );
}
