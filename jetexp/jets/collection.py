"""Jets collected batch by batch: in memory as long as they are few, else in files that are mapped."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from jetexp.errors import JetexpError
from jetexp.jets.sample import Jets, concatenate

__all__ = ["JETS_PER_BLOCK", "MEMORY", "MappedArray", "collect", "in_blocks", "relabelled", "selected"]

# bytes of constituents beyond which jets are kept in files
MEMORY = 64 * 2**20
JETS_PER_BLOCK = 20_000

_CONSTITUENTS = {
    "constituent_eta": np.float32,
    "constituent_phi": np.float32,
    "constituent_pt": np.float32,
    "constituent_charge": np.int8,
}
_PER_JET = ("label", "pt", "eta", "mass", "weight")


class MappedArray(np.memmap):
    """A whole file of numbers as a read-only array; another process that is sent it maps the file too."""

    def __reduce__(self) -> Any:
        if isinstance(self.base, mmap.mmap):
            return _mapped, (Path(str(self.filename)), self.dtype.str)
        return np.array(self).__reduce__()


def _mapped(path: Path, dtype: Any) -> npt.NDArray[Any]:
    if not path.stat().st_size:
        return np.zeros(0, dtype)
    return MappedArray(path, dtype=dtype, mode="r")


def in_blocks(jets: Jets, number: int = JETS_PER_BLOCK) -> Iterator[Jets]:
    """Go through jets some at a time, so that memory is bounded.

    Parameters
    ----------
    jets : Jets
        N jets.
    number : int
        Jets of a block.

    Yields
    ------
    Jets
        Consecutive jets, until all have been; one empty block if there are none.
    """
    for start in range(0, max(1, len(jets)), number):
        yield jets.between(start, min(start + number, len(jets)))
        jets.release()


def selected(jets: Jets, which: npt.NDArray[np.bool_] | npt.NDArray[np.int64], scratch: Path | None) -> Jets:
    """Select jets by mask or index, as :meth:`jetexp.jets.sample.Jets.take`, in bounded memory.

    Parameters
    ----------
    jets : Jets
        N jets.
    which : ndarray of bool, shape (N,), or of int64
        The jets to keep, in this order.
    scratch : Path, optional
        Where jets that are too many for the memory are kept.

    Returns
    -------
    Jets
        With the same classes and provenance.
    """
    index = np.arange(len(jets))[which]

    def batches() -> Iterator[Jets]:
        for start in range(0, max(1, len(index)), JETS_PER_BLOCK):
            yield jets.take(index[start : start + JETS_PER_BLOCK])
            jets.release()

    return collect(batches(), scratch)


def relabelled(jets: Jets, classes: Sequence[str]) -> Jets:
    """Name the same classes in another order, without a copy of the constituents.

    Parameters
    ----------
    jets : Jets
        N jets.
    classes : sequence of str
        All of the jets' classes.

    Returns
    -------
    Jets
        The same jets.
    """
    places = np.array([list(classes).index(name) for name in jets.classes], dtype=np.int64)
    return replace(jets, label=places[jets.label], classes=tuple(classes))


def collect(
    batches: Iterable[Jets],
    scratch: Path | None = None,
    *,
    provenance: Callable[[], dict[str, Any]] | None = None,
) -> Jets:
    """Join batches of jets.

    Parameters
    ----------
    batches : iterable of Jets
        Of the same classes, at least one. Charges and weights are kept only if every batch has them.
    scratch : Path, optional
        Folder where constituents are kept, in files, when they take more than ``MEMORY`` bytes; it must
        outlive the jets. By default they are kept in memory, however many.
    provenance : callable, optional
        Gives the provenance of the whole, when all batches are there; by default that of the first.

    Returns
    -------
    Jets
        All jets, in order.

    Raises
    ------
    JetexpError
        If the files cannot be written.
    ValueError
        If there is no batch, or the classes differ.
    """
    held: list[Jets] = []
    size = 0
    remaining = iter(batches)
    for batch in remaining:
        held.append(batch)
        size += sum(values.nbytes for name in _CONSTITUENTS if (values := getattr(batch, name)) is not None)
        if scratch is not None and size > MEMORY:
            return _in_files(held, remaining, scratch, provenance)
    return concatenate(held, provenance=None if provenance is None else provenance())


def _in_files(
    held: list[Jets],
    remaining: Iterator[Jets],
    scratch: Path,
    provenance: Callable[[], dict[str, Any]] | None,
) -> Jets:
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        writer = _Writer(Path(tempfile.mkdtemp(prefix="jets-", dir=scratch)), held[0])
        try:
            while held:
                writer.add(held.pop(0))
            for batch in remaining:
                writer.add(batch)
        finally:
            writer.close()
    except OSError as error:
        raise JetexpError(f"Jets cannot be kept in {scratch}: {error.strerror or error}.") from error
    return writer.jets(provenance)


class _Writer:
    """Writes constituents to files, and keeps the rest."""

    def __init__(self, folder: Path, first: Jets) -> None:
        self._folder, self._first = folder, first
        self._files: dict[str, IO[bytes]] = {name: self._path(name).open("wb") for name in _CONSTITUENTS}
        self._counts: list[npt.NDArray[np.int64]] = []
        self._columns: dict[str, list[Any]] = {name: [] for name in _PER_JET}

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.bin"

    def add(self, jets: Jets) -> None:
        if jets.classes != self._first.classes:
            raise ValueError("the parts to join have different classes")
        self._counts.append(jets.counts)
        for name, columns in self._columns.items():
            columns.append(getattr(jets, name))
        for name, dtype in _CONSTITUENTS.items():
            values = getattr(jets, name)
            if values is None and name in self._files:
                # not every batch has them, so the whole has none
                self._files.pop(name).close()
            elif name in self._files:
                self._files[name].write(np.ascontiguousarray(values, dtype=dtype).data)

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def jets(self, provenance: Callable[[], dict[str, Any]] | None) -> Jets:
        def joined(columns: list[Any]) -> Any:
            return None if any(column is None for column in columns) else np.concatenate(columns)

        arrays: dict[str, Any] = {
            name: None if name not in self._files else _mapped(self._path(name), dtype)
            for name, dtype in _CONSTITUENTS.items()
        }
        return Jets(
            offsets=np.concatenate([[0], np.cumsum(np.concatenate(self._counts))]).astype(np.int64),
            classes=self._first.classes,
            provenance=self._first.provenance if provenance is None else provenance(),
            **{name: joined(columns) for name, columns in self._columns.items()},
            **arrays,
        )
