"""Scores of test jets, kept and read back."""

import contextlib

import numpy as np
import pytest
from toys import toy_jets

from jetexp.errors import ModelError
from jetexp.kept_scores import TestScores, scores_to_keep


def kept(seeds=2, jets=50, number=3):
    test = toy_jets(jets, seed=number)
    signal = np.random.default_rng(number).uniform(size=(seeds, jets)).astype(np.float32)
    return scores_to_keep(list(np.stack([1 - signal, signal], axis=-1)), test, "signal")


def read(folder, content):
    np.savez_compressed(folder / "test_scores.npz", **content)
    return TestScores.read(folder / "test_scores.npz")


def test_scores_come_back_as_they_were(tmp_path):
    content = kept()
    found = read(tmp_path, content)
    np.testing.assert_array_equal(found.scores, content["scores"])
    np.testing.assert_array_equal(found.label, content["label"])
    assert (found.classes, found.signal) == (("background", "signal"), "signal")
    assert found.fingerprint == toy_jets(50, seed=3).fingerprint


def test_only_scores_of_the_same_jets_are_compared(tmp_path):
    first, same, other = (read(tmp_path, kept(number=number)) for number in (3, 3, 4))
    assert first.are_of_the_same_jets(same)
    assert not first.are_of_the_same_jets(other)
    assert first.compared_with(same).auc.difference == 0


@pytest.mark.parametrize(
    "change",
    [
        {"scores": np.zeros((2, 49, 2), np.float32)},
        {"scores": np.full((2, 50, 2), np.nan, np.float32)},
        {"scores": np.zeros((0, 50, 2), np.float32)},
        {"scores": np.zeros((2, 50, 2), np.int64)},
        {"label": np.full(50, 2, np.int16)},
        {"signal": np.array("top")},
        {"classes": np.array([1, 2])},
        {"more": np.zeros(3)},
        {"fingerprint": np.array([{}], dtype=object)},
    ],
)
def test_what_holds_no_scores_is_told(tmp_path, change):
    with pytest.raises(ModelError, match=r"test_scores\.npz"):
        read(tmp_path, kept() | change)


def test_a_damaged_file_and_one_that_unpacks_to_too_much_are_told(tmp_path, monkeypatch):
    read(tmp_path, kept())
    path = tmp_path / "test_scores.npz"
    monkeypatch.setattr("jetexp.kept_scores.MAXIMUM_SIZE", 100)
    with pytest.raises(ModelError, match="would take"):
        TestScores.read(path)
    whole = path.read_bytes()
    monkeypatch.undo()
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        with contextlib.suppress(ModelError):
            TestScores.read(path)
    path.write_bytes(whole[:200])
    with pytest.raises(ModelError, match="holds no scores"):
        TestScores.read(path)
