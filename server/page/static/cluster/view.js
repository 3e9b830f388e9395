/** The cluster at the top of the page: drawn, told in a line, and as a table. */

import { CallError } from "../asking/calling.js";
import { byId, element } from "../element.js";
import { clusterIsFolded, keepClusterFolded } from "../keeping/preferences.js";
import { closeNotice, notice } from "../showing/notices.js";
import { Drawing } from "./drawing.js";
import { Flow } from "./flow.js";
import { Rates } from "./rates.js";
import { follow } from "./state.js";
import { tableOf } from "./table.js";
import { summary } from "./words.js";

export class ClusterView {
  #following = new AbortController();
  #rates = new Rates();
  #drawing = new Drawing();
  #flow = new Flow(this.#drawing.pipe, this.#drawing.flow);
  #line = element("p", { class: "summary" });
  #note = element("p", { class: "note", role: "status", hidden: true });
  #table = element("table", {});
  #state;

  /** @param {{askForKey: (why: string) => Promise<boolean>}} page */
  constructor({ askForKey }) {
    this.askForKey = askForKey;
    const readable = element("div", { class: "readable hidden" }, this.#table);
    const asTable = element("button", {
      class: "small",
      textContent: "As a table",
      "aria-pressed": "false",
    });
    asTable.addEventListener("click", () => {
      const shown = !readable.classList.toggle("hidden");
      asTable.setAttribute("aria-pressed", String(shown));
    });
    const line = element("div", { class: "line" }, this.#line, asTable);
    // What is the matter stands first: a phone has no room for all.
    byId("cluster").append(this.#note, this.#drawing.element, line, readable);
    byId("toggle-cluster").addEventListener("click", () => {
      keepClusterFolded(!clusterIsFolded());
      this.#show();
    });
    new ResizeObserver(() => this.#draw()).observe(byId("cluster"));
  }

  /** Whether the model has a switch for thinking. */
  get canThink() {
    return this.#state?.model?.thinks === true;
  }

  /** Follow the cluster, from now on. */
  begin() {
    this.#following.abort();
    this.#following = new AbortController();
    void this.#follow(this.#following.signal);
  }

  async #follow(signal) {
    for await (const told of follow(signal)) {
      if (!(told instanceof CallError)) this.#take(told);
      else if (told.status === 404) return this.#hide();
      else if (told.wantsKey) return void (await this.askForKey(told.message));
      else this.#lose(told);
    }
  }

  #take(state) {
    closeNotice("server");
    this.#state = state;
    this.#rate = this.#rates.of(state);
    this.#flow.set(this.#rate);
    byId("model").textContent = state.model?.id ?? "";
    this.#show();
  }

  #rate = { read: 0, made: 0 };

  #lose() {
    this.#flow.set({ read: 0, made: 0 });
    byId("cluster").classList.add("away");
    notice("The server does not answer. The page asks it again and again.", { name: "server" });
  }

  #hide() {
    this.#state = undefined;
    this.#show();
  }

  #show() {
    const isShown = Boolean(this.#state) && !clusterIsFolded();
    byId("cluster").hidden = !isShown;
    byId("cluster").classList.remove("away");
    byId("toggle-cluster").setAttribute("aria-expanded", String(!clusterIsFolded()));
    if (isShown) this.#draw();
  }

  #draw() {
    const width = byId("cluster").clientWidth;
    if (!this.#state || !width) return;
    const { stages = [], note } = this.#state;
    const line = summary(this.#state, this.#rate);
    const unwell = stages
      .filter(({ is_well }) => !is_well)
      .map(({ node, state }) => `${node} is ${state}`);
    const label = [`The cluster: ${stages.length} nodes`, line, ...unwell].join(", ");
    this.#drawing.element.classList.toggle("none", !stages.length);
    if (stages.length) this.#drawing.show(stages, width, label);
    this.#line.textContent = line;
    this.#note.hidden = !note;
    if (this.#note.textContent !== (note ?? "")) this.#note.textContent = note ?? "";
    this.#table.replaceChildren(...tableOf(stages));
  }
}
