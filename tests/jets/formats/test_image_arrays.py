from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from layouts import RAW, four_momenta, mixed, padded, read_all, write_image_arrays

from jetexp.errors import JetFileError
from jetexp.images import make_images
from jetexp.jets.formats.image_arrays import sniff
from jetexp.jets.pixels import jets_from_images
from jetexp.jets.sample import Jets


@pytest.fixture
def jets(pythia_jets: Jets) -> Jets:
    return mixed(pythia_jets, 90)


@pytest.fixture
def images(jets: Jets) -> np.ndarray:
    """Of 30 jets."""
    return make_images(jets.take(jets.label == 0), RAW)[..., 0]


def npz(path: Path, **arrays: Any) -> Path:
    np.savez_compressed(path, **arrays)
    return path.with_suffix(".npz")


def hdf5(path: Path, **arrays: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, compression="gzip")
    return path


def same(found: Jets, images: np.ndarray, half_width: float = 1.0) -> bool:
    wanted = jets_from_images(images, half_width=half_width, classes=found.classes)
    return found.fingerprint == wanted.fingerprint


def test_jets_come_back(jets: Jets, tmp_path: Path) -> None:
    write_image_arrays(jets, tmp_path / "jets.npz")
    found = read_all(tmp_path / "jets.npz", jets.classes, half_width=1.0)
    assert found.class_counts == jets.class_counts
    assert found.provenance["format"] == "image_arrays"
    for label, name in enumerate(jets.classes):
        assert same(found.with_classes([name]), make_images(jets.take(jets.label == label), RAW))


@pytest.mark.parametrize("saved", [npz, hdf5])
@pytest.mark.parametrize("shape", [(30, 40, 40), (30, 40, 40, 1), (30, 1, 40, 40)])
def test_containers_and_shapes_are_alike(
    images: np.ndarray, tmp_path: Path, saved: Callable[..., Path], shape: tuple[int, ...]
) -> None:
    path = saved(tmp_path / "jets", w=images.reshape(shape), note=np.arange(3))
    assert same(read_all(path, ["W"], names={"W": "w"}, half_width=0.8), images, 0.8)


def test_classes_and_numbers_are_chosen(images: np.ndarray, tmp_path: Path) -> None:
    path = npz(tmp_path / "jets", a=images[:10], b=images[10:], c=images[:5])
    found = read_all(path, ["W", "QCD"], names={"W": "b", "QCD": "a"}, half_width=1.0, per_class=7)
    assert found.class_counts == {"W": 7, "QCD": 7}
    assert same(found.with_classes(["W"]), images[10:17])
    with pytest.raises(JetFileError, match=r"no jets of class 'W' \(names: 'd'\); it has a, b, c"):
        read_all(path, ["W"], names={"W": "d"}, half_width=1.0)


def test_the_size_is_never_guessed(images: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(JetFileError, match="does not say how large its images are: give half_width"):
        read_all(npz(tmp_path / "jets", W=images), ["W"])


def test_the_unit_is_told_or_given(images: np.ndarray, tmp_path: Path) -> None:
    path = npz(tmp_path / "jets", W=images.astype("f8") / 2**15)
    told = " ".join(read_all(path, ["W"], half_width=1.0).provenance["assumed"])
    sums = np.median(images.sum(axis=(1, 2))) / 2**15
    assert f"{sums:.4g} GeV, not a collider's: give unit" in told
    found = read_all(path, ["W"], half_width=1.0, unit=2**15)
    assert same(found, images)
    assert "GeV" not in " ".join(found.provenance["assumed"])
    plain = read_all(npz(tmp_path / "plain", W=images), ["W"], half_width=1.0)
    assert "A pixel of 1 is taken for 1 GeV" in " ".join(plain.provenance["assumed"])


@pytest.mark.parametrize("form", ["u1", "i4", "f2"])
def test_any_type_of_numbers_is_read(tmp_path: Path, form: str) -> None:
    counts = np.random.default_rng(0).integers(0, 200, (20, 16, 16)).astype(form)
    path = npz(tmp_path / "jets", W=counts)
    # in half precision, the maximum of a pixel would be infinite
    assert same(read_all(path, ["W"], half_width=1.0, unit=0.125), counts.astype("f4") / 8)


def test_sides_of_different_lengths_are_told(tmp_path: Path) -> None:
    path = npz(tmp_path / "jets", W=np.full((20, 16, 24), 2.0))
    found = read_all(path, ["W"], half_width=1.0)
    assert "W: 16 x 24 pixels are taken to span equal ranges." in found.provenance["assumed"]


def test_what_is_empty_or_corrupt_is_dropped(images: np.ndarray, tmp_path: Path) -> None:
    images[3] = 0
    images[5, 1, 1] = 1e7
    found = read_all(npz(tmp_path / "jets", W=images), ["W"], half_width=1.0)
    assert len(found) == 28
    assert sorted(found.provenance["dropped"].values()) == [1, 1]


def altered(value: float) -> np.ndarray:
    array = np.ones((30, 10, 10), "f4")
    array[20, 3, 4] = value
    return array


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (altered(np.nan), r"W, jet 20, pixel \(3, 4\), is nan"),
        (altered(np.inf), r"W, jet 20, pixel \(3, 4\), is inf"),
        (altered(-1), r"W, jet 20, pixel \(3, 4\), is -1"),
        (np.zeros((30, 10, 10)), "only jets that are empty"),
        (np.zeros((0, 10, 10)), "W holds no jets"),
        (np.ones((30, 10, 10)).astype("f16"), "W is of type float128"),
        (np.ones((3, 7, 7)), "in no form that is known"),
        (np.ones((3, 10, 10, 3)), "in no form that is known"),
        (np.ones((3, 2000, 10), bool), "in no form that is known"),
        (np.ones((3, 1001, 10), "u1"), "in no form that is known"),
        (np.array([{}] * 3, dtype=object), "W holds pickled Python objects"),
    ],
)
def test_what_no_image_can_be_is_refused(tmp_path: Path, array: np.ndarray, message: str) -> None:
    path = npz(tmp_path / "bad", W=array)
    with pytest.raises(JetFileError, match=message) as caught:
        read_all(path, ["W"], half_width=1.0)
    assert "\n" not in str(caught.value)


def test_four_momenta_are_no_images(jets: Jets, images: np.ndarray, tmp_path: Path) -> None:
    momenta = padded(jets, *four_momenta(jets))
    assert not sniff(npz(tmp_path / "a", p=momenta, y=jets.label))
    assert not sniff(npz(tmp_path / "b", p=momenta.transpose(0, 2, 1)))
    assert sniff(npz(tmp_path / "c", p=images))


@pytest.mark.parametrize("kept", [100, 0.5, 0.99])
def test_a_truncated_file_is_refused(images: np.ndarray, tmp_path: Path, kept: float) -> None:
    path = npz(tmp_path / "jets", W=images)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept if kept > 1 else kept * len(data))])
    with pytest.raises(JetFileError, match="truncated"):
        read_all(path, ["W"], half_width=1.0)
