from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from layouts import assert_same_jets, hardest, write_jetnet

from jetexp.errors import JetFileError
from jetexp.jets.formats.form import Drops, Wanted
from jetexp.jets.formats.jetnet import content, read, sniff
from jetexp.jets.load import load_jets
from jetexp.jets.sample import Jets
from jetexp.jets.settings import JetFileSettings


@pytest.fixture(scope="module")
def tops(pythia_jets: Jets) -> Jets:
    return pythia_jets.with_classes(("top",))


def read_all(path: Path, **settings: Any) -> Jets:
    return load_jets(JetFileSettings(path={"top": str(path)}, **settings), ("top",), Path("nowhere"))


@pytest.mark.parametrize("particles", [30, 150])
def test_jets_written_in_the_layout_are_read_back(tops: Jets, tmp_path: Path, particles: int) -> None:
    write_jetnet(tops, tmp_path / "t.hdf5", particles=particles)
    found = read_all(tmp_path / "t.hdf5")
    assert_same_jets(found, hardest(tops, particles), masses=True)
    assert np.array_equal(found.mass, tops.mass)
    assert found.provenance["format"] == "jetnet"


def test_each_file_is_of_one_class(pythia_jets: Jets, tmp_path: Path) -> None:
    paths = {name: str(tmp_path / f"{name}.hdf5") for name in ("top", "QCD")}
    for name, path in paths.items():
        write_jetnet(pythia_jets.with_classes((name,)), Path(path))
    found = load_jets(JetFileSettings(path=paths, per_class=40), ("QCD", "top"), Path("nowhere"))
    assert found.class_counts == {"QCD": 40, "top": 40}
    for name in paths:
        wanted = hardest(pythia_jets.with_classes((name,)).take(np.arange(40)), 150)
        assert_same_jets(found.with_classes((name,)), wanted, masses=True)
    with pytest.raises(JetFileError, match="does not say of which class"):
        load_jets(JetFileSettings(path=paths["top"]), ("QCD", "top"), Path("nowhere"))
    told = content(Path(paths["top"]), Wanted(("top",), of_class="top"))
    assert (told.classes, told.jets) == ({}, 300)


def test_batches_are_small(tops: Jets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_jetnet(tops, tmp_path / "t.hdf5")
    monkeypatch.setattr("jetexp.jets.formats.batches.CONSTITUENTS_PER_BATCH", 150 * 7)
    batches = list(read(tmp_path / "t.hdf5", Wanted(("top",), of_class="top"), Drops()))
    assert [len(batch) for batch in batches] == [7] * 42 + [6]


def altered(tops: Jets, path: Path, jet: int, place: int, feature: int, value: float) -> Path:
    write_jetnet(tops, path)
    with h5py.File(path, "a") as file:
        file["particle_features"][jet, place, feature] = value
    return path


def test_masked_particles_are_left_out(tops: Jets, tmp_path: Path) -> None:
    found = read_all(altered(tops, tmp_path / "t.hdf5", 5, 0, 3, 0))
    wanted = hardest(tops, 150)
    assert np.array_equal(found.counts, wanted.counts - (np.arange(300) == 5))
    assert np.allclose(found.constituent_pt, np.delete(wanted.constituent_pt, wanted.offsets[5]), rtol=1e-5)
    # whatever else they hold
    with h5py.File(tmp_path / "t.hdf5", "a") as file:
        file["particle_features"][5, 0, :3] = np.nan
    assert read_all(tmp_path / "t.hdf5").fingerprint == found.fingerprint


def test_jets_without_particles_are_counted_and_left_out(tops: Jets, tmp_path: Path) -> None:
    write_jetnet(tops, tmp_path / "t.hdf5")
    with h5py.File(tmp_path / "t.hdf5", "a") as file:
        file["particle_features"][7] = 0
    found = read_all(tmp_path / "t.hdf5")
    assert np.array_equal(found.pt, np.delete(tops.pt, 7))
    assert list(found.provenance["dropped"].values()) == [1]


@pytest.mark.parametrize(
    ("feature", "value", "message"),
    [
        (0, np.nan, "jet 200, constituent 2: eta is nan"),
        (1, 1e9, r"jet 200, constituent 2: phi is 1e\+09"),
        (2, -0.01, "jet 200, constituent 2: pT is -"),
        (2, 1e30, "jet 200, constituent 2: pT is "),
        (2, np.inf, "jet 200, constituent 2: pT is inf"),
        (3, 0.5, r"jet 200, particle 2: the mask is 0\.5"),
        (3, np.nan, "jet 200, particle 2: the mask is nan"),
    ],
)
def test_a_particle_that_is_none_is_refused(
    tops: Jets, tmp_path: Path, feature: int, value: float, message: str
) -> None:
    with pytest.raises(JetFileError, match=message):
        read_all(altered(tops, tmp_path / "t.hdf5", 200, 2, feature, value))


@pytest.mark.parametrize(
    ("feature", "value", "message"),
    [(0, -700, "jet pT is -700"), (1, np.inf, "jet eta is inf"), (2, -1, "jet mass is -1")],
)
def test_a_jet_that_is_none_is_refused(
    tops: Jets, tmp_path: Path, feature: int, value: float, message: str
) -> None:
    write_jetnet(tops, tmp_path / "t.hdf5")
    with h5py.File(tmp_path / "t.hdf5", "a") as file:
        file["jet_features"][9, feature] = value
    with pytest.raises(JetFileError, match=f"jet 9.*: {message}"):
        read_all(tmp_path / "t.hdf5")


def test_momenta_that_are_no_fractions_are_refused(tops: Jets, tmp_path: Path) -> None:
    write_jetnet(tops, tmp_path / "t.hdf5")
    with h5py.File(tmp_path / "t.hdf5", "a") as file:
        file["particle_features"][..., 2] *= 900
    with pytest.raises(JetFileError, match="fractions of the jet's, about 1 in all, would be right"):
        read_all(tmp_path / "t.hdf5")


@pytest.mark.parametrize(
    ("particles", "jets", "message"),
    [
        (np.ones((5, 30, 3), "f4"), np.ones((5, 4), "f4"), r"\(5, 30, 3\), not \(N, N, 4\)"),
        (np.ones((5, 120), "f4"), np.ones((5, 4), "f4"), r"particle_features is of shape \(5, 120\)"),
        (np.ones((5, 30, 4), "f4"), np.ones((6, 4), "f4"), r"jet_features is of shape \(6, 4\)"),
        (np.ones((5, 30, 4), "f4"), np.ones((5, 5), "f4"), r"jet_features is of shape \(5, 5\)"),
        (np.ones((5, 30, 4), "i4"), np.ones((5, 4), "f4"), "particle_features is of type int32"),
        (np.ones((5, 30, 4), "f4"), np.ones((5, 4), "S3"), "jet_features is of type"),
        (np.ones((0, 30, 4), "f4"), np.ones((0, 4), "f4"), "particle_features holds no jets"),
        (np.ones((2, 10_001, 4), "f4"), np.ones((2, 4), "f4"), "10001 constituents a jet"),
    ],
)
def test_other_shapes_and_types_are_refused(
    tmp_path: Path, particles: np.ndarray, jets: np.ndarray, message: str
) -> None:
    with h5py.File(tmp_path / "t.hdf5", "w") as file:
        file["particle_features"], file["jet_features"] = particles, jets
    with pytest.raises(JetFileError, match=message):
        read_all(tmp_path / "t.hdf5")


def test_absurd_numbers_of_jets_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "t.hdf5", "w") as file:
        file.create_dataset("particle_features", (10**12, 30, 4), "f4", chunks=(1000, 30, 4))
        file.create_dataset("jet_features", (10**12, 4), "f4", chunks=(1000, 4))
    with pytest.raises(JetFileError, match="announces 1000000000 chunks"):
        read_all(tmp_path / "t.hdf5")


def test_sniff_goes_by_the_content(tops: Jets, tmp_path: Path) -> None:
    write_jetnet(tops, tmp_path / "noname")
    assert sniff(tmp_path / "noname")
    with h5py.File(tmp_path / "t150.hdf5", "w") as file:
        file["particle_features"] = np.zeros((5, 30, 4))
    assert not sniff(tmp_path / "t150.hdf5")
