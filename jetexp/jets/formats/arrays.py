"""Arrays in .npz and .npy files, read some rows at a time and never trusted."""

from __future__ import annotations

import math
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt

from jetexp.errors import JetFileError

__all__ = ["Array", "checked", "is_npz", "npy_array", "npz_arrays", "reading"]

# sparse images shrink some twentyfold; an array that is large and shrinks so much more is a trap
MAXIMUM_EXPANSION = 300
LARGE = 1_000_000_000
MAXIMUM_MEMBERS = 10_000
# characters
LONGEST_REASON = 200
MAXIMUM_DIMENSIONS = 8
# what HDF5, Parquet and ROOT files begin with
OTHER_FORMS = (b"\x89HDF", b"PAR1", b"root")
# what NumPy's parser raises on a header that is none: it takes it for a Python literal
_HEADER_FAULTS = (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError)


class Array(Protocol):
    """An array in a file, whatever the container: its header is read, its content is not yet."""

    @property
    def where(self) -> str:
        """File and name, for messages."""

    @property
    def shape(self) -> tuple[int, ...]:
        """As the file announces it."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """As the file announces it; never of objects once checked."""

    def rows(self, number: int) -> Iterator[npt.NDArray[Any]]:
        """Yield the array in order, ``number`` entries of the first axis at a time."""


def checked(
    array: Array, shape: tuple[int | None, ...], kinds: str = "f", *, of: str = "numbers"
) -> tuple[int, ...]:
    """Refuse an array of another type or shape, before any of it is read.

    Parameters
    ----------
    array : Array
        The array.
    shape : tuple of int or None
        The shape wanted; None where any length will do. A first axis of length 0 is refused.
    kinds : str
        NumPy's letters of the kinds that will do: ``f``, ``i``, ``u``, ``b``.
    of : str
        What it should hold, for messages.

    Returns
    -------
    tuple of int
        The array's shape.

    Raises
    ------
    JetFileError
        If it is another one.
    """
    if array.dtype.hasobject:
        raise JetFileError(f"{array.where} holds pickled Python objects, which are never read; save numbers.")
    if array.dtype.kind not in kinds or array.dtype.itemsize > 8:
        wanted = "a floating type" if kinds == "f" else f"a type of {of}"
        raise JetFileError(f"{array.where} is of type {array.dtype}, not {wanted} of at most 64 bits.")
    if len(array.shape) != len(shape) or any(
        wanted is not None and found != wanted for found, wanted in zip(array.shape, shape, strict=True)
    ):
        told = ", ".join("N" if length is None else str(length) for length in shape)
        raise JetFileError(
            f"{array.where} is of shape {array.shape}, not ({told}{',' if len(shape) == 1 else ''})."
        )
    if array.shape[0] < 1:
        raise JetFileError(f"{array.where} holds no jets.")
    return array.shape


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Tell what a broken file raises as one sentence.

    Parameters
    ----------
    path : Path
        The file that is read in the block.

    Raises
    ------
    JetFileError
        If it is truncated, damaged, encrypted or no .npz or .npy file at all.
    """
    try:
        yield
    except zipfile.BadZipFile as error:
        raise JetFileError(f"{path} is truncated or no .npz file: {_brief(error)}.") from error
    except (zlib.error, EOFError) as error:
        raise JetFileError(f"{path} is damaged: its compressed data break off or make no sense.") from error
    except (NotImplementedError, RuntimeError, UnicodeDecodeError) as error:
        raise JetFileError(f"{path} cannot be unpacked: {_brief(error)}.") from error
    except OSError as error:
        raise JetFileError(f"{path} cannot be read: {error.strerror or error}.") from error


def _brief(error: Exception) -> str:
    """Give the beginning of what an error says: zipfile quotes names, which may be of any length."""
    words = " ".join(str(error).split())
    return words.rstrip(".") if len(words) <= LONGEST_REASON else f"{words[:LONGEST_REASON]}..."


def is_npz(path: Path) -> bool:
    """Tell whether a file is meant to be an .npz file, damaged or not.

    Parameters
    ----------
    path : Path
        An existing file.

    Returns
    -------
    bool
    """
    with path.open("rb") as file:
        begins = file.read(4)
    # one whose beginning is damaged is told by its name, but one of another form is not
    return begins == b"PK\x03\x04" or (path.suffix == ".npz" and begins not in OTHER_FORMS)


@contextmanager
def npz_arrays(path: Path) -> Iterator[Mapping[str, Array]]:
    """Open an .npz file and read the headers of its arrays.

    Parameters
    ----------
    path : Path
        The file.

    Yields
    ------
    mapping of str to Array
        By name; members that are no arrays in NumPy's format are left out when they are not looked at,
        and refused when they are.

    Raises
    ------
    JetFileError
        If it is truncated, damaged, names an array twice or is no .npz file at all; in the block too.
    """
    # what is read halfway is closed with the file itself
    with reading(path), path.open("rb") as file, zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if len(members) > MAXIMUM_MEMBERS:
            raise JetFileError(f"{path} has {len(members)} members; at most {MAXIMUM_MEMBERS} are read.")
        found: dict[str, zipfile.ZipInfo] = {}
        for info in members:
            name = info.filename.removesuffix(".npy")
            if name in found:
                raise JetFileError(f"{path} holds the array {name!r} twice.")
            found[name] = info
        yield _Members(archive, found, path)


class _Members(Mapping[str, Array]):
    """Arrays of an archive, their headers read when they are looked at."""

    def __init__(self, archive: zipfile.ZipFile, found: Mapping[str, zipfile.ZipInfo], path: Path) -> None:
        self._archive, self._found, self._path = archive, found, path

    def __getitem__(self, name: str) -> Array:
        return _member(self._archive, self._found[name], f"{self._path}, {name}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


@contextmanager
def npy_array(path: Path) -> Iterator[Array]:
    """Open an .npy file and read its header.

    Parameters
    ----------
    path : Path
        The file.

    Yields
    ------
    Array
        Its one array.

    Raises
    ------
    JetFileError
        If it is truncated, damaged or no .npy file at all; in the block too.
    """
    # what is read halfway is closed at the end
    with reading(path), ExitStack() as opened:
        size = path.stat().st_size
        with path.open("rb") as file:
            header = _header(file, str(path))
        yield _array(header, lambda: opened.enter_context(path.open("rb")), size, size, str(path))


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    column_order: bool
    length: int


@dataclass(frozen=True)
class _NumpyArray:
    """An array in NumPy's format."""

    header: _Header
    opened: Callable[[], IO[bytes]]
    where: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.header.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.header.dtype

    def rows(self, number: int) -> Iterator[npt.NDArray[Any]]:
        """Yield some rows at a time; an array in Fortran order comes from memory, as a whole."""
        row = math.prod(self.shape[1:]) * self.dtype.itemsize
        with self.opened() as file:
            _exactly(file, self.header.length)
            if self.header.column_order:
                whole = np.frombuffer(_exactly(file, self.shape[0] * row), dtype=self.dtype)
                whole = whole.reshape(self.shape, order="F")
                for start in range(0, self.shape[0], number):
                    yield whole[start : start + number]
                return
            for start in range(0, self.shape[0], number):
                count = min(number, self.shape[0] - start)
                # the last bytes make zipfile compare the checksum
                block = np.frombuffer(_exactly(file, count * row), dtype=self.dtype)
                yield block.reshape(count, *self.shape[1:])


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> Array:
    with archive.open(info) as file:
        header = _header(file, where)
    return _array(header, lambda: archive.open(info), info.file_size, info.compress_size, where)


def _header(file: IO[bytes], where: str) -> _Header:
    try:
        # the longer headers of later versions describe records, and could be of any length
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("another version")
        # a warning here is about a header of Python 2, which NumPy reads all the same
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shape, column_order, dtype = np.lib.format.read_array_header_1_0(file)
    except _HEADER_FAULTS as error:
        raise JetFileError(f"{where} is not an array in NumPy's format.") from error
    return _Header(shape, dtype, column_order, file.tell())


def _array(header: _Header, opened: Callable[[], IO[bytes]], size: int, packed: int, where: str) -> Array:
    """Refuse what a header announces before any memory is taken."""
    if header.dtype.hasobject:
        raise JetFileError(f"{where} holds pickled Python objects, which are never read; save numbers.")
    if len(header.shape) > MAXIMUM_DIMENSIONS or any(length < 0 for length in header.shape):
        raise JetFileError(f"{where} is of shape {header.shape}, which no jets are of.")
    announced = header.length + math.prod(header.shape) * header.dtype.itemsize
    if announced != size:
        raise JetFileError(f"{where} announces {announced} bytes but has {size}: truncated.")
    if size > LARGE and size > MAXIMUM_EXPANSION * packed:
        raise JetFileError(f"{where} unfolds to {size} bytes from {packed}: not read.")
    if header.column_order and size > LARGE:
        raise JetFileError(f"{where} is over {LARGE} bytes and in Fortran order, which is not read.")
    return _NumpyArray(header, opened, where)


def _exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise EOFError
    return data
