"""Standard position: what a jet's orientation must not tell, and what degenerate jets must not break."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from toys import build_jets, one_jet, toy_jets

from jetexp.geometry import BlockArray, GeometrySettings, blocks, make_arrays, sums
from jetexp.images import ImageSettings, make_images

NOTHING = GeometrySettings(centre=False, rotate=False, flip=False, zoom=False)
# float32 near phi = pi is good to 2e-7, and the principal axis to about as much over the jet's width
CLOSE = 2e-5

seeds = st.integers(0, 10_000)
angles = st.floats(-np.pi, np.pi)


def moved(jets, settings, jets_at_once=1000):
    """Join all blocks."""
    parts = list(blocks(jets, settings, jets_at_once))
    start = [part.jets.start for part in parts]
    charges = [part.charge for part in parts]
    return SimpleNamespace(
        jet=np.concatenate([part.jet + first for part, first in zip(parts, start, strict=True)]),
        eta=np.concatenate([part.eta for part in parts]),
        phi=np.concatenate([part.phi for part in parts]),
        pt=np.concatenate([part.pt for part in parts]),
        total=np.concatenate([part.total for part in parts]),
        charge=None if charges[0] is None else np.concatenate(charges),
    )


def assert_equal(first, second, close=0.0):
    """Compare all that two calls of ``moved`` gave."""
    for name in ("jet", "pt", "total"):
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), rtol=1e-6, err_msg=name)
    for name in ("eta", "phi"):
        np.testing.assert_allclose(
            getattr(first, name), getattr(second, name), rtol=0, atol=close, err_msg=name
        )


def with_axes(seed, number=10):
    """Draw constituents whose principal axis and harder halves no rounding can turn."""
    random = np.random.default_rng(seed)
    eta, phi = random.normal(0, 0.1, number), random.normal(0, 0.2, number)
    pt = random.exponential(50.0, number) + 1.0
    eta, phi = eta - np.average(eta, weights=pt), phi - np.average(phi, weights=pt)
    values, axes = np.linalg.eigh(np.cov(eta, phi, aweights=pt, ddof=0))
    assume(values[1] > 1.5 * values[0])
    for axis in axes.T:
        side = eta * axis[0] + phi * axis[1]
        assume(np.abs(side).min() > 1e-3)
        assume(abs((pt * np.sign(side)).sum()) > 0.02 * pt.sum())
    return eta, phi, pt


def put(eta, phi, pt, angle=0.0, mirror=False, eta_shift=0.0, phi_shift=0.0):
    """Make a jet that is turned, mirrored and moved, with phi in [-pi, pi)."""
    turned_eta, turned_phi = (
        np.cos(angle) * eta - np.sin(angle) * phi,
        np.sin(angle) * eta + np.cos(angle) * phi,
    )
    turned_eta = (-turned_eta if mirror else turned_eta) + eta_shift
    return one_jet(turned_eta, np.mod(turned_phi + phi_shift + np.pi, 2 * np.pi) - np.pi, pt)


@given(seed=seeds, angle=angles, eta_shift=st.floats(-2, 2), phi_shift=angles, mirror=st.booleans())
def test_a_jet_turned_mirrored_or_moved_has_the_same_coordinates(seed, angle, eta_shift, phi_shift, mirror):
    jet = with_axes(seed)
    changed = put(*jet, angle=angle, mirror=mirror, eta_shift=eta_shift, phi_shift=phi_shift)
    settings = GeometrySettings()
    assert_equal(moved(put(*jet), settings), moved(changed, settings), CLOSE)


@given(seed=seeds, angle=angles, phi_shift=angles, mirror=st.booleans(), compress=st.booleans())
def test_and_the_same_image_but_for_constituents_on_a_border(seed, angle, phi_shift, mirror, compress):
    jet = with_axes(seed)
    settings = ImageSettings(pixels=6, half_width=1.2, compress=compress, scale="gev", intensity="linear")
    at = moved(put(*jet), settings)
    place = np.stack([at.eta, at.phi])
    if compress:
        distance = np.hypot(at.eta, at.phi)
        place = place * 1.2 * np.log1p(distance / 0.15) / np.log1p(10) / np.maximum(distance, 1e-9)
    assume(np.abs(place / 0.4 - np.rint(place / 0.4)).min() > 1e-3)
    first, second = (
        make_images(jets, settings)
        for jets in (put(*jet), put(*jet, angle=angle, mirror=mirror, phi_shift=phi_shift))
    )
    np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-4)


@given(seed=seeds, shift=angles)
def test_moved_in_phi_alone_it_needs_centring_alone(seed, shift):
    settings = GeometrySettings(rotate=False, flip=False)
    jet = with_axes(seed)
    assert_equal(moved(put(*jet), settings), moved(put(*jet, phi_shift=shift), settings), CLOSE)


@given(seed=seeds)
def test_a_jet_in_standard_position_stays_there(seed):
    settings = GeometrySettings(zoom=False)
    once = moved(put(*with_axes(seed)), settings)
    assert_equal(moved(one_jet(once.eta, once.phi, once.pt), settings), once, CLOSE)


def test_standard_position_is_what_it_says():
    jets = toy_jets(300)
    at = moved(jets, GeometrySettings(zoom=False))
    for values in (at.eta, at.phi):
        np.testing.assert_allclose(sums(at.jet, at.pt * values, 300) / at.total, 0, atol=1e-6)
        assert (sums(at.jet, at.pt * np.sign(values), 300) >= 0).all()
    spread = [
        sums(at.jet, at.pt * a * b, 300) / at.total
        for a, b in ((at.eta, at.eta), (at.phi, at.phi), (at.eta, at.phi))
    ]
    assert (spread[1] >= spread[0]).all()
    np.testing.assert_allclose(spread[2], 0, atol=1e-6)


@pytest.mark.parametrize("step", ["centre", "rotate", "flip", "zoom"])
def test_every_step_does_something_by_itself(step):
    jets = toy_jets(5)
    before, after = moved(jets, NOTHING), moved(jets, NOTHING.model_copy(update={step: True}))
    assert np.abs(before.eta - after.eta).max() > 1e-3
    np.testing.assert_array_equal(before.pt, after.pt)


def test_without_a_step_nothing_changes():
    jets = toy_jets(20)
    at = moved(jets, NOTHING)
    np.testing.assert_array_equal(at.eta, jets.constituent_eta)
    np.testing.assert_array_equal(at.phi, jets.constituent_phi)
    np.testing.assert_array_equal(at.pt, jets.constituent_pt)
    np.testing.assert_array_equal(at.jet, jets.jet_index)


def test_degenerate_jets():
    # none; one; three equal ones, across the seam; four in a square, which have no principal axis; two
    # without pT; none
    jets = build_jets(
        [0, 0, 1, 4, 8, 10, 10],
        [0.3, 0.1, 0.1, 0.1, 0.2, -0.2, 0.0, 0.0, 0.1, 0.5],
        [0.4, -3.1, -3.1, -3.1, 0.0, 0.0, 0.2, -0.2, 3.1, 0.1],
        [40.0, 10.0, 10.0, 10.0, 150.0, 150.0, 150.0, 150.0, 0.0, 0.0],
    )
    at = moved(jets, GeometrySettings())
    assert np.isfinite(at.eta).all()
    assert np.isfinite(at.phi).all()
    np.testing.assert_allclose(at.total, [0, 40, 30, 600, 0, 0])
    assert not at.eta[:4].any()
    assert not at.phi[:4].any()
    np.testing.assert_allclose(at.eta[4:8], [0.2, -0.2, 0, 0], atol=1e-6)
    np.testing.assert_allclose(at.phi[4:8], [0, 0, 0.2, -0.2], atol=1e-6)


def test_no_jets_make_no_block():
    assert list(blocks(build_jets([0], [], [], []), GeometrySettings(), 10)) == []


@given(seed=seeds, threshold=st.floats(0.1, 100))
def test_a_threshold_is_as_if_the_soft_constituents_had_never_been(seed, threshold):
    eta, phi, pt = with_axes(seed)
    hard = pt.astype(np.float32).astype(np.float64) >= threshold
    cut = moved(put(eta, phi, pt), GeometrySettings(minimum_pt=threshold))
    assert_equal(cut, moved(put(eta[hard], phi[hard], pt[hard]), GeometrySettings()), 1e-12)


def test_no_threshold_leaves_even_constituents_without_pt():
    jets = build_jets([0, 3], [0.0, 0.1, 0.2], [0.0, 0.1, 0.2], [5.0, 0.0, 1.0])
    assert len(moved(jets, GeometrySettings(minimum_pt=0)).pt) == 3
    assert len(moved(jets, GeometrySettings(minimum_pt=1)).pt) == 2


@given(seed=seeds, factor=st.floats(0.1, 10), reference=st.floats(50, 2000))
def test_the_zoom_goes_with_the_scalar_sum_of_pt(seed, factor, reference):
    eta, phi, pt = with_axes(seed)
    plain = moved(put(eta, phi, pt), GeometrySettings(zoom=False))
    zoomed = moved(put(eta, phi, factor * pt), GeometrySettings(reference_pt=reference))
    scale = factor * pt.sum() / reference
    np.testing.assert_allclose(zoomed.eta, scale * plain.eta, rtol=1e-4, atol=CLOSE * scale)
    np.testing.assert_allclose(zoomed.phi, scale * plain.phi, rtol=1e-4, atol=CLOSE * scale)


def test_the_zoom_counts_what_is_above_the_threshold():
    jets = build_jets([0, 3], [-0.1, 0.1, 0.4], [0.0, 0.0, 0.0], [150.0, 150.0, 1.0])
    at = moved(jets, GeometrySettings(minimum_pt=2, rotate=False, flip=False))
    np.testing.assert_allclose(at.eta, [-0.05, 0.05], rtol=1e-6)


@pytest.mark.parametrize("jets_at_once", [1, 2, 7, 56, 57])
@pytest.mark.parametrize("minimum_pt", [0.0, 20.0])
def test_several_blocks_are_as_one(jets_at_once, minimum_pt):
    jets = charged(toy_jets(57))
    settings = GeometrySettings(minimum_pt=minimum_pt)
    parts = list(blocks(jets, settings, jets_at_once))
    assert [part.number for part in parts[:-1]] == [jets_at_once] * (len(parts) - 1)
    assert sum(part.number for part in parts) == 57
    whole, split = moved(jets, settings), moved(jets, settings, jets_at_once)
    assert_equal(whole, split, 1e-12)
    np.testing.assert_array_equal(whole.charge, split.charge)


def charged(jets):
    """Charge constituents by their pT, so that each charge tells whose it is."""
    charge = (np.floor(jets.constituent_pt * 1000) % 3 - 1).astype(np.int8)
    return replace(jets, constituent_charge=charge)


def test_charge_follows_its_constituent():
    jets = charged(toy_jets(30))
    for threshold in (0.0, 20.0):
        at = moved(jets, GeometrySettings(minimum_pt=threshold), 11)
        np.testing.assert_array_equal(at.charge, np.floor(at.pt.astype(np.float32) * 1000) % 3 - 1)
    assert moved(toy_jets(30), GeometrySettings()).charge is None


def test_jets_are_brought_to_each_standard_position_once():
    seen = []

    def counting(name):
        def fill(block, array):
            seen.append((name, block.jets))
            array[:] = sums(block.jet, block.eta**2, block.number)

        return fill

    jets = toy_jets(25)
    wanted = [
        BlockArray(ImageSettings(pixels=9), (), 10, counting("first")),
        BlockArray(GeometrySettings(), (), 20, counting("second")),
        BlockArray(NOTHING, (), 100, counting("as it is")),
    ]
    first, second, as_it_is = make_arrays(jets, wanted)
    in_turn = [(name, slice(n, n + 10)) for n in (0, 10) for name in ("first", "second")]
    assert seen == [
        *in_turn,
        *((name, slice(20, 25)) for name in ("first", "second")),
        ("as it is", slice(0, 25)),
    ]
    np.testing.assert_array_equal(first, second)
    given = sums(jets.jet_index, jets.constituent_eta.astype(np.float64) ** 2, 25)
    np.testing.assert_allclose(as_it_is, given, rtol=1e-6)
    assert not np.allclose(first, as_it_is)
