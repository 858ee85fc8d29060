from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jetexp.errors import JetFileError
from jetexp.jets.formats.arrays import npz_arrays
from jetexp.jets.formats.in_step import class_names, in_step


def test_arrays_are_read_side_by_side(tmp_path: Path) -> None:
    np.savez(tmp_path / "file.npz", a=np.arange(25), b=np.arange(50).reshape(25, 2), short=np.arange(24))
    with npz_arrays(tmp_path / "file.npz") as arrays:
        steps = list(in_step([arrays["a"], arrays["b"]], 10))
        assert [first for first, _ in steps] == [0, 10, 20]
        for first, (a, b) in steps:
            assert a[0] == first
            assert np.array_equal(2 * a, b[:, 0])
        assert sum(len(a) for _, (a, _) in steps) == 25
        with pytest.raises(JetFileError, match=r"a holds 25 jets, but .*short 24"):
            next(in_step([arrays["a"], arrays["short"]], 10))


def test_numbers_of_no_class_are_refused_with_their_place() -> None:
    names = {"0": "QCD", "1": "top"}
    assert class_names(np.array([True, False]), names, "file") == ["top", "QCD"]
    with pytest.raises(JetFileError, match=r"file, jet 12, is 2; 0 \(QCD\) or 1 \(top\) would be right"):
        class_names(np.array([1, 0, 2]), names, "file", 10)
    with pytest.raises(JetFileError, match=r"file, jet 1, is 0\.5"):
        class_names(np.array([0, 0.5]), names, "file")
