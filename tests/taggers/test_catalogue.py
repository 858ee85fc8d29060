"""Networks: what goes in, what comes out, and that they can be stored safely."""

import itertools
import subprocess
import sys

import keras
import numpy as np
import pytest
from toys import toy_jets

from jetexp.constituents import ConstituentSettings
from jetexp.images import ImageSettings
from jetexp.inputs import InputSettings, make_inputs
from jetexp.recorder_protocol import NullRecorder
from jetexp.taggers.catalogue import build_ensemble, build_network, input_settings
from jetexp.taggers.settings import (
    BoostedTreesSettings,
    CnnSettings,
    LogisticRegressionSettings,
    MassWindowSettings,
    NotebookSettings,
    PfnSettings,
    TrainingSettings,
)
from jetexp.training import Parts, Sample, fit


def dense_layers(network):
    return [
        (layer.units, layer.activation.__name__)
        for layer in network.layers
        if isinstance(layer, keras.layers.Dense)
    ]


def test_the_notebook_network_is_the_notebooks_layer_for_layer():
    network = build_network(NotebookSettings(), {"image": (40, 40, 1)}, 2, seed=0)
    kinds = [type(layer).__name__ for layer in network.layers]
    assert kinds == ["InputLayer"] + ["Conv2D", "MaxPooling2D"] * 3 + ["Dropout", "Flatten"] + ["Dense"] * 9
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
    scores = keras.ops.convert_to_numpy(network({"image": images}))
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
    changed = {
        "layers": 2,
        "width": 8,
        "convolutions": 2,
        "kernel": 5,
        "normalisation": "batch",
        "residual": True,
        "head": "average",
        "dense": 16,
        "dense_layers": 2,
        "dropout": 0.4,
    }
    for name, value in changed.items():
        assert shape(**{name: value}) != standard, name


STORED = {
    "notebook": (NotebookSettings(), {"image": (40, 40, 1)}),
    "cnn": (CnnSettings(), {"image": (40, 40, 1)}),
    "rich_cnn": (
        CnnSettings(
            convolutions=2, normalisation="layer", residual=True, activation="gelu", side_inputs=("mass",)
        ),
        {"image": (12, 12, 3), "observables": (1,)},
    ),
    "pfn": (PfnSettings(latent=(8,), dense=(8,)), {"constituents": (9, 3)}),
    "cnn_constituents": (
        CnnSettings(layers=1, constituents=ConstituentSettings(), latent=(8,), side_inputs=("mass",)),
        {"image": (12, 12, 1), "observables": (1,), "constituents": (9, 3)},
    ),
}


def drawn(shapes, number=3):
    random = np.random.default_rng(0)
    return {name: random.random((number, *shape), dtype=np.float32) for name, shape in shapes.items()}


def probabilities(network, inputs):
    return keras.ops.convert_to_numpy(network(inputs, training=False))


# Keras's own conversion of weights, by NumPy 2
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_stored_networks_load_in_safe_mode_without_jetexp(tmp_path):
    for name, (settings, shapes) in STORED.items():
        network = build_network(settings, shapes, 2, seed=0)
        for which, one in ((name, network), (f"{name}_joined", build_ensemble([network, network], 1.5))):
            one.save(tmp_path / f"{which}.keras")
            inputs = drawn(shapes)
            np.savez(tmp_path / f"{which}.npz", scores=probabilities(one, inputs), **inputs)
    script = """
import pathlib, sys, keras, numpy
paths = sorted(pathlib.Path().glob("*.keras"))
assert len(paths) == 10
for path in paths:
    network = keras.saving.load_model(path, safe_mode=True, compile=False)
    inputs = dict(numpy.load(path.with_suffix(".npz")))
    expected = inputs.pop("scores")
    scores = keras.ops.convert_to_numpy(network(inputs))
    numpy.testing.assert_allclose(scores, expected, atol=1e-6, err_msg=str(path))
assert not [name for name in sys.modules if name.startswith("jetexp")]
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, timeout=200)


@pytest.mark.parametrize("normalisation", ["none", "batch", "layer"])
@pytest.mark.parametrize("residual", [False, True])
def test_every_switch_of_the_cnn_goes_with_every_other(normalisation, residual):
    images, activations = drawn({"image": (9, 9, 2)}), itertools.cycle(("relu", "gelu", "swish"))
    found = []
    for head, pooling, convolutions in itertools.product(("dense", "average"), ("max", "average"), (1, 2)):
        settings = CnnSettings(
            layers=2,
            width=3,
            dense=6,
            normalisation=normalisation,
            residual=residual,
            head=head,
            pooling=pooling,
            convolutions=convolutions,
            activation=next(activations),
        )
        scores = probabilities(build_network(settings, {"image": (9, 9, 2)}, 3, seed=0), images)
        assert (scores >= 0).all()
        np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
        found.append(scores)
    assert len({scores.tobytes() for scores in found}) == 8


def test_the_switches_do_what_they_say():
    def kinds(**switches):
        network = build_network(CnnSettings(layers=2, width=4, **switches), {"image": (8, 8, 1)}, 2, seed=0)
        return [type(layer).__name__ for layer in network.layers], network

    plain, network = kinds()
    assert {"MaxPooling2D", "Flatten"} < set(plain)
    assert not {"BatchNormalization", "LayerNormalization", "Add"} & set(plain)
    assert next(one for one in network.layers if type(one).__name__ == "Conv2D").use_bias
    normal, network = kinds(normalisation="batch")
    assert normal.count("BatchNormalization") == 2
    assert not next(one for one in network.layers if type(one).__name__ == "Conv2D").use_bias
    assert kinds(normalisation="layer", convolutions=3)[0].count("LayerNormalization") == 6
    assert kinds(residual=True)[0].count("Add") == 2
    average = kinds(pooling="average", head="average")[0]
    assert average.count("AveragePooling2D") == 2
    assert "GlobalAveragePooling2D" in average
    assert not {"MaxPooling2D", "Flatten"} & set(average)
    for activation in ("relu", "gelu", "swish"):
        layers = kinds(activation=activation)[1].layers
        used = [layer.activation for layer in layers if type(layer).__name__ in ("Activation", "Dense")]
        assert all(one is keras.activations.get(activation) for one in used[:-1])


SIDE = CnnSettings(layers=1, width=4, dense=8, side_inputs=("mass", "pt"))
SIDE_SHAPES = {"image": (8, 8, 1), "observables": (2,)}


def test_side_inputs_change_the_score():
    network, inputs = build_network(SIDE, SIDE_SHAPES, 2, seed=0), drawn(SIDE_SHAPES)
    before = probabilities(network, inputs)
    other = {**inputs, "observables": inputs["observables"] + 1}
    assert (np.abs(probabilities(network, other) - before).max(axis=1) > 1e-4).all()
    other = {**inputs, "image": inputs["image"][::-1]}
    assert np.abs(probabilities(network, other) - before).max() > 1e-4


def test_constituents_beside_the_image_change_the_score():
    settings = CnnSettings(layers=1, width=4, dense=8, constituents=ConstituentSettings(), latent=(8, 6))
    shapes = {"image": (8, 8, 1), "constituents": (5, 3)}
    network, inputs = build_network(settings, shapes, 2, seed=0), drawn(shapes)
    before = probabilities(network, inputs)
    for name in shapes:
        other = {**inputs, name: inputs[name][::-1]}
        assert np.abs(probabilities(network, other) - before).max() > 1e-5, name
    units = [layer.units for layer in network.layers if isinstance(layer, keras.layers.Dense)]
    assert units == [8, 6, 8, 2]


def test_observables_in_gev_do_not_blow_up():
    jets = toy_jets(96)
    inputs = make_inputs(jets, input_settings(SIDE, ImageSettings(pixels=8)))
    assert inputs["observables"].max() > 500
    network = build_network(SIDE, SIDE_SHAPES, 2, seed=0)
    untrained = probabilities(network, inputs)
    assert np.isfinite(untrained).all()
    assert untrained.min() > 1e-4
    first, last = (
        Sample({name: values[part] for name, values in inputs.items()}, jets.label[part])
        for part in (slice(0, 64), slice(64, None))
    )
    history = fit(
        network,
        Parts(first, last, signal=1),
        TrainingSettings(epochs=4, batch_size=16),
        seed=0,
        recorder=NullRecorder(),
    )
    assert max(history.loss) < 5
    assert history.val_loss[-1] < 2
    moved = network.get_layer(next(one.name for one in network.layers if "batch_norm" in one.name))
    # 16 steps alone would not have brought it there
    mean = np.log1p(first.inputs["observables"]).mean(axis=0)
    np.testing.assert_allclose(moved.moving_mean, mean, rtol=1e-4)


@pytest.mark.parametrize(
    ("tagger", "expected"),
    [
        (CnnSettings(), {"image"}),
        (SIDE, {"image", "observables"}),
        (CnnSettings(constituents=ConstituentSettings()), {"image", "constituents"}),
        (NotebookSettings(), {"image"}),
        (PfnSettings(), {"constituents"}),
        (LogisticRegressionSettings(), {"image"}),
        (MassWindowSettings(observable="mass"), {"observables"}),
        (BoostedTreesSettings(observables=("mass", "pt")), {"observables"}),
    ],
)
def test_each_tagger_gets_what_it_takes(tagger, expected):
    images = ImageSettings(pixels=8)
    inputs = make_inputs(toy_jets(3), input_settings(tagger, images))
    assert set(inputs) == expected
    if isinstance(tagger, CnnSettings | NotebookSettings | PfnSettings):
        if not isinstance(tagger, NotebookSettings):
            shapes = {name: values.shape[1:] for name, values in inputs.items()}
            assert set(build_network(tagger, shapes, 2, seed=0).input) == expected
    else:
        with pytest.raises(TypeError, match=f"{tagger.kind} is no network"):
            build_network(tagger, {"observables": (1,)}, 2, seed=0)


def test_settings_of_inputs_reach_them():
    lists, images = ConstituentSettings(constituents=7, zoom=True), ImageSettings(pixels=9)
    assert input_settings(PfnSettings(constituents=lists), images) == InputSettings(constituents=lists)
    assert input_settings(SIDE, images) == InputSettings(images=images, observables=("mass", "pt"))
    assert input_settings(MassWindowSettings(observable="d2"), images) == InputSettings(observables=("d2",))


@pytest.mark.parametrize(
    ("settings", "shapes"),
    [
        (
            CnnSettings(layers=2, width=4, side_inputs=("mass",), constituents=ConstituentSettings()),
            {"image": (8, 8, 1), "observables": (1,), "constituents": (5, 3)},
        ),
        (PfnSettings(), {"constituents": (5, 3)}),
        (NotebookSettings(), {"image": (40, 40, 1)}),
    ],
)
def test_half_precision_is_that_of_the_steps_alone(settings, shapes):
    half = build_network(settings, shapes, 2, 0, "mixed_bfloat16")
    assert keras.config.dtype_policy().name == "float32"
    whole, inputs = build_network(settings, shapes, 2, 0), drawn(shapes)
    for one, other in zip(half.get_weights(), whole.get_weights(), strict=True):
        assert one.dtype == np.float32
        np.testing.assert_array_equal(one, other)
    computing = {type(one).__name__: one.compute_dtype for one in half.layers if one.name != "score"}
    assert computing["Dropout"] == "bfloat16"
    assert {one.compute_dtype for one in whole.layers} == {"float32"}
    if "observables" in shapes:
        # a mass in bfloat16 would not be that of the jet any more
        (side,) = (one for one in half.layers if getattr(one, "units", 0) == 16)
        assert side.compute_dtype == "float32"
    scores = probabilities(half, inputs)
    assert scores.dtype == np.float32
    assert 0 < np.abs(scores - probabilities(whole, inputs)).max() < 0.05


def test_a_precision_that_fails_is_not_left_set():
    with pytest.raises(TypeError, match="no network"):
        build_network(MassWindowSettings(), {"observables": (1,)}, 2, 0, "mixed_bfloat16")
    assert keras.config.dtype_policy().name == "float32"


def test_the_catalogue_imports_no_keras():
    script = "import sys, jetexp.taggers.catalogue; assert 'keras' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
