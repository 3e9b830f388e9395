"""Memory and time of sharding a checkpoint of Mistral 7B's shape.

    python -m benchmarks.shard_memory [--weights f16] [--folder DIR] [--layers 32]

The checkpoint is a sparse file of zeros (14.5 GB in bfloat16, next to nothing on disk), the store
is real: DIR needs as much room as the store, for as long as the benchmark runs. Prints a table row
and, as the last line, JSON.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from shard_tool.convert import shard
from shard_tool.names import hugging_face_name, tensor_shapes
from transformer.config import ModelConfig

MISTRAL_7B = {
    "architectures": ["MistralForCausalLM"],
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1e6,
    "sliding_window": None,
    "vocab_size": 32768,
}


def write_sparse_checkpoint(folder: Path, values: dict[str, object]) -> int:
    """Write config.json and a model.safetensors of zeros; return the bytes of its tensors."""
    (folder / "config.json").write_text(json.dumps(values))
    header, end = {}, 0
    for name, shape in tensor_shapes(ModelConfig.from_hugging_face(values)).items():
        size_bytes = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[hugging_face_name(name)] = {
            "dtype": "BF16",
            "shape": shape,
            "data_offsets": [end, end + size_bytes],
        }
        end += size_bytes
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    return end


def measure(checkpoint: Path, store: Path, weights: str) -> dict[str, float]:
    """Shard in this process and return its peak resident memory and the time it took."""
    start = time.perf_counter()
    manifest = shard(checkpoint, store, weights)
    duration_s = time.perf_counter() - start
    status = Path("/proc/self/status").read_text().splitlines()
    peak_kib = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    return {
        "store_bytes": manifest.size_bytes,
        "peak_rss_bytes": 1024 * peak_kib,
        "duration_s": round(duration_s, 1),
    }


def main() -> None:
    """Run the benchmark, in a process of its own so that nothing else counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default="f16", choices=("f16", "f32"))
    parser.add_argument("--folder", type=Path, default=None, help="where to work")
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--measure", type=Path, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        checkpoint, store = arguments.measure
        print(json.dumps(measure(checkpoint, store, arguments.weights)))
        return
    values = MISTRAL_7B | {"num_hidden_layers": arguments.layers}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        checkpoint, store = Path(name, "checkpoint"), Path(name, "store")
        checkpoint.mkdir()
        checkpoint_bytes = write_sparse_checkpoint(checkpoint, values)
        command = [sys.executable, "-m", "benchmarks.shard_memory", "--weights", arguments.weights]
        command += ["--measure", str(checkpoint), str(store)]
        run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result = {"checkpoint_bytes": checkpoint_bytes, "weights": arguments.weights}
    result |= json.loads(run.stdout)
    print("| checkpoint | weights | store | peak memory | time |")
    print("|---|---|---|---|---|")
    print(
        f"| {checkpoint_bytes / 1e9:.1f} GB | {result['weights']} "
        f"| {result['store_bytes'] / 1e9:.1f} GB | {result['peak_rss_bytes'] / 1e6:.0f} MB "
        f"| {result['duration_s']} s |"
    )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
