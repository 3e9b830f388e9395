"""Memory and time of sharding a checkpoint of Mistral 7B's shape.

    python -m benchmarks.shard_memory [--weights q4] [--folder DIR] [--layers 32] [--random]

The checkpoint is a sparse file of zeros (14.5 GB in bfloat16, next to nothing on disk): good for
the peak of memory. Zeros cost neither reading from disk nor, quantised, as much arithmetic as other
weights, so for the time use `--random`: a real file of normally distributed weights, written anew
and dropped from the page cache. With fewer layers than the 7B's 32, the time of a layer and that
of all else are measured apart, and the time of the 7B is extrapolated from them.

The store is real: DIR needs as much room as it, and as a random checkpoint, for as long as the
benchmark runs. Prints a table and, as the last line, JSON.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pi_cluster.cluster import settings
from pi_cluster.cluster.store.manifest import WEIGHTS
from pi_cluster.kernels import Engine
from pi_cluster.shard_tool.convert import shard
from pi_cluster.shard_tool.sources.names import tensor_shapes
from pi_cluster.transformer.families.config_json import read_config_json
from pi_cluster.transformer.families.tensor_forms import HUGGING_FACE
from pi_cluster.transformer.formats import WeightFormats

N_LAYERS = 32
MISTRAL_7B: dict[str, object] = {
    "architectures": ["MistralForCausalLM"],
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "num_attention_heads": 32,
    "num_hidden_layers": N_LAYERS,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1e6,
    "sliding_window": None,
    "vocab_size": 32768,
}


WEIGHT_DEVIATION = 0.02  # about what a 7B's matrices have
_BLOCK_WEIGHTS = 1 << 22


def write_checkpoint(folder: Path, values: dict[str, object], is_random: bool) -> int:
    """Write config.json and a model.safetensors in bfloat16; return the bytes of its tensors.

    The weights are random, or else zeros that take no room on disk.
    """
    (folder / "config.json").write_text(json.dumps(values))
    header, end = {}, 0
    for name, shape in tensor_shapes(read_config_json(values).config).items():
        size_bytes = 2 * math.prod(shape)
        header[HUGGING_FACE.name_of(name)] = {
            "dtype": "BF16",
            "shape": shape,
            "data_offsets": [end, end + size_bytes],
        }
        end += size_bytes
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        if is_random:
            _write_random(file, end // 2)
        else:
            file.truncate(8 + len(text) + end)
    return end


def _write_random(file: BinaryIO, count: int) -> None:
    generator = np.random.default_rng(0)
    for start in range(0, count, _BLOCK_WEIGHTS):
        block = generator.standard_normal(min(_BLOCK_WEIGHTS, count - start), np.float32)
        block *= WEIGHT_DEVIATION
        file.write((block.view(np.uint32) >> 16).astype("<u2").tobytes())
    file.flush()
    os.fsync(file.fileno())  # only what is on disk can be dropped
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class FileTimes:
    """Seconds that each file of the store took, from the reports of progress.

    What comes before the first report, reading and checking headers, is counted to its file.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._latest = time.perf_counter()

    def __call__(self, done_bytes: int, total_bytes: int, file_name: str) -> None:
        """Put the time since the last report down to ``file_name``."""
        del done_bytes, total_bytes
        now = time.perf_counter()
        self.seconds[file_name] = self.seconds.get(file_name, 0.0) + now - self._latest
        self._latest = now


def measure(checkpoint: Path, store: Path, formats: WeightFormats) -> dict[str, float]:
    """Shard in this process and return its peak resident memory and the time it took."""
    times = FileTimes()
    start = time.perf_counter()
    with Engine(settings.kernel_variant()) as engine:
        manifest = shard(checkpoint, store, formats, engine, times)
        threads = engine.threads
    duration_s = time.perf_counter() - start
    layers_s = sum(times.seconds[manifest.layer_file(i).name] for i in range(manifest.n_layers))
    status = Path("/proc/self/status").read_text().splitlines()
    peak_kib = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    return {
        "threads": threads,
        "store_bytes": manifest.size_bytes,
        "peak_rss_bytes": 1024 * peak_kib,
        "duration_s": round(duration_s, 1),
        "layer_s": round(layers_s / manifest.n_layers, 3),
        "rest_s": round(duration_s - layers_s, 3),
    }


def run_apart(checkpoint: Path, store: Path, weights: str) -> dict[str, float]:
    """``measure`` in a process of its own, so that nothing else counts."""
    command = [sys.executable, "-m", "benchmarks.shard_memory", "--weights", weights]
    command += ["--measure", str(checkpoint), str(store)]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, float] = json.loads(run.stdout)
    return result


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="Memory and time of sharding a 7B.")
    parser.add_argument("--weights", default="q4", choices=WEIGHTS, help="[default: q4]")
    parser.add_argument("--folder", type=Path, default=None, help="where to work")
    parser.add_argument("--layers", type=int, default=N_LAYERS, help=f"[default: {N_LAYERS}]")
    parser.add_argument("--random", action="store_true", help="random weights instead of zeros")
    parser.add_argument("--measure", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        checkpoint, store = options.measure
        print(json.dumps(measure(checkpoint, store, WeightFormats.choose(options.weights))))
        return
    values = MISTRAL_7B | {"num_hidden_layers": options.layers}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        checkpoint, store = Path(name, "checkpoint"), Path(name, "store")
        checkpoint.mkdir()
        checkpoint_bytes = write_checkpoint(checkpoint, values, options.random)
        figures = run_apart(checkpoint, store, options.weights)
    kind = "random" if options.random else "zeros"
    print("| checkpoint | layers | weights | store | peak memory | time |")
    print("| --- | ---: | --- | ---: | ---: | ---: |")
    whole_s = figures["rest_s"] + N_LAYERS * figures["layer_s"]
    extrapolated = f" (extrapolated: {whole_s:.0f} s)" if options.layers != N_LAYERS else ""
    print(
        f"| {checkpoint_bytes / 1e9:.1f} GB, {kind} | {options.layers} | {options.weights} "
        f"| {figures['store_bytes'] / 1e9:.1f} GB | {figures['peak_rss_bytes'] / 1e6:.0f} MB "
        f"| {figures['duration_s']:.1f} s{extrapolated} |"
    )
    result: dict[str, object] = {
        "checkpoint_bytes": checkpoint_bytes,
        "content": kind,
        "layers": options.layers,
    }
    if extrapolated:
        result["extrapolated_s"] = round(whole_s, 1)
    print(json.dumps(result | {"weights": options.weights} | figures))


if __name__ == "__main__":
    main()
