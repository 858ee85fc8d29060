from __future__ import annotations

import numpy as np
import pytest

from jetexp.errors import JetFileError
from jetexp.jets.formats.labels import counted, labels_of, one_hot, whole_numbers


@pytest.mark.parametrize("form", ["i1", "u8", "f2", "f8", "?"])
def test_whole_numbers_of_any_type_are_names(form: str) -> None:
    assert whole_numbers(np.array([1, 0], form), "file") == ["1", "0"]


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, 1e300])
def test_other_numbers_are_refused_with_their_place(value: float) -> None:
    with pytest.raises(JetFileError, match="file, jet 11, is"):
        whole_numbers(np.array([1, value]), "file", 10)


@pytest.mark.parametrize("row", [[0, 0], [1, 1], [0.5, 0.5], [2, -1], [1, np.nan]])
def test_rows_that_are_not_one_hot_are_refused(row: list[float]) -> None:
    with pytest.raises(JetFileError, match="file, jet 11, is of no class"):
        one_hot(np.array([[1, 0], row]), ["a", "b"], "file", 10)


def test_jets_are_counted_and_labelled_by_name() -> None:
    assert counted([["10", "9"], ["9"]], "file") == {"9": 2, "10": 1}
    assert labels_of(["a", "b", "c"], {"c": 0, "a": 1}).tolist() == [1, -1, 0]
    with pytest.raises(JetFileError, match="file holds over 1000 different values"):
        counted([[str(number) for number in range(1001)]], "file")
