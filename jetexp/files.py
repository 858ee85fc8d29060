"""Files written whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jetexp.errors import SurroundingsError

__all__ = ["free_space", "is_full_disk", "scratch_folder", "whole_file", "whole_folder"]

# as the system says it, and SQLite
FULL = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT), "database or disk is full")


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_full_disk(error: BaseException) -> bool:
    """Say whether an exception, or what it came of, is that of a full disk.

    Parameters
    ----------
    error : BaseException
        Whatever was raised: libraries wrap the system's error, or only repeat its words.

    Returns
    -------
    bool
        True for no space left on a device, and for a quota that is used up.
    """
    one: BaseException | None = error
    while one is not None:
        if isinstance(one, OSError) and one.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if any(words in str(one) for words in FULL):
            return True
        one = one.__cause__ or one.__context__
    return False


def free_space(folder: Path) -> tuple[int, int]:
    """Say how much a disk can still take.

    Parameters
    ----------
    folder : Path
        On that disk; it need not be there yet.

    Returns
    -------
    free : int
        Bytes.
    device : int
        The same for all folders of one disk.
    """
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free, there.stat().st_dev


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary path that becomes ``path`` when the block ends without an exception.

    Parameters
    ----------
    path : str or Path
        The file to write; its folder is made if there is none.

    Yields
    ------
    Path
        A temporary path in the same folder, flushed to disk and renamed at the end.

    Raises
    ------
    SurroundingsError
        If the folder cannot be written or the disk is full.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with whole_file(folder / "note.txt") as temporary:
    ...     _ = temporary.write_text("jets")
    >>> (folder / "note.txt").read_text()
    'jets'
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(descriptor)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o644)
        _fsync(temporary)
        temporary.replace(path)
        _fsync(path.parent)
    except OSError as error:
        raise SurroundingsError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder that becomes ``path`` when the block ends without an exception.

    Parameters
    ----------
    path : str or Path
        The folder to make. If it exists already when the block ends, the first one stays.

    Yields
    ------
    Path
        An empty temporary folder beside it.

    Raises
    ------
    SurroundingsError
        If the folder cannot be written or the disk is full.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        yield temporary
        temporary.chmod(0o755)
        for file in temporary.rglob("*"):
            _fsync(file)
        _fsync(temporary)
        if not path.exists():
            temporary.rename(path)
            _fsync(path.parent)
    except OSError as error:
        raise SurroundingsError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Name a folder for what is of use within the block only; whoever needs it makes it.

    Parameters
    ----------
    parent : Path
        Where the folder will stand.

    Yields
    ------
    Path
        A path that nobody else uses. What stands there at the end is removed.
    """
    folder = parent / f".scratch-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
