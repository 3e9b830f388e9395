/** The conversation that is open: asks, and shows what comes. */

import { answer } from "../asking/answers.js";
import { byId } from "../element.js";
import { newMessage, turnsOf } from "../keeping/conversation.js";
import { figuresOf } from "./figures.js";
import { MessageView } from "./message.js";
import { Following } from "./scrolling.js";
import { Sentences } from "./sentences.js";

const KEEP_EVERY_MS = 1000;

export class ConversationView {
  /** @type {AbortController?} of the answer that comes */
  #coming = null;
  /** @type {MessageView[]} */
  #views = [];
  #following = new Following(byId("messages"));

  /**
   * @param {import("../keeping/conversation.js").Conversation} conversation
   * @param {{keep: (conversation: object) => Promise<void>, model: () => Promise<string>,
   *   askForKey: (why: string) => Promise<boolean>, onChange: () => void}} page
   */
  constructor(conversation, page) {
    this.conversation = conversation;
    this.page = page;
    byId("messages").replaceChildren();
    for (const message of conversation.messages) this.#add(message);
    this.#following.toEnd();
  }

  get isBusy() {
    return this.#coming !== null;
  }

  /** @param {string} text */
  async ask(text) {
    this.#push(newMessage("user", text));
    await this.#answer(this.#push(newMessage("assistant")));
  }

  /** End the answer that comes; it keeps what it has. */
  stop() {
    this.#coming?.abort();
  }

  #push(message) {
    this.conversation.messages.push(message);
    return this.#add(message);
  }

  #add(message) {
    const at = (what) => () => !this.isBusy && what();
    const view = new MessageView(message, {
      edit: (text) => at(() => this.#askAnew(message, text))(),
      again: at(() => this.#again(message)),
      goOn: at(() => this.#goOn(view)),
    });
    this.#views.push(view);
    byId("messages").append(view.element);
    return view;
  }

  #askAnew(message, text) {
    this.#cutBefore(message);
    return this.ask(text);
  }

  #again(message) {
    this.#cutBefore(message);
    return this.#answer(this.#push(newMessage("assistant")));
  }

  /** The server goes on with a last message that is the assistant's. */
  #goOn(view) {
    this.#cutBefore(this.conversation.messages[this.#views.indexOf(view) + 1]);
    delete view.message.failure;
    delete view.message.ended;
    return this.#answer(view);
  }

  #cutBefore(message) {
    const at = this.conversation.messages.indexOf(message);
    if (at < 0) return;
    this.conversation.messages.splice(at);
    for (const view of this.#views.splice(at)) view.element.remove();
    byId("question").focus(); // what had the focus is gone
  }

  async #answer(view) {
    const coming = new AbortController();
    this.#coming = coming;
    const before = view.message.content;
    this.page.onChange();
    try {
      await this.#keep();
      await this.#receive(view, coming.signal);
    } catch (error) {
      if (error.name === "AbortError") view.message.ended = "stopped";
      else if (error.wantsKey) view.message.failure = error.message;
      else view.message.failure = error.message || String(error);
      if (error.wantsKey && view.message.content === before) {
        this.#end(view);
        if (await this.page.askForKey(error.message)) await this.#again(view.message);
        return;
      }
    }
    this.#end(view);
    await this.#keep();
  }

  #end(view) {
    this.#coming = null;
    view.finish();
    this.#following.follow();
    this.page.onChange();
  }

  async #receive(view, signal) {
    const { message } = view;
    const standing = view.begin();
    this.#following.toEnd();
    const sentences = new Sentences(message.content);
    const taken = { asked_ms: performance.now() };
    let kept_ms = taken.asked_ms;
    const { settings } = this.conversation;
    const shown = new Shown(() => {
      view.show();
      this.#following.follow();
    });
    const turns = turnsOf(this.conversation);
    for await (const event of answer(await this.page.model(), turns, settings, signal)) {
      const now_ms = performance.now();
      if (event.kind === "waiting" || event.kind === "reading") {
        standing.show(event);
        this.#following.follow();
      } else if (event.kind === "said" || event.kind === "thought") {
        taken.first_ms ??= now_ms;
        taken.ended_ms = now_ms;
        view.arrive();
        if (event.kind === "said") message.content += event.text;
        else message.thought = (message.thought ?? "") + event.text;
        shown.later();
        sentences.tell(message.content);
        if (now_ms - kept_ms > KEEP_EVERY_MS) {
          kept_ms = now_ms;
          await this.#keep();
        }
      } else if (event.kind === "ended") {
        message.ended = event.reason;
        taken.timings = event.timings;
      } else taken.usage = event.usage;
    }
    shown.now();
    sentences.tell(message.content, true);
    message.figures = figuresOf({ ended_ms: performance.now(), ...taken });
  }

  #keep() {
    this.conversation.changed = Date.now();
    return this.page.keep(this.conversation);
  }
}

/** Shows at most once a frame, however fast it grows. */
class Shown {
  #asked = 0;

  constructor(show) {
    this.show = show;
  }

  later() {
    this.#asked ||= requestAnimationFrame(() => this.now());
  }

  now() {
    cancelAnimationFrame(this.#asked);
    this.#asked = 0;
    this.show();
  }
}
