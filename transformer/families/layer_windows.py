"""Windows that differ from layer to layer, as the keys of ``config.json`` say them."""

from collections.abc import Sequence
from dataclasses import replace

from pi_cluster.transformer.config import LayerConfig
from pi_cluster.transformer.config_faults import MAX_SIZES
from pi_cluster.transformer.families.config_keys import ConfigKeys
from pi_cluster.transformer.families.family import Layers

_FULL, _SLIDING = "full_attention", "sliding_attention"
# What transformers' Qwen2 and Qwen3 take where the keys are absent.
_FIRST_WITH_WINDOW, _WINDOW = 28, 4_096


def read_layer_types(keys: ConfigKeys, n_layers: int) -> list[bool] | None:
    """Of each layer whether ``layer_types`` gives it the window; None if there is no such list."""
    kinds = keys.ask("layer_types")
    if kinds is None:
        return None
    if not isinstance(kinds, list) or len(kinds) != n_layers:
        raise keys.refusal("layer_types", f"it must be a list of one word for each of {n_layers}")
    if any(kind not in (_FULL, _SLIDING) for kind in kinds):
        raise keys.refusal("layer_types", f"only {_FULL!r} and {_SLIDING!r} are computed here")
    return [kind == _SLIDING for kind in kinds]


def with_windows(layers: Sequence[LayerConfig], window: int, has_window: Sequence[bool]) -> Layers:
    """The layers, those of ``has_window`` with the window."""
    return tuple(
        replace(layer, window=window) if windowed else layer
        for layer, windowed in zip(layers, has_window, strict=True)
    )


def optional_windows(
    keys: ConfigKeys, layers: Sequence[LayerConfig], usual: Sequence[bool], default: int | None
) -> Layers:
    """Windows that are there only with ``use_sliding_window``, as in Qwen2, Qwen3 and SmolLM3.

    ``usual`` says which layers have one where no ``layer_types`` does; ``default`` is the window
    where the key is absent. Without ``use_sliding_window``, transformers sees all positions.
    """
    window = None
    keys.ask("sliding_window")
    if keys.flag("use_sliding_window"):
        window = keys.window("sliding_window")
        if "sliding_window" not in keys and default is not None:
            keys.assume("sliding_window", default, "as transformers does for this family")
            window = default
    said = read_layer_types(keys, len(layers))
    if window is not None:
        return with_windows(layers, window, usual if said is None else said)
    if said is not None and any(said):
        raise keys.refusal(
            "layer_types",
            "but there is no window: use_sliding_window is not true, or there is no sliding_window",
        )
    return tuple(layers)


def windows_of_later_layers(keys: ConfigKeys, layers: Sequence[LayerConfig]) -> Layers:
    """As ``optional_windows``, from layer ``max_window_layers`` on, as in Qwen2 and Qwen3."""
    first = keys.ask("max_window_layers")
    if first is None:
        first = _FIRST_WITH_WINDOW
        if keys.flag("use_sliding_window") and keys.ask("layer_types") is None:
            keys.assume("max_window_layers", first, "as transformers does for this family")
    if type(first) is not int or not 0 <= first <= MAX_SIZES["n_layers"]:
        raise keys.refusal("max_window_layers", "it must be a whole number")
    usual = [number >= first for number in range(len(layers))]
    return optional_windows(keys, layers, usual, default=_WINDOW)


def no_windows(keys: ConfigKeys, n_layers: int) -> None:
    """Refuse keys that give a window to layers of a family that has none."""
    if keys.flag("use_sliding_window"):
        raise keys.refusal("use_sliding_window", "but models of this family have no window")
    keys.ask("max_window_layers")
    if any(read_layer_types(keys, n_layers) or ()):
        raise keys.refusal("layer_types", "but models of this family have no window")
