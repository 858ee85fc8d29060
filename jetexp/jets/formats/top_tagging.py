"""The top tagging reference: a pandas table in HDF5, blosc-compressed (Zenodo 2603256).

As described by Kasieczka, Plehn, Thompson and Russell, and Butter et al. (arXiv:1902.09914): each row is a
jet, with the four-momenta of its 200 hardest constituents in GeV in the columns ``E_0, PX_0, PY_0, PZ_0``,
``E_1``, ..., padded with zeros, and ``is_signal_new``, which is 1 for top jets and 0 for QCD jets.

PyTables writes rows as records: columns of one type are joined in fields ``values_block_0``, ..., and the
names of a field's columns are a pickled list in the attribute ``values_block_0_kind``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jetexp.errors import JetFileError
from jetexp.jets.formats.batches import jets_per_batch, kept
from jetexp.jets.formats.form import JETS_PER_BATCH, Content, Drops, Wanted
from jetexp.jets.formats.hdf5 import Hdf5Array, hdf5_arrays, is_hdf5
from jetexp.jets.formats.in_step import class_names
from jetexp.jets.formats.labels import counted, labels_of
from jetexp.jets.formats.pickled import pickled_strings
from jetexp.jets.momenta import double, jets_from_four_momenta
from jetexp.jets.sample import Jets

__all__ = ["CLASSES", "KEY", "NAME", "TABLE", "content", "read", "sniff"]

KEY = "top_tagging"
NAME = "the top tagging reference"
TABLE = "table/table"
CLASSES = {"0": "QCD", "1": "top"}

_LABEL = "is_signal_new"
_COMPONENTS = ("PX", "PY", "PZ", "E")
_MOMENTUM = re.compile(r"(PX|PY|PZ|E)_(0|[1-9][0-9]{0,4})")


@dataclass(frozen=True)
class _Column:
    """A column: the field that holds it, and its place there."""

    field: str
    place: int


@dataclass(frozen=True)
class _Table:
    """The table, and where its columns are.

    ``fields`` gives the places of momenta in each field that has some; of all these, one field behind the
    other, ``order`` makes all PX, then all PY, PZ and E.
    """

    array: Hdf5Array
    constituents: int
    fields: Mapping[str, list[int]]
    order: npt.NDArray[np.int64]
    label: _Column


def sniff(path: Path) -> bool:
    """Tell from its content whether a file is of this form.

    Parameters
    ----------
    path : Path
        An existing file.

    Returns
    -------
    bool

    Raises
    ------
    JetFileError
        If it is an HDF5 file, but damaged.
    """
    if not is_hdf5(path):
        return False
    with hdf5_arrays(path) as arrays:
        if TABLE not in arrays or arrays[TABLE].dtype.names is None:
            return False
        columns = _columns(arrays[TABLE])
        return _LABEL in columns and any(_MOMENTUM.fullmatch(name) for name in columns)


def content(path: Path, wanted: Wanted) -> Content:
    """Say what the file holds.

    Parameters
    ----------
    path : Path
        Of this form.
    wanted : Wanted
        Nothing of it matters here.

    Returns
    -------
    Content
        The number of jets of each class, ``QCD`` and ``top``.

    Raises
    ------
    JetFileError
        If a column is missing or of a wrong type, the file is truncated, or a label neither 0 nor 1.
    """
    with hdf5_arrays(path) as arrays:
        table = _table(arrays)
        first, batches = 0, []
        for block in table.array.rows(JETS_PER_BATCH, of=table.label.field):
            batches.append(_names(block, table, first))
            first += len(block)
        counts = counted(batches, str(path))
    return Content(counts, sum(counts.values()))


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
        If the file is truncated, of a wrong shape or type, lacks a class, or holds values that no
        constituent has.
    """
    labels = wanted.labels(content(path, wanted), str(path))
    with hdf5_arrays(path) as arrays:
        table = _table(arrays)
        first = 0
        for block in table.array.rows(jets_per_batch(table.constituents, table.array.where)):
            names = _names(block[table.label.field], table, first)
            momenta = _momenta(block, table)
            there = (momenta != 0).any(axis=1)
            px, py, pz, energy = (momenta[:, component][there] for component in range(4))
            jets = jets_from_four_momenta(
                np.concatenate([[0], np.cumsum(there.sum(axis=1))]),
                px,
                py,
                pz,
                energy,
                label=labels_of(names, labels),
                classes=wanted.classes,
                where=table.array.where,
                first=first,
            )
            sound = kept(jets, drops, str(path), first)
            first += len(block)
            if len(sound):
                yield sound


def _names(block: npt.NDArray[Any], table: _Table, first: int) -> list[str]:
    values = block.reshape(len(block), -1)[:, table.label.place]
    return class_names(values, CLASSES, f"{table.array.where}, {_LABEL}", first)


def _momenta(block: npt.NDArray[Any], table: _Table) -> npt.NDArray[np.float64]:
    """Give the four-momenta of some rows, shape (rows, 4, constituents)."""
    found = [
        np.take(block[field].reshape(len(block), -1), places, axis=1)
        for field, places in table.fields.items()
    ]
    ordered = np.take(np.concatenate(found, axis=1), table.order, axis=1)
    return double(ordered).reshape(len(block), 4, table.constituents)


def _columns(array: Hdf5Array) -> dict[str, _Column]:
    """Find out which columns the table has, by name."""
    columns: dict[str, _Column] = {}
    for field in array.dtype.names or ():
        shape = array.dtype[field].shape
        attribute = f"{field}_kind"
        pickled = array.attribute(attribute)
        # the index has a kind too, which is a word
        if field == "index" or pickled is None:
            names = [field]
        else:
            names = pickled_strings(pickled, f"{array.where}, {attribute}")
        if len(shape) > 1 or len(names) != (shape or (1,))[0]:
            raise JetFileError(
                f"{array.where} has {len(names)} names of columns for {field}, which is of shape {shape}."
            )
        columns |= {name: _Column(field, place) for place, name in enumerate(names)}
    return columns


def _table(arrays: Mapping[str, Hdf5Array]) -> _Table:
    """Give the table, its columns and types checked."""
    array = arrays[TABLE]
    if array.shape[0] < 1 or len(array.shape) != 1:
        raise JetFileError(f"{array.where} is of shape {array.shape}; a row for each jet would be right.")
    columns = _columns(array)
    found = [match for name in columns if (match := _MOMENTUM.fullmatch(name))]
    constituents = 1 + max(int(match[2]) for match in found)
    names = [f"{kind}_{index}" for kind in _COMPONENTS for index in range(constituents)]
    momenta = [_checked(columns, name, array, "f") for name in names]
    fields: dict[str, list[int]] = {}
    for column in momenta:
        fields.setdefault(column.field, []).append(column.place)
    behind = list(fields)
    order = np.argsort(np.argsort([behind.index(column.field) for column in momenta], kind="stable"))
    return _Table(array, constituents, fields, order, _checked(columns, _LABEL, array, "fiub"))


def _checked(columns: Mapping[str, _Column], name: str, array: Hdf5Array, kinds: str) -> _Column:
    if name not in columns:
        raise JetFileError(f"{array.where} has no column {name}.")
    dtype = array.dtype[columns[name].field].base
    if dtype.kind not in kinds or dtype.itemsize > 8:
        wanted = "a floating type" if kinds == "f" else "a type of numbers"
        raise JetFileError(f"{array.where}, {name}, is of type {dtype}, not {wanted} of at most 64 bits.")
    return columns[name]
