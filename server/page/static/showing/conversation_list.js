/** All conversations beside the open one: found, renamed, deleted. */

import { byId, element } from "../element.js";
import { mentions, titleOf } from "../keeping/conversation.js";
import { askedText, confirmed } from "./dialogs.js";

export class ConversationList {
  /** @type {import("../keeping/conversation.js").Conversation[]} */
  #all = [];
  #openId = "";

  /**
   * @param {{open: (id: string) => void, rename: (id: string, title: string) => void,
   *   remove: (id: string) => void}} actions
   */
  constructor(actions) {
    this.actions = actions;
    byId("search").addEventListener("input", () => this.#draw());
  }

  /** @param {import("../keeping/conversation.js").Conversation[]} all @param {string} openId */
  show(all, openId) {
    this.#all = all;
    this.#openId = openId;
    this.#draw();
  }

  #draw() {
    const words = byId("search").value.trim();
    const found = this.#all.filter((one) => mentions(one, words));
    byId("conversation-list").replaceChildren(...found.map((one) => this.#row(one)));
    if (words && !found.length) {
      byId("conversation-list").append(
        element("li", { class: "hint", textContent: "None has these words." }),
      );
    }
  }

  #row(one) {
    const title = titleOf(one);
    const open = element("button", { class: "title", textContent: title });
    if (one.id === this.#openId) open.setAttribute("aria-current", "true");
    open.addEventListener("click", () => this.actions.open(one.id));
    const rename = action("Rename", title, async () => {
      const chosen = await askedText("Rename the conversation", "Title", title);
      if (chosen) this.actions.rename(one.id, chosen);
    });
    const remove = action("Delete", title, async () => {
      const question = `“${title}” will be gone from this browser for good.`;
      if (await confirmed(question, "Delete")) this.actions.remove(one.id);
    });
    return element("li", {}, open, rename, remove);
  }
}

const SIGNS = { Rename: "✎", Delete: "✕" };

const action = (verb, title, onclick) =>
  element("button", {
    class: "sign",
    "aria-label": `${verb} “${title}”`,
    title: verb,
    textContent: SIGNS[verb],
    onclick,
  });
