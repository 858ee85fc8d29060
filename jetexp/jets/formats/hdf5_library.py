"""What the HDF5 library reads of a file, each answer checked before memory is taken.

Only what stands in the file itself is read: no link, no external storage and no virtual dataset is
followed, and no type is read that points elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt

from jetexp.errors import JetFileError
from jetexp.jets.formats.arrays import MAXIMUM_DIMENSIONS, MAXIMUM_MEMBERS
from jetexp.jets.formats.hdf5_chunks import LARGEST_PIECE, Chunks, check_chunk, chunks_of

__all__ = ["Hdf5File"]

# slots of the cache of chunks: a prime number, so that neighbours do not push each other out
_SLOTS = 10_007
_LONGEST_ATTRIBUTE = 2**20


class Hdf5File:
    """An HDF5 file that is open.

    Parameters
    ----------
    path : Path
        The file.
    called : str
        What messages call it.

    Attributes
    ----------
    names : list of str
        Full names of datasets, such as ``group/name``, and of links.

    Raises
    ------
    JetFileError
        If it is truncated, damaged, holds too much or is no HDF5 file at all.
    """

    def __init__(self, path: Path, called: str) -> None:
        self._called, self._datasets = called, dict[str, _Dataset]()
        with _telling(called):
            self._size = path.stat().st_size
            self._file = h5py.File(path, "r", locking="best-effort")
            try:
                self._found = _found(self._file.id, called)
            except BaseException:
                self._file.close()
                raise
        self.names = list(self._found)

    def close(self) -> None:
        """Close the file."""
        self._datasets.clear()
        with _telling(self._called):
            self._file.close()

    def header(self, name: str) -> tuple[tuple[int, ...], Any]:
        """Give the shape and type of a dataset.

        Parameters
        ----------
        name : str
            One of ``names``.

        Returns
        -------
        tuple
            Shape, and the type as headers of NumPy's format describe it.

        Raises
        ------
        JetFileError
            If it does not lie in the file as a whole, is of no numbers, text or records, or damaged.
        """
        dataset = self._dataset(name)
        with _telling(dataset.where):
            return dataset.shape, np.lib.format.dtype_to_descr(dataset.opened.dtype)

    def rows(self, name: str, start: int, stop: int, of: str | None = None) -> npt.NDArray[Any]:
        """Read some entries of the first axis; chunks that are not what they should be are refused.

        Parameters
        ----------
        name : str
            One of ``names``.
        start, stop : int
            The first of them, and the first after them.
        of : str, optional
            The one field of records that is wanted.

        Returns
        -------
        ndarray, first axis of length ``stop - start``

        Raises
        ------
        JetFileError
            If the file is damaged.
        """
        dataset = self._dataset(name)
        with _telling(dataset.where):
            dataset.check(start, stop)
            block = dataset.opened[start:stop]
            return np.ascontiguousarray(block if of is None else block[of])

    def attribute(self, name: str, attribute: str) -> bytes | None:
        """Read an attribute of a dataset that is one text of fixed length.

        Parameters
        ----------
        name : str
            One of ``names``.
        attribute : str
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
        dataset = self._dataset(name)
        with _telling(dataset.where):
            if not h5py.h5a.exists(dataset.opened.id, attribute.encode()):
                return None
            found = h5py.h5a.open(dataset.opened.id, attribute.encode())
            if found.dtype.kind != "S" or found.shape != () or found.dtype.itemsize > _LONGEST_ATTRIBUTE:
                raise JetFileError(f"{dataset.where}, attribute {attribute}, is not a text of some length.")
            text = np.empty((), found.dtype)
            found.read(text)
            return bytes(text[()])

    def _dataset(self, name: str) -> _Dataset:
        if name not in self._datasets:
            where = f"{self._called}, {name}"
            with _telling(where):
                self._datasets[name] = _opened(self._file.id, self._found[name], where, self._size)
        return self._datasets[name]


@dataclass(frozen=True)
class _Dataset:
    """A dataset whose header was found sound."""

    where: str
    shape: tuple[int, ...]
    chunks: Chunks | None
    opened: Any
    checked: set[int] = field(default_factory=set)

    def check(self, start: int, stop: int) -> None:
        """Refuse chunks that do not unfold to what they should; each is looked at once."""
        if self.chunks is None:
            return
        step = self.chunks.shape[0]
        for row in range(start - start % step, stop, step):
            if row not in self.checked:
                check_chunk(self.opened.id, self.chunks, row, self.where)
                self.checked.add(row)


@contextmanager
def _telling(where: str) -> Iterator[None]:
    """Tell what the HDF5 library says of a broken file as one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno and error.strerror:
            raise JetFileError(f"{where} cannot be read: {error.strerror}.") from error
        raise JetFileError(f"{where} is damaged: {_reason(error)}.") from error
    except MemoryError as error:
        raise JetFileError(f"{where} needs more memory than it may take.") from error
    except (KeyError, ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise JetFileError(f"{where} is damaged: {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    """Give the library's words, on one line."""
    return " ".join(str(error.args[0] if error.args else "").split()).rstrip(".") or type(error).__name__


def _found(file: Any, where: str) -> dict[str, bytes | None]:
    """List datasets, with their names as the file has them; None stands for links."""
    found: dict[str, bytes | None] = {}
    groups = [b"/"]
    seen = {_place(file, b"/")[1]}
    members = 0
    while groups:
        prefix = groups.pop()
        group = h5py.h5g.open(file, prefix)
        for name, link in _links(group, MAXIMUM_MEMBERS - members, where):
            members += 1
            full = prefix + name
            key = full[1:].decode("utf-8", "backslashreplace")
            if link != h5py.h5l.TYPE_HARD:
                found[key] = None
                continue
            kind, place = _place(group, name)
            if kind == h5py.h5g.DATASET:
                found[key] = full
            elif kind == h5py.h5g.GROUP and place not in seen:
                seen.add(place)
                groups.append(full + b"/")
    return found


def _place(group: Any, name: bytes) -> tuple[int, tuple[int, ...]]:
    """Give an object's type and address; H5Oget_info would measure it too, and crashes on damaged ones."""
    info = h5py.h5g.get_objinfo(group, name, follow_link=False)
    return info.type, tuple(info.objno)


def _links(group: Any, room: int, where: str) -> list[tuple[bytes, int]]:
    links: list[tuple[bytes, int]] = []

    def add(name: bytes, info: Any) -> bool | None:
        links.append((name, info.type))
        return True if len(links) > room else None

    group.links.iterate(add, info=True)
    if len(links) > room:
        raise JetFileError(f"{where} has over {MAXIMUM_MEMBERS} members; no more are read.")
    return links


def _opened(file: Any, name: bytes | None, where: str, file_size: int) -> _Dataset:
    """Refuse what a header announces before any memory is taken."""
    if name is None:
        raise JetFileError(f"{where} is a link to elsewhere, which is not followed; copy what it means.")
    dataset = h5py.h5d.open(file, name)
    created = dataset.get_create_plist()
    # a virtual dataset would open other files as soon as it is asked for its shape
    if created.get_layout() == h5py.h5d.VIRTUAL or created.get_external_count():
        raise JetFileError(f"{where} lies in other files, which are not read; copy it into one.")
    dtype, shape = np.dtype(dataset.dtype), dataset.shape
    if dtype.hasobject:
        raise JetFileError(f"{where} holds text or references of any length, which are not read.")
    if dtype.subdtype is not None:
        raise JetFileError(f"{where} holds arrays in arrays ({dtype}), which are not read.")
    if shape is None or not 1 <= len(shape) <= MAXIMUM_DIMENSIONS:
        raise JetFileError(f"{where} is of shape {shape}, which no jets are of.")
    row = math.prod(shape[1:]) * dtype.itemsize
    if not 0 < row <= LARGEST_PIECE:
        raise JetFileError(
            f"{where} is of shape {shape}: {row} bytes an entry; 1 to {LARGEST_PIECE} would be right."
        )
    if created.get_layout() == h5py.h5d.CHUNKED:
        chunks = chunks_of(dataset, where, file_size)
        del dataset
        access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
        # so that no chunk is unfolded twice when jets are read in order
        access.set_chunk_cache(_SLOTS, chunks.band, 1.0)
        return _Dataset(where, shape, chunks, h5py.Dataset(h5py.h5d.open(file, name, access)))
    announced, stored = shape[0] * row, dataset.get_storage_size()
    if stored != announced or stored > file_size:
        raise JetFileError(f"{where} announces {announced} bytes but has {stored}: incomplete or damaged.")
    return _Dataset(where, shape, None, h5py.Dataset(dataset))
