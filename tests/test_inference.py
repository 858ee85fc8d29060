"""Networks compiled once, for any number of jets."""

from concurrent.futures import ThreadPoolExecutor
from zipfile import ZipFile

import keras
import numpy as np
import pytest
import tensorflow as tf

from jetexp.inference import bare_copy, compiled, forward_in_batches, uncompiled
from jetexp.recorder_protocol import NullRecorder
from jetexp.taggers.catalogue import build_ensemble, build_network
from jetexp.taggers.settings import CnnSettings, PfnSettings, TrainingSettings
from jetexp.training import Parts, Sample, fit

SHAPES = {"image": (12, 12, 1), "observables": (2,), "constituents": (10, 3)}


def made(number):
    rng = np.random.default_rng(1)
    return {name: rng.random((number, *shape), np.float32) for name, shape in SHAPES.items()}


def cnn(seed=0):
    settings = CnnSettings(
        layers=2, width=4, dense=8, dropout=0.5, side_inputs=("pt", "mass"), constituents={}
    )
    return build_network(settings, SHAPES, 2, seed)


def pfn():
    return build_network(PfnSettings(), {"constituents": SHAPES["constituents"]}, 3, 0)


@pytest.mark.parametrize("make", [cnn, pfn, lambda: build_ensemble([cnn(0), cnn(1)])])
def test_a_compiled_network_answers_as_it_does_uncompiled_for_any_number_of_jets(make):
    network = make()
    forward = compiled(network)
    for number in (1, 2, 300, 0):
        inputs = {name: values for name, values in made(number).items() if name in network.input}
        answer = forward(inputs)
        assert answer.dtype == np.float32
        assert answer.shape == (number, network.output_shape[-1])
        if number:
            expected = keras.ops.convert_to_numpy(network(inputs, training=False))
            assert np.abs(answer - expected).max() < 1e-6


@pytest.mark.parametrize("number", [0, 1, 5, 300])
def test_batches_of_any_size_give_the_same(number):
    forward, inputs = compiled(cnn()), made(number)
    scores = forward_in_batches(forward, inputs, 2, batch_size=7)
    assert scores.shape == (number, 2)
    np.testing.assert_allclose(scores, forward(inputs), atol=1e-6)


def ragged(number):
    """Jets of 0 to 10 constituents, those of most neither first nor last."""
    inputs = made(number)
    counts = np.random.default_rng(2).integers(0, 11, number)
    inputs["constituents"] *= np.arange(10)[None, :, None] < counts[:, None, None]
    return inputs, counts


@pytest.mark.parametrize("make", [cnn, pfn])
def test_jets_of_other_numbers_of_constituents_keep_their_places(make):
    network, (inputs, _) = make(), ragged(100)
    inputs = {name: inputs[name] for name in network.input}
    expected = keras.ops.convert_to_numpy(network(inputs, training=False))
    assert np.ptp(expected, axis=0).min() > 1e-3
    scores = forward_in_batches(compiled(network), inputs, network.output_shape[-1], batch_size=7)
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_places_that_no_jet_fills_cost_nothing():
    inputs, counts = ragged(100)
    shown = []

    class Watched(keras.layers.Layer):
        def call(self, values):
            tf.py_function(lambda given: shown.append(given.shape[1]), [values], [])
            return values

    given = keras.Input((None, 3), name="constituents")
    network = keras.Model({"constituents": given}, keras.ops.sum(Watched()(given), axis=1))
    forward = compiled(network)
    shown.clear()
    forward_in_batches(forward, {"constituents": inputs["constituents"]}, 3, batch_size=10)
    assert sorted(shown) == [max(*group, 1) for group in np.sort(counts).reshape(10, 10).tolist()]
    shown.clear()
    assert forward({"constituents": np.zeros((2, 10, 3), np.float32)}).tolist() == [[0, 0, 0]] * 2
    assert shown == [1]


def test_nothing_is_traced_again(monkeypatch):
    network = cnn()
    forward = compiled(network)

    def call(*arguments, **keywords):
        raise AssertionError("the network's layers were called")

    monkeypatch.setattr(type(network), "__call__", call)
    for number in (1, 5, 2):
        assert forward(made(number)).shape == (number, 2)


def test_threads_at_once_do_not_disturb_each_other():
    forward = compiled(cnn())
    inputs = made(400)
    parts = [{name: one[start : start + 5] for name, one in inputs.items()} for start in range(0, 400, 5)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(forward, parts))
    assert np.abs(np.concatenate(answers) - forward(inputs)).max() < 1e-6


def test_a_bare_copy_knows_nothing_of_how_it_was_fitted(tmp_path):
    network = cnn()
    inputs = made(60)
    parts = Parts(Sample(inputs, np.arange(60) % 2), Sample(inputs, np.arange(60) % 2), 1)
    fit(network, parts, TrainingSettings(average=0.2, epochs=1), seed=0, recorder=NullRecorder())
    copy = bare_copy(network)
    assert network.compiled
    assert not copy.compiled
    np.testing.assert_array_equal(uncompiled(copy)(inputs), uncompiled(network)(inputs))
    copy.save(tmp_path / "network.keras")
    with ZipFile(tmp_path / "network.keras") as file:
        assert "jetexp" not in file.read("config.json").decode()
