"""What our own formats make of the layers' matrices: a store that ``pi-cluster shard`` wrote."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.json_process import ROOT
from benchmarks.quality.float_model import MATRICES, FloatWeights
from pi_cluster.cluster.store.store import Store
from pi_cluster.cluster.store.tensor_file import TensorFile
from pi_cluster.kernels import Matrix, unpack
from pi_cluster.shard_tool.sources.names import layer_tensor
from pi_cluster.transformer.arithmetic import Array
from pi_cluster.transformer.config_form import read_config
from pi_cluster.transformer.shapes import layer_shapes


class NotMeasured(Exception):
    """Somebody cannot do this here; the message says why."""


@dataclass(frozen=True, slots=True)
class Rounded:
    """The layers' matrices after a format, as float32, and how many bytes it keeps them in."""

    tensors: Mapping[str, Array]
    size_bytes: int

    def bits_of(self, weights: FloatWeights) -> float:
        """Bits a weight, of all matrices of the layers."""
        count = sum(weights.tensors[name].size for name in self.tensors)
        return 8 * self.size_bytes / count


def shard(checkpoint: Path, out: Path, *options: str) -> Store:
    """Have the command make a store. Raises ``NotMeasured`` with its last word where it refuses."""
    command = [sys.executable, "-m", "pi_cluster.deploy", "shard", str(checkpoint)]
    command += ["--out", str(out), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        last: Sequence[str] = done.stderr.strip().splitlines()[-1:] or ["it failed"]
        raise NotMeasured(f"pi-cluster shard: {last[0]}")
    return Store(out)


def rounded(store: Store) -> Rounded:
    """What a store has of the layers' matrices."""
    manifest, tensors, size_bytes = store.manifest, {}, 0
    config = read_config(manifest.config)
    assert manifest.formats, "a store that was made now"
    for layer, formats in enumerate(manifest.formats.layers):
        shapes = layer_shapes(config.layers[layer], config.dim)
        with TensorFile(store.path / manifest.layer_file(layer).name) as file:
            for name in MATRICES:
                data = file.map(name)
                if formats[name] in ("f32", "f16"):
                    matrix = Matrix.plain(data)
                else:
                    rows, columns = shapes[name]
                    matrix = Matrix(formats[name], rows, columns, data)
                tensors[layer_tensor(layer, name)] = unpack(matrix)
                size_bytes += matrix.data.nbytes
    return Rounded(tensors, size_bytes)
