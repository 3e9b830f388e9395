/** The dialog in which a person says how answers are made. */

import { element } from "../element.js";
import { keepKey, keepSettings, keptKey } from "../keeping/preferences.js";
import { asked } from "./dialogs.js";

const NUMBERS = [
  {
    name: "temperature",
    label: "Temperature",
    min: 0,
    max: 2,
    step: 0.05,
    hint: "0 takes the likeliest word",
  },
  {
    name: "top_p",
    label: "Top p",
    min: 0,
    max: 1,
    step: 0.01,
    hint: "words that make up this share",
  },
  {
    name: "top_k",
    label: "Top k",
    min: 0,
    max: 1000,
    step: 1,
    hint: "as many of the likeliest words",
  },
  {
    name: "max_tokens",
    label: "Longest answer, in tokens",
    min: 1,
    max: 1000000,
    step: 1,
    hint: "",
  },
  {
    name: "seed",
    label: "Seed",
    min: 0,
    max: 4294967295,
    step: 1,
    hint: "the same one gives the same answer",
  },
];
const THINK = { "": null, yes: true, no: false };

/**
 * @param {import("../keeping/preferences.js").Settings} settings
 * @param {boolean} canThink whether the model has a switch for that
 * @returns {Promise<import("../keeping/preferences.js").Settings | undefined>}
 */
export async function askedSettings(settings, canThink) {
  const system = element("textarea", { id: "set-system", rows: 4, value: settings.system });
  const inputs = NUMBERS.map((number) => numberInput(number, settings[number.name]));
  const think = thinkInput(settings.think);
  const fields = [
    element("p", {
      class: "hint",
      textContent:
        "For this conversation, and for new ones. What is empty is as the server has it.",
    }),
    element("label", { htmlFor: system.id, textContent: "System prompt" }),
    system,
    element("div", { class: "grid" }, ...inputs.map(({ field }) => field)),
    ...(canThink
      ? [element("label", { htmlFor: think.id, textContent: "Think before the answer" }), think]
      : []),
    ...keyFields(),
  ];
  if (!(await asked("Settings", fields, "Save"))) return undefined;
  const chosen = {
    system: system.value.trim(),
    think: canThink ? THINK[think.value] : settings.think,
  };
  for (const { name, input } of inputs)
    chosen[name] = input.value === "" ? null : input.valueAsNumber;
  keepSettings(chosen);
  return chosen;
}

function numberInput({ name, label, hint, min, max, step }, value) {
  const id = `set-${name}`;
  const input = element("input", { id, type: "number", min, max, step, value: value ?? "" });
  const words = hint ? `${label} (${hint})` : label;
  const field = element("div", {}, element("label", { htmlFor: id, textContent: words }), input);
  return { name, input, field };
}

function thinkInput(think) {
  const options = [
    ["", "As the model does"],
    ["yes", "Yes"],
    ["no", "No"],
  ];
  const select = element("select", { id: "set-think" });
  select.append(
    ...options.map(([value, textContent]) => element("option", { value, textContent })),
  );
  select.value = think == null ? "" : think ? "yes" : "no";
  return select;
}

function keyFields() {
  if (!keptKey()) return [];
  const forget = element("button", { type: "button", textContent: "Forget the API key" });
  forget.addEventListener("click", () => {
    keepKey("");
    forget.disabled = true;
    forget.textContent = "Forgotten";
  });
  return [element("p", {}, forget)];
}
