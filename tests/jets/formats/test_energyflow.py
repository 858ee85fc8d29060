from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layouts import (
    assert_same_jets,
    four_momenta,
    in_detector,
    mixed,
    padded,
    read_all,
    write_energyflow,
)

from jetexp.errors import JetFileError
from jetexp.jets.formats.energyflow import sniff
from jetexp.jets.sample import Jets

NAMES = {"QCD": "gluon", "W": "quark"}


@pytest.fixture
def jets(pythia_jets: Jets) -> Jets:
    return mixed(pythia_jets.with_classes(["QCD", "W"]), 120)


def particles(number: int = 150) -> np.ndarray:
    rng = np.random.default_rng(0)
    array = np.zeros((number, 5, 4))
    array[..., 0] = rng.exponential(20, (number, 5))
    array[..., 1:3] = rng.normal(1, 0.2, (number, 5, 2))
    array[..., 3] = 22
    return array


def saved(path: Path, **arrays: Any) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def test_jets_come_back(jets: Jets, tmp_path: Path) -> None:
    write_energyflow(jets, tmp_path / "jets.npz")
    found = read_all(tmp_path / "jets.npz", jets.classes, names=NAMES)
    assert_same_jets(found, jets)
    assert np.array_equal(found.constituent_charge, jets.constituent_charge)
    assert found.provenance["format"] == "energyflow"
    assert "massless" in found.provenance["assumed"][0]


def test_the_form_without_pdg_ids_has_no_charges(jets: Jets, tmp_path: Path) -> None:
    columns = padded(jets, jets.constituent_pt, *in_detector(jets))
    # azimuths from 0 to 2 pi are the same
    columns[..., 2] %= 2 * np.pi
    path = saved(tmp_path / "jets.npz", X=columns, y=jets.label)
    found = read_all(path, jets.classes, names=NAMES)
    assert_same_jets(found, jets)
    assert found.constituent_charge is None


def test_classes_and_numbers_are_chosen(jets: Jets, tmp_path: Path) -> None:
    write_energyflow(jets, tmp_path / "jets.npz")
    quarks = read_all(tmp_path / "jets.npz", ["quark"], per_class=7)
    assert_same_jets(quarks, jets.with_classes(["W"]).take(slice(0, 7)), classes=["quark"])
    both = read_all(tmp_path / "jets.npz", ["quark", "gluon"])
    assert both.label.tolist() == (1 - jets.label).tolist()
    with pytest.raises(JetFileError, match="no jets of class 'QCD'; it has gluon, quark"):
        read_all(tmp_path / "jets.npz", ["QCD"])


def test_unknown_particles_are_told_and_neutral(tmp_path: Path) -> None:
    array = particles()
    array[3, :3, 3] = [-211, 4122, 3334]
    found = read_all(saved(tmp_path / "jets.npz", X=array, y=np.zeros(150)), ["gluon"])
    assert found.constituent_charge is not None
    assert found.constituent_charge[15:18].tolist() == [-1, 0, -1]
    assert "the first jets have 4122" in found.provenance["assumed"][1]


def test_jets_without_particles_are_dropped(tmp_path: Path) -> None:
    array = particles()
    array[[5, 149]] = 0
    found = read_all(saved(tmp_path / "jets.npz", X=array, y=np.zeros(150)), ["gluon"])
    assert len(found) == 148
    assert list(found.provenance["dropped"].values()) == [2]


def test_four_momenta_of_the_same_names_are_something_else(jets: Jets, tmp_path: Path) -> None:
    momenta = padded(jets, *four_momenta(jets))
    assert not sniff(saved(tmp_path / "a.npz", X=momenta, y=jets.label))
    # no energy is negative
    assert not sniff(saved(tmp_path / "e.npz", X=np.roll(momenta, 1, axis=2), y=jets.label))
    assert not sniff(saved(tmp_path / "b.npz", X=particles()))
    assert not sniff(saved(tmp_path / "c.npz", X=particles()[..., 0], y=np.zeros(150)))
    assert sniff(saved(tmp_path / "d.npz", X=particles(), y=np.zeros(150)))


def altered(place: tuple[int, ...], value: float) -> np.ndarray:
    array = particles()
    array[place] = value
    return array


@pytest.mark.parametrize(
    ("array", "label", "message"),
    [
        (altered((140, 2, 0), np.nan), 0, "X, jet 140, constituent 2: pT is nan"),
        (altered((140, 2, 0), np.inf), 0, "X, jet 140, constituent 2: pT is inf"),
        (altered((140, 2, 0), -3.0), 0, "X, jet 140, constituent 2: pT is -3"),
        (altered((140, 2, 1), 100.0), 0, "X, jet 140, constituent 2: eta is 100"),
        (altered((140, 2, 2), np.nan), 0, "X, jet 140, constituent 2: phi is nan"),
        (altered((140, 2, 3), 21.5), 0, r"X, jet 140, constituent 2: the PDG id is 21\.5"),
        (altered((0, 0, 3), np.inf), 0, "X, jet 0, constituent 0: the PDG id is inf"),
        (particles(), 2, "y, jet 0, is 2; 0 .gluon. or 1 .quark. would be right"),
        (particles(), np.nan, "y, jet 0, is nan"),
        (np.zeros((150, 10_001, 3), "f2"), 0, "X has 10001 constituents a jet"),
        (np.array([{}] * 150, dtype=object), 0, "X holds pickled Python objects"),
    ],
)
def test_what_no_jet_can_be_is_refused(tmp_path: Path, array: np.ndarray, label: float, message: str) -> None:
    path = saved(tmp_path / "bad.npz", X=array, y=np.full(150, label))
    with pytest.raises(JetFileError, match=message) as caught:
        read_all(path, ["gluon"])
    assert "\n" not in str(caught.value)


def test_labels_of_another_number_or_type_are_refused(tmp_path: Path) -> None:
    with pytest.raises(JetFileError, match=r"y is of shape \(149,\), not \(150,\)"):
        read_all(saved(tmp_path / "bad.npz", X=particles(), y=np.zeros(149)), ["gluon"])
    with pytest.raises(JetFileError, match="y is of type <U1, not a type of whole numbers"):
        read_all(saved(tmp_path / "bad.npz", X=particles(), y=np.full(150, "0")), ["gluon"])


@pytest.mark.parametrize("kept", [100, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: float) -> None:
    path = saved(tmp_path / "jets.npz", X=particles(), y=np.zeros(150))
    data = path.read_bytes()
    path.write_bytes(data[: int(kept if kept > 1 else kept * len(data))])
    with pytest.raises(JetFileError, match="truncated"):
        read_all(path, ["gluon"])
