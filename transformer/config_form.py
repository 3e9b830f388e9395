"""A model's configuration as a plain mapping, the way a store's manifest keeps it.

Equal layers that follow each other are one entry with a ``count``, and values that a field has by
default are left out: a field that is added later changes no manifest that does without it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, asdict, fields
from itertools import groupby
from typing import Any

from pi_cluster.transformer.config import LayerConfig, ModelConfig, RopeTable
from pi_cluster.transformer.config_faults import MAX_SIZES, REAL_BOUNDS, as_json, finite
from pi_cluster.transformer.errors import UnsupportedModel

_COUNT = "count"


def plain_config(config: ModelConfig) -> dict[str, Any]:
    """The configuration as a mapping of what JSON can hold."""
    runs = [(layer, len(list(run))) for layer, run in groupby(config.layers)]
    own = {f.name: getattr(config, f.name) for f in fields(config)}
    return own | {
        "rope_tables": [_without_defaults(table) for table in config.rope_tables],
        "layers": [{_COUNT: count, **_without_defaults(layer)} for layer, count in runs],
    }


def read_config(values: Mapping[str, Any]) -> ModelConfig:
    """Rebuild what ``plain_config`` returned, or what a store of version 1 has.

    Raises ``UnsupportedModel`` for a field that is missing, not known or of the wrong type.
    """
    if "n_layers" in values:
        return _read_version_1(values)
    _check_names(values, fields(ModelConfig), "the model configuration")
    tables = [_table(entry) for entry in _entries(values, "rope_tables")]
    layers: list[LayerConfig] = []
    for entry in _entries(values, "layers"):
        layer, count = _layer(entry)
        if count > MAX_SIZES["n_layers"] - len(layers):
            raise UnsupportedModel(f"there are more than {MAX_SIZES['n_layers']} layers")
        layers += [layer] * count
    return ModelConfig(**{**_reals(values), "rope_tables": tuple(tables), "layers": tuple(layers)})


_VERSION_1 = {
    *("dim", "n_layers", "n_heads", "n_kv_heads", "head_dim", "hidden_dim", "vocab_size"),
    *("norm_eps", "rope_theta", "window", "max_positions"),
}


def _read_version_1(values: Mapping[str, Any]) -> ModelConfig:
    for name in sorted(_VERSION_1 - values.keys()):
        raise UnsupportedModel(f"the model configuration lacks {name}")
    for name in sorted(values.keys() - _VERSION_1, key=str):
        raise UnsupportedModel(f"the model configuration names {name!r}, which is not known")
    return ModelConfig.uniform(**_reals(values))


def _without_defaults(value: LayerConfig | RopeTable) -> dict[str, Any]:
    defaults = {field.name: field.default for field in fields(value)}
    kept = {name: v for name, v in asdict(value).items() if v != defaults[name]}
    return {name: list(v) if isinstance(v, tuple) else v for name, v in kept.items()}


def _layer(entry: Mapping[str, Any]) -> tuple[LayerConfig, int]:
    count = entry.get(_COUNT)
    if type(count) is not int or count < 1:
        raise UnsupportedModel(f"{_COUNT} of layers is {as_json(count)}; it must be from 1")
    values = {name: value for name, value in entry.items() if name != _COUNT}
    _check_names(values, fields(LayerConfig), "a layer of the model configuration")
    return LayerConfig(**_reals(values)), count


def _table(entry: Mapping[str, Any]) -> RopeTable:
    _check_names(entry, fields(RopeTable), "a rope table of the model configuration")
    values = _reals(entry)
    if isinstance(factors := entry.get("factors"), list):
        values["factors"] = tuple(_real("factors", factor) for factor in factors)
    return RopeTable(**values)


def _entries(values: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    entries = values[name]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UnsupportedModel(f"{name} is {as_json(entries)}; it must be a list of objects")
    return entries


def _check_names(values: Mapping[str, Any], known: tuple[Field[Any], ...], of: str) -> None:
    for field in known:
        if field.name not in values and field.default is MISSING:
            raise UnsupportedModel(f"{of} lacks {field.name}")
    for name in sorted(values.keys() - {field.name for field in known}, key=str):
        raise UnsupportedModel(f"{of} names {name!r}, which is not known: update pi-cluster")


def _reals(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, with whole numbers made real where a field is."""
    is_real = {name for name in REAL_BOUNDS if type(values.get(name)) in (int, float)}
    return {name: _real(name, v) if name in is_real else v for name, v in values.items()}


def _real(name: str, value: Any) -> float:
    if (real := finite(value)) is None:
        raise UnsupportedModel(f"{name} is {as_json(value)}; it must be a finite number")
    return real
