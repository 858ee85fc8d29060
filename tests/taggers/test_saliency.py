"""Saliency: of a network that can be differentiated by hand."""

import keras
import numpy as np
import pytest

from jetexp.taggers import saliency
from jetexp.taggers.catalogue import build_network
from jetexp.taggers.saliency import mean_saliency
from jetexp.taggers.settings import CnnSettings

SHAPE = (5, 4, 2)


def linear_network(weights):
    """Make a softmax of w.x, with weights of shape (*SHAPE, classes)."""
    image = keras.Input(SHAPE, name="image")
    dense = keras.layers.Dense(weights.shape[-1], activation="softmax")
    network = keras.Model({"image": image}, dense(keras.layers.Flatten()(image)))
    dense.set_weights([weights.reshape(-1, weights.shape[-1]), np.zeros(weights.shape[-1])])
    return network


def images(number=7):
    return {"image": np.random.default_rng(2).random((number, *SHAPE), dtype=np.float32)}


@pytest.mark.parametrize("signal", [0, 1])
def test_of_two_classes_it_is_the_difference_of_their_weights(signal):
    weights = np.random.default_rng(1).normal(0, 0.2, (*SHAPE, 2))
    expected = np.abs(weights[..., signal] - weights[..., 1 - signal]).sum(axis=-1)
    found = mean_saliency(linear_network(weights), images(), signal=signal)
    assert found.shape == SHAPE[:2]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_of_three_classes_it_is_that_against_the_others_as_likely_as_they_are():
    weights = np.random.default_rng(1).normal(0, 0.2, (*SHAPE, 3))
    network, inputs = linear_network(weights), images()
    score = keras.ops.convert_to_numpy(network(inputs)).astype(np.float64)
    share = score[:, [0, 1]] / score[:, [0, 1]].sum(axis=1, keepdims=True)
    others = np.einsum("nc,ijkc->nijk", share, weights[..., :2])
    expected = np.abs(weights[..., 2] - others).sum(axis=-1).mean(axis=0)
    np.testing.assert_allclose(mean_saliency(network, inputs, signal=2), expected, rtol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_batches_do_not_show(batch_size):
    network = linear_network(np.random.default_rng(1).normal(0, 0.2, (*SHAPE, 3)))
    whole = mean_saliency(network, images(), signal=1)
    np.testing.assert_allclose(
        mean_saliency(network, images(), signal=1, batch_size=batch_size), whole, rtol=1e-5
    )


def test_a_pixel_that_is_not_looked_at_has_none():
    weights = np.random.default_rng(1).normal(0, 0.2, (*SHAPE, 2))
    weights[2, 1] = 0
    found = mean_saliency(linear_network(weights), images(), signal=1)
    assert found[2, 1] == 0
    assert np.count_nonzero(found) == found.size - 1


def test_observables_beside_the_image_do_no_harm():
    settings = CnnSettings(layers=1, width=2, dense=4, side_inputs=("mass", "pt"))
    network = build_network(settings, {"image": SHAPE, "observables": (2,)}, 2, seed=0)
    inputs = {**images(), "observables": np.full((7, 2), 80.0, np.float32)}
    before = network.get_weights()
    found = mean_saliency(network, inputs, signal=1)
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert found.max() > 0
    for now, then in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_another_backend_is_refused(monkeypatch):
    network = linear_network(np.zeros((*SHAPE, 2)))
    monkeypatch.setattr(keras.backend, "backend", lambda: "openvino")
    with pytest.raises(NotImplementedError, match="openvino"):
        saliency.mean_saliency(network, images(), signal=1)
