/** One turn of a conversation, with what a person may do with it. */

import { element } from "../element.js";
import { copyButton } from "./copying.js";
import { figuresLine } from "./figures.js";
import { MarkdownView } from "./markdown.js";
import { StandingView } from "./standing.js";

/**
 * @typedef {{edit: (text: string) => void, again: () => void, goOn: () => void}} Actions
 * @typedef {import("../keeping/conversation.js").Message} Message
 */

export class MessageView {
  #body = element("div", { class: "said" });
  #markdown = new MarkdownView();
  #thought = element("div", { class: "thought-text" });
  #folded;
  #below = element("div", { class: "below" });
  #standing;

  /** @param {Message} message @param {Actions} actions */
  constructor(message, actions) {
    this.message = message;
    this.actions = actions;
    const isAnswer = message.role === "assistant";
    this.#folded = element(
      "details",
      { class: "thought", hidden: true },
      element("summary", { textContent: "Thoughts" }),
      this.#thought,
    );
    this.element = element(
      "article",
      { class: `message ${message.role}`, "aria-label": isAnswer ? "Answer" : "You" },
      ...(isAnswer ? [this.#folded] : []),
      this.#body,
      this.#below,
    );
    if (isAnswer) this.#body.append(this.#markdown.element);
    this.show();
    this.finish();
  }

  /** Show the message's text as it is now. */
  show() {
    const { role, content, thought } = this.message;
    if (role === "user") this.#body.textContent = content;
    else this.#markdown.show(content);
    this.#folded.hidden = !thought?.trim();
    const bare = (thought ?? "").replace(/<\/?think>/g, "").trim();
    if (this.#thought.textContent !== bare) this.#thought.textContent = bare;
    this.#folded.firstChild.textContent = content || !this.#standing ? "Thoughts" : "Thinking…";
  }

  /** It is asked for: until something comes, tell what it waits for. */
  begin() {
    this.#standing = new StandingView();
    this.#below.replaceChildren(this.#standing.element);
    this.element.setAttribute("aria-busy", "true");
    return this.#standing;
  }

  /** Something has come, so it waits for nothing. */
  arrive() {
    this.#standing?.element.remove();
  }

  /** Nothing more comes: tell what it took, what went wrong, and what can be done. */
  finish() {
    this.#standing = undefined;
    this.element.removeAttribute("aria-busy");
    const { role, figures, failure } = this.message;
    const parts = [];
    if (failure)
      parts.push(element("p", { class: "failure", role: "alert", textContent: failure }));
    if (this.#endWords())
      parts.push(element("p", { class: "ending", textContent: this.#endWords() }));
    if (figures) parts.push(element("p", { class: "figures", textContent: figuresLine(figures) }));
    const buttons = role === "user" ? this.#ofQuestion() : this.#ofAnswer();
    parts.push(element("p", { class: "actions" }, ...buttons));
    this.#below.replaceChildren(...parts);
    this.show();
  }

  #endWords() {
    const { role, ended, failure } = this.message;
    if (role === "user" || failure) return "";
    if (ended === "length") return "This answer reached its longest length.";
    if (ended === "stopped") return "Stopped.";
    return ended ? "" : "This answer was broken off.";
  }

  #ofQuestion() {
    const edit = button("Edit", () => this.#edit());
    return [edit, copyButton("Copy question", () => this.message.content)];
  }

  #ofAnswer() {
    const { content, ended, failure } = this.message;
    const made = [button(failure ? "Try again" : "Regenerate", this.actions.again)];
    if (content && ended !== "stop") made.push(button("Continue", this.actions.goOn));
    if (content) made.push(copyButton("Copy answer", () => this.message.content));
    return made;
  }

  #edit() {
    const field = element("textarea", {
      "aria-label": "Edit the question",
      value: this.message.content,
      rows: Math.min(12, this.message.content.split("\n").length + 1),
    });
    const close = () => {
      editing.replaceWith(this.#body);
      this.#below.hidden = false;
      this.#below.querySelector("button").focus();
    };
    const send = () => {
      const text = field.value.trim();
      if (text) this.actions.edit(text);
    };
    const editing = element(
      "div",
      { class: "editing" },
      field,
      element("p", { class: "verbs" }, button("Cancel", close), button("Send again", send, "main")),
    );
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") close();
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        send();
      }
    });
    this.#body.replaceWith(editing);
    this.#below.hidden = true;
    field.focus();
  }
}

const button = (textContent, onclick, kind = "small") =>
  element("button", { type: "button", class: kind, textContent, onclick });
