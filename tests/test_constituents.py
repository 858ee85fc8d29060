"""Lists of constituents: the hardest first, nothing invented behind the last."""

import numpy as np
import pytest
from toys import build_jets, one_jet, toy_jets

from jetexp import constituents as constituents_module
from jetexp.constituents import ConstituentSettings, make_constituents

ALL = ConstituentSettings(constituents=200)
AS_GIVEN = {"centre": False, "rotate": False, "flip": False, "zoom": False}


def test_they_fall_in_pt_then_nothing():
    jets = toy_jets(40)
    lists = make_constituents(jets, ALL)
    assert lists.shape == (40, 200, 3)
    assert lists.dtype == np.float32
    assert (np.diff(lists[..., 2], axis=1) <= 0).all()
    for one, count in zip(lists, jets.counts, strict=True):
        assert (one[:count, 2] > 0).all()
        assert not one[count:].any()


def test_fractions_of_pt_sum_to_one_if_none_is_cut():
    np.testing.assert_allclose(make_constituents(toy_jets(40), ALL)[..., 2].sum(axis=1), 1, rtol=1e-5)


def test_the_hardest_are_kept():
    jets = toy_jets(40)
    few = make_constituents(jets, ConstituentSettings(constituents=5))
    np.testing.assert_array_equal(few, make_constituents(jets, ALL)[:, :5])
    assert (few[..., 2].sum(axis=1) < 1).all()


def test_each_keeps_its_place():
    jets = one_jet([0.1, -0.3, 0.2], [0.2, 0.1, -0.2], [10.0, 30.0, 60.0])
    given = ConstituentSettings(constituents=4, **AS_GIVEN)
    expected = [[0.2, -0.2, 0.6], [-0.3, 0.1, 0.3], [0.1, 0.2, 0.1], [0, 0, 0]]
    np.testing.assert_allclose(make_constituents(jets, given)[0], expected, rtol=1e-6)


def test_jets_may_be_centred_alone_and_are_standardised_by_default():
    jets = one_jet([0.1, -0.3, 0.2], [0.2, 0.1, -0.2], [10.0, 30.0, 60.0])
    expected = np.array([[0.2, -0.2], [-0.3, 0.1], [0.1, 0.2]])
    expected -= np.average(expected, weights=[60, 30, 10], axis=0)
    centred = make_constituents(jets, ConstituentSettings(**AS_GIVEN | {"centre": True}))
    np.testing.assert_allclose(centred[0, :3, :2], expected, atol=1e-6)
    upright = make_constituents(jets, ConstituentSettings())
    assert np.abs(upright[0, :3, :2] - expected).max() > 0.01


def test_who_has_no_pt_is_absent():
    jets = build_jets([0, 3, 5], [0.1, 0.2, 0.3, 0.4, 0.5], [0.1] * 5, [0.0, 10.0, 0.0, 0.0, 0.0])
    lists = make_constituents(jets, ConstituentSettings(constituents=3, **AS_GIVEN))
    np.testing.assert_allclose(lists[0], [[0.2, 0.1, 1.0], [0, 0, 0], [0, 0, 0]])
    assert not lists[1].any()


def test_empty_jets_are_all_zeros():
    lists = make_constituents(build_jets([0, 0, 1, 1], [0.1], [0.1], [5.0]), ConstituentSettings())
    assert lists.any(axis=(1, 2)).tolist() == [False, True, False]
    assert make_constituents(build_jets([0], [], [], []), ConstituentSettings()).shape == (0, 100, 3)


@pytest.mark.parametrize("jets_at_once", [1, 10])
def test_blocks_do_not_show(monkeypatch, jets_at_once):
    whole = make_constituents(toy_jets(23), ALL)
    monkeypatch.setattr(constituents_module, "JETS_AT_ONCE", jets_at_once)
    np.testing.assert_allclose(make_constituents(toy_jets(23), ALL), whole, rtol=0, atol=1e-7)


def test_constituents_of_one_pt_keep_their_order_and_a_negative_zero_counts_for_nothing():
    rng = np.random.default_rng(3)
    pt = rng.integers(0, 6, (300, 50)).astype(np.float32)
    pt[pt == 5] = -0.0
    eta = rng.permutation(15_000).reshape(300, 50).astype(np.float32)
    settings = ConstituentSettings(constituents=50, centre=False, rotate=False, flip=False, zoom=False)
    jets = build_jets(np.arange(301) * 50, eta.ravel(), np.zeros(15_000), pt.ravel())
    lists = make_constituents(jets, settings)
    for jet in range(300):
        seen = [place for place in sorted(range(50), key=lambda place: -pt[jet, place]) if pt[jet, place] > 0]
        assert lists[jet, : len(seen), 0].tolist() == eta[jet, seen].tolist()
        assert not lists[jet, len(seen) :].any()
