from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from layouts import assert_same_jets, four_momenta, mixed, padded, read_all, write_four_momenta

from jetexp.errors import JetFileError
from jetexp.jets.formats.four_momenta import sniff
from jetexp.jets.sample import Jets

NAMES = {"QCD": "0", "W": "1", "top": "2"}


@pytest.fixture
def jets(pythia_jets: Jets) -> Jets:
    return mixed(pythia_jets, 90)


@pytest.fixture
def momenta(jets: Jets) -> np.ndarray:
    return padded(jets, *four_momenta(jets))


def npz(path: Path, **arrays: Any) -> Path:
    np.savez_compressed(path.with_suffix(".npz"), **arrays)
    return path.with_suffix(".npz")


def hdf5(path: Path, **arrays: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path


def test_jets_come_back(jets: Jets, tmp_path: Path) -> None:
    write_four_momenta(jets, tmp_path / "jets.npz")
    found = read_all(tmp_path / "jets.npz", jets.classes, names=NAMES)
    assert_same_jets(found, jets)
    assert found.provenance["format"] == "four_momenta"


@pytest.mark.parametrize("saved", [npz, hdf5])
@pytest.mark.parametrize("energy_first", [False, True])
@pytest.mark.parametrize("components_first", [False, True])
@pytest.mark.parametrize("one_hot", [False, True])
def test_order_and_axis_are_found_and_told(
    jets: Jets,
    momenta: np.ndarray,
    tmp_path: Path,
    saved: Callable[..., Path],
    energy_first: bool,
    components_first: bool,
    one_hot: bool,
) -> None:
    array = np.roll(momenta, 1, axis=2) if energy_first else momenta
    array = array.transpose(0, 2, 1) if components_first else array
    label = np.eye(3)[jets.label] if one_hot else jets.label
    found = read_all(saved(tmp_path / "jets", p=array, y=label), jets.classes, names=NAMES)
    assert_same_jets(found, jets)
    order = "E, px, py, pz" if energy_first else "px, py, pz, E"
    told = " ".join(found.provenance["assumed"])
    assert f"read as {order} on axis {1 if components_first else 2}" in told
    assert "Labels are taken from y" in told


def test_four_constituents_are_told_from_four_components(jets: Jets, tmp_path: Path) -> None:
    hard = jets.take(jets.counts >= 4)
    array = padded(hard, *four_momenta(hard))[:, :4]
    for name, values in {"a": array, "b": array.transpose(0, 2, 1)}.items():
        found = read_all({"QCD": str(npz(tmp_path / name, p=values))}, ["QCD"])
        wanted = np.hypot(array[..., 0].sum(axis=1), array[..., 1].sum(axis=1))
        assert np.allclose(found.pt, wanted, rtol=1e-5)


def test_files_without_labels_are_given_class_by_class(
    jets: Jets, momenta: np.ndarray, tmp_path: Path
) -> None:
    paths = {}
    for label, name in enumerate(jets.classes):
        np.save(tmp_path / f"{name}.npy", momenta[jets.label == label])
        paths[name] = str(tmp_path / f"{name}.npy")
    by_class = jets.take(np.argsort(jets.label, kind="stable"))
    found = read_all(paths, jets.classes)
    assert found.class_counts == by_class.class_counts
    assert np.allclose(found.pt, by_class.pt, rtol=1e-5)
    with pytest.raises(JetFileError, match="does not say of which class its jets are: give the path class"):
        read_all(paths["W"], ["W"])


def test_classes_and_numbers_are_chosen(jets: Jets, momenta: np.ndarray, tmp_path: Path) -> None:
    path = npz(tmp_path / "jets", p=momenta, y=jets.label - 7)
    found = read_all(path, ["top", "W"], names={"top": "-5", "W": "-6"}, per_class=5)
    assert found.class_counts == {"top": 5, "W": 5}
    assert np.array_equal(found.pt[found.label == 0], read_all(path, ["-5"]).pt[:5])
    with pytest.raises(JetFileError, match="no jets of class 'W'; it has -5, -6, -7"):
        read_all(path, ["W"])


def test_the_unit_is_told_or_given(jets: Jets, momenta: np.ndarray, tmp_path: Path) -> None:
    path = npz(tmp_path / "jets", p=1000 * momenta, y=jets.label)
    wrong = read_all(path, jets.classes, names=NAMES)
    assert "not a collider's: give unit" in " ".join(wrong.provenance["assumed"])
    right = read_all(path, jets.classes, names=NAMES, unit=0.001)
    assert_same_jets(right, jets)
    assert "unit" not in " ".join(right.provenance["assumed"])


def along_an_axis() -> np.ndarray:
    array = np.zeros((20, 5, 4))
    array[..., 0] = array[..., 3] = 50
    return array


def directions(momenta: np.ndarray) -> np.ndarray:
    px, py, pz, _ = np.moveaxis(momenta, 2, 0)
    pt = np.hypot(px, py)
    there = pt > 0
    eta = np.arcsinh(np.divide(pz, pt, out=np.zeros_like(pz), where=there))
    return np.stack([pt, eta, np.arctan2(py, px), np.where(there, 0.14, 0)], axis=2)


def test_what_fits_no_order_or_several_is_refused(momenta: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(JetFileError, match=r"fits no order of the components .*px, py, pz and E on the last"):
        read_all({"QCD": str(npz(tmp_path / "a", p=directions(momenta)))}, ["QCD"])
    heavy = momenta.copy()
    heavy[..., 3] *= 3
    with pytest.raises(JetFileError, match="fits no order"):
        read_all({"QCD": str(npz(tmp_path / "b", p=heavy))}, ["QCD"])
    with pytest.raises(JetFileError, match="fits several orders"):
        read_all({"QCD": str(npz(tmp_path / "c", p=along_an_axis()))}, ["QCD"])
    with pytest.raises(JetFileError, match="nothing but zeros"):
        read_all({"QCD": str(npz(tmp_path / "d", p=np.zeros((9, 5, 4))))}, ["QCD"])


def test_several_arrays_that_would_do_are_refused(jets: Jets, momenta: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(JetFileError, match=r"2 arrays that could be four-momenta \(p, q\); one, of shape"):
        read_all(npz(tmp_path / "a", p=momenta, q=momenta, y=jets.label), ["0"])
    with pytest.raises(JetFileError, match=r"2 arrays that could be the labels \(y, z\); one would be right"):
        read_all(npz(tmp_path / "b", p=momenta, y=jets.label, z=jets.label), ["0"])
    # weights are floating numbers
    path = npz(tmp_path / "c", p=momenta, y=jets.label, weight=np.full(90, 0.1), text=np.array(["x"]))
    assert len(read_all(path, ["0"])) == 30


def altered(place: tuple[int, ...], value: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    p = rng.normal(0, 20, (6_000, 3, 3))
    array = np.concatenate([p, np.linalg.norm(p, axis=2, keepdims=True)], axis=2)
    array[place] = value
    return array


@pytest.mark.parametrize(
    ("array", "label", "message"),
    [
        (altered((40, 2, 1), np.nan), 0, r"p, jet 40, entry \(2, 1\), is nan; a finite number"),
        (altered((5_500, 2, 1), np.nan), 0, "p, jet 5500, constituent 2: py is nan"),
        (altered((5_500, 0, 0), np.inf), 0, "p, jet 5500, constituent 0: px is inf"),
        (altered((5_500, 0, 2), 1e200), 0, r"p, jet 5500, constituent 0: pz is 1e\+200"),
        (altered((5_500, 0, 3), -1.0), 0, "p, jet 5500, constituent 0: energy is -1"),
        (altered((0, 0, 0), 1e200), 0, "p, jet 0, constituent 0: px is"),
        (altered((0, 0, 0), 0.0), 0.5, "y, jet 0, is 0.5; labels are whole numbers"),
        (altered((0, 0, 0), 0.0), np.nan, "y, jet 0, is nan"),
        (np.zeros((6_000, 4, 10_001), "f2"), 0, "p has 10001 constituents a jet"),
        (np.zeros((0, 4, 7)), 0, "p holds no jets"),
        (np.zeros((6_000, 4, 7), "f8").astype("f16"), 0, "p is of type float128, not a floating type"),
        (np.zeros((6_000, 4, 7), int), 0, "in no form that is known"),
    ],
)
def test_what_no_jet_can_be_is_refused(tmp_path: Path, array: np.ndarray, label: float, message: str) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, p=array, y=np.full(len(array), label))
    with pytest.raises(JetFileError, match=message) as caught:
        read_all(path, ["0"])
    assert "\n" not in str(caught.value)


def test_labels_that_are_none_are_refused(momenta: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(JetFileError, match="y, jet 0, is of no class; one 1 among zeros would be right"):
        read_all(npz(tmp_path / "a", p=momenta, y=np.ones((90, 3), int)), ["0"])
    with pytest.raises(JetFileError, match="labels of over 1000 classes"):
        read_all(npz(tmp_path / "b", p=momenta, y=np.zeros((90, 1001), int)), ["0"])
    many = np.tile(momenta, (20, 1, 1))
    with pytest.raises(JetFileError, match="y holds over 1000 different values"):
        read_all(npz(tmp_path / "c", p=many, y=np.arange(1800)), ["0"])


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    path = npz(tmp_path / "bad", p=np.array([{}] * 3, dtype=object))
    with pytest.raises(JetFileError, match="pickled Python objects, which are never read"):
        read_all(path, ["0"])
    np.save(tmp_path / "bad.npy", np.array([{}] * 3, dtype=object))
    with pytest.raises(JetFileError, match="pickled Python objects, which are never read"):
        read_all(tmp_path / "bad.npy", ["0"])


@pytest.mark.parametrize("kept", [90, 0.5, 0.999])
def test_a_truncated_npy_file_is_refused(momenta: np.ndarray, tmp_path: Path, kept: float) -> None:
    np.save(tmp_path / "jets.npy", momenta)
    data = (tmp_path / "jets.npy").read_bytes()
    (tmp_path / "jets.npy").write_bytes(data[: int(kept if kept > 1 else kept * len(data))])
    with pytest.raises(JetFileError, match=r"not an array in NumPy's format|truncated"):
        read_all({"QCD": str(tmp_path / "jets.npy")}, ["QCD"])


def test_an_absurd_size_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "bad.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (10**15, 4, 100)}
        )
    with pytest.raises(JetFileError, match=r"announces 1600000000000000.* bytes"):
        read_all({"QCD": str(tmp_path / "bad.npy")}, ["QCD"])


def test_other_arrays_are_something_else(tmp_path: Path) -> None:
    np.save(tmp_path / "flat.npy", np.zeros((3, 4)))
    np.save(tmp_path / "images.npy", np.zeros((3, 40, 40)))
    (tmp_path / "text").write_text("jets")
    for name in ("flat.npy", "images.npy", "text"):
        assert not sniff(tmp_path / name)
