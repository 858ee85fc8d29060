"""What a network takes is told from its shapes, and telling it changes nothing."""

import re

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetexp import network_size
from jetexp.constituents import ConstituentSettings
from jetexp.errors import JetexpError
from jetexp.network_size import check_size, least_memory
from jetexp.taggers.catalogue import build_network
from jetexp.taggers.settings import (
    AttentionSettings,
    CnnSettings,
    NotebookSettings,
    PfnSettings,
    TrainingSettings,
)

IMAGE = {"image": (12, 12, 1)}
ALL = {"image": (12, 12, 1), "observables": (2,), "constituents": (30, 3)}
TAGGERS = [
    (CnnSettings(layers=2, width=4), IMAGE),
    (
        CnnSettings(
            side_inputs=("pt", "mass"),
            constituents=ConstituentSettings(),
            attention=AttentionSettings(blocks=1),
        ),
        ALL,
    ),
    (NotebookSettings(), {"image": (40, 40, 1)}),
    (PfnSettings(), {"constituents": (30, 3)}),
]


@pytest.mark.parametrize(("tagger", "shapes"), TAGGERS)
def test_all_weights_of_the_network_are_counted(tagger, shapes):
    small, large = (
        least_memory(tagger, TrainingSettings(batch_size=size), shapes, classes=2) for size in (16, 32)
    )
    # what does not grow with the batch: weights, gradients and two moments, four bytes each
    assert 2 * small - large == 16 * build_network(tagger, shapes, 2, seed=0).count_params()


def test_what_convolutions_make_of_a_batch_is_counted():
    # with the first convolution 12 x 12 x 4, with the second 6 x 6 x 8; then 32 hidden units, two scores
    tagger = CnnSettings(layers=2, width=4, dense=32)
    numbers = 12 * 12 * 4 + 6 * 6 * 8 + 32 + 2
    for precision, size in (("float32", 4), ("mixed_bfloat16", 2)):
        small, large = (
            least_memory(tagger, TrainingSettings(batch_size=batch, precision=precision), IMAGE, classes=2)
            for batch in (16, 32)
        )
        assert large - small == 16 * size * numbers


@pytest.mark.parametrize(("tagger", "shapes"), TAGGERS)
def test_the_network_built_afterwards_is_the_same(tagger, shapes):
    before = build_network(tagger, shapes, 2, seed=3)
    least_memory(tagger, TrainingSettings(), shapes, 2)
    after = build_network(tagger, shapes, 2, seed=3)
    for one, other in zip(before.get_weights(), after.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_nothing_of_it_is_left_with_keras():
    def number():
        return int(keras.layers.Dense(1).name.rpartition("_")[2])

    keras.layers.Dense(1)
    before = number()
    least_memory(CnnSettings(), TrainingSettings(), IMAGE, 2)
    assert number() == before + 1


@given(available=st.integers(10_000, 100_000_000))
def test_a_network_is_refused_if_and_only_if_the_least_is_too_much(available):
    tagger, training = CnnSettings(layers=2, width=64), TrainingSettings()
    least = least_memory(tagger, training, IMAGE, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network_size, "available_memory", lambda: available)
        patch.setattr(network_size, "devices", lambda: ["cpu:0"])
        if least <= available:
            check_size(tagger, training, IMAGE, 2)
            return
        with pytest.raises(JetexpError, match="batch_size, would be right") as told:
            check_size(tagger, training, IMAGE, 2)
    numbers = [float(number) * 1e9 for number in re.findall(r"(\S+) GB", str(told.value))]
    assert numbers == pytest.approx([least, available], abs=5.1e6)


def test_what_an_accelerator_holds_is_not_guessed(monkeypatch):
    monkeypatch.setattr(network_size, "available_memory", lambda: 0)
    monkeypatch.setattr(network_size, "devices", lambda: ["cpu:0", "gpu:0"])
    check_size(CnnSettings(), TrainingSettings(), IMAGE, 2)
