"""Networks: what goes in, what comes out, and that they can be stored safely."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from jetexp.taggers.catalogue import build_network
from jetexp.taggers.settings import CnnSettings, NotebookSettings


def dense_layers(network):
    return [
        (layer.units, layer.activation.__name__)
        for layer in network.layers
        if isinstance(layer, keras.layers.Dense)
    ]


def test_the_notebook_network_is_the_notebooks_layer_for_layer():
    network = build_network(NotebookSettings(), {"image": (40, 40, 1)}, 2, seed=0)
    kinds = [type(layer).__name__ for layer in network.layers]
    assert kinds == ["Conv2D", "MaxPooling2D"] * 3 + ["Dropout", "Flatten"] + ["Dense"] * 9
    convolutions = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.filters for layer in convolutions] == [32, 64, 64]
    assert all(layer.kernel_size == (3, 3) and layer.activation.__name__ == "relu" for layer in convolutions)
    assert dense_layers(network) == [
        (256, "relu"),
        (128, "sigmoid"),
        (128, "relu"),
        (64, "relu"),
        (64, "sigmoid"),
        (48, "sigmoid"),
        (32, "relu"),
        (16, "relu"),
        (2, "softmax"),
    ]
    assert next(layer.rate for layer in network.layers if isinstance(layer, keras.layers.Dropout)) == 0.25
    assert network.count_params() == 270_530


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("settings", [NotebookSettings(), CnnSettings(), CnnSettings(layers=8, width=4)])
def test_scores_are_probabilities(settings, classes):
    network = build_network(settings, {"image": (40, 40, 1)}, classes, seed=0)
    images = np.random.default_rng(0).random((5, 40, 40, 1), dtype=np.float32)
    scores = keras.ops.convert_to_numpy(network(images))
    assert scores.shape == (5, classes)
    assert (scores >= 0).all()
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("settings", [NotebookSettings(), CnnSettings()])
def test_the_seed_alone_sets_the_weights(settings):
    first, again, other = (
        build_network(settings, {"image": (40, 40, 1)}, 2, seed=seed).get_weights()[0] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_every_setting_of_the_cnn_changes_the_network():
    def shape(**settings):
        network = build_network(CnnSettings(**settings), {"image": (24, 24, 1)}, 2, seed=0)
        rates = [layer.rate for layer in network.layers if isinstance(layer, keras.layers.Dropout)]
        return [weights.shape for weights in network.weights], rates

    standard = shape()
    changed = {"layers": 2, "width": 8, "kernel": 5, "dense": 16, "dropout": 0.4}
    for name, value in changed.items():
        assert shape(**{name: value}) != standard, name


# Keras's own conversion of weights, by NumPy 2
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_stored_networks_load_in_safe_mode_without_jetexp(tmp_path):
    images = np.random.default_rng(0).random((3, 40, 40, 1), dtype=np.float32)
    scores = {}
    for settings in (NotebookSettings(), CnnSettings()):
        network = build_network(settings, {"image": (40, 40, 1)}, 2, seed=0)
        scores[settings.kind] = keras.ops.convert_to_numpy(network(images))
        network.save(tmp_path / f"{settings.kind}.keras")
    np.savez(tmp_path / "expected.npz", images=images, **scores)
    script = """
import sys, keras, numpy
expected = numpy.load("expected.npz")
for kind in ("notebook", "cnn"):
    network = keras.saving.load_model(f"{kind}.keras", safe_mode=True, compile=False)
    scores = keras.ops.convert_to_numpy(network(expected["images"]))
    numpy.testing.assert_allclose(scores, expected[kind], atol=1e-6)
assert not [name for name in sys.modules if name.startswith("jetexp")]
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, timeout=200)


def test_the_catalogue_imports_no_keras():
    script = "import sys, jetexp.taggers.catalogue; assert 'keras' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
