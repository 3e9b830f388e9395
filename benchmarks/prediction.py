"""What ``pi-cluster plan`` predicts beside what ``pi-cluster bench`` then measures.

Two workers of one thread, each pinned to a core of its own, hold layers of Mistral 7B's shape in
random weights. Nothing else should be running::

    python -m benchmarks.prediction

Each objective is planned, brought up and measured. The last line is JSON.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.kernels.machine import cpu_name
from benchmarks.virtual.mistral import CONFIG as MISTRAL
from pi_cluster.cluster.atomic_file import write_bytes
from pi_cluster.cluster.store.manifest import (
    EMBEDDING_NAME,
    HEAD_NAME,
    Manifest,
    ShardFile,
    layer_file_name,
)
from pi_cluster.cluster.store.store import MANIFEST_NAME
from pi_cluster.cluster.store.tensor_writing import TensorSource, write_tensor_file
from pi_cluster.coordinator.planning.objective import Objective
from pi_cluster.transformer.config_form import plain_config
from pi_cluster.transformer.formats import (
    WeightFormats,
    embedding_formats,
    head_formats,
    layer_formats,
    stored_as,
)
from pi_cluster.transformer.shapes import Shapes, embedding_shapes, head_shapes, layer_shapes
from pi_cluster.worker.command_line import WorkerCommand

_CLUSTER = "prediction"
_WORKERS = 2
_TESTS = {"pp512": "prefill_tps", "tg32": "decode_tps"}
_GEN_TOKENS = 32
_MAX_OFF = 0.15
_SCALE = 0.004
_BLOCK_BYTES, _SCALE_BYTES = {"q4n": 288, "q8": 544}, 32

_CONFIG = replace(MISTRAL, layers=MISTRAL.layers[:8], vocab_size=8_192, max_positions=1_024)


@click.command()
@click.option("--repeat", type=click.IntRange(1), default=3, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Of the store, 1 GB, for reuse.")
def main(repeat: int, folder: Path | None) -> None:
    """Compare predictions with measurements on this machine."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < _WORKERS:
        raise click.ClickException(f"{_WORKERS} cores are needed, one for each worker")
    with tempfile.TemporaryDirectory() as scratch:
        store = folder or Path(scratch) / "store"
        if not (store / MANIFEST_NAME).exists():
            _write_store(store)
        environment = os.environ | {"XDG_STATE_HOME": str(Path(scratch) / "state")}
        with _workers(Path(scratch), cores[:_WORKERS], environment) as addresses:
            command = _Command(environment, addresses)
            results = [_compare(command, store, objective, repeat) for objective in Objective]
    click.echo(
        f"{cpu_name()}: one thread for each of {_WORKERS} workers, {_CONFIG.n_layers} layers"
    )
    click.echo("| objective | stages | test | predicted | measured | ratio | within 15 % |")
    click.echo("| --- | ---: | --- | ---: | ---: | ---: | --- |")
    for row in (row for rows in results for row in rows):
        figures = f"{row['predicted']:.2f} | {row['measured']:.2f} | {row['ratio']:.3f}"
        verdict = "yes" if abs(row["ratio"] - 1) <= _MAX_OFF else "no"
        place = f"{row['objective']} | {row['stages']} | {row['test']}"
        click.echo(f"| {place} | {figures} | {verdict} |")
    click.echo(json.dumps([row for rows in results for row in rows]))


class _Command:
    """``pi-cluster`` with the workers of this benchmark."""

    def __init__(self, environment: dict[str, str], addresses: list[str]) -> None:
        self._environment = environment
        self.addresses = ",".join(addresses)

    def run(self, name: str, *words: str) -> str:
        """Its standard output."""
        program = str(Path(sys.executable).with_name("pi-cluster"))
        return subprocess.run(
            [program, name, "--cluster", _CLUSTER, *words],
            env=self._environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout


def _compare(
    command: _Command, store: Path, objective: Objective, repeat: int
) -> list[dict[str, Any]]:
    plans = json.loads(command.run("plan", str(store), "--nodes", command.addresses, "--json"))
    plan = next(p for p in plans["plans"] if objective in p["objectives"])
    command.run("up", str(store), "--nodes", command.addresses, "--objective", objective)
    words = ("--gen-tokens", str(_GEN_TOKENS), "--repeat", str(repeat), "--format", "json")
    rows = []
    for test in json.loads(command.run("bench", "--draft", "off", *words)):
        predicted = plan[_TESTS[test["test"]]]
        measured = test["tokens_per_second"]["mean"]
        rows.append(
            {
                "objective": objective.value,
                "stages": len(plan["stages"]),
                "test": test["test"],
                "predicted": predicted,
                "measured": measured,
                "ratio": predicted / measured,
            }
        )
    return rows


@contextlib.contextmanager
def _workers(scratch: Path, cores: list[int], environment: dict[str, str]) -> Iterator[list[str]]:
    with contextlib.ExitStack() as stack:
        addresses = []
        for core in cores:
            worker = WorkerCommand(
                _CLUSTER,
                str(scratch / f"core-{core}"),
                threads=1,
                listen="127.0.0.1:0",
                name=f"core-{core}",
                announce=False,
            )
            words = ["taskset", "--cpu-list", str(core), *worker.words]
            process = subprocess.Popen(
                words,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.terminate)
            assert process.stdout is not None
            addresses.append(process.stdout.readline().split()[1])
        yield addresses


def _write_store(folder: Path) -> None:
    """A store of random weights, which compute as slowly as any other."""
    folder.mkdir(parents=True, exist_ok=True)
    formats = WeightFormats()
    outer = embedding_shapes(_CONFIG), embedding_formats(_CONFIG, formats)
    files = [_write_file(folder / EMBEDDING_NAME, *outer, 0)]
    for index, layer in enumerate(_CONFIG.layers):
        shapes, forms = layer_shapes(layer, _CONFIG.dim), layer_formats(_CONFIG, index, formats)
        files.append(_write_file(folder / layer_file_name(index), shapes, forms, index + 1))
    outer = head_shapes(_CONFIG), head_formats(_CONFIG, formats)
    files.append(_write_file(folder / HEAD_NAME, *outer, 99))
    manifest = Manifest(
        weights=formats.layers,
        outer_weights=formats.outer,
        config=plain_config(_CONFIG),
        bos_id=1,
        eos_ids=(2,),
        files=tuple(files),
    )
    write_bytes(folder / MANIFEST_NAME, manifest.to_json().encode())


def _write_file(path: Path, shapes: Shapes, formats: Mapping[str, str], seed: int) -> ShardFile:
    generator = np.random.default_rng(seed)
    sources = []
    for name, shape in shapes.items():
        form = formats[name]
        dtype, stored = stored_as(shape, form)
        if form == "f32":
            data = np.ones(shape, np.float32)
        else:
            data = generator.integers(0, 256, stored, np.uint8)
            scales = np.full(_SCALE_BYTES // 2, _SCALE, np.float16).view(np.uint8)
            data.reshape(-1, _BLOCK_BYTES[form])[:, :_SCALE_BYTES] = scales
        sources.append(TensorSource(name, dtype, stored, iter([data])))
    written = write_tensor_file(path, sources)
    return ShardFile(path.name, written.size_bytes, written.sha256)


if __name__ == "__main__":
    main()
