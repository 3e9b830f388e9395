/** Where nodes stand in the drawing: in rows, to and fro, as a stream of tokens passes them. */

const WIDTH = 132;
const HEIGHT = 92;
const GAP = 30;
const MARGIN = 14;
const ROW_GAP = 24;

/**
 * @param {number} count of nodes
 * @param {number} width of the drawing
 * @returns {{nodes: {x: number, y: number, width: number, height: number}[], height: number,
 *   path: string}} `path` is the way of a token, in SVG's words
 */
export function layout(count, width) {
  const fit = Math.max(1, Math.floor((width - 2 * MARGIN + GAP) / (WIDTH + GAP)));
  const across = Math.min(count, fit);
  const rows = Math.ceil(count / across);
  // Never wider than the drawing, however narrow that is.
  const nodeWidth = Math.min(WIDTH * 1.5, (width - 2 * MARGIN - GAP * (across - 1)) / across);
  const left = (width - across * nodeWidth - (across - 1) * GAP) / 2;
  const nodes = Array.from({ length: count }, (_, index) => {
    const row = Math.floor(index / across);
    const column = row % 2 ? across - 1 - (index % across) : index % across;
    return {
      x: left + column * (nodeWidth + GAP),
      y: MARGIN + row * (HEIGHT + ROW_GAP),
      width: nodeWidth,
      height: HEIGHT,
    };
  });
  return {
    nodes,
    height: 2 * MARGIN + rows * HEIGHT + (rows - 1) * ROW_GAP,
    path: pathThrough(nodes),
  };
}

/** Through the middle of all nodes, and a little beyond both ends. */
function pathThrough(nodes) {
  const middles = nodes.map(({ x, y, width, height }) => [x + width / 2, y + height / 2]);
  const [first, last] = [nodes[0], nodes.at(-1)];
  const begins = [first.x - MARGIN, middles[0][1]];
  const goesBack = nodes.length > 1 && last.y > first.y && middles.at(-1)[0] < middles.at(-2)[0];
  const ends = [goesBack ? last.x - MARGIN : last.x + last.width + MARGIN, middles.at(-1)[1]];
  return "M" + [begins, ...middles, ends].map((point) => point.map(Math.round).join(" ")).join("L");
}
