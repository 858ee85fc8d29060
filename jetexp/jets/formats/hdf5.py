"""Arrays in HDF5 files, read some rows at a time and never trusted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jetexp.jets.formats.hdf5_process import Hdf5Process, hdf5_process

__all__ = ["Hdf5Array", "hdf5_arrays", "is_hdf5"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def is_hdf5(path: Path) -> bool:
    """Tell whether a file is meant to be an HDF5 file, damaged or not.

    The signature stands at the beginning, or behind a block of the user's of 512, 1024, 2048, ... bytes
    (HDF5 File Format Specification, version 3.0, section II.A).

    Parameters
    ----------
    path : Path
        An existing file.

    Returns
    -------
    bool
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        place = 0
        while place + len(_SIGNATURE) <= size:
            file.seek(place)
            if file.read(len(_SIGNATURE)) == _SIGNATURE:
                return True
            place = max(512, 2 * place)
    return False


@dataclass(frozen=True)
class _File:
    """A file that is open in the process with the HDF5 library."""

    process: Hdf5Process
    number: int
    path: Path

    def ask(self, method: str, *arguments: Any) -> tuple[Any, npt.NDArray[np.uint8]]:
        return self.process.ask(str(self.path), method, self.number, *arguments)


@dataclass(frozen=True)
class Hdf5Array:
    """A dataset in an HDF5 file, as :class:`jetexp.jets.formats.arrays.Array`, of numbers or records.

    Attributes
    ----------
    file : object
        The file that is open.
    name : str
        Full name of the dataset.
    shape : tuple of int
        Of the dataset.
    dtype : dtype
        Of an entry.
    """

    file: _File
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def where(self) -> str:
        """File and name, for messages."""
        return f"{self.file.path}, {self.name}"

    def rows(self, number: int, of: str | None = None) -> Iterator[npt.NDArray[Any]]:
        """Read the array in order.

        Parameters
        ----------
        number : int
            Entries of the first axis at a time.
        of : str, optional
            The one field of records that is wanted.

        Yields
        ------
        ndarray

        Raises
        ------
        JetFileError
            If the file is damaged.
        """
        dtype = self.dtype if of is None else self.dtype[of]
        for start in range(0, self.shape[0], number):
            stop = min(start + number, self.shape[0])
            _, data = self.file.ask("rows", self.name, start, stop, of)
            yield data.view(dtype.base).reshape(stop - start, *self.shape[1:], *dtype.shape)

    def attribute(self, name: str) -> bytes | None:
        """Read an attribute that is one text of fixed length.

        Parameters
        ----------
        name : str
            Its name.

        Returns
        -------
        bytes or None
            None if there is no such attribute.

        Raises
        ------
        JetFileError
            If it is another one, or damaged.
        """
        text, _ = self.file.ask("attribute", self.name, name)
        return None if text is None else text.encode("latin-1")


@contextmanager
def hdf5_arrays(path: Path) -> Iterator[Mapping[str, Hdf5Array]]:
    """Open an HDF5 file and list its datasets.

    Parameters
    ----------
    path : Path
        The file.

    Yields
    ------
    mapping of str to Hdf5Array
        By full name, such as ``group/name``. What is no array of numbers, text or records in the file
        itself, or is damaged, is left out when it is not looked at, and refused when it is.

    Raises
    ------
    JetFileError
        If it is truncated, damaged, holds too much or is no HDF5 file at all.
    """
    process = hdf5_process()
    (number, names), _ = process.ask(str(path), "open", os.path.abspath(path), str(path))
    file = _File(process, number, path)
    try:
        yield _Datasets(file, names)
    finally:
        if not process.ended:
            file.ask("close")


class _Datasets(Mapping[str, Hdf5Array]):
    """Datasets of a file, their headers read when they are looked at."""

    def __init__(self, file: _File, names: list[str]) -> None:
        self._file, self._found = file, dict[str, Hdf5Array | None].fromkeys(names)

    def __getitem__(self, name: str) -> Hdf5Array:
        found = self._found[name]
        if found is None:
            (shape, described), _ = self._file.ask("header", name)
            dtype = np.lib.format.descr_to_dtype(_tuples(described))
            found = self._found[name] = Hdf5Array(self._file, name, tuple(shape), dtype)
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._found

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def _tuples(described: Any) -> Any:
    """Give the description of a type, which JSON made lists of, its tuples back."""
    if isinstance(described, str):
        return described
    return [(name, _tuples(kind), *(tuple(shape) for shape in rest)) for name, kind, *rest in described]
