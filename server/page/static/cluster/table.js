/** The same as the drawing, as a table: for screen readers, and for who wants to read figures. */

import { element } from "../element.js";
import { degrees, layersOf, memoryOf, percent } from "./words.js";

const COLUMNS = ["Node", "Layers", "State", "Load", "Temperature", "Memory used"];

/** @param {import("./state.js").Stage[]} stages @returns {HTMLElement[]} parts of a table */
export function tableOf(stages) {
  const heads = COLUMNS.map((textContent) => element("th", { scope: "col", textContent }));
  return [
    element("caption", { textContent: "Nodes, in the order in which a token passes them" }),
    element("thead", {}, element("tr", {}, ...heads)),
    element("tbody", {}, ...stages.map(row)),
  ];
}

function row(stage) {
  const cells = [
    layersOf(stage),
    stage.is_well ? stage.state : [stage.state, stage.why].filter(Boolean).join(": "),
    percent(stage.load),
    degrees(stage.temperature_c),
    memoryOf(stage),
  ];
  return element(
    "tr",
    {},
    element("th", { scope: "row", textContent: stage.node }),
    ...cells.map((textContent) => element("td", { textContent })),
  );
}
