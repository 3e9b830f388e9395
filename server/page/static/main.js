/** Puts the page together. */

import { servedModel } from "./asking/models.js";
import { ClusterView } from "./cluster/view.js";
import { byId, element } from "./element.js";
import { newConversation } from "./keeping/conversation.js";
import { Conversations } from "./keeping/conversations.js";
import { exported, imported } from "./keeping/exporting.js";
import { ForgetfulConversations } from "./keeping/forgetful.js";
import { keepKey } from "./keeping/preferences.js";
import { listenToComposer, showBusy } from "./showing/composer.js";
import { ConversationView } from "./showing/conversation.js";
import { ConversationList } from "./showing/conversation_list.js";
import { askedKey } from "./showing/dialogs.js";
import { counted } from "./showing/figures.js";
import { notice } from "./showing/notices.js";
import { askedSettings } from "./showing/settings.js";
import { switchTheme } from "./showing/theme.js";

const NARROW = matchMedia("(max-width: 60rem)");

class Page {
  /** @type {ConversationView} */
  #view;
  #asking; // one dialog at a time, whoever needs the key

  constructor(conversations) {
    this.conversations = conversations;
    this.list = new ConversationList({
      open: (id) => this.open(id),
      rename: (id, title) => this.rename(id, title),
      remove: (id) => this.remove(id),
    });
    this.cluster = new ClusterView({ askForKey: (why) => this.askForKey(why) });
  }

  async begin() {
    const [latest] = await this.conversations.all();
    await this.#show(latest ?? newConversation());
    this.cluster.begin();
    byId("question").focus();
  }

  async open(id) {
    const kept = await this.conversations.one(id);
    if (kept) await this.#show(kept);
    showConversations(false);
    byId("question").focus();
  }

  async beginNew() {
    await this.#show(newConversation());
    showConversations(false);
    byId("question").focus();
  }

  async rename(id, title) {
    const { conversation } = this.#view;
    const one = conversation.id === id ? conversation : await this.conversations.one(id);
    one.title = title;
    await this.conversations.keep(one);
    await this.#drawList();
  }

  async remove(id) {
    if (this.#view.conversation.id === id) await this.#show(newConversation());
    await this.conversations.remove(id);
    await this.#drawList();
    byId("new-conversation").focus();
  }

  send(text) {
    void this.#view.ask(text);
  }

  stop() {
    this.#view.stop();
  }

  async settings() {
    const { conversation } = this.#view;
    const chosen = await askedSettings(conversation.settings, this.cluster.canThink);
    if (!chosen) return;
    conversation.settings = chosen;
    if (conversation.messages.length) await this.conversations.keep(conversation);
  }

  async exportAll() {
    const text = exported(await this.conversations.all());
    const href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    const day = new Date().toISOString().slice(0, 10);
    element("a", { href, download: `conversations-${day}.json` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 60_000); // a slow disk still reads it
  }

  async importAll(file) {
    try {
      const conversations = imported(await file.text());
      this.stop();
      await this.conversations.keep(...conversations);
      await this.#show((await this.conversations.all())[0] ?? newConversation());
      notice(`Imported ${counted(conversations.length, "conversation")}.`);
    } catch (error) {
      notice(error.message);
    }
  }

  askForKey(why) {
    this.#asking ??= this.#askForKey(why).finally(() => (this.#asking = undefined));
    return this.#asking;
  }

  async #askForKey(why) {
    const key = await askedKey(why);
    if (!key) return false;
    keepKey(key);
    this.cluster.begin();
    return true;
  }

  async #show(conversation) {
    this.#view?.stop();
    this.#view = new ConversationView(conversation, {
      keep: (changed) => this.#keep(changed),
      model: () => servedModel(),
      askForKey: (why) => this.askForKey(why),
      onChange: () => showBusy(this.#view.isBusy),
    });
    showBusy(false);
    byId("messages").classList.toggle("empty", !conversation.messages.length);
    await this.#drawList();
  }

  async #keep(conversation) {
    byId("messages").classList.remove("empty");
    await this.conversations.keep(conversation);
    await this.#drawList();
  }

  async #drawList() {
    this.list.show(await this.conversations.all(), this.#view.conversation.id);
  }
}

/** On a narrow screen they cover the chat, and are closed until they are wanted. */
function showConversations(isOpen) {
  const shown = isOpen && NARROW.matches;
  byId("conversations").classList.toggle("open", shown);
  byId("conversations").inert = NARROW.matches && !isOpen;
  byId("open-conversations").setAttribute("aria-expanded", String(shown));
  if (shown) byId("new-conversation").focus();
}

async function openConversations() {
  try {
    return await Conversations.open();
  } catch {
    notice("This browser keeps nothing here: conversations end when the page is closed.");
    return new ForgetfulConversations();
  }
}

switchTheme(byId("toggle-theme"));
const page = new Page(await openConversations());
listenToComposer({ send: (text) => page.send(text), stop: () => page.stop() });
byId("new-conversation").addEventListener("click", () => page.beginNew());
byId("open-settings").addEventListener("click", () => page.settings());
byId("export").addEventListener("click", () => page.exportAll());
byId("import").addEventListener("click", () => byId("import-file").click());
byId("import-file").addEventListener("change", ({ target }) => {
  if (target.files[0]) void page.importAll(target.files[0]);
  target.value = "";
});
const isOpen = () => byId("conversations").classList.contains("open");
byId("open-conversations").addEventListener("click", () => showConversations(!isOpen()));
byId("conversations").addEventListener("keydown", ({ key }) => {
  if (key !== "Escape" || !isOpen()) return;
  showConversations(false);
  byId("open-conversations").focus();
});
NARROW.addEventListener("change", () => showConversations(false));
showConversations(false);
await page.begin();
