/** Conversations where the browser keeps none, as in some private windows: until it is closed. */

export class ForgetfulConversations {
  #kept = new Map();

  async all() {
    const kept = [...this.#kept.values()].map((one) => structuredClone(one));
    return kept.sort((one, other) => other.changed - one.changed);
  }

  async one(id) {
    return structuredClone(this.#kept.get(id));
  }

  async keep(...conversations) {
    for (const one of conversations) this.#kept.set(one.id, structuredClone(one));
  }

  async remove(id) {
    this.#kept.delete(id);
  }
}
