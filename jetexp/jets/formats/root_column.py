"""A branch of a tree in a ROOT file, read basket by basket and never trusted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from uproot.interpretation.jagged import AsJagged  # type: ignore[import-untyped]
from uproot.interpretation.numerical import AsDtype  # type: ignore[import-untyped]

from jetexp.errors import JetFileError
from jetexp.jets.formats.batches import MAXIMUM_CONSTITUENTS
from jetexp.jets.formats.root_blocks import check_blocks

__all__ = ["Column", "telling"]

LONGEST_REASON = 200
# where errors have what went wrong, apart from where it did
_WORDS = ("message", "strerror")
# bytes of a basket when it is unfolded
LARGEST_BASKET = 64 * 2**20

Index = npt.NDArray[np.int64]
Numbers = npt.NDArray[Any]


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """Tell what a broken file raises as one sentence.

    Parameters
    ----------
    path : Path
        The file that is read in the block.

    Raises
    ------
    JetFileError
        Whatever happens.
    """
    try:
        yield
    except JetFileError:
        raise
    # uproot has no kind of its own for what is damaged: anything may come of it
    except Exception as error:
        told = next((text for text in (getattr(error, name, None) for name in _WORDS) if text), str(error))
        # uproot goes on to tell which file it is
        reason = " ".join(re.split(r"\n\s*(?:for file path|in file)", str(told))[0].split())
        reason = reason[:LONGEST_REASON].rstrip(".,") or type(error).__name__
        raise JetFileError(f"{path} is damaged or no ROOT file: {reason}.") from error


class Column:
    """A branch that is gone through once, basket by basket.

    Parameters
    ----------
    branch : uproot.TBranch
        The branch.
    where : str
        File and branch, for messages.
    path : Path
        The file.
    entries : int
        Of the tree.
    lists : bool
        Whether it should hold a list of numbers for each entry, or one number.

    Raises
    ------
    JetFileError
        If it holds something else, or another number of entries.
    """

    def __init__(self, branch: Any, where: str, path: Path, entries: int, lists: bool) -> None:
        self.where, self._path, self._branch = where, path, branch
        self._header, self._form = _form(branch, lists, where)
        self._lists, self._basket = lists, 0
        self._ends = branch.entry_offsets
        if self._ends[0] != 0 or self._ends[-1] != entries or (np.diff(self._ends) < 0).any():
            raise JetFileError(f"{where} holds {self._ends[-1]} entries, but the tree announces {entries}.")
        self._counts: Index = np.zeros(0, np.int64)
        self._values: Numbers = np.zeros(0, self._form.newbyteorder("="))

    def fitting(self, entries: int, values: int) -> int:
        """Say how many entries are next.

        Parameters
        ----------
        entries : int
            No more than so many.
        values : int
            With no more than so many values in all, unless the first alone has more.

        Returns
        -------
        int
            0 at the end.

        Raises
        ------
        JetFileError
            If the file is damaged.
        """
        while len(self._counts) < entries and len(self._values) <= values and self._load():
            pass
        ends = np.cumsum(self._counts[:entries])
        return min(len(ends), max(1, int(np.searchsorted(ends, values, side="right"))))

    def take(self, entries: int) -> tuple[Index, Numbers]:
        """Read the next entries.

        Parameters
        ----------
        entries : int
            How many; there must be as many.

        Returns
        -------
        ndarray of int64, shape (entries,)
            Number of values of each.
        ndarray, shape (M,)
            All values.

        Raises
        ------
        JetFileError
            If the file is damaged.
        """
        while len(self._counts) < entries and self._load():
            pass
        counts, self._counts = self._counts[:entries], self._counts[entries:]
        number = int(counts.sum())
        values, self._values = self._values[:number], self._values[number:]
        return counts, values

    def _load(self) -> bool:
        """Read the next basket, if there is one."""
        if self._basket >= len(self._ends) - 1:
            return False
        with telling(self._path):
            counts, values = self._unfolded(self._basket)
        self._basket += 1
        self._counts = np.concatenate([self._counts, counts])
        self._values = np.concatenate([self._values, values])
        return True

    def _unfolded(self, number: int) -> tuple[Index, Numbers]:
        branch = self._branch
        if number < branch.num_baskets - len(branch.embedded_baskets):
            _check_basket(branch, number, self._path, self.where)
        basket = branch.basket(number)
        entries = self._ends[number + 1] - self._ends[number]
        data, size = np.asarray(basket.data), self._form.itemsize
        if not self._lists:
            if len(data) != entries * size:
                raise JetFileError(f"{self.where} is damaged: {len(data)} bytes for {entries} entries.")
            return np.ones(entries, np.int64), self._numbers(data)
        if basket.byte_offsets is None:
            raise JetFileError(f"{self.where} does not say where its lists begin, which is not read.")
        offsets = np.asarray(basket.byte_offsets, dtype=np.int64)
        lengths = np.diff(offsets) - self._header
        whole = len(lengths) == entries and offsets[0] == 0 and offsets[-1] == len(data)
        if not whole or (lengths < 0).any() or (lengths % size).any():
            raise JetFileError(f"{self.where} is damaged: its lists are not where they are said to be.")
        counts = lengths // size
        if counts.max(initial=0) > MAXIMUM_CONSTITUENTS:
            raise JetFileError(
                f"{self.where} has a list of {counts.max()} values; at most {MAXIMUM_CONSTITUENTS} are read."
            )
        if self._header:
            kept = np.ones(len(data), dtype=bool)
            kept[(offsets[:-1, None] + np.arange(self._header)).ravel()] = False
            data = data[kept]
        return counts, self._numbers(data)

    def _numbers(self, data: Numbers) -> Numbers:
        values = np.frombuffer(data.tobytes(), dtype=self._form)
        return values.astype(self._form.newbyteorder("="))


def _form(branch: Any, lists: bool, where: str) -> tuple[int, np.dtype[Any]]:
    """Give the bytes before each list, and the type of the numbers."""
    found = branch.interpretation
    header = 0
    numbers = found
    if type(found) is AsJagged:
        header, numbers = found.header_bytes, found.content
    wanted = "lists of numbers" if lists else "one number an entry"
    if (type(found) is AsJagged) != lists or type(numbers) is not AsDtype:
        raise JetFileError(f"{where} holds {branch.typename}, not {wanted}.")
    form = np.dtype(numbers.from_dtype)
    if form.shape or form.kind not in "fiub" or not 1 <= form.itemsize <= 8:
        raise JetFileError(f"{where} holds {branch.typename}, not {wanted}.")
    return header, form


def _check_basket(branch: Any, number: int, path: Path, where: str) -> None:
    """Refuse a basket that lies elsewhere or unfolds to more than it should."""
    stored = branch.basket_compressed_bytes(number)
    key = branch.basket_key(number)
    place = int(branch.member("fBasketSeek")[number])
    if key.fNbytes != stored or not 0 <= key.fKeylen <= stored:
        raise JetFileError(f"{where} is damaged: basket {number} is not where it is said to be.")
    with path.open("rb") as content:
        check_blocks(
            content,
            place + key.fKeylen,
            stored - key.fKeylen,
            key.data_uncompressed_bytes,
            largest=LARGEST_BASKET,
            where=f"{where}, basket {number}",
        )
