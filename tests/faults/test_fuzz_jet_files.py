"""Damaged files of every form end in jets or in one sentence; the driver beside this reads thousands."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import fuzz_jet_files
from mutations import SOURCES

FILES_EACH = 40


@pytest.mark.slow
def test_damaged_files_end_in_jets_or_in_one_sentence(jets_folder: Path) -> None:
    fuzz_jet_files.some_jets(jets_folder)
    found = fuzz_jet_files.fuzz(FILES_EACH * len(SOURCES), 7, jets_folder, list(SOURCES))
    assert [fault for *_, faults in found.values() for fault in faults] == []
    assert all(refused + good == FILES_EACH for _, refused, good, _ in found.values())
    assert sum(known for known, *_ in found.values()) >= FILES_EACH * len(SOURCES) / 2


def test_a_fault_is_found(jets_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jetexp.jets.formats import ucl
    from jetexp.jets.formats.form import Wanted

    jets = fuzz_jet_files.some_jets(jets_folder)
    SOURCES["ucl"].write(jets, tmp_path / "good")
    wanted = Wanted(fuzz_jet_files.CLASSES)
    assert fuzz_jet_files.read(tmp_path / "good", wanted) == (True, "jets")

    def broken(*arguments: object) -> object:
        raise KeyError("W")

    monkeypatch.setattr(ucl, "content", broken)
    assert fuzz_jet_files.read(tmp_path / "good", wanted) == (True, "KeyError: 'W'")
