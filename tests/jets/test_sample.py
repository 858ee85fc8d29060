"""Jets: selection, joining, fingerprint and split."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetexp.jets.sample import Jets, concatenate, jet_hash, split_fraction


def random_jets(number: int, seed: int = 0, classes: tuple[str, ...] = ("QCD", "W")) -> Jets:
    generator = np.random.default_rng(seed)
    counts = generator.integers(0, 30, number)
    total = int(counts.sum())
    return Jets(
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        constituent_eta=generator.normal(0, 0.3, total).astype(np.float32),
        constituent_phi=generator.normal(0, 0.3, total).astype(np.float32),
        constituent_pt=generator.exponential(20, total).astype(np.float32),
        constituent_charge=generator.integers(-1, 2, total).astype(np.int8),
        label=generator.integers(0, len(classes), number),
        pt=generator.uniform(600, 1500, number).astype(np.float32),
        eta=generator.uniform(-2, 2, number).astype(np.float32),
        mass=generator.uniform(10, 200, number).astype(np.float32),
        weight=generator.uniform(0, 1, number),
        classes=classes,
    )


def test_take_keeps_each_jet_whole() -> None:
    jets = random_jets(20)
    order = np.array([7, 0, 7, 19])
    taken = jets.take(order)
    for position, index in enumerate(order):
        ours = slice(*taken.offsets[position : position + 2])
        theirs = slice(*jets.offsets[index : index + 2])
        for name in ("constituent_eta", "constituent_phi", "constituent_pt", "constituent_charge"):
            np.testing.assert_array_equal(getattr(taken, name)[ours], getattr(jets, name)[theirs])
    np.testing.assert_array_equal(taken.pt, jets.pt[order])
    np.testing.assert_array_equal(taken.weight, jets.weight[order])


@given(st.integers(0, 40), st.integers(0, 40))
def test_joining_the_parts_of_a_sample_gives_the_sample(number: int, cut: int) -> None:
    jets = random_jets(number)
    cut = min(cut, number)
    joined = concatenate([jets.take(slice(0, cut)), jets.take(slice(cut, None))])
    assert joined.fingerprint == jets.fingerprint


def test_joining_other_classes_or_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="different classes"):
        concatenate([random_jets(2), random_jets(2, classes=("QCD", "top"))])
    with pytest.raises(ValueError, match="no jets"):
        concatenate([])


@pytest.mark.parametrize("name", ["constituent_eta", "constituent_pt", "label", "pt", "constituent_charge"])
def test_fingerprint_changes_with_the_content(name: str) -> None:
    jets = random_jets(10)
    values = getattr(jets, name).copy()
    values[3] = values[3] + 1
    assert replace(jets, **{name: values}).fingerprint != jets.fingerprint
    assert replace(jets, provenance={"source": "elsewhere"}).fingerprint == jets.fingerprint


def test_arrays_of_unequal_length_are_refused() -> None:
    jets = random_jets(5)
    with pytest.raises(ValueError, match="constituent_phi has"):
        replace(jets, constituent_phi=jets.constituent_phi[:-1])
    with pytest.raises(ValueError, match="mass has 4"):
        replace(jets, mass=jets.mass[:-1])
    with pytest.raises(ValueError, match="offsets"):
        replace(jets, offsets=jets.offsets[:-1])


def test_with_classes_selects_and_relabels() -> None:
    jets = random_jets(50, classes=("W", "top", "QCD"))
    chosen = jets.with_classes(["QCD", "W"])
    assert chosen.classes == ("QCD", "W")
    counts = jets.class_counts
    assert chosen.class_counts == {"QCD": counts["QCD"], "W": counts["W"]}
    np.testing.assert_array_equal(chosen.pt[chosen.label == 1], jets.pt[jets.label == 0])
    with pytest.raises(ValueError, match="'Z'"):
        jets.with_classes(["Z"])


def test_the_split_depends_on_content_and_seed_alone() -> None:
    jets = random_jets(2000)
    fraction = split_fraction(jets, 5)
    order = np.random.default_rng(1).permutation(len(jets))
    np.testing.assert_array_equal(split_fraction(jets.take(order), 5), fraction[order])
    assert not np.array_equal(split_fraction(jets, 6), fraction)
    assert fraction.min() >= 0
    assert fraction.max() < 1
    nonempty = fraction[jets.counts > 0]
    assert abs(np.mean(nonempty < 0.25) - 0.25) < 0.05


def test_the_hash_of_a_jet_does_not_depend_on_the_order_of_its_constituents() -> None:
    jets = random_jets(30)
    order = np.lexsort((np.random.default_rng(2).random(len(jets.constituent_pt)), jets.jet_index))
    shuffled = replace(
        jets,
        constituent_eta=jets.constituent_eta[order],
        constituent_phi=jets.constituent_phi[order],
        constituent_pt=jets.constituent_pt[order],
    )
    np.testing.assert_array_equal(jet_hash(shuffled), jet_hash(jets))
    nonempty = jet_hash(jets)[jets.counts > 0]
    assert len(np.unique(nonempty)) == len(nonempty)
