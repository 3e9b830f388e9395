/** The cluster as a picture: nodes in a row, and what is true of each. */

import { layout } from "./layout.js";
import { degrees, layersOf, memoryShare, percent } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const HOT_C = 80; // where a Pi begins to slow down

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
  const inner = width - 20;
  const parts = [
    svg("rect", { class: "case", width, height, rx: 12 }),
    text("name", 10, 22, stage.node, inner),
    text("layers", 10, 39, layersOf(stage), inner),
  ];
  if (stage.is_well) parts.push(...figures(stage, inner, width));
  else parts.push(text("trouble", 10, 62, `✕ ${stage.state}`, inner));
  const kind = stage.is_well ? "node" : "node unwell";
  return svg("g", { class: kind, transform: `translate(${x} ${y})` }, ...parts);
}

function figures(stage, inner, width) {
  const parts = [
    ...bar("load", 50, stage.load, inner),
    ...bar("memory", 60, memoryShare(stage), inner),
  ];
  if (stage.load != null) parts.push(text("figure", 10, 82, percent(stage.load)));
  if (stage.temperature_c != null) {
    const isHot = stage.temperature_c >= HOT_C;
    const told = text(
      isHot ? "figure hot" : "figure",
      width - 10,
      82,
      degrees(stage.temperature_c),
    );
    told.setAttribute("text-anchor", "end");
    parts.push(told);
  }
  return parts;
}

function bar(kind, y, share, width) {
  const whole = svg("rect", { class: "bar", x: 10, y, width, height: 5, rx: 2.5 });
  if (share == null) return [whole];
  return [
    whole,
    svg("rect", { class: `bar ${kind}`, x: 10, y, width: share * width, height: 5, rx: 2.5 }),
  ];
}

/** A text that is cut where it would leave its node. */
function text(kind, x, y, words, width) {
  const letters = width ? Math.floor(width / 7.2) : words.length;
  const cut = words.length > letters ? words.slice(0, letters - 1) + "…" : words;
  return svg("text", { class: kind, x, y }, cut);
}
