/** The cluster as a picture: nodes in a row, and what is true of each. */

import { layout } from "./layout.js";
import { degrees, layersOf, memoryShare } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const HOT_C = 80; // where a Pi begins to slow down
const EDGE = 10;
const LABEL_WIDTH = 56;
const TEMPERATURE_WIDTH = 40;

/** @param {string} tag @param {Record<string, string | number>} attributes @returns {SVGElement} */
export function svg(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export class Drawing {
  constructor() {
    this.pipe = svg("path", { class: "pipe" });
    this.flow = svg("g", { class: "flow" });
    this.nodes = svg("g", {});
    this.element = svg("svg", { class: "drawing", role: "img" }, this.pipe, this.flow, this.nodes);
  }

  /**
   * @param {import("./state.js").Stage[]} stages
   * @param {number} width in pixels
   * @param {string} label
   */
  show(stages, width, label) {
    const { nodes, height, path } = layout(stages.length, width);
    this.element.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.element.setAttribute("aria-label", label);
    if (this.pipe.getAttribute("d") !== path) this.pipe.setAttribute("d", path);
    this.nodes.replaceChildren(...stages.map((stage, index) => node(stage, nodes[index])));
  }
}

function node(stage, { x, y, width, height }) {
  const inner = width - 2 * EDGE;
  const parts = [
    svg("rect", { class: "case", width, height, rx: 12 }),
    text("name", EDGE, 22, stage.node, inner - TEMPERATURE_WIDTH),
    text("layers", EDGE, 40, layersOf(stage), inner),
  ];
  if (stage.is_well) parts.push(...figures(stage, inner));
  else parts.push(text("trouble", EDGE, 64, `✕ ${stage.state}`, inner));
  const kind = stage.is_well ? "node" : "node unwell";
  return svg("g", { class: kind, transform: `translate(${x} ${y})` }, ...parts);
}

function figures(stage, inner) {
  const parts = [
    ...share("load", 61, stage.load, inner),
    ...share("memory", 78, memoryShare(stage), inner),
  ];
  if (stage.temperature_c == null) return parts;
  const kind = stage.temperature_c >= HOT_C ? "figure hot" : "figure";
  const told = text(kind, EDGE + inner, 22, degrees(stage.temperature_c));
  told.setAttribute("text-anchor", "end");
  return [...parts, told];
}

function share(kind, y, known, inner) {
  const place = { x: EDGE + LABEL_WIDTH, y: y - 7, height: 6, rx: 3 };
  const width = inner - LABEL_WIDTH;
  const parts = [text("label", EDGE, y, kind), svg("rect", { class: "bar", ...place, width })];
  if (known == null) return parts;
  return [...parts, svg("rect", { class: `bar ${kind}`, ...place, width: known * width })];
}

/** A text that is cut where it would leave its node. */
function text(kind, x, y, words, width) {
  const letters = width ? Math.floor(width / 7.2) : words.length;
  const cut = words.length > letters ? words.slice(0, letters - 1) + "…" : words;
  return svg("text", { class: kind, x, y }, cut);
}
