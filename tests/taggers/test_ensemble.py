"""Networks joined to one: the mean of their log-odds."""

import keras
import numpy as np
import pytest
from scipy.special import softmax

from jetexp.evaluation.calibration import apply_temperature
from jetexp.taggers.catalogue import build_ensemble, build_network
from jetexp.taggers.settings import CnnSettings, PfnSettings

SMALL = CnnSettings(layers=1, width=4, dense=8, normalisation="batch")
WITH_SIDE = SMALL.model_copy(update={"side_inputs": ("mass", "pt")})
SHAPES = {"image": (8, 8, 1)}


def member(seed, settings=SMALL, shapes=SHAPES, classes=2):
    """Build a network with weights that make its scores differ from jet to jet."""
    network, random = build_network(settings, shapes, classes, seed), np.random.default_rng(seed)
    drawn = [random.normal(0, 0.4, weights.shape) for weights in network.get_weights()]
    # a variance among them is not negative
    network.set_weights([np.abs(weights) if weights.ndim == 1 else weights for weights in drawn])
    return network


def drawn(shapes=SHAPES, number=40):
    random = np.random.default_rng(9)
    return {name: random.random((number, *shape), dtype=np.float32) for name, shape in shapes.items()}


def scores(network, inputs):
    return keras.ops.convert_to_numpy(network(inputs, training=False))


def joined_by_hand(found):
    return softmax(np.mean(np.log(np.asarray(found, dtype=np.float64)), axis=0), axis=1)


def log_odds(found):
    found = found.astype(np.float64)
    return np.log(found[:, 1]) - np.log(found[:, 0])


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_it_is_the_mean_of_the_log_probabilities(classes, number):
    members = [member(seed, classes=classes) for seed in range(number)]
    single = [scores(network, drawn()) for network in members]
    assert all(one.std(axis=0).max() > 1e-3 for one in single)
    joined = scores(build_ensemble(members), drawn())
    assert joined.shape == (40, classes)
    np.testing.assert_allclose(joined, joined_by_hand(single), atol=2e-6)


def test_one_member_is_itself_and_a_temperature_divides_its_log_odds():
    network = member(0)
    alone = scores(network, drawn())
    np.testing.assert_allclose(scores(build_ensemble([network]), drawn()), alone, atol=1e-6)
    cooled = scores(build_ensemble([network], temperature=2.0), drawn())
    np.testing.assert_allclose(log_odds(cooled), log_odds(alone) / 2, atol=1e-4)
    np.testing.assert_allclose(cooled, apply_temperature(alone, 2.0), atol=2e-6)


def test_a_temperature_divides_the_mean():
    members = [member(0), member(1)]
    mean = np.mean([log_odds(scores(network, drawn())) for network in members], axis=0)
    cooled = scores(build_ensemble(members, temperature=0.5), drawn())
    np.testing.assert_allclose(log_odds(cooled), 2 * mean, atol=1e-3)


def test_certainty_does_not_make_it_infinite():
    network = member(0)
    *others, kernel, _ = network.get_weights()
    network.set_weights([*others, np.zeros_like(kernel), np.array([500.0, -500.0])])
    joined = scores(build_ensemble([network, member(1)]), drawn())
    assert np.isfinite(joined).all()
    np.testing.assert_allclose(joined.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "shapes"),
    [
        (SMALL, SHAPES),
        (WITH_SIDE, {**SHAPES, "observables": (2,)}),
        (PfnSettings(latent=(8,), dense=(8,)), {"constituents": (12, 3)}),
    ],
)
def test_it_is_stored_and_loaded_in_safe_mode(tmp_path, settings, shapes):
    joined = build_ensemble([member(seed, settings, shapes) for seed in range(2)], temperature=1.3)
    joined.save(tmp_path / "ensemble.keras")
    loaded = keras.saving.load_model(tmp_path / "ensemble.keras", safe_mode=True, compile=False)
    inputs = drawn(shapes)
    np.testing.assert_allclose(scores(loaded, inputs), scores(joined, inputs), atol=1e-6)
    assert set(loaded.input) == set(shapes)


def test_a_member_loaded_from_disk_can_be_joined_and_an_ensemble_too(tmp_path):
    network = member(0)
    network.save(tmp_path / "member.keras")
    loaded = keras.saving.load_model(tmp_path / "member.keras", safe_mode=True, compile=False)
    joined = build_ensemble([build_ensemble([loaded, member(1)]), build_ensemble([network, member(1)])])
    expected = joined_by_hand([scores(network, drawn()), scores(member(1), drawn())])
    np.testing.assert_allclose(scores(joined, drawn()), expected, atol=2e-6)


def test_what_becomes_of_a_member_afterwards_is_its_own_affair():
    members = [member(0), member(1)]
    names, before = [network.name for network in members], [network.get_weights() for network in members]
    joined = build_ensemble(members)
    for network, name, weights in zip(members, names, before, strict=True):
        assert network.name == name
        for now, then in zip(network.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(now, then)
    kept = scores(joined, drawn())
    members[0].set_weights([weights + 1 for weights in members[0].get_weights()])
    np.testing.assert_array_equal(scores(joined, drawn()), kept)
    assert joined.count_params() == sum(network.count_params() for network in members)


def test_no_network_is_no_ensemble():
    with pytest.raises(ValueError, match="at least one member"):
        build_ensemble([])
