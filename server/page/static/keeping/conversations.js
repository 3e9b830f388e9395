/** All conversations, in this browser's own database (IndexedDB). */

const DATABASE = "pi-cluster";
const VERSION = 1;
const STORE = "conversations";

/** @typedef {import("./conversation.js").Conversation} Conversation */

export class Conversations {
  /** @param {IDBDatabase} database */
  constructor(database) {
    this.database = database;
    database.onversionchange = () => database.close(); // a newer page in another tab
  }

  /** @returns {Promise<Conversations>} */
  static async open() {
    const opening = indexedDB.open(DATABASE, VERSION);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { keyPath: "id" });
    return new Conversations(await result(opening));
  }

  /** @returns {Promise<Conversation[]>} the latest first */
  async all() {
    const kept = await result(this.#store("readonly").getAll());
    return kept.sort((one, other) => other.changed - one.changed);
  }

  /** @param {string} id @returns {Promise<Conversation | undefined>} */
  one(id) {
    return result(this.#store("readonly").get(id));
  }

  /** @param {Conversation[]} conversations all of them are kept, or none is */
  async keep(...conversations) {
    const store = this.#store("readwrite");
    for (const conversation of conversations) store.put(conversation);
    await done(store.transaction);
  }

  /** @param {string} id */
  async remove(id) {
    await result(this.#store("readwrite").delete(id));
  }

  #store(mode) {
    return this.database.transaction(STORE, mode).objectStore(STORE);
  }
}

function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function done(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = transaction.onerror = () => reject(transaction.error);
  });
}
