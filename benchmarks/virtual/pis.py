"""What a Raspberry Pi takes for a step: the one table of constants behind every simulated figure.

A step of r rows over b bytes of weights with m multiply-adds a row takes
``max(b / bandwidth, r * m / rate)``: few rows wait for memory, many for arithmetic. Attention
comes on top, by the same rule.

The constants are fitted to what others published of real boards and are to be replaced as soon as
someone measures one. Llama 2 7B in 4 bits by distributed-llama 0.3.1 (its README): one Pi 5 2.26
tokens/s, one Pi 4B 0.76. Llama 3.1 8B by Ollama (ai-benchmarks, issue 7): one Pi 5 2.17. Llama 3.2
3B by llama.cpp (beowulf-ai-cluster, issue 6): one CM5 6.07, and 15.08 in prefill. From memory a Pi
5 then reads 11.4 GB/s of 17 in theory, a Pi 4 3.3 of 12.8.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.store.manifest import Manifest
from pi_cluster.transformer.config_form import read_config
from pi_cluster.transformer.kernel_arithmetic import layer_shape
from pi_cluster.transformer.layer import Span
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.shapes import head_shapes, layer_shapes

SIMULATED = "SIMULATED: virtual Pis that wait as long as a Pi would compute; no Pi was measured"


@dataclass(frozen=True, slots=True)
class Board:
    """A computer, as far as its time for a step goes."""

    name: str
    bandwidth: float
    """Bytes of weights a second, read by all cores."""
    rate: float
    """Multiply-adds a second of all cores, with many rows."""

    def seconds(self, read_bytes: float, macs: float) -> float:
        """For reading and multiplying at the same time."""
        return max(read_bytes / self.bandwidth, macs / self.rate)


BOARDS = {
    "pi4": Board("Pi 4", bandwidth=3.3e9, rate=22e9),
    "pi5": Board("Pi 5", bandwidth=11.4e9, rate=70e9),
}


@dataclass(frozen=True, slots=True)
class StageWork:
    """What the layers of a stage ask of a board. Bytes and multiply-adds of one row."""

    layer_bytes: int
    layer_macs: int
    head_bytes: int
    head_macs: int
    """Of the output matrix; only rows that want logits are multiplied."""
    position_bytes: int
    """Keys and values of one position, at all layers."""
    pair_macs: int
    """Of a query with one key and its value, at all layers."""
    window: int | None

    def layers_s(self, board: Board, rows: int) -> float:
        """Seconds of the layers without attention."""
        return board.seconds(self.layer_bytes, rows * self.layer_macs)

    def with_head_s(self, board: Board, rows: int, wanted: int) -> float:
        """As :meth:`layers_s`, the head included for ``wanted`` rows."""
        macs = rows * self.layer_macs + wanted * self.head_macs
        return board.seconds(self.layer_bytes + self.head_bytes, macs)

    def attention_s(self, board: Board, spans: Sequence[Span]) -> float:
        """Seconds of attention over what each span's sequence holds."""
        return sum(self._span_s(board, span) for span in spans)

    def _span_s(self, board: Board, span: Span) -> float:
        rows, last = span.stop_row - span.start_row, span.position + span.stop_row - span.start_row
        most = self.window or last
        pairs = sum(min(seen, most) for seen in range(span.position + 1, last + 1))
        held = min(last, most + rows - 1)
        return board.seconds(held * self.position_bytes, pairs * self.pair_macs)


def stage_work(manifest: Manifest, layers: LayerRange, limits: Limits) -> StageWork:
    """The work of a stage with these layers of a store."""
    config = read_config(manifest.config)
    shape, (layer,) = layer_shape(config, limits), set(config.layers)
    return StageWork(
        layer_bytes=sum(manifest.layer_file(layer).size_bytes for layer in layers),
        layer_macs=len(layers) * sum(map(_macs, layer_shapes(layer, config.dim).values())),
        head_bytes=manifest.head_file.size_bytes,
        head_macs=sum(map(_macs, head_shapes(config).values())),
        position_bytes=len(layers) * shape.cache_bytes_per_layer // shape.capacity,
        pair_macs=len(layers) * 2 * layer.query_dim,
        window=layer.window,
    )


def _macs(shape: tuple[int, ...]) -> int:
    """Multiply-adds of one row with a matrix; a gain's few are not counted."""
    return shape[0] * shape[1] if len(shape) == 2 else 0
