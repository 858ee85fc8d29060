from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jetexp.images import ImageSettings, make_images
from jetexp.jets.pixels import jets_from_images
from jetexp.jets.sample import Jets

RAW = ImageSettings.raw()


def images(number: int = 20) -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.where(rng.random((number, 40, 40)) < 0.03, rng.exponential(20, (number, 40, 40)), 0).astype(
        "f4"
    )


def test_raw_images_of_pixels_are_the_same_images() -> None:
    given_images = images()
    given_images[0, 0, 0] = given_images[0, 39, 39] = given_images[0, 39, 0] = 5
    again = make_images(jets_from_images(given_images, half_width=1.0), RAW)
    assert np.array_equal(again[..., 0], given_images)


def test_raw_images_of_pythia_jets_go_there_and_back(pythia_jets: Jets) -> None:
    once = make_images(pythia_jets, RAW)
    back = jets_from_images(once, half_width=1.0)
    assert np.array_equal(make_images(back, RAW), once)
    # an image knows the kinematics but for the size of its pixels
    assert np.median(np.abs(back.pt / pythia_jets.pt - 1)) < 0.02
    assert np.median(np.abs(back.mass - pythia_jets.mass)) < 10


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.float32, (3, 8, 6), elements=st.floats(0, 1000, width=32)), st.floats(0.1, 3.0))
def test_a_pixel_is_a_constituent_at_its_centre(image: np.ndarray, half_width: float) -> None:
    jets = jets_from_images(image, half_width=half_width)
    row = np.floor((jets.constituent_eta.astype(float) + half_width) / (2 * half_width / 8)).astype(int)
    column = np.floor((jets.constituent_phi.astype(float) + half_width) / (2 * half_width / 6)).astype(int)
    again = np.zeros_like(image)
    again[jets.jet_index, row, column] = jets.constituent_pt
    assert np.array_equal(again, image)


def test_two_massless_pixels_have_the_mass_of_their_sum() -> None:
    image = np.zeros((1, 40, 40))
    image[0, 10, 20], image[0, 30, 20] = 100, 100
    jet = jets_from_images(image, half_width=1.0)
    # m^2 = 2 pT1 pT2 (cosh(delta eta) - cos(delta phi))
    assert jet.mass[0] == pytest.approx(np.sqrt(2 * 100 * 100 * (np.cosh(1.0) - 1)), rel=1e-5)
    assert jet.pt[0] == pytest.approx(200, rel=1e-6)
    assert jet.eta[0] == pytest.approx(np.arcsinh(np.sinh(-0.475) / 2 + np.sinh(0.525) / 2), rel=1e-5)


def test_an_image_of_zeros_is_a_jet_without_constituents() -> None:
    jets = jets_from_images(np.zeros((2, 40, 40, 1)), half_width=1.0)
    assert jets.counts.tolist() == [0, 0]
    assert [jets.pt.tolist(), jets.eta.tolist(), jets.mass.tolist()] == [[0, 0]] * 3


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0, 1e300])
def test_impossible_pixels_are_refused(bad: float) -> None:
    image = np.zeros((2, 40, 40))
    image[1, 2, 3] = bad
    with pytest.raises(ValueError, match="finite and not negative"):
        jets_from_images(image, half_width=1.0)


@pytest.mark.parametrize("shape", [(40, 40), (1, 40, 40, 2), (1, 2, 3, 4, 5)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        jets_from_images(np.zeros(shape), half_width=1.0)
