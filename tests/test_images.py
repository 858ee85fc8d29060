"""Images: geometry that must not depend on how a jet happens to lie, and pT that must not get lost."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError
from toys import build_jets, one_jet, toy_jets

from jetexp import images as images_module
from jetexp.errors import JetexpError
from jetexp.images import ImageSettings, make_images

RAW = ImageSettings.raw()
STANDARD = ImageSettings(scale="gev", intensity="linear", half_width=1.5, pixels=30)


def lopsided_jet(seed: int, number: int = 12):
    """Draw constituents with a clear principal axis and clear harder halves, whatever is done to them."""
    random = np.random.default_rng(seed)
    eta, phi = random.normal(0, 0.05, number), random.normal(0, 0.2, number)
    pt = random.exponential(50.0, number) + 1.0
    eta, phi = eta - np.average(eta, weights=pt), phi - np.average(phi, weights=pt)
    values, axes = np.linalg.eigh(np.cov(eta, phi, aweights=pt))
    assume(values[1] > 1.5 * values[0])
    for axis in axes.T:
        side = eta * axis[0] + phi * axis[1]
        assume(np.abs(side).min() > 1e-3)
        assume(abs((pt * np.sign(side)).sum()) > 0.02 * pt.sum())
    return eta, phi, pt


def assert_same_jet(first: np.ndarray, second: np.ndarray) -> None:
    """Tell two images apart only by more than a constituent at a pixel's border can do."""
    near = np.stack([np.roll(second, (i, j), (1, 2)) for i in (-1, 0, 1) for j in (-1, 0, 1)]).sum(axis=0)
    assert (first <= near + 1e-3).all()
    np.testing.assert_allclose(first.sum(), second.sum(), rtol=1e-5)
    moved = np.abs(first - second).sum() / first.sum()
    assert moved < 0.7


@given(
    seed=st.integers(0, 10_000),
    angle=st.floats(0, 2 * np.pi),
    eta_shift=st.floats(-1, 1),
    phi_shift=st.floats(-10, 10),
    mirror=st.booleans(),
)
def test_a_jet_turned_mirrored_or_moved_gives_the_same_image(seed, angle, eta_shift, phi_shift, mirror):
    eta, phi, pt = lopsided_jet(seed)
    turned_eta = np.cos(angle) * eta - np.sin(angle) * phi
    turned_phi = np.sin(angle) * eta + np.cos(angle) * phi
    turned_eta = (-turned_eta if mirror else turned_eta) + eta_shift
    turned_phi = np.mod(turned_phi + phi_shift + np.pi, 2 * np.pi) - np.pi
    images = [make_images(one_jet(*jet), STANDARD) for jet in ((eta, phi, pt), (turned_eta, turned_phi, pt))]
    assert_same_jet(*images)


@pytest.mark.parametrize("shift", [np.pi, -np.pi, 3.0, 100.0])
def test_a_jet_across_the_seam_of_phi_is_whole(shift):
    eta, phi, pt = np.array([0.0, 0.1, -0.07]), np.array([-0.2, 0.03, 0.21]), np.array([100.0, 30.0, 60.0])
    settings = ImageSettings(rotate=False, flip=False, scale="gev", intensity="linear", half_width=1.0)
    seam = np.mod(phi + shift + np.pi, 2 * np.pi) - np.pi
    np.testing.assert_allclose(
        make_images(one_jet(eta, seam, pt), settings), make_images(one_jet(eta, phi, pt), settings)
    )


def test_centroid_principal_axis_and_harder_halves_lie_where_they_should():
    settings = ImageSettings(pixels=256, half_width=1.0, zoom=False, scale="fraction", intensity="linear")
    images = make_images(toy_jets(200), settings)[..., 0].astype(np.float64)
    centres = (np.arange(256) + 0.5) / 128 - 1
    weight = images.sum(axis=(1, 2))
    mean_eta = (images.sum(axis=2) @ centres) / weight
    mean_phi = (images.sum(axis=1) @ centres) / weight
    moments = [
        np.einsum("nij,i,j->n", images, a, b)
        for a, b in ((centres**2, np.ones(256)), (np.ones(256), centres**2), (centres, centres))
    ]
    pixel = 1 / 128
    # mirroring keeps the centroid at the origin
    assert np.abs(mean_eta).max() < pixel
    assert np.abs(mean_phi).max() < pixel
    assert (moments[1] > moments[0]).mean() > 0.99
    assert np.abs(moments[2] / (moments[0] + moments[1])).max() < 0.2
    assert (images[:, 128:].sum(axis=(1, 2)) > 0.49).all()
    assert (images[:, :, 128:].sum(axis=(1, 2)) > 0.49).all()


def test_an_upright_jet_is_only_centred_and_never_turned_further():
    settings = ImageSettings(pixels=8, half_width=0.8, zoom=False, scale="gev", intensity="linear")
    image = make_images(one_jet([0.3, 0.3], [0.9, 0.5], [50.0, 100.0]), settings)[0, :, :, 0]
    # centroid at phi 0.633: the harder one lies 0.133 below it, and is mirrored to the positive side
    expected = np.zeros((8, 8))
    expected[4, 4], expected[4, 2] = 100.0, 50.0
    np.testing.assert_allclose(image, expected)


def test_the_zoom_makes_a_decay_as_wide_at_any_momentum():
    settings = ImageSettings(zoom=True, reference_pt=600.0, scale="fraction", intensity="linear")
    wide = one_jet([0.0, 0.0], [-0.1, 0.3], [450.0, 150.0])
    narrow = one_jet([0.0, 0.0], [-0.05, 0.15], [900.0, 300.0])
    np.testing.assert_allclose(make_images(wide, settings), make_images(narrow, settings), rtol=1e-6)


@given(st.integers(0, 10_000), st.sampled_from(["gev", "fraction"]))
def test_pt_inside_the_window_is_conserved(seed, scale):
    settings = RAW.model_copy(update={"scale": scale})
    random = np.random.default_rng(seed)
    eta, phi, pt = random.uniform(-2, 2, 50), random.uniform(-2, 2, 50), random.exponential(10, 50)
    inside = pt[(np.abs(eta) < 1) & (np.abs(phi) < 1)].sum()
    expected = inside if scale == "gev" else inside / pt.sum()
    np.testing.assert_allclose(make_images(one_jet(eta, phi, pt), settings).sum(), expected, rtol=1e-5)


def test_a_raw_image_comes_back_exactly():
    random = np.random.default_rng(5)
    raw = np.where(random.random((6, 40, 40)) < 0.1, random.exponential(9, (6, 40, 40)), 0).astype(np.float32)
    jet, row, column = np.nonzero(raw)
    centres = ((np.arange(40) + 0.5) * 0.05 - 1.0).astype(np.float32)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(jet, minlength=6))])
    images = make_images(build_jets(offsets, centres[row], centres[column], raw[jet, row, column]), RAW)
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images[..., 0], raw)


@pytest.mark.parametrize("scale", ["gev", "fraction"])
@pytest.mark.parametrize("intensity", ["linear", "sqrt", "log"])
def test_degenerate_jets_give_finite_images_without_a_warning(scale, intensity):
    jets = build_jets(
        [0, 0, 1, 5, 8, 8],
        [0.3, 0.2, -0.2, 0.0, 0.0, 0.1, 0.1, 0.1],
        [0.1, 0.0, 0.0, 0.2, -0.2, 3.1, 3.1, 3.1],
        [40.0, 150.0, 150.0, 150.0, 150.0, 0.0, 0.0, 0.0],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images = make_images(jets, ImageSettings(scale=scale, intensity=intensity))
    assert np.isfinite(images).all()
    filled = images.sum(axis=(1, 2, 3)) > 0
    assert filled.tolist() == [False, True, True, False, False]
    # one constituent lies in the middle; four in a square have no principal axis and are not turned
    assert images[1, 12, 12, 0] > 0
    assert np.count_nonzero(images[2]) == 4
    counts = make_images(jets, ImageSettings(scale=scale, intensity=intensity, channels=("count",)))
    assert ((counts > 0) == (images > 0)).all()


def test_no_jets_give_no_images():
    assert make_images(build_jets([0], [], [], []), ImageSettings()).shape == (0, 24, 24, 1)


def test_blocks_do_not_show(monkeypatch):
    jets = toy_jets(57)
    whole = make_images(jets, ImageSettings())
    monkeypatch.setattr(images_module, "BLOCK_CELLS", 10 * 24 * 24)
    np.testing.assert_array_equal(make_images(jets, ImageSettings()), whole)


@pytest.mark.parametrize(("intensity", "expected"), [("linear", 4.0), ("sqrt", 2.0), ("log", np.log(5.0))])
def test_intensity(intensity, expected):
    settings = RAW.model_copy(update={"intensity": intensity})
    assert make_images(one_jet([0.01], [0.01], [4.0]), settings).max() == pytest.approx(expected)


def with_charge(jets, seed=0):
    charge = np.random.default_rng(seed).integers(-1, 2, len(jets.constituent_pt)).astype(np.int8)
    return replace(jets, constituent_charge=charge)


@pytest.mark.parametrize("scale", ["gev", "fraction"])
def test_charged_and_neutral_are_all(scale):
    settings = ImageSettings(scale=scale, intensity="linear", channels=("pt", "charged", "neutral"))
    images = make_images(with_charge(toy_jets(50)), settings)
    assert images.shape == (50, 24, 24, 3)
    np.testing.assert_allclose(images[..., 1] + images[..., 2], images[..., 0], rtol=1e-5, atol=1e-7)
    assert (images[..., 1:].sum(axis=(1, 2)) > 0).all()


def test_each_channel_holds_its_own():
    jets = replace(
        one_jet([0.1, 0.1, 0.1, 0.5], [0.1, 0.1, 0.1, 0.5], [1.0, 2.0, 4.0, 8.0]),
        constituent_charge=np.array([1, 0, -1, 0], np.int8),
    )
    settings = RAW.model_copy(update={"channels": ("neutral", "count", "charged", "pt")})
    image = make_images(jets, settings)[0]
    assert image[22, 22].tolist() == [2.0, 3.0, 5.0, 7.0]
    assert image[30, 30].tolist() == [8.0, 1.0, 0.0, 8.0]
    assert np.count_nonzero(image.any(axis=-1)) == 2


@pytest.mark.parametrize(
    ("intensity", "expected"), [("linear", 3.0), ("sqrt", np.sqrt(3.0)), ("log", np.log(4.0))]
)
@pytest.mark.parametrize("scale", ["gev", "fraction"])
def test_count_counts_whatever_the_scale(intensity, expected, scale):
    settings = RAW.model_copy(update={"channels": ("count",), "intensity": intensity, "scale": scale})
    image = make_images(one_jet([0.1, 0.1, 0.1], [0.1, 0.1, 0.1], [1.0, 2.0, 70.0]), settings)
    assert image.max() == pytest.approx(expected)


def test_channels_do_not_depend_on_each_other():
    jets, names = with_charge(toy_jets(20)), ("pt", "charged", "neutral", "count")
    together = make_images(jets, ImageSettings(channels=names))
    for index, name in enumerate(names):
        alone = make_images(jets, ImageSettings(channels=(name,)))
        np.testing.assert_array_equal(together[..., index : index + 1], alone)


@pytest.mark.parametrize("channels", [("pt", "pt"), ("count", "pt", "count"), (), ("mass",)])
def test_channels_that_make_no_sense_are_refused(channels):
    with pytest.raises(ValidationError, match="channels"):
        ImageSettings(channels=channels)


@pytest.mark.parametrize("channels", [("charged",), ("pt", "neutral")])
def test_channels_of_charge_need_charges(channels):
    with pytest.raises(JetexpError, match="need the constituents' charges") as error:
        make_images(toy_jets(3), ImageSettings(channels=channels))
    assert str(list(channels)) in str(error.value)
    assert "\n" not in str(error.value)


def drawn_at(distance, angle, **settings):
    """Draw one constituent a jet, and give where it is seen: in eta and phi, NaN where it is not."""
    distance, angle = np.broadcast_arrays(np.atleast_1d(distance), np.atleast_1d(angle))
    number, raw = len(distance), {"centre": False, "rotate": False, "flip": False, "zoom": False}
    jets = build_jets(
        np.arange(number + 1), distance * np.cos(angle), distance * np.sin(angle), np.ones(number)
    )
    settings = ImageSettings(pixels=256, scale="gev", intensity="linear", **raw, **settings)
    images = make_images(jets, settings)[..., 0]
    jet, *pixel = np.nonzero(images)
    places = np.full((2, number), np.nan)
    places[:, jet] = (np.array(pixel) + 0.5) * settings.half_width / 128 - settings.half_width
    return places


@pytest.mark.parametrize(
    ("half_width", "core", "reach"), [(0.6, 0.15, 1.5), (1.0, 0.3, 2.5), (0.5, 2.0, 0.4)]
)
def test_the_compression_is_the_one_described(half_width, core, reach):
    distance, angle = np.linspace(0, 0.999 * reach, 20)[:, None], np.linspace(0, 6, 7)
    distance, angle = (values.ravel() for values in np.broadcast_arrays(distance, angle))
    eta, phi = drawn_at(distance, angle, compress=True, half_width=half_width, core=core, reach=reach)
    expected = half_width * np.log(1 + distance / core) / np.log(1 + reach / core)
    pixel = half_width / 128
    np.testing.assert_allclose(eta, expected * np.cos(angle), atol=0.51 * pixel)
    np.testing.assert_allclose(phi, expected * np.sin(angle), atol=0.51 * pixel)


def test_the_compression_ends_at_its_reach():
    settings = {"compress": True, "half_width": 0.6, "core": 0.15, "reach": 1.5}
    eta, phi = drawn_at([0.0, 1.498, 1.502], 0.0, **settings)
    pixel = 0.6 / 128
    np.testing.assert_allclose(eta, [pixel / 2, 0.6 - pixel / 2, np.nan])
    np.testing.assert_allclose(phi, [pixel / 2, pixel / 2, np.nan])
    # farther along the diagonal, which reaches farther
    assert np.isfinite(drawn_at(2.0, np.pi / 4, **settings)).all()


def test_the_compression_keeps_the_order_and_widens_the_core():
    distance = np.linspace(0.001, 1.49, 400)
    eta, _ = drawn_at(distance, 0.0, compress=True)
    assert (np.diff(eta) >= 0).all()
    linear = distance * 0.6 / 1.5
    assert (eta[20:-20] > linear[20:-20]).all()


def test_a_core_as_wide_as_the_jet_leaves_proportions_as_they_are():
    distance, angle = np.linspace(0, 0.099, 50), np.linspace(0, 40, 50)
    settings = {"compress": True, "half_width": 0.6, "core": 10.0, "reach": 0.1}
    eta, phi = drawn_at(distance, angle, **settings)
    # the two differ by half_width r (reach - r) / (2 core reach) at most
    close = 0.51 * 0.6 / 128 + 0.6 * 0.1 / 80
    np.testing.assert_allclose(eta, distance * np.cos(angle) * 6, atol=close)
    np.testing.assert_allclose(phi, distance * np.sin(angle) * 6, atol=close)


def test_a_compressed_image_does_not_tell_orientation_either():
    settings = STANDARD.model_copy(update={"compress": True, "reach": 3.0})
    eta, phi, pt = (
        np.array([-0.05, 0.11, 0.02, -0.03]),
        np.array([-0.3, 0.04, 0.41, 0.13]),
        np.arange(1, 5) * 50.0,
    )
    first = make_images(one_jet(eta, phi, pt), settings)
    for angle in (0.4, 2.0, 4.5):
        turned = np.cos(angle) * eta - np.sin(angle) * phi, np.sin(angle) * eta + np.cos(angle) * phi
        np.testing.assert_allclose(make_images(one_jet(*turned, pt), settings), first, rtol=1e-5)
    assert not np.array_equal(first, make_images(one_jet(eta, phi, pt), STANDARD))
