"""Jets as Arrow tables and Parquet files, one row a jet, constituents as lists."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jetexp.errors import JetFileError
from jetexp.files import whole_file
from jetexp.jets.parquet_file import parquet_file
from jetexp.jets.parquet_pages import check_pages, groups_of
from jetexp.jets.sample import Jets

__all__ = ["flattened", "from_table", "read_table", "to_table", "write_chunk", "write_table"]

_CONSTITUENTS: dict[str, pa.DataType] = {
    "constituent_eta": pa.float32(),
    "constituent_phi": pa.float32(),
    "constituent_pt": pa.float32(),
    "constituent_charge": pa.int8(),
}
_PER_JET: dict[str, pa.DataType] = {
    "label": pa.int64(),
    "pt": pa.float32(),
    "eta": pa.float32(),
    "mass": pa.float32(),
    "weight": pa.float64(),
}
_OPTIONAL = ("constituent_charge", "weight")


def to_table(jets: Jets) -> pa.Table:
    """Bring jets into an Arrow table, one row a jet, constituents as lists.

    Parameters
    ----------
    jets : Jets
        N jets, of fewer than 2**31 constituents in all.

    Returns
    -------
    pyarrow.Table
        N rows.
    """
    columns: dict[str, pa.Array] = {}
    offsets = pa.array(jets.offsets.astype(np.int32))
    for name, form in (_PER_JET | _CONSTITUENTS).items():
        values = getattr(jets, name)
        if values is None:
            continue
        column = pa.array(np.ascontiguousarray(values), type=form)
        columns[name] = pa.ListArray.from_arrays(offsets, column) if name in _CONSTITUENTS else column
    return pa.table(columns)


def from_table(table: pa.Table, classes: tuple[str, ...], where: str) -> Jets:
    """Turn an Arrow table back into jets, believing nothing.

    Parameters
    ----------
    table : pyarrow.Table
        As made by ``to_table``.
    classes : tuple of str
        Names of the classes.
    where : str
        Name of the file, for messages.

    Returns
    -------
    Jets
        N jets, with an empty provenance.

    Raises
    ------
    JetFileError
        If a column is missing, of another type, or holds an impossible value.
    """
    arrays: dict[str, Any] = dict.fromkeys(_OPTIONAL)
    offsets: npt.NDArray[np.int64] | None = None
    for name, form in (_PER_JET | _CONSTITUENTS).items():
        if name not in table.column_names:
            if name in _OPTIONAL:
                continue
            raise JetFileError(f"{where} has no column {name!r}, so it holds no jets.")
        wanted = pa.list_(form) if name in _CONSTITUENTS else form
        column = table.column(name).combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], type=column.type)
        if not (column.type.equals(wanted) or _is_list_of(column.type, wanted)):
            raise JetFileError(f"{where}, column {name!r}, is of type {column.type}, not {wanted}.")
        if name in _CONSTITUENTS:
            ends, column = flattened(column, f"{where}, column {name!r}")
            if offsets is not None and not np.array_equal(ends, offsets):
                raise JetFileError(f"{where}, column {name!r}, differs in length from other columns.")
            offsets = ends
        elif column.null_count:
            raise JetFileError(f"{where}, column {name!r}, has empty cells.")
        arrays[name] = column.to_numpy(zero_copy_only=False)
    _check(arrays, classes, where)
    assert offsets is not None  # noqa: S101 (the columns of lists are not optional)
    return Jets(offsets=offsets, classes=classes, **arrays)


def flattened(column: pa.Array, where: str) -> tuple[npt.NDArray[np.int64], pa.Array]:
    """Take a column of lists apart.

    Parameters
    ----------
    column : pyarrow.ListArray, pyarrow.LargeListArray or pyarrow.FixedSizeListArray
        N lists.
    where : str
        File and column, for messages.

    Returns
    -------
    ndarray of int64, shape (N + 1,)
        Where the lists begin and end.
    pyarrow.Array
        The values of all lists.

    Raises
    ------
    JetFileError
        If a list or a value is missing.
    """
    values = column.flatten()
    if column.null_count or values.null_count:
        raise JetFileError(f"{where}, has empty cells.")
    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), values


def _is_list_of(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Tell whether two list types hold the same values, whatever the name of their items."""
    lists = pa.types.is_list(found) and pa.types.is_list(wanted)
    return bool(lists and found.value_type.equals(wanted.value_type))


def _check(arrays: dict[str, Any], classes: tuple[str, ...], where: str) -> None:
    """Refuse values that no jet can have."""
    for name, values in arrays.items():
        if values is None:
            continue
        bad = ~np.isfinite(values)
        if name in ("constituent_pt", "pt", "mass"):
            bad |= values < 0
        if name == "constituent_phi":
            bad |= np.abs(values) > np.float32(math.pi)
        if name == "label":
            bad |= (values < 0) | (values >= len(classes))
        if bad.any():
            first = int(np.argmax(bad))
            raise JetFileError(
                f"{where}, column {name!r}, holds the impossible value {values[first]} (entry {first})."
            )


def write_table(jets: Jets, path: Path) -> None:
    """Write jets as one Parquet file (zstd, with page checksums); not atomic by itself.

    Parameters
    ----------
    jets : Jets
        The jets.
    path : Path
        The file to write.
    """
    table = to_table(jets)
    floats = [f"{name}.list.element" for name, form in _CONSTITUENTS.items() if form == pa.float32()]
    # bytes of equal weight side by side: floats then shrink by a further fifth
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=5,
        use_dictionary=False,
        use_byte_stream_split=[name for name in floats if name.split(".")[0] in table.column_names],
        write_statistics=False,
        write_page_checksum=True,
    )


def read_table(path: Path, classes: tuple[str, ...]) -> Jets:
    """Read one Parquet file of jets.

    Parameters
    ----------
    path : Path
        As written by ``write_table``.
    classes : tuple of str
        Names of the classes.

    Returns
    -------
    Jets
        With an empty provenance.

    Raises
    ------
    JetFileError
        If the file is damaged or holds something else.
    """
    groups = groups_of(path)
    with parquet_file(path) as file:
        # columns of other types are refused before any of them is read
        from_table(file.schema_arrow.empty_table(), classes, str(path))
        names = [name for name in _PER_JET | _CONSTITUENTS if name in file.schema_arrow.names]
        check_pages(path, groups, names)
        table = file.read(columns=names)
    return from_table(table, classes, str(path))


def write_chunk(jets: Jets, path: Path) -> None:
    """Write jets as one Parquet file, whole or not at all.

    Parameters
    ----------
    jets : Jets
        The jets, of one class; there may be none.
    path : Path
        The file to write.
    """
    with whole_file(path) as temporary:
        write_table(jets, temporary)
