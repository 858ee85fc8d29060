"""Jets in a Parquet file: one row a jet, constituents as lists ``eta``, ``phi`` and ``pt``.

The names may have a prefix (``constituent_eta``, ``particle_eta``, ``part_eta``), so that a part of a
sample of jetexp's own is such a file too. There may be a list ``charge``; for each jet ``pt``, ``eta``,
``mass`` (or ``jet_pt``, ...) and ``weight``; and ``label`` or ``class``, a number or a text.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from jetexp.errors import JetFileError
from jetexp.jets.formats.batches import (
    CONSTITUENTS_PER_BATCH,
    MAXIMUM_CONSTITUENTS,
    kept,
    scale_told,
    whole_charges,
)
from jetexp.jets.formats.form import JETS_PER_BATCH, Content, Drops, Wanted
from jetexp.jets.formats.frames import Constituents, Frame, frame_of, jets_in_frame
from jetexp.jets.formats.labels import counted, labels_of, whole_numbers
from jetexp.jets.formats.parquet_columns import Columns, columns_of, is_text
from jetexp.jets.momenta import double
from jetexp.jets.parquet_file import parquet_file
from jetexp.jets.parquet_pages import Group, check_pages, groups_of
from jetexp.jets.sample import Jets
from jetexp.jets.table import flattened

__all__ = ["KEY", "NAME", "content", "read", "sniff"]

KEY = "parquet"
NAME = "Parquet with lists of constituents"

LONGEST_NAME = 200
_MAGIC = b"PAR1"

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]


def sniff(path: Path) -> bool:
    """Tell from its content whether a file is of this form.

    Parameters
    ----------
    path : Path
        An existing file.

    Returns
    -------
    bool
        True for every Parquet file: there is no other form of it.
    """
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def content(path: Path, wanted: Wanted) -> Content:
    """Say what the file holds.

    Parameters
    ----------
    path : Path
        Of this form.
    wanted : Wanted
        Its ``unit`` matters.

    Returns
    -------
    Content
        The number of jets of each class, where there is a column of labels.

    Raises
    ------
    JetFileError
        If the file is damaged, lacks a column or has one of a wrong type, or it is not clear what the
        directions are relative to.
    """
    with _opened(path) as table:
        frame = table.frame(wanted.unit)
        told = (*frame.told(table.columns.jet), *scale_told(frame.pt, wanted.unit, "momentum"))
        if table.columns.label is None:
            return Content({}, table.rows, told)
        counts = counted(table.names(), f"{path}, column {table.columns.label!r}")
        return Content(counts, sum(counts.values()), told)


def read(path: Path, wanted: Wanted, drops: Drops) -> Iterator[Jets]:
    """Read the jets in order.

    Parameters
    ----------
    path : Path
        Of this form.
    wanted : Wanted
        Which jets.
    drops : Drops
        Counts the jets without constituents, which are left out.

    Yields
    ------
    Jets
        In batches.

    Raises
    ------
    JetFileError
        If the file is damaged, lacks a column or a class, is unclear, or holds values that no constituent
        has.
    """
    held = content(path, wanted)
    with _opened(path) as table:
        frame = table.frame(wanted.unit)
        chosen = {} if table.columns.label is None else wanted.labels(held, str(path))
        only = wanted.only_label(str(path)) if table.columns.label is None else -1
        first = 0
        for batch in table.batches(table.columns.all):
            label = np.full(len(batch), only, dtype=np.int64)
            if table.columns.label is not None:
                label = labels_of(table.names_in(batch, first), chosen)
            jets = jets_in_frame(
                table.constituents(batch, wanted.unit),
                table.jets(batch, wanted.unit),
                frame,
                label=label,
                classes=wanted.classes,
                where=str(path),
                first=first,
            )
            if table.columns.weight is not None:
                jets = replace(jets, weight=table.numbers(batch, table.columns.weight))
            sound = kept(jets, drops, str(path), first)
            first += len(batch)
            if len(sound):
                yield sound


@contextmanager
def _opened(path: Path) -> Iterator[_Table]:
    """Open a file, and check its columns and pages before anything is unfolded."""
    groups = groups_of(path)
    with parquet_file(path) as file:
        schema = file.schema_arrow
    columns = columns_of(schema, str(path))
    if not any(group.rows for group in groups):
        raise JetFileError(f"{path} holds no jets.")
    check_pages(path, groups, columns.all)
    label = columns.label
    with parquet_file(path, [label] if label and is_text(schema.field(label).type) else ()) as file:
        yield _Table(file, path, groups, columns)


@dataclass(frozen=True, eq=False)
class _Table:
    """A file that was found in order."""

    file: pq.ParquetFile
    path: Path
    groups: list[Group]
    columns: Columns

    @property
    def rows(self) -> int:
        return sum(group.rows for group in self.groups)

    def batches(self, names: list[str]) -> Iterator[pa.RecordBatch]:
        """Read some columns, so many rows at a time as their constituents allow."""
        for place, group in enumerate(self.groups):
            lists = [chunk.values for chunk in group.chunks if chunk.column == self.columns.pt]
            fitting = group.rows * CONSTITUENTS_PER_BATCH // max([1, *lists])
            number = min(JETS_PER_BATCH, max(1, fitting))
            for batch in self.file.iter_batches(batch_size=number, row_groups=[place], columns=names):
                if len(batch):
                    yield batch

    def frame(self, unit: float) -> Frame:
        """Look at the first jets."""
        names = [name for name in self.columns.all if name != self.columns.label]
        for batch in self.batches(names):
            return frame_of(self.constituents(batch, unit), self.jets(batch, unit), str(self.path))
        raise JetFileError(f"{self.path} holds no jets.")

    def names(self) -> Iterator[list[str]]:
        """Go through the names of the classes of all jets."""
        first = 0
        for batch in self.batches([self.columns.label or ""]):
            yield self.names_in(batch, first)
            first += len(batch)

    def names_in(self, batch: pa.RecordBatch, first: int) -> list[str]:
        """Give the names of the classes of some jets."""
        column, where = self._column(batch, self.columns.label or "")
        if not pa.types.is_dictionary(column.type):
            return whole_numbers(column.to_numpy(zero_copy_only=False), where, first)
        # the file says which text of the dictionary it is
        column.validate(full=True)
        texts = column.dictionary.to_pylist()
        names = [texts[place] for place in column.indices.to_pylist()]
        longest = max((len(text) for text in set(names)), default=0)
        if longest > LONGEST_NAME:
            raise JetFileError(f"{where}, holds a text of {longest} characters, which is no name of a class.")
        return names

    def constituents(self, batch: pa.RecordBatch, unit: float) -> Constituents:
        """Give the constituents of some jets."""
        offsets, pt = self._lists(batch, self.columns.pt, None)
        _, eta = self._lists(batch, self.columns.eta, offsets)
        _, phi = self._lists(batch, self.columns.phi, offsets)
        charge = None
        if self.columns.charge is not None:
            _, values = self._lists(batch, self.columns.charge, offsets)
            charge = whole_charges(values, f"{self.path}, column {self.columns.charge!r},")
        return Constituents(offsets, _in_gev(pt, unit), eta, phi, charge)

    def jets(self, batch: pa.RecordBatch, unit: float) -> dict[str, Float]:
        """Give what the file says of some jets themselves."""
        return {
            name: _in_gev(self.numbers(batch, column), 1 if name == "eta" else unit)
            for name, column in self.columns.jet.items()
        }

    def numbers(self, batch: pa.RecordBatch, name: str) -> Float:
        """Give a column of one number a jet."""
        column, where = self._column(batch, name)
        values = double(column.to_numpy(zero_copy_only=False))
        if not np.isfinite(values).all():
            row = int(np.argmax(~np.isfinite(values)))
            raise JetFileError(f"{where}, holds {values[row]:g}, which is no finite number.")
        return values

    def _column(self, batch: pa.RecordBatch, name: str) -> tuple[pa.Array, str]:
        column, where = batch.column(name), f"{self.path}, column {name!r}"
        if column.null_count:
            raise JetFileError(f"{where}, has empty cells.")
        return column, where

    def _lists(self, batch: pa.RecordBatch, name: str, offsets: Index | None) -> tuple[Index, Float]:
        """Give a column of lists, which must be as long as those that ``offsets`` describe."""
        column, where = self._column(batch, name)
        ends, values = flattened(column, where)
        if offsets is not None and not np.array_equal(ends, offsets):
            raise JetFileError(f"{where}, differs in length from other columns.")
        longest = int(np.diff(ends).max(initial=0))
        if longest > MAXIMUM_CONSTITUENTS:
            raise JetFileError(
                f"{where}, has a jet of {longest} entries; at most {MAXIMUM_CONSTITUENTS} would be right."
            )
        return ends, double(values.to_numpy(zero_copy_only=False))


def _in_gev(values: Float, unit: float) -> Float:
    # what is beyond reach is refused later
    with np.errstate(over="ignore"):
        return values * unit
