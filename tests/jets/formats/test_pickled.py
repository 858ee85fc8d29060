from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from jetexp.errors import JetFileError
from jetexp.jets.formats.pickled import pickled_strings

NAMES = ["E_0", "PX_0", "truthE", "is_signal_new", "é", ""]


class Touching:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("names", [[], NAMES[:1], NAMES, [f"E_{i}" for i in range(3000)]])
def test_lists_of_strings_are_read(names: list[str], protocol: int) -> None:
    assert pickled_strings(pickle.dumps(names, protocol), "file") == names


def test_a_list_that_python_2_pickled_is_read() -> None:
    assert pickled_strings(b"(lp0\nS'E_0'\np1\naS'PX_0'\np2\na.", "file") == ["E_0", "PX_0"]
    assert pickled_strings(b"\x80\x02]q\x00(U\x03E_0q\x01U\x04PX_0q\x02e.", "file") == ["E_0", "PX_0"]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_in_a_pickle_is_run(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "touched"
    for value in ([Touching(path)], Touching(path), ["E_0", Touching(path)]):
        pickled = pickle.dumps(value, protocol)
        with pytest.raises(JetFileError, match="not as a list of strings"):
            pickled_strings(pickled, "file")
        assert not path.exists()
        pickle.loads(pickled)
        assert path.exists()
        path.unlink()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", ["E_0", ("E_0",), {"E_0": 1}, [["E_0"]], [1], [None], [b"E_0"], None])
def test_anything_else_is_refused(value: Any, protocol: int) -> None:
    with pytest.raises(JetFileError, match="file is pickled, and not as a list of strings"):
        pickled_strings(pickle.dumps(value, protocol), "file")


def test_strings_outside_the_list_are_refused() -> None:
    pickled = b"VE_0\n(l."
    assert pickle.loads(pickled) == []
    with pytest.raises(JetFileError, match="not as a list of strings"):
        pickled_strings(pickled, "file")


@pytest.mark.parametrize("pickled", [b"", b"E_0", b"(lp0\nVE_0\np1\na", b"]\x8c\xffE_0.", b"(lS'E_0\na."])
def test_what_is_no_pickle_is_refused(pickled: bytes) -> None:
    with pytest.raises(JetFileError, match="file is no pickled list of strings"):
        pickled_strings(pickled, "file")
