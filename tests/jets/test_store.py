from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jetexp.errors import JetexpError, JetFileError
from jetexp.jets.pixels import jets_from_images
from jetexp.jets.sample import Jets
from jetexp.jets.store import MANIFEST, read_jets, read_manifest, write_jets


@pytest.fixture
def stored(pythia_jets: Jets, tmp_path: Path) -> Path:
    write_jets(pythia_jets, tmp_path / "sample")
    return tmp_path / "sample"


def test_jets_come_back_as_they_were(pythia_jets: Jets, stored: Path) -> None:
    jets = read_jets(stored)
    assert jets.fingerprint == pythia_jets.fingerprint
    assert jets.weight is not None
    assert np.array_equal(jets.weight, pythia_jets.weight)
    assert jets.provenance == pythia_jets.provenance
    manifest = read_manifest(stored)
    assert manifest.fingerprint == jets.fingerprint
    assert manifest.counts == {"QCD": 300, "W": 300, "top": 300}
    assert manifest.constituents == len(jets.constituent_pt)


def test_parts_are_joined_in_order(
    pythia_jets: Jets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jetexp.jets.store.JETS_PER_PART", 250)
    write_jets(pythia_jets, tmp_path / "sample")
    assert len(list((tmp_path / "sample").glob("part-*.parquet"))) == 4
    assert read_jets(tmp_path / "sample").fingerprint == pythia_jets.fingerprint


def test_jets_without_charges_weights_or_constituents_come_back(tmp_path: Path) -> None:
    image = np.zeros((3, 40, 40))
    image[1, 3, 4] = 50
    jets = jets_from_images(image, half_width=1.0)
    write_jets(jets, tmp_path / "sample")
    again = read_jets(tmp_path / "sample")
    assert (again.constituent_charge, again.weight) == (None, None)
    assert again.fingerprint == jets.fingerprint


def test_a_jet_takes_less_than_a_kilobyte(stored: Path) -> None:
    assert sum(path.stat().st_size for path in stored.iterdir()) < 900 * 1000


def test_no_jets_are_not_stored(pythia_jets: Jets, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no jets"):
        write_jets(pythia_jets.take(slice(0, 0)), tmp_path / "sample")
    assert os.listdir(tmp_path) == []


def test_a_failure_half_way_leaves_nothing(
    pythia_jets: Jets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jetexp.jets.store.JETS_PER_PART", 250)
    unserialisable = replace(pythia_jets, provenance={"settings": object()})
    with pytest.raises(TypeError):
        write_jets(unserialisable, tmp_path / "sample")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("place", [0.1, 0.5, 0.999])
def test_a_damaged_part_is_refused(stored: Path, place: float) -> None:
    part = stored / "part-00000.parquet"
    data = bytearray(part.read_bytes())
    data[int(place * len(data))] ^= 1
    part.write_bytes(data)
    with pytest.raises(JetFileError, match=r"part-00000\.parquet is damaged"):
        read_jets(stored)


def test_a_missing_part_or_manifest_is_named(stored: Path) -> None:
    (stored / "part-00000.parquet").unlink()
    with pytest.raises(JetFileError, match=r"part-00000\.parquet is missing"):
        read_jets(stored)
    (stored / MANIFEST).unlink()
    with pytest.raises(JetFileError, match=r"holds no jets: it has no manifest\.json"):
        read_jets(stored)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("form", 2, "form 2"),
        ("counts", {"QCD": 1, "W": 300, "top": 300}, "but manifest.json says"),
        ("classes", ["QCD", "W"], "column 'label', holds the impossible value 2"),
        ("parts", [], "parts: List should have at least 1 item"),
        ("more", 1, "more: Extra inputs are not permitted"),
        ("fingerprint", 3, "fingerprint: Input should be a valid string"),
    ],
)
def test_a_manifest_that_lies_is_refused(stored: Path, key: str, value: object, message: str) -> None:
    path = stored / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(JetFileError, match=message):
        read_jets(stored)


def test_a_manifest_names_no_file_outside_its_folder(stored: Path) -> None:
    path = stored / MANIFEST
    path.write_text(path.read_text().replace("part-00000.parquet", "../part-00000.parquet"))
    with pytest.raises(JetFileError, match="file"):
        read_jets(stored)


@pytest.mark.parametrize("text", ["", "jets", "[]", "{}", "\x00"])
def test_a_manifest_that_is_none_is_refused(stored: Path, text: str) -> None:
    (stored / MANIFEST).write_text(text)
    with pytest.raises(JetFileError, match="is no manifest of jets"):
        read_jets(stored)


def test_a_sample_that_is_there_stays(pythia_jets: Jets, stored: Path) -> None:
    write_jets(pythia_jets.take(slice(0, 10)), stored)
    assert len(read_jets(stored)) == 900


def test_a_folder_that_cannot_be_made_is_a_sentence(pythia_jets: Jets, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JetexpError, match="cannot be written"):
        write_jets(pythia_jets, tmp_path / "file" / "sample")
