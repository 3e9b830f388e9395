"""The mixture that stores are in unless told otherwise: which matrices, and how many bits."""

import math

import pytest

from pi_cluster.cluster.store import manifest
from pi_cluster.kernels import PACKABLE_FORMATS
from pi_cluster.transformer.errors import UnsupportedModel
from pi_cluster.transformer.formats import WeightFormats, layer_formats
from pi_cluster.transformer.mixtures import MIXTURES
from pi_cluster.transformer.shapes import layer_shapes
from pi_cluster.transformer.weight_bytes import weight_bytes
from tests.support.checkpoints import small_config
from tests.support.published_configurations import MISTRAL_7B

VALUES, DOWN = "attention.wv.weight", "feed_forward.w2.weight"


def in_q8(config, index):
    formats = layer_formats(config, index, WeightFormats())
    return {name for name, form in formats.items() if form == "q8"}


def test_stores_are_in_the_mixture_unless_told_otherwise():
    assert WeightFormats() == WeightFormats.choose(manifest.USUAL_WEIGHTS)
    assert (*MIXTURES, *PACKABLE_FORMATS) == manifest.WEIGHTS
    assert manifest.OUTER_WEIGHTS == PACKABLE_FORMATS


@pytest.mark.parametrize(
    ("n_layers", "ends"), [(1, 1), (2, 1), (3, 1), (16, 1), (28, 2), (30, 2), (32, 2), (80, 5)]
)
def test_all_values_are_in_q8_and_w2_of_the_first_and_the_last_layers(n_layers, ends):
    config = small_config(n_layers=n_layers)
    found = [in_q8(config, index) for index in range(n_layers)]
    assert all(VALUES in of_layer for of_layer in found)
    both = [DOWN in of_layer for of_layer in found]
    assert both == [index < ends or index >= n_layers - ends for index in range(n_layers)]
    assert set().union(*found) == {VALUES, DOWN}


def test_all_other_matrices_are_in_q4n():
    for index in range(MISTRAL_7B.n_layers):
        formats = layer_formats(MISTRAL_7B, index, WeightFormats())
        others = formats.keys() - in_q8(MISTRAL_7B, index)
        assert {formats[name] for name in others} == {"f32", "q4n"}  # gains are vectors


def test_a_7b_takes_no_more_than_4_75_bits_a_weight():
    sizes = weight_bytes(MISTRAL_7B, WeightFormats())
    layers = (layer_shapes(layer, MISTRAL_7B.dim) for layer in MISTRAL_7B.layers)
    weights = sum(math.prod(shape) for shapes in layers for shape in shapes.values())
    assert 4.5 < 8 * sum(sizes.layers) / weights <= 4.75


def test_embedding_and_head_are_in_no_mixture():
    with pytest.raises(UnsupportedModel, match="'q4m' are not known; known are f32, f16"):
        WeightFormats.choose("q4", "q4m")
