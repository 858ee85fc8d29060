"""Files are written whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from jetexp.errors import JetexpError
from jetexp.files import is_full_disk, whole_file, whole_folder


def test_a_file_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.txt"
    with whole_file(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        temporary.write_text("whole")
    assert target.read_text() == "whole"
    assert [file.name for file in target.parent.iterdir()] == ["file.txt"]


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")

    def fail() -> None:
        with whole_file(target) as temporary:
            temporary.write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["file.txt"]


def test_a_folder_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "sample"

    def fail() -> None:
        with whole_folder(target) as temporary:
            (temporary / "part").write_text("a")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []
    with whole_folder(target) as temporary:
        (temporary / "part").write_text("a")
    assert (target / "part").read_text() == "a"
    with whole_folder(target) as temporary:
        (temporary / "part").write_text("b")
    assert (target / "part").read_text() == "a"
    assert [file.name for file in tmp_path.iterdir()] == ["sample"]


def test_what_cannot_be_written_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(JetexpError, match=r"x cannot be written: (Not a directory|File exists)\."),
        whole_file(tmp_path / "file" / "x"),
    ):
        pass
    with pytest.raises(JetexpError, match="cannot be written"), whole_folder(tmp_path / "file" / "x"):
        pass


def wrapped(cause: Exception) -> Exception:
    """Give an exception that a library made of another."""
    try:
        raise RuntimeError("cannot save") from cause
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "whatever"), True),
        (wrapped(OSError(errno.EDQUOT, "whatever")), True),
        (RuntimeError("trial.json; No space left on device"), True),
        (RuntimeError("(sqlite3.OperationalError) database or disk is full"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (wrapped(ValueError("no")), False),
    ],
)
def test_a_full_disk_is_known_whoever_tells_of_it(error: Exception, full: bool) -> None:
    assert is_full_disk(error) is full
