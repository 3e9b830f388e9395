/** What this browser remembers beside conversations: how to ask, the key, light or dark. */

/**
 * How answers are made; what is null is as the server has it.
 * @typedef {{system: string, temperature: number?, top_p: number?, top_k: number?,
 *   max_tokens: number?, seed: number?, think: boolean?}} Settings
 */

const PREFIX = "pi-cluster.";

/** @type {Settings} */
export const NO_SETTINGS = Object.freeze({
  system: "",
  temperature: null,
  top_p: null,
  top_k: null,
  max_tokens: null,
  seed: null,
  think: null,
});

/** @returns {Settings} those that a new conversation begins with */
export function keptSettings() {
  try {
    return { ...NO_SETTINGS, ...JSON.parse(kept("settings") || "{}") };
  } catch {
    return { ...NO_SETTINGS }; // somebody else wrote there
  }
}

/** @param {Settings} settings */
export const keepSettings = (settings) => keep("settings", JSON.stringify(settings));

export const keptKey = () => kept("key");
/** @param {string} key */
export const keepKey = (key) => keep("key", key);

/** @returns {string} `light`, `dark`, or "" for the system's own */
export const keptTheme = () => kept("theme");
/** @param {string} theme */
export const keepTheme = (theme) => keep("theme", theme);

export const clusterIsFolded = () => kept("cluster") === "folded";
/** @param {boolean} folded */
export const keepClusterFolded = (folded) => keep("cluster", folded ? "folded" : "");

const inMemory = new Map(); // where a browser keeps nothing, until the page is closed

function kept(name) {
  try {
    return localStorage.getItem(PREFIX + name) ?? "";
  } catch {
    return inMemory.get(name) ?? "";
  }
}

function keep(name, value) {
  inMemory.set(name, value);
  try {
    if (value) localStorage.setItem(PREFIX + name, value);
    else localStorage.removeItem(PREFIX + name);
  } catch {
    // It counts until the page is closed.
  }
}
