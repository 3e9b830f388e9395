import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from pi_cluster.cluster.errors import StoreError
from pi_cluster.cluster.store.manifest import Manifest
from pi_cluster.cluster.store.store import Store
from tests.support import stores
from tests.support.checkpoints import random_weights, small_config, write_hugging_face_checkpoint

ROOT = Path(__file__).parents[2]
SMALL = small_config(vocab_size=2048)
shard = partial(stores.shard, weights="q4")  # packed, as stores are unless told otherwise


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def run_python(code, *arguments):
    """Run code in a process of its own that sees this repository."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )


class Interruption(Exception):
    pass


def interrupt_in(file_name):
    def on_progress(done_bytes, total_bytes, name):
        if name == file_name:
            raise Interruption

    return on_progress


FILES = [
    "tokenizer.model",
    "embedding.safetensors",
    *(f"layer-{layer:02d}.safetensors" for layer in range(3)),
    "head.safetensors",
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    write_hugging_face_checkpoint(folder, SMALL, shards=2)
    shutil.copy(ROOT / "storyteller" / "checkpoint" / "tokenizer.model", folder)
    return folder


@pytest.fixture(scope="module")
def finished(checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "s"
    shard(checkpoint, folder)
    return contents(folder)


@pytest.mark.parametrize("stop", FILES)
def test_interrupted_in_any_file_the_next_run_keeps_what_is_done(
    tmp_path, checkpoint, finished, stop
):
    with pytest.raises(Interruption):
        shard(checkpoint, tmp_path, on_progress=interrupt_in(stop))
    before = FILES[: FILES.index(stop)]
    assert {*contents(tmp_path)} == {*before, "journal.json"}
    with pytest.raises(StoreError, match="interrupted"):
        Store(tmp_path)
    times = {name: (tmp_path / name).stat().st_mtime_ns for name in before}
    shard(checkpoint, tmp_path)
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in before} == times
    assert contents(tmp_path) == finished


KILL = """
import os, signal, sys
from pathlib import Path
from pi_cluster.shard_tool.sources import source_tensor
from tests.support.stores import shard
source_tensor.BLOCK_BYTES = 4096
seen = []
def on_progress(done_bytes, total_bytes, name):
    seen.append(name)
    if seen.count(sys.argv[3]) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
shard(Path(sys.argv[1]), Path(sys.argv[2]), "q4", on_progress=on_progress)
"""


@pytest.mark.parametrize("stop", ["embedding.safetensors", "layer-01.safetensors"])
def test_killed_in_the_middle_of_a_file_the_next_run_completes_the_same_store(
    tmp_path, checkpoint, finished, stop
):
    run = run_python(KILL, checkpoint, tmp_path, stop)
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert (tmp_path / f"{stop}.partial").stat().st_size > 0
    assert not (tmp_path / stop).exists()
    shard(checkpoint, tmp_path)
    assert contents(tmp_path) == finished


def test_a_file_damaged_after_the_interruption_is_written_again(tmp_path, checkpoint, finished):
    with pytest.raises(Interruption):
        shard(checkpoint, tmp_path, on_progress=interrupt_in("head.safetensors"))
    path = tmp_path / "layer-00.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    shard(checkpoint, tmp_path)
    assert contents(tmp_path) == finished


@pytest.mark.parametrize(
    "journal", [b"", b"[]", b'{"source": 1}', b'{"source": "a", "files": [1]}']
)
def test_a_torn_journal_means_to_start_over(tmp_path, checkpoint, finished, journal):
    with pytest.raises(Interruption):
        shard(checkpoint, tmp_path, on_progress=interrupt_in("head.safetensors"))
    (tmp_path / "journal.json").write_bytes(journal)
    shard(checkpoint, tmp_path)
    assert contents(tmp_path) == finished


def test_a_journal_of_another_checkpoint_means_to_start_over(tmp_path, checkpoint, finished):
    write_hugging_face_checkpoint(tmp_path / "other", small_config(n_layers=5), seed=9)
    with pytest.raises(Interruption):
        shard(tmp_path / "other", tmp_path / "s", on_progress=interrupt_in("head.safetensors"))
    shard(checkpoint, tmp_path / "s")
    assert contents(tmp_path / "s") == finished


def test_a_finished_store_is_left_alone_by_the_same_command(tmp_path, checkpoint):
    shard(checkpoint, tmp_path)
    times = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    seen = []
    shard(checkpoint, tmp_path, on_progress=lambda *progress: seen.append(progress))
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times
    assert seen[-1][0] == seen[-1][1]


def test_a_damaged_store_is_mended_by_the_command_that_verify_names(tmp_path, checkpoint, finished):
    shard(checkpoint, tmp_path)
    (tmp_path / "layer-02.safetensors").unlink()
    kept = (tmp_path / "layer-01.safetensors").stat().st_mtime_ns
    (damage,) = Store(tmp_path).verify()
    assert damage.file_name == "layer-02.safetensors"
    assert f"--out {tmp_path} --weights q4 --outer-weights q8" in damage.command
    shard(checkpoint, tmp_path)
    assert contents(tmp_path) == finished
    assert (tmp_path / "layer-01.safetensors").stat().st_mtime_ns == kept


def test_a_store_of_other_weights_or_another_checkpoint_is_not_overwritten(tmp_path, checkpoint):
    shard(checkpoint, tmp_path / "s")
    before = contents(tmp_path / "s")
    write_hugging_face_checkpoint(tmp_path / "other", seed=9)
    refused = [
        (checkpoint, {"weights": "f16"}),
        (checkpoint, {"outer_weights": "q4"}),
        (tmp_path / "other", {}),
    ]
    for source, formats in refused:
        with pytest.raises(StoreError, match="another folder with --out, or delete"):
            shard(source, tmp_path / "s", **formats)
    assert contents(tmp_path / "s") == before


def test_a_folder_with_other_things_in_it_is_not_touched(tmp_path, checkpoint):
    (tmp_path / "letters").write_text("dear")
    with pytest.raises(StoreError, match="letters"):
        shard(checkpoint, tmp_path)
    with pytest.raises(StoreError, match="not empty"):
        shard(checkpoint, checkpoint)
    assert [path.name for path in tmp_path.iterdir()] == ["letters"]


def test_two_runs_into_one_folder_do_not_mix(tmp_path, checkpoint, finished):
    def start_another(done_bytes, total_bytes, name):
        with pytest.raises(StoreError, match="another `pi-cluster shard`"):
            shard(checkpoint, tmp_path)

    shard(checkpoint, tmp_path, on_progress=start_another)
    assert contents(tmp_path) == finished


def test_too_little_room_is_refused_beforehand_with_figures(tmp_path, checkpoint, monkeypatch):
    usage = SimpleNamespace(free=1_034_000)
    monkeypatch.setattr("pi_cluster.shard_tool.convert.shutil.disk_usage", lambda path: usage)
    with pytest.raises(StoreError, match=r"needs 0\.\d MB more .* 1\.0 MB free.*--out"):
        shard(checkpoint, tmp_path / "s")
    assert contents(tmp_path / "s") == {}


FULL_DISK = """
import sys
from functools import partial
from pathlib import Path
from pi_cluster.cluster.errors import StoreError
from tests.support.stores import shard
disk, filler = Path(sys.argv[2]), Path(sys.argv[2], "filler")
def fill_up(done_bytes, total_bytes, name):
    if name == "layer-01.safetensors" and not filler.exists():
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError as error:
                print("errno", error.errno)
try:
    shard(Path(sys.argv[1]), disk / "s", "q4", on_progress=fill_up)
except StoreError as error:
    print("refused", error)
print("left", *sorted(path.name for path in (disk / "s").iterdir()))
filler.unlink()
print("whole", shard(Path(sys.argv[1]), disk / "s", "q4").digest)
"""


def test_a_disk_that_fills_up_is_named_and_the_next_run_goes_on(tmp_path, checkpoint, finished):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = 'mount -t tmpfs -o size=4m none "$1" && exec "$2" -c "$3" "$4" "$1"'
    command = ["unshare", "-rm", "sh", "-c", mount, "sh", disk, sys.executable, FULL_DISK]
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this system does not let a user mount a small disk of his own")
    run = subprocess.run([*command, checkpoint], cwd=ROOT, capture_output=True, text=True)
    lines = dict(line.split(" ", 1) for line in run.stdout.splitlines())
    assert lines["errno"] == "28", run.stderr
    assert "layer-01.safetensors: No space left on device" in lines["refused"]
    assert "run the same command again" in lines["refused"]
    assert lines["left"].split() == sorted([*FILES[:3], "journal.json"])
    assert lines["whole"] == Manifest.from_json(finished["manifest.json"].decode()).digest


PEAK = """
import sys
from functools import partial
from pathlib import Path
from tests.support.stores import shard
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
before = peak()
shard(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
print(peak() - before)
"""


@pytest.fixture(scope="module")
def wide_checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wide")
    config = small_config(dim=1024, n_layers=1, vocab_size=50_000, hidden_dim=2048)
    weights = random_weights(config)
    write_hugging_face_checkpoint(folder, config, weights=weights)
    return folder, 2 * weights["tok_embeddings.weight"].size


@pytest.mark.parametrize("weights", ["q4", "f16", "f32"])
def test_memory_stays_at_a_few_blocks_for_tensors_of_100_megabytes(
    tmp_path, wide_checkpoint, weights
):
    folder, largest_bytes = wide_checkpoint
    assert largest_bytes > 100_000_000
    run = run_python(PEAK, folder, tmp_path / "s", weights)
    assert int(run.stdout) < 0.8 * largest_bytes, run.stderr
