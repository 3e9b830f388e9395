"""Shards whose bytes are as sent, but are not the tensors of the model that the manifest names."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from pi_cluster.cluster.errors import StoreError
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.store.manifest import Manifest, ShardFile
from pi_cluster.cluster.store.tensor_formats import StoreFormats
from pi_cluster.kernels import Matrix
from pi_cluster.transformer.limits import Limits
from pi_cluster.worker.shards.vault import ShardVault
from pi_cluster.worker.stage import loading
from pi_cluster.worker.stage.loading import load_stage
from tests.support.checkpoints import small_config, write_hugging_face_checkpoint
from tests.support.kernel_engines import engine
from tests.support.stores import shard

LIMITS = Limits(max_step_rows=16, max_sequences=1, context=64, cache_positions=64)
CODES = {"F32": np.float32, "F16": np.float16, "U8": np.uint8, "I8": np.int8, "U16": np.uint16}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A folder with a store in q4, and its manifest."""
    folder = tmp_path_factory.mktemp("loading")
    write_hugging_face_checkpoint(folder / "c", small_config(n_layers=2))
    return folder / "s", shard(folder / "c", folder / "s", "q4")


def read(path):
    """The tensors of a safetensors file as (dtype, shape, bytes), in their order."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    entries = json.loads(data[8:start])
    return {
        name: (e["dtype"], e["shape"], data[start + e["data_offsets"][0] :][: _length(e)])
        for name, e in entries.items()
    }


def with_outer_format(manifest, name, form):
    """The manifest, which says that a tensor of embedding or head is in another format."""
    formats = manifest.formats
    changed = [
        {n: form if n == name else f for n, f in of_file.items()}
        for of_file in (formats.embedding, formats.head)
    ]
    return replace(manifest, formats=StoreFormats(changed[0], formats.layers, changed[1]))


def _length(entry):
    first, last = entry["data_offsets"]
    return last - first


def write(tensors, shift=0):
    """A valid safetensors file, its tensors ``shift`` bytes from where they can be mapped."""
    header, end = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        assert len(data) == np.prod(shape) * np.dtype(CODES[dtype]).itemsize
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + len(data)]}
        end += len(data)
    text = json.dumps(header).encode()
    text += b" " * ((shift - 8 - len(text)) % 64)
    return len(text).to_bytes(8, "little") + text + b"".join(data for *_, data in tensors.values())


def load(folder, manifest, tmp_path, file_name="", data=b"", layers=(0, 2)):
    """Load a stage, with one file of other content that its manifest vouches for."""
    vault = ShardVault(tmp_path / "shards")
    files = []
    for file in manifest.files:
        content = data if file.name == file_name else (folder / file.name).read_bytes()
        file = ShardFile(file.name, len(content), sha256(content).hexdigest())
        vault.receive(file.sha256, file.size_bytes, 0, [content])
        files.append(file)
    manifest = replace(manifest, files=tuple(files))
    return load_stage(manifest, LayerRange(*layers), LIMITS, vault, engine())


def zeros(dtype, *shape):
    return dtype, list(shape), bytes(int(np.prod(shape)) * np.dtype(CODES[dtype]).itemsize)


# A q4 matrix of 64 x 64 has 4 groups of rows x 2 blocks of 288 bytes.
WQ, GAIN, W2 = "attention.wq.weight", "ffn_norm.weight", "feed_forward.w2.weight"
UNFIT = {
    "a matrix too short by a byte": (WQ, zeros("U8", 2303)),
    "a matrix too short by a cache line": (WQ, zeros("U8", 2240)),
    "an empty matrix": (WQ, zeros("U8", 0)),
    "a matrix too long": (WQ, zeros("U8", 2368)),
    "a matrix of other bytes": (WQ, zeros("I8", 2304)),
    "a matrix of the same bytes in rows": (WQ, zeros("U8", 64, 36)),
    "a matrix of twice the width": (WQ, zeros("U16", 1152)),
    "a matrix that is not packed": (WQ, zeros("F16", 64, 64)),
    "a matrix packed in q8": (W2, zeros("U8", 4 * 3 * 544)),
    "a gain too short": (GAIN, zeros("F32", 63)),
    "a gain too long": (GAIN, zeros("F32", 65)),
    "a gain of half precision": (GAIN, zeros("F16", 64)),
    "a gain with a second axis": (GAIN, zeros("F32", 64, 1)),
    "no gain": (GAIN, None),
    "no matrix": (W2, None),
}


@pytest.fixture
def no_kernels(monkeypatch):
    """C must not see such a stage: what would hand it over is out of reach."""
    monkeypatch.setattr(loading, "KernelArithmetic", lambda *_: pytest.fail("C saw it"))


@pytest.mark.parametrize("case", UNFIT)
def test_a_tensor_that_the_manifest_does_not_ask_for_is_refused_by_name(
    store, tmp_path, no_kernels, case
):
    folder, manifest = store
    name, changed = UNFIT[case]
    tensors = read(folder / "layer-01.safetensors") | {name: changed}
    data = write({name: tensor for name, tensor in tensors.items() if tensor})
    with pytest.raises(StoreError, match=rf"layer-01\.safetensors .*{name}.*pi-cluster shard"):
        load(folder, manifest, tmp_path, "layer-01.safetensors", data)


@pytest.mark.parametrize("shift", [1, 2, 4, 32])
def test_tensors_that_do_not_begin_where_they_can_be_read_are_refused(
    store, tmp_path, no_kernels, shift
):
    folder, manifest = store
    data = write(read(folder / "head.safetensors"), shift)
    with pytest.raises(StoreError, match=r"head\.safetensors .*norm\.weight begins at"):
        load(folder, manifest, tmp_path, "head.safetensors", data)


@pytest.mark.parametrize(
    ("file_name", "name", "layers"),
    [
        ("embedding.safetensors", "tok_embeddings.weight", (0, 1)),
        ("head.safetensors", "output.weight", (1, 2)),
    ],
)
def test_embedding_and_head_are_held_to_the_outer_format(
    store, tmp_path, no_kernels, file_name, name, layers
):
    folder, manifest = store
    with pytest.raises(StoreError, match=f"{file_name} .*{name}"):
        load(folder, with_outer_format(manifest, name, "q4"), tmp_path, layers=layers)
    tensors = read(folder / file_name)
    dtype, (length,), data = tensors[name]
    tensors[name] = dtype, [length - 544], data[:-544]
    with pytest.raises(StoreError, match=f"{file_name} .*{name}"):
        load(folder, manifest, tmp_path, file_name, write(tensors), layers)


@pytest.mark.parametrize(
    "changes",
    [{"dim": 96}, {"hidden_dim": 128}, {"vocab_size": 160}, {"n_kv_heads": 4}, {"head_dim": 32}],
    ids=str,
)
def test_files_of_a_smaller_model_than_the_manifest_describes_are_refused(
    store, tmp_path, no_kernels, changes
):
    folder, manifest = store
    config = dict(manifest.config)
    (layer,) = config["layers"]
    of_layer = {key: value for key, value in changes.items() if key in layer}
    config |= {"layers": [layer | of_layer]} if of_layer else changes
    larger = replace(manifest, config=config)
    with pytest.raises(StoreError, match="does not fit its manifest"):
        load(folder, larger, tmp_path)


def test_a_file_that_is_no_safetensors_file_is_refused(store, tmp_path, no_kernels):
    folder, manifest = store
    for data in (b"", b"\xff" * 4096, (folder / "head.safetensors").read_bytes()[:-1]):
        with pytest.raises(StoreError, match="torn"):
            load(folder, manifest, tmp_path, "head.safetensors", data)


def test_the_same_file_written_again_is_taken(store, tmp_path):
    """What the refusals above rest on: it is the change that is refused, not the rewriting."""
    folder, manifest = store
    data = write(read(folder / "layer-01.safetensors"))
    loaded = load(folder, manifest, tmp_path, "layer-01.safetensors", data)
    assert loaded.stage.embed(np.array([5, 129])).shape == (2, 64)


def test_weights_are_views_of_the_mapped_files_and_not_copies(store, tmp_path, monkeypatch):
    folder, manifest = store
    seen = []
    whole = loading.KernelArithmetic

    def note(config, layers, tensors, *rest):
        seen.extend([*tensors.layers, tensors.embedding, tensors.head])
        return whole(config, layers, tensors, *rest)

    monkeypatch.setattr(loading, "KernelArithmetic", note)
    loaded = load(folder, manifest, tmp_path)
    maps = Path("/proc/self/maps").read_text()
    mapped = [line.split() for line in maps.splitlines() if "/shards/" in line]
    areas = [[int(end, 16) for end in words[0].split("-")] for words in mapped]
    arrays = [t.data if isinstance(t, Matrix) else t for part in seen for t in part.values()]
    assert len(arrays) == 2 * 9 + 3
    for array in arrays:
        place = array.ctypes.data
        assert any(first <= place and place + array.nbytes <= last for first, last in areas)
    assert loaded.weight_bytes == sum(file.size_bytes for file in manifest.files)


def test_a_store_of_version_1_is_loaded_whose_formats_follow_from_two_names(store, tmp_path):
    folder, manifest = store
    older = Manifest.from_json(as_version_1(manifest))
    assert older.formats is None
    assert older.digest != manifest.digest
    loaded = load(
        folder,
        older,
        tmp_path,
        "layer-01.safetensors",
        (folder / "layer-01.safetensors").read_bytes(),
    )
    assert loaded.stage.embed(np.array([5, 129])).shape == (2, 64)


def as_version_1(manifest):
    """The text of the manifest that an older pi-cluster wrote of the same files."""
    values = json.loads(manifest.to_json()) | {"version": 1}
    del values["formats"]
    config = values["config"]
    (layer,), (table,) = config.pop("layers"), config.pop("rope_tables")
    config |= {"n_layers": layer.pop("count"), "rope_theta": table["theta"], **layer}
    return json.dumps(values)
