"""The particle flow network: the order of constituents, and zeros behind them, tell it nothing."""

import keras
import numpy as np
import pytest
from toys import toy_jets

from jetexp.constituents import ConstituentSettings, make_constituents
from jetexp.taggers.catalogue import build_network
from jetexp.taggers.settings import PfnSettings

SMALL = PfnSettings(latent=(16, 8), dense=(12,))
PUBLISHED = PfnSettings(latent=(16, 8), dense=(12,), normalisation="none")


@pytest.fixture(scope="module")
def lists():
    return make_constituents(toy_jets(30), ConstituentSettings(constituents=60))


def small_network(constituents, settings=SMALL):
    network = build_network(settings, {"constituents": (constituents, 3)}, 2, seed=0)
    # biases that are not zero, so that padding would be seen if it were not taken out; positive variances
    random = np.random.default_rng(1)
    for variable in network.weights:
        values = random.normal(0, 0.4, variable.shape)
        variable.assign(np.abs(values) + 0.1 if "variance" in variable.name else values)
    return network


def scores(network, lists):
    return keras.ops.convert_to_numpy(network({"constituents": lists}))


def test_scores_are_probabilities_that_depend_on_the_jet(lists):
    found = scores(small_network(60), lists)
    assert found.shape == (30, 2)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    assert found[:, 1].std() > 1e-3


@pytest.mark.parametrize("settings", [SMALL, PUBLISHED])
def test_the_order_of_constituents_is_no_matter(lists, settings):
    network, random = small_network(60, settings), np.random.default_rng(0)
    shuffled = np.stack([one[random.permutation(60)] for one in lists])
    assert not np.array_equal(shuffled, lists)
    np.testing.assert_allclose(scores(network, shuffled), scores(network, lists), atol=1e-5)


def test_zeros_behind_are_no_matter(lists):
    short, long = small_network(60), small_network(75)
    padded = np.concatenate([lists, np.zeros((30, 15, 3), np.float32)], axis=1)
    np.testing.assert_allclose(scores(long, padded), scores(short, lists), atol=1e-5)
    # whatever stands where there is no pT
    anything = padded.copy()
    anything[:, 60:, :2] = 3.0
    np.testing.assert_allclose(scores(long, anything), scores(short, lists), atol=1e-5)


def test_every_constituent_counts(lists):
    network = small_network(60)
    without = lists.copy()
    without[:, 3] = 0
    assert np.abs(scores(network, without) - scores(network, lists)).max() > 1e-4


def test_empty_jets_all_have_the_same_finite_score():
    found = scores(small_network(60), np.zeros((3, 60, 3), np.float32))
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, np.tile(found[0], (3, 1)))


def test_layers_are_those_asked_for():
    network = build_network(
        PfnSettings(latent=(5, 7), dense=(11, 13, 4), dropout=0.25), {"constituents": (9, 3)}, 3, seed=0
    )
    assert any(isinstance(layer, keras.layers.BatchNormalization) for layer in network.layers)
    units = [layer.units for layer in network.layers if isinstance(layer, keras.layers.Dense)]
    assert units == [5, 7, 11, 13, 4, 3]
    rates = [layer.rate for layer in network.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.25] * 3
