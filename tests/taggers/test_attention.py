"""Self-attention: who is seen by whom, and what is no matter."""

import keras
import numpy as np
import pytest
from pydantic import ValidationError
from toys import toy_jets

from jetexp.constituents import ConstituentSettings, make_constituents
from jetexp.taggers.attention import attended, pairs_of
from jetexp.taggers.catalogue import build_network
from jetexp.taggers.pfn import summed
from jetexp.taggers.settings import AttentionSettings, CnnSettings

SMALL = AttentionSettings(constituents=40, blocks=2, width=8, heads=2, latent=6, pairs=0)
PAIRS = SMALL.model_copy(update={"pairs": 5})


@pytest.fixture(scope="module")
def lists():
    return make_constituents(toy_jets(30), ConstituentSettings(constituents=40))


def network_of(call, constituents=40):
    """Build what is made of constituents, with weights that would show what ought not to be seen."""
    entered = keras.Input((constituents, 3))
    network = keras.Model(entered, call(entered))
    random = np.random.default_rng(1)
    for variable in network.weights:
        values = random.normal(0, 0.4, variable.shape)
        variable.assign(np.abs(values) + 0.1 if "variance" in variable.name else values)
    return network


def attention(settings=SMALL, constituents=40):
    return network_of(lambda entered: attended(entered, settings), constituents)


def found(network, lists):
    return keras.ops.convert_to_numpy(network(lists, training=False))


def contributions(network, lists):
    """Give what constituents add to the sum: what an empty jet has is taken off."""
    return found(network, lists) - found(network, np.zeros_like(lists))


@pytest.mark.parametrize("settings", [SMALL, PAIRS], ids=["alone", "pairs"])
def test_the_order_of_constituents_is_no_matter(lists, settings):
    network, random = attention(settings), np.random.default_rng(0)
    shuffled = np.stack([one[random.permutation(40)] for one in lists])
    assert not np.array_equal(shuffled, lists)
    np.testing.assert_allclose(found(network, shuffled), found(network, lists), atol=1e-4)


@pytest.mark.parametrize("settings", [SMALL, PAIRS], ids=["alone", "pairs"])
def test_what_stands_where_there_is_no_constituent_is_no_matter(lists, settings):
    few = lists.copy()
    few[:, 25:] = 0
    anything = few.copy()
    anything[:, 25:, :2] = 3.0
    network = attention(settings)
    np.testing.assert_allclose(found(network, anything), found(network, few), atol=1e-5)


def test_the_hardest_alone_are_seen(lists):
    network = attention(SMALL.model_copy(update={"constituents": 10}))
    changed = lists.copy()
    changed[:, 10:] = 0
    np.testing.assert_allclose(found(network, changed), found(network, lists), atol=1e-5)
    changed[:, 9] = 0
    assert np.abs(found(network, changed) - found(network, lists)).max() > 1e-3


def test_constituents_look_at_each_other(lists):
    # of a sum over constituents the halves of a jet make the whole; of those that look at each other not
    halves = [lists.copy(), lists.copy()]
    halves[0][:, 0::2] = 0
    halves[1][:, 1::2] = 0
    plain, looking = network_of(lambda entered: summed(entered, (8, 6))), attention()
    for network, apart in ((plain, False), (looking, True)):
        whole = contributions(network, lists)
        parts = sum(contributions(network, half) for half in halves)
        assert (np.abs(whole - parts).max() > 1e-3) == apart


@pytest.mark.parametrize("settings", [SMALL, PAIRS], ids=["alone", "pairs"])
def test_an_empty_jet_is_no_number_short(settings):
    scores = found(attention(settings), np.zeros((2, 40, 3), np.float32))
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(scores[0], scores[1])


def test_every_setting_changes_the_layers():
    def shapes(**changes):
        settings = CnnSettings(constituents=ConstituentSettings(), attention=SMALL.model_copy(update=changes))
        network = build_network(settings, {"image": (8, 8, 1), "constituents": (40, 3)}, 2, seed=0)
        return [weights.shape for weights in network.weights]

    for name, value in {"blocks": 1, "width": 16, "heads": 4, "latent": 5, "pairs": 3}.items():
        assert shapes(**{name: value}) != shapes(), name


def test_lists_may_be_shorter_than_those_trained_on(lists):
    entered = keras.Input((None, 3))
    network = keras.Model(entered, attended(entered, PAIRS))
    few = lists.copy()
    few[:, 25:] = 0
    np.testing.assert_allclose(found(network, few[:, :25]), found(network, few), atol=1e-4)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValidationError, match="a width of 30 cannot be shared by 4 heads"):
        AttentionSettings(width=30, heads=4)
    with pytest.raises(ValidationError, match="attention is among constituents"):
        CnnSettings(attention=AttentionSettings())


def test_pairs_know_distance_and_shares():
    # arXiv:2202.03772, section 4, by hand for two constituents and a third that is not there
    lists = np.array([[[0.1, 0.2, 0.6], [-0.2, 0.6, 0.2], [0, 0, 0]]], np.float32)
    found = keras.ops.convert_to_numpy(pairs_of(lists))
    assert found.shape == (1, 3, 3, 3)
    expected = [np.log(0.5) / 2 + 1, np.log(0.2 * 0.5) / 4 + 2, np.log(0.2 / 0.8) / 2 + 1]
    np.testing.assert_allclose(found[0, 0, 1], expected, rtol=1e-3)
    np.testing.assert_array_equal(found, found.transpose(0, 2, 1, 3))
    assert np.isfinite(found).all()


def test_pairs_turn_with_the_jet():
    turned = np.array([[0.6, -0.8], [0.8, 0.6]])
    lists = make_constituents(toy_jets(30), ConstituentSettings(constituents=40))
    rotated = lists.copy()
    rotated[..., :2] = lists[..., :2] @ turned.T
    np.testing.assert_allclose(pairs_of(rotated), pairs_of(lists), atol=2e-3)
