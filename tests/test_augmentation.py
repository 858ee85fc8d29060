"""Jets changed at random: each setting by as much as it says, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from toys import build_jets, toy_jets

from jetexp.augmentation import AugmentationSettings, augmented
from jetexp.images import ImageSettings, make_images
from jetexp.jets.pixels import jets_from_images

ALL = AugmentationSettings(drop=0.2, smear=0.1, rotation=0.5, zoom=0.1, shift=0.02, flip=True, pixelate=0.3)


@pytest.fixture(scope="module")
def jets():
    """2000 jets of about 20 constituents, whose charge tells eta and phi apart from their mirror images."""
    made = toy_jets(2000, constituents=20)
    random = np.random.default_rng(1)
    kinematics = {name: random.uniform(1, 9, 2000).astype(np.float32) for name in ("pt", "eta", "mass")}
    charge = random.integers(-1, 2, len(made.constituent_pt)).astype(np.int8)
    return replace(made, constituent_charge=charge, weight=random.random(2000), **kinematics)


def changed(jets, seed=0, **settings):
    return augmented(jets, AugmentationSettings(**settings), np.random.default_rng(seed))


def assert_only(jets, after, *names):
    """Check that no other array of the constituents is another."""
    for name in ("constituent_eta", "constituent_phi", "constituent_pt", "constituent_charge", "offsets"):
        same = np.array_equal(getattr(jets, name), getattr(after, name))
        assert same is (name not in names), name


def as_complex(jets):
    return jets.constituent_eta.astype(np.float64) + 1j * jets.constituent_phi.astype(np.float64)


def by_jet(jets, before, after):
    """Find the complex factor of each jet, and how far its constituents are from having it in common."""
    first = jets.offsets[:-1]
    factor = after[first] / before[first]
    return factor, np.abs(after - factor[jets.jet_index] * before).max()


def test_nothing_set_changes_nothing(jets):
    assert_only(jets, changed(jets))


@pytest.mark.parametrize("settings", [AugmentationSettings(), ALL])
def test_label_and_kinematics_are_kept(jets, settings):
    after = augmented(jets, settings, np.random.default_rng(0))
    for name in ("label", "pt", "eta", "mass", "weight"):
        np.testing.assert_array_equal(getattr(after, name), getattr(jets, name))
    assert after.classes == jets.classes
    assert (
        after.constituent_eta.dtype == after.constituent_phi.dtype == after.constituent_pt.dtype == np.float32
    )


def test_the_same_state_gives_the_same_jets_and_the_next_other_ones(jets):
    random = np.random.default_rng(3)
    first, second = augmented(jets, ALL, random), augmented(jets, ALL, random)
    again = augmented(jets, ALL, np.random.default_rng(3))
    assert first.fingerprint == again.fingerprint != second.fingerprint


def test_the_jets_given_are_left_alone(jets):
    before = jets.fingerprint
    augmented(jets, ALL, np.random.default_rng(0))
    assert jets.fingerprint == before


@pytest.mark.parametrize("drop", [0.05, 0.5])
def test_constituents_are_lost_one_by_one(jets, drop):
    after = changed(jets, drop=drop)
    number = len(jets.constituent_pt)
    error = np.sqrt(drop * (1 - drop) / number)
    assert 1 - len(after.constituent_pt) / number == pytest.approx(drop, abs=4 * error)
    lost = (jets.counts - after.counts) / jets.counts
    # independently: a jet's loss scatters as a binomial's does
    pull = (lost - drop) / np.sqrt(drop * (1 - drop) / jets.counts)
    assert pull.std() == pytest.approx(1, abs=0.1)


def test_those_left_keep_their_charge_and_place_in_order(jets):
    after = changed(jets, drop=0.3)
    names = ("constituent_eta", "constituent_phi", "constituent_pt", "constituent_charge")
    rows, left = (
        np.stack([one.jet_index, *(getattr(one, name) for name in names)], axis=1).tolist()
        for one in (jets, after)
    )
    remaining = iter(rows)
    assert all(row in remaining for row in left)


def test_pt_is_smeared_constituent_by_constituent(jets):
    after = changed(jets, smear=0.1)
    assert_only(jets, after, "constituent_pt")
    ratio = after.constituent_pt / jets.constituent_pt
    assert ratio.mean() == pytest.approx(1, abs=0.003)
    assert ratio.std() == pytest.approx(0.1, rel=0.03)
    assert (changed(jets, smear=0.49).constituent_pt >= 0).all()


def test_jets_are_turned_as_a_whole(jets):
    after = changed(jets, rotation=0.3)
    assert_only(jets, after, "constituent_eta", "constituent_phi")
    factor, apart = by_jet(jets, as_complex(jets), as_complex(after))
    assert apart < 1e-4
    np.testing.assert_allclose(np.abs(factor), 1, atol=1e-3)
    assert np.angle(factor).std() == pytest.approx(0.3, rel=0.07)
    assert np.angle(factor).mean() == pytest.approx(0, abs=0.03)


def test_jets_are_widened_as_a_whole(jets):
    after = changed(jets, zoom=0.1)
    assert_only(jets, after, "constituent_eta", "constituent_phi")
    factor, apart = by_jet(jets, as_complex(jets), as_complex(after))
    assert apart < 1e-4
    assert np.abs(factor.imag).max() < 1e-3
    assert factor.real.std() == pytest.approx(0.1, rel=0.07)
    assert factor.real.mean() == pytest.approx(1, abs=0.01)


def test_jets_are_shifted_as_a_whole(jets):
    after = changed(jets, shift=0.05)
    assert_only(jets, after, "constituent_eta", "constituent_phi")
    shift = as_complex(after) - as_complex(jets)
    of_jet = shift[jets.offsets[:-1]]
    np.testing.assert_allclose(shift, of_jet[jets.jet_index], atol=1e-6)
    for values in (of_jet.real, of_jet.imag):
        assert values.std() == pytest.approx(0.05, rel=0.07)
        assert values.mean() == pytest.approx(0, abs=0.005)
    assert abs(np.corrcoef(of_jet.real, of_jet.imag)[0, 1]) < 0.1


def test_half_of_the_jets_are_mirrored_either_way(jets):
    after = changed(jets, flip=True)
    assert_only(jets, after, "constituent_eta", "constituent_phi")
    first, mirrored = jets.offsets[:-1], []
    for name in ("constituent_eta", "constituent_phi"):
        sign = getattr(after, name)[first] / getattr(jets, name)[first]
        np.testing.assert_array_equal(getattr(after, name), getattr(jets, name) * sign[jets.jet_index])
        assert set(sign.tolist()) == {-1.0, 1.0}
        mirrored.append(sign < 0)
    # all four ways about equally often
    counts = np.bincount(mirrored[0] + 2 * mirrored[1])
    np.testing.assert_allclose(counts, 500, atol=4 * np.sqrt(2000 * 0.25 * 0.75))


def test_a_jet_may_lose_all_it_has():
    few = build_jets(np.arange(51), np.full(50, 0.1), np.full(50, 0.1), np.full(50, 9.0))
    after = changed(few, drop=0.9)
    assert (after.counts == 0).any()
    assert (after.counts == 1).any()
    filled = make_images(after, ImageSettings()).sum(axis=(1, 2, 3)) > 0
    np.testing.assert_array_equal(filled, after.counts > 0)
    none = build_jets([0, 0], [], [], [])
    assert len(augmented(none, ALL, np.random.default_rng(0)).constituent_pt) == 0


def test_standardisation_takes_back_what_it_is_made_to_take_back(jets):
    jets = jets.take(slice(0, 200))
    standard, raw = ImageSettings(), ImageSettings(centre=False, rotate=False, flip=False, zoom=False)
    after = changed(jets, rotation=1.0, shift=0.02, flip=True)

    def moved(settings):
        first, second = make_images(jets, settings), make_images(after, settings)
        return np.abs(first**2 - second**2).sum(axis=(1, 2, 3)) / 2

    # but for the few whose principal axis or harder half is in doubt, and constituents on a border
    assert np.median(moved(standard)) < 0.01
    assert np.median(moved(raw)) > 0.2


def test_pixelated_jets_are_those_of_raw_images_and_the_others_stay(pythia_jets):
    """What a server makes of raw images is what was trained on."""
    raw = ImageSettings.raw()
    served = jets_from_images(make_images(pythia_jets, raw), half_width=1.0)
    everything = changed(pythia_jets, pixelate=1.0)
    assert np.array_equal(everything.offsets, served.offsets)
    for name in ("constituent_eta", "constituent_phi", "constituent_pt"):
        np.testing.assert_allclose(getattr(everything, name), getattr(served, name), rtol=1e-5, atol=1e-6)
    half = changed(pythia_jets, pixelate=0.5)
    like = {"before": 0, "served": 0}
    for jet in range(len(pythia_jets)):
        one = half.constituent_eta[slice(*half.offsets[jet : jet + 2])]
        for name, which in (("before", pythia_jets), ("served", everything)):
            like[name] += np.array_equal(one, which.constituent_eta[slice(*which.offsets[jet : jet + 2])])
    assert sum(like.values()) == len(pythia_jets) == 900
    assert 380 < like["served"] < 520


@pytest.mark.parametrize(("pixels", "half_width"), [(20, 1.0), (25, 1.25), (30, 1.5), (32, 1.6), (40, 1.0)])
def test_pixels_of_other_images_are_pixelated_as_raw_images_do(pixels, half_width):
    """Their middles may lie on the borders of the others."""
    rng = np.random.default_rng(0)
    filled = rng.uniform(1, 9, (3, pixels, pixels)) * (rng.random((3, pixels, pixels)) < 0.3)
    jets = jets_from_images(filled, half_width=half_width)
    expected = make_images(jets, ImageSettings.raw())
    found = make_images(changed(jets, pixelate=1.0), ImageSettings.raw())
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_pixels_have_no_charge(jets):
    after = changed(jets, pixelate=1.0)
    assert len(after.constituent_charge) == len(after.constituent_pt)
    assert not after.constituent_charge.any()
