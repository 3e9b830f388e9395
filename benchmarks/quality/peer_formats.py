"""What llama.cpp makes of the layers' matrices: its formats of four bits, and Q8_0.

Which matrix gets which type is llama.cpp's own choice (``llama_tensor_get_type`` in its
src/llama-quant.cpp). Its K-quants have super-blocks of 256 columns; a matrix whose columns are no
multiple falls back to larger types. Both models here have such, and a 7B has none. So Q4_K_M is
measured twice: as llama.cpp makes it of these shapes, with more bits than its name says, and with
super-blocks that run on from one row into the next, which is what the format does to a 7B.
"""

import math
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.json_process import JsonProcess, ProcessEnded
from benchmarks.quality.float_model import FloatWeights
from benchmarks.quality.formats import NotMeasured, Rounded
from pi_cluster.shard_tool.sources.names import layer_of
from pi_cluster.transformer.arithmetic import Array

_SUPER_BLOCK = 256
_FALL_BACK = {"Q4_K": "Q5_0", "Q6_K": "Q8_0"}
_WORTH_MORE = ("attention.wv.weight", "feed_forward.w2.weight")


@dataclass(frozen=True, slots=True)
class PeerFormat:
    """One way to quantise all layers."""

    name: str
    usual: str
    better: str | None = None
    """The type of those matrices that are worth more bits."""
    runs_on: bool = False
    """Whether super-blocks run on from row to row where they would not fit."""
    can_be_weighted: bool = True

    def type_of(self, name: str, columns: int, n_layers: int) -> str:
        """ggml's name of a matrix's type, given its whole name in a model of ``n_layers``."""
        layer = layer_of(name)
        assert layer is not None, name
        is_worth_more = name.endswith(_WORTH_MORE) and gets_more_bits(layer, n_layers)
        type_ = self.better if self.better and is_worth_more else self.usual
        fits = self.runs_on or columns % _SUPER_BLOCK == 0
        return type_ if fits else _FALL_BACK.get(type_, type_)

    def columns_of(self, columns: int) -> int:
        """Of the rows that the quantiser is given."""
        return math.lcm(columns, _SUPER_BLOCK) if self.runs_on else columns


def gets_more_bits(layer: int, n_layers: int) -> bool:
    """llama.cpp's ``use_more_bits``: first and last eighth, and every third between."""
    eighth = n_layers // 8
    return layer < eighth or layer >= 7 * n_layers // 8 or (layer - eighth) % 3 == 2


FORMATS = (
    PeerFormat("Q8_0", "Q8_0", can_be_weighted=False),
    PeerFormat("Q4_0", "Q4_0"),
    PeerFormat("IQ4_NL", "IQ4_NL"),
    PeerFormat("Q4_K_M", "Q4_K", "Q6_K", runs_on=True),
    PeerFormat("Q4_K_M with its fallbacks", "Q4_K", "Q6_K"),
)


class Peer:
    """The quantisers of ``python``, from ``with`` to its end. Raises ``NotMeasured``."""

    def __init__(self, python: str, folder: Path) -> None:
        check = subprocess.run([python, "-c", "import libgguf"], capture_output=True)
        if check.returncode:
            raise NotMeasured("name with --peer-python a Python that has libgguf and numpy (x86)")
        self._folder = folder
        command = [python, "-m", "benchmarks.quality.peer"]
        self._process = JsonProcess(command, folder / "peer.log")

    def __enter__(self) -> "Peer":
        self._process.__enter__()
        return self

    def __exit__(self, *failure: object) -> None:
        self._process.__exit__(*failure)

    def rounded(
        self,
        weights: FloatWeights,
        into: PeerFormat,
        importance: Mapping[str, Array] | None = None,
    ) -> Rounded:
        """The layers' matrices as the format keeps them. Raises ``NotMeasured``."""
        tensors, size_bytes = {}, 0
        given, weighed, out = (self._folder / f"{name}.npy" for name in ("given", "weighed", "out"))
        for name in weights.layer_matrices():
            matrix = np.ascontiguousarray(weights.tensors[name])
            columns = matrix.shape[1]
            np.save(given, matrix)
            if importance is not None:
                np.save(weighed, importance[name])
            try:
                answer = self._process.ask(
                    "rounded",
                    weights=str(given),
                    kind=into.type_of(name, columns, weights.config.n_layers),
                    columns=into.columns_of(columns),
                    importance=None if importance is None else str(weighed),
                    out=str(out),
                )
            except ProcessEnded as ended:
                raise NotMeasured(f"the peer ended: {ended}") from None
            tensors[name] = np.load(out)
            size_bytes += answer["bytes"]
        return Rounded(tensors, size_bytes)
