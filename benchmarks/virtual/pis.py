"""What a Raspberry Pi takes for a step: the one table of constants behind every simulated figure.

A step of r rows over b bytes of weights with m multiply-adds a row takes
``max(b / bandwidth, r * m / rate)``: few rows wait for memory, many for arithmetic. Attention
comes on top, by the same rule.

The constants are fitted to what others published of real boards and are to be replaced as soon as
someone measures one. Llama 2 7B in 4 bits by distributed-llama 0.3.1 (its README): one Pi 5 2.26
tokens/s, one Pi 4B 0.76. Llama 3.1 8B by Ollama (ai-benchmarks, issue 7): one Pi 5 2.17. Llama 3.2
3B by llama.cpp (beowulf-ai-cluster, issue 6): one CM5 6.07, and 15.08 in prefill. From memory a Pi
5 then reads 11.4 GB/s of 17 in theory, a Pi 4 3.3 of 12.8.

Python, gRPC and the operating system take their time beside that. What they take on the machine
that simulates is spent anyway; what a Pi's core takes longer is added, SCALED and measured on no
Pi: by 7-Zip with one thread, whose integers and branches are nearer to an interpreter's work than
arithmetic is. A Pi 5 at 2.4 GHz has 3163 MIPS (ThomasKaiser/sbc-bench, results/4HDw.txt), a Pi 4 at
1.8 GHz 1752 (results/3InF.txt). The core here has 4650 by calculation, as it was never quiet enough
to be measured: a Ryzen 9 7900 (Zen 4) has 7885 at 5.25 GHz (sbc-bench, issue 70), AMD gives Zen 4
13 % over Zen 3 at the same clock, and the EPYC here is one of Zen 3 and taken to run at 3.5 GHz.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.store.manifest import Manifest
from pi_cluster.transformer.config_form import read_config
from pi_cluster.transformer.kernel_arithmetic import kernel_shapes
from pi_cluster.transformer.layer import Span
from pi_cluster.transformer.limits import Limits
from pi_cluster.transformer.shapes import Shapes, head_shapes, layer_shapes

SIMULATED = "SIMULATED: virtual Pis that wait as long as a Pi would compute; no Pi was measured"


@dataclass(frozen=True, slots=True)
class Overhead:
    """Processor time of one process beside arithmetic: Python, gRPC and the operating system."""

    step_s: float
    row_s: float

    def seconds(self, rows: int) -> float:
        """For a step of so many rows."""
        return self.step_s + rows * self.row_s


WORKER_HERE = Overhead(step_s=2.2e-3, row_s=0.17e-3)
"""Of a middle stage of Mistral 7B, by ``python -m benchmarks.virtual.overhead`` on an AMD EPYC
(Zen 3). Other programs kept both cores busy and its caches cold: an upper bound, to be measured
again on a quiet machine."""


@dataclass(frozen=True, slots=True)
class Board:
    """A computer, as far as its time for a step goes."""

    name: str
    bandwidth: float
    """Bytes of weights a second, read by all cores."""
    rate: float
    """Multiply-adds a second of all cores, with many rows."""
    slowness: float = 1.0
    """How many times longer one core takes for Python than one of the machine that simulates."""

    def slower_by_s(self, rows: int) -> float:
        """What a worker takes longer here than on the machine that simulates, beside arithmetic.

        As if none of it overlapped with arithmetic, which keeps all four cores busy.
        """
        return (self.slowness - 1) * WORKER_HERE.seconds(rows)

    def seconds(self, read_bytes: float, macs: float) -> float:
        """For reading and multiplying at the same time."""
        return max(read_bytes / self.bandwidth, macs / self.rate)


_MIPS_HERE, _MIPS_PI4, _MIPS_PI5 = 4650.0, 1752.0, 3163.0  # 7-Zip, as above

BOARDS = {
    "pi4": Board("Pi 4", bandwidth=3.3e9, rate=22e9, slowness=_MIPS_HERE / _MIPS_PI4),
    "pi5": Board("Pi 5", bandwidth=11.4e9, rate=70e9, slowness=_MIPS_HERE / _MIPS_PI5),
}


@dataclass(frozen=True, slots=True)
class AttentionWork:
    """What attention asks for at one layer, whatever the text."""

    position_bytes: int
    """Keys and values of one position."""
    pair_macs: int
    """Of a query with one key and its value."""
    window: int | None

    def seconds(self, board: Board, span: Span) -> float:
        """For the rows of one sequence, over what it holds."""
        rows, last = span.stop_row - span.start_row, span.position + span.stop_row - span.start_row
        most = self.window or last
        pairs = sum(min(seen, most) for seen in range(span.position + 1, last + 1))
        held = min(last, most + rows - 1)
        return board.seconds(held * self.position_bytes, pairs * self.pair_macs)


@dataclass(frozen=True, slots=True)
class StageWork:
    """What the layers of a stage ask of a board. Bytes and multiply-adds of one row."""

    layer_bytes: int
    layer_macs: int
    head_bytes: int
    head_macs: int
    """Of the output matrix; only rows that want logits are multiplied."""
    attention: Mapping[AttentionWork, int]
    """With the number of layers that ask for the same."""

    def layers_s(self, board: Board, rows: int) -> float:
        """Seconds of the layers without attention."""
        return board.seconds(self.layer_bytes, rows * self.layer_macs)

    def with_head_s(self, board: Board, rows: int, wanted: int) -> float:
        """As :meth:`layers_s`, the head included for ``wanted`` rows."""
        macs = rows * self.layer_macs + wanted * self.head_macs
        return board.seconds(self.layer_bytes + self.head_bytes, macs)

    def attention_s(self, board: Board, spans: Sequence[Span]) -> float:
        """Seconds of attention over what each span's sequence holds."""
        return sum(
            layers * work.seconds(board, span)
            for work, layers in self.attention.items()
            for span in spans
        )


def stage_work(manifest: Manifest, layers: LayerRange, limits: Limits) -> StageWork:
    """The work of a stage with these layers of a store."""
    config = read_config(manifest.config)
    configs = config.layers[layers.start : layers.stop]
    shapes = kernel_shapes(config, limits)[layers.start : layers.stop]
    return StageWork(
        layer_bytes=sum(manifest.layer_file(layer).size_bytes for layer in layers),
        layer_macs=sum(_macs(layer_shapes(layer, config.dim)) for layer in configs),
        head_bytes=manifest.head_file.size_bytes,
        head_macs=_macs(head_shapes(config)),
        attention=Counter(
            AttentionWork(
                position_bytes=shape.cache_bytes_per_layer // shape.capacity,
                pair_macs=2 * layer.query_dim,
                window=layer.window,
            )
            for layer, shape in zip(configs, shapes, strict=True)
        ),
    )


def _macs(shapes: Shapes) -> int:
    """Multiply-adds of one row with all matrices; the few of gains and biases are not counted."""
    return sum(math.prod(shape) for shape in shapes.values() if len(shape) == 2)
