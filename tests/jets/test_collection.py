"""Jets collected in memory or in files: the same jets."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toys import toy_jets

from jetexp.errors import JetexpError
from jetexp.jets import collection
from jetexp.jets.collection import MappedArray, collect, in_blocks, relabelled, selected
from jetexp.jets.sample import Jets, concatenate, jet_hash


@pytest.fixture
def batches() -> list[Jets]:
    charges = np.random.default_rng(0)
    jets = [toy_jets(number, seed) for seed, number in enumerate((70, 0, 31))]
    return [
        replace(one, constituent_charge=charges.integers(-1, 2, len(one.constituent_pt)).astype(np.int8))
        for one in jets
    ]


@pytest.fixture
def in_files(batches: list[Jets], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Jets:
    monkeypatch.setattr(collection, "MEMORY", 10_000)
    return collect(batches, tmp_path / "scratch", provenance=lambda: {"source": "toys"})


def test_jets_in_files_are_those_in_memory(batches: list[Jets], in_files: Jets) -> None:
    assert isinstance(in_files.constituent_eta, MappedArray)
    held = concatenate(batches)
    assert in_files.fingerprint == held.fingerprint
    assert np.array_equal(jet_hash(in_files), jet_hash(held))
    assert in_files.provenance == {"source": "toys"}
    in_files.release()
    assert np.array_equal(in_files.constituent_charge, held.constituent_charge)


def test_few_jets_stay_in_memory(batches: list[Jets], tmp_path: Path) -> None:
    jets = collect(batches, tmp_path / "scratch")
    assert not isinstance(jets.constituent_eta, np.memmap)
    assert not (tmp_path / "scratch").exists()


def test_another_process_maps_the_same_files(in_files: Jets) -> None:
    sent = pickle.dumps(in_files)
    per_jet = in_files.offsets.nbytes + 4 * in_files.label.nbytes
    assert len(sent) < per_jet + 2_000
    assert pickle.loads(sent).fingerprint == in_files.fingerprint
    part = in_files.between(3, 9)
    assert pickle.loads(pickle.dumps(part)).fingerprint == part.fingerprint


def test_charges_that_a_batch_lacks_are_left_out(
    batches: list[Jets], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "MEMORY", 1)
    batches[2] = replace(batches[2], constituent_charge=None)
    assert collect(batches, tmp_path).constituent_charge is None


def test_a_selection_is_that_of_take(in_files: Jets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "JETS_PER_BLOCK", 7)
    index = np.random.default_rng(1).permutation(len(in_files))[:50]
    chosen = selected(in_files, index, tmp_path)
    assert chosen.fingerprint == in_files.take(index).fingerprint
    mask = np.isin(np.arange(len(in_files)), index)
    assert selected(in_files, mask, None).fingerprint == in_files.take(np.sort(index)).fingerprint
    assert len(selected(in_files, np.zeros(0, np.int64), tmp_path)) == 0


@pytest.mark.parametrize("number", [1, 10, 101, 1000])
def test_blocks_are_all_jets_in_order(in_files: Jets, number: int) -> None:
    blocks = list(in_blocks(in_files, number))
    assert max(map(len, blocks)) <= number
    assert concatenate(blocks).fingerprint == in_files.fingerprint


def test_classes_in_another_order_are_the_same_jets(in_files: Jets) -> None:
    turned = relabelled(in_files, ("signal", "background"))
    assert turned.class_counts == in_files.class_counts
    assert turned.constituent_eta is in_files.constituent_eta


def test_a_disk_that_cannot_be_written_is_a_sentence(
    batches: list[Jets], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "MEMORY", 1)
    (tmp_path / "file").touch()
    with pytest.raises(JetexpError, match="cannot be kept in"):
        collect(batches, tmp_path / "file" / "scratch")
