"""Mixtures: layers of four bits in which the matrices that suffer most from it have eight.

Values are read by every head of their group, and what w2 gives out is added to the residual stream
as it is. The first layers and the last are worth more bits than those between. llama.cpp's Q4_K_M
chooses so too (``llama-quant.cpp``).
"""

Q4M = "q4m"
"""q4n; the values of all layers, and w2 of the first and the last sixteenth, in q8."""

MIXTURES = (Q4M,)

_USUAL, _FINER = "q4n", "q8"
_VALUES, _DOWN = "attention.wv.weight", "feed_forward.w2.weight"
_PART = 16


def matrix_format(weights: str, name: str, layer: int, n_layers: int) -> str:
    """The format of a matrix of one layer in ``weights``, a mixture or a format itself."""
    if weights != Q4M:
        return weights
    return _FINER if name == _VALUES or (name == _DOWN and _is_outer(layer, n_layers)) else _USUAL


def _is_outer(layer: int, n_layers: int) -> bool:
    ends = max(1, round(n_layers / _PART))
    return not ends <= layer < n_layers - ends
