from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from layouts import RAW, write_jet_images
from skimage.transform import rotate

from jetexp.errors import JetFileError
from jetexp.images import make_images
from jetexp.jets.formats.form import Wanted
from jetexp.jets.formats.jet_images import content, sniff
from jetexp.jets.load import load_jets
from jetexp.jets.sample import Jets
from jetexp.jets.settings import JetFileSettings

IN_LAYOUT = RAW.model_copy(update={"pixels": 25, "half_width": 1.25})


def read_all(path: Path, classes: tuple[str, ...] = ("QCD", "W"), **settings: Any) -> Jets:
    return load_jets(JetFileSettings(path=str(path), **settings), classes, Path("nowhere"))


@pytest.fixture(scope="module")
def jets(pythia_jets: Jets) -> Jets:
    return pythia_jets.with_classes(("QCD", "W"))


@pytest.fixture
def good(jets: Jets, tmp_path: Path) -> Path:
    write_jet_images(jets, tmp_path / "good.hdf5")
    return tmp_path / "good.hdf5"


def test_jets_written_in_the_layout_are_read_back(jets: Jets, good: Path) -> None:
    found = read_all(good)
    for name in ("label", "pt", "eta", "mass"):
        assert np.array_equal(getattr(found, name), getattr(jets, name))
    wanted = make_images(jets, IN_LAYOUT)
    assert np.array_equal(make_images(found, IN_LAYOUT), np.where(wanted < 1e-3, 0, wanted))
    assert found.provenance["format"] == "jet_images"


def test_classes_may_have_other_names_in_another_order(jets: Jets, good: Path) -> None:
    found = read_all(good, ("boson", "QCD"), names={"boson": "W"})
    assert np.array_equal(found.label, 1 - jets.label)
    assert read_all(good, ("W",), per_class=30).class_counts == {"W": 30}
    with pytest.raises(JetFileError, match="no jets of class 'top'; it has W, QCD"):
        read_all(good, ("top", "W"))


def test_content_counts_the_classes_and_tells_what_is_assumed(good: Path) -> None:
    told = content(good, Wanted(("QCD", "W")))
    assert (told.classes, told.jets) == ({"QCD": 300, "W": 300}, 600)
    assert "pixels are taken to reach 1.25 to each side" in told.assumptions[0]
    assert len(told.assumptions) == 3
    told = content(good, Wanted(("QCD", "W"), half_width=1.0))
    assert "pixels are taken to reach 1 to each side" in told.assumptions[0]


def altered(path: Path, change: Any, name: str = "image") -> Path:
    with h5py.File(path, "a") as file:
        values = file[name][:]
        del file[name]
        file[name] = change(values)
    return path


def test_what_interpolation_leaves_is_taken_for_zero(jets: Jets, good: Path) -> None:
    def rotated(images: np.ndarray) -> np.ndarray:
        return np.stack([rotate(image, 90 + 1e-4, order=3, clip=False) for image in images])

    altered(good, rotated)
    with h5py.File(good) as file:
        assert (file["image"][:] < 0).any()
        assert (file["image"][:] != 0).mean() > 0.2
    found = read_all(good)
    assert found.constituent_pt.min() >= 1e-3
    upright = make_images(jets, IN_LAYOUT)
    turned = make_images(found, IN_LAYOUT)
    # a quarter turn takes each pixel to a pixel
    back = np.rot90(turned, -1, axes=(1, 2))
    assert np.allclose(back, upright, atol=0.02 * upright.max())


@pytest.mark.parametrize("scale", [1e-6, 0.01, 1e4])
def test_images_in_another_unit_are_scaled_to_the_jets(good: Path, scale: float) -> None:
    wanted = read_all(good)
    norms = np.random.default_rng(0).uniform(0.5, 2, 600)
    found = read_all(altered(good, lambda images: images * (scale * norms)[:, None, None]))
    assert "each image is scaled to sum up to jet_pt" in found.provenance["assumed"][-1]
    total = np.add.reduceat(found.constituent_pt.astype("f8"), found.offsets[:-1])
    assert np.allclose(total, wanted.pt, rtol=1e-3)
    assert np.array_equal(found.pt, wanted.pt)


def test_absurd_and_empty_images_are_counted_and_dropped(
    jets: Jets, good: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def spoilt(images: np.ndarray) -> np.ndarray:
        images[2, 3, 3], images[5, 3, 3], images[4] = 1e6, 1e38, 0
        return images

    with caplog.at_level(logging.WARNING):
        found = read_all(altered(good, spoilt))
    assert np.array_equal(found.pt, np.delete(jets.pt, [2, 4, 5]))
    assert "2 jets are left out: " in caplog.text
    assert "image: a pixel above the maximum of 13000 GeV" in caplog.text
    assert sorted(found.provenance["dropped"].values()) == [1, 2]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "image, jet 400, has a pixel that is no finite number"),
        (np.inf, "image, jet 400, has a pixel that is no finite number"),
        (-100.0, "image, jet 400, has negative pixels of -100 in all; up to 1%"),
    ],
)
def test_a_pixel_that_is_none_is_refused(good: Path, value: float, message: str) -> None:
    def spoilt(images: np.ndarray) -> np.ndarray:
        images[400, 3, 3] = value
        return images

    with pytest.raises(JetFileError, match=message):
        read_all(altered(good, spoilt))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("jet_pt", -600, "jet 500: jet pT is -600"),
        ("jet_eta", np.nan, "jet 500: jet eta is nan"),
        ("jet_mass", -80, "jet 500: jet mass is -80"),
        ("signal", 0.5, r"signal, jet 500, is 0\.5"),
        ("signal", 2, r"signal, jet 500, is 2; 0 \(QCD\) or 1 \(W\) would be right"),
    ],
)
def test_a_jet_that_is_none_is_refused(good: Path, name: str, value: float, message: str) -> None:
    def spoilt(values: np.ndarray) -> np.ndarray:
        values[500] = value
        return values

    with pytest.raises(JetFileError, match=message):
        read_all(altered(good, spoilt, name))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("image", np.ones((600, 24, 25), "f4"), r"image is of shape \(600, 24, 25\), not \(N, 25, 25\)"),
        ("image", np.ones((600, 625), "f4"), r"image is of shape \(600, 625\)"),
        ("image", np.ones((600, 25, 25), "i4"), "image is of type int32"),
        ("image", np.ones((0, 25, 25), "f4"), "image holds no jets"),
        ("signal", np.ones(599), r"signal is of shape \(599,\), not \(600,\)"),
        ("signal", np.ones(600, "S1"), "signal is of type"),
        ("jet_pt", np.ones((600, 1)), r"jet_pt is of shape \(600, 1\)"),
        ("jet_mass", np.ones(600, "i8"), "jet_mass is of type int64"),
    ],
)
def test_other_shapes_and_types_are_refused(good: Path, name: str, value: np.ndarray, message: str) -> None:
    with pytest.raises(JetFileError, match=message):
        read_all(altered(good, lambda _: value, name))


def test_sniff_goes_by_the_content(good: Path, tmp_path: Path) -> None:
    assert sniff(good.rename(tmp_path / "noname"))
    with h5py.File(tmp_path / "noname", "a") as file:
        del file["jet_pt"]
    assert not sniff(tmp_path / "noname")
