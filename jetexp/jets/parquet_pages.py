"""What a Parquet file says of its own make-up: its footer, and the headers of its pages.

Read here and not by pyarrow, which is asked for the data only when these are in order: footer and pages
need not agree, a few bytes can unfold to any size, and pyarrow ends the process at some footers.

See Apache's ``parquet.thrift`` for the structures, and Thrift's compact protocol for how they are written.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from jetexp.errors import JetFileError
from jetexp.jets.thrift import structure

__all__ = ["MAXIMUM_EXPANSION", "Chunk", "Group", "check_pages", "groups_of"]

# floats hardly shrink, and padding some tenfold: what unfolds to more is a trap
MAXIMUM_EXPANSION = 100
# unless it is small
HARMLESS = 16 * 2**20
LARGEST_PAGE = 256 * 2**20
LARGEST_FOOTER = 64 * 2**20
# of a page, with its statistics
LARGEST_HEADER = 2**16

_MAGIC = b"PAR1"
# the length of the footer, and the magic
_TAIL = 8
# numbers of types of values, and their bytes; all others have 8 or are not read
_WIDTHS = {0: 1, 1: 4, 4: 4}
_WIDEST = 8


@dataclass(frozen=True)
class Chunk:
    """The values of a column in a group of rows.

    Attributes
    ----------
    column : str
        Name of the column, of the outermost one if it is nested.
    kind : int
        Type of the values, by its number.
    values : int
        How many, empty lists and cells included.
    place, end : int
        Where its pages begin and end in the file.
    """

    column: str
    kind: int
    values: int
    place: int
    end: int


@dataclass(frozen=True)
class Group:
    """Some rows of a file.

    Attributes
    ----------
    rows : int
        How many.
    chunks : tuple of Chunk
        Their columns.
    """

    rows: int
    chunks: tuple[Chunk, ...]


def groups_of(path: Path) -> list[Group]:
    """Read the footer of a Parquet file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    list of Group
        In order.

    Raises
    ------
    JetFileError
        If it is truncated, damaged or no Parquet file at all.
    """
    try:
        with path.open("rb") as content:
            size = content.seek(0, 2)
            footer = _footer(content, size, path)
    except OSError as error:
        raise JetFileError(f"{path} cannot be read: {error.strerror or error}.") from error
    try:
        fields, _ = structure(footer)
        leaves = _leaves(fields[2])
        return [_group(group, leaves, size) for group in fields[4]]
    except (IndexError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise JetFileError(f"{path} is damaged: its footer makes no sense.") from error


def _footer(content: IO[bytes], size: int, path: Path) -> bytes:
    content.seek(max(0, size - _TAIL))
    tail = content.read(_TAIL)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or length > size - _TAIL:
        raise JetFileError(f"{path} cannot be read as Parquet: it is truncated or something else.")
    if length > LARGEST_FOOTER:
        raise JetFileError(f"{path} has a footer of {length} bytes; at most {LARGEST_FOOTER} are read.")
    content.seek(size - _TAIL - length)
    return content.read(length)


def _leaves(elements: list[dict[int, Any]]) -> list[tuple[str, int]]:
    """Give the columns of values: the name of the outermost column, and the type of the values."""
    leaves: list[tuple[str, int]] = []
    # how many more elements each of those has that the next one stands in
    open_elements = [_number(elements[0][5])]
    name = ""
    for element in elements[1:]:
        while not open_elements[-1]:
            open_elements.pop()
        open_elements[-1] -= 1
        if len(open_elements) == 1:
            name = element[4].decode()
        children = _number(element.get(5, 0))
        if children:
            open_elements.append(children)
        else:
            leaves.append((name, _number(element[1])))
    if any(open_elements):
        raise ValueError("elements are missing")
    return leaves


def _group(fields: dict[int, Any], leaves: list[tuple[str, int]], size: int) -> Group:
    chunks = tuple(_chunk(column, *leaf, size) for column, leaf in zip(fields[1], leaves, strict=True))
    return Group(_number(fields[3]), chunks)


def _chunk(fields: dict[int, Any], name: str, kind: int, size: int) -> Chunk:
    if 1 in fields:
        raise ValueError("it lies in another file")
    column = fields[3]
    place = _number(column[9])
    # some writers say 0 where there is no dictionary
    dictionary = column.get(11, 0)
    if 0 < dictionary < place:
        place = dictionary
    end = place + _number(column[7])
    if end > size:
        raise ValueError("it lies beyond the end of the file")
    return Chunk(name, kind, _number(column[5]), place, end)


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("no number")
    return value


def check_pages(path: Path, groups: Sequence[Group], columns: Collection[str]) -> None:
    """Refuse what unfolds to more than it should.

    Parameters
    ----------
    path : Path
        The file.
    groups : sequence of Group
        Its footer.
    columns : collection of str
        The columns that will be read.

    Raises
    ------
    JetFileError
        If pages are not where the footer has them, hold another number of values, or are too large.
    """
    size, unfolded = path.stat().st_size, 0
    with path.open("rb") as content:
        for group in groups:
            for chunk in group.chunks:
                if chunk.column in columns:
                    values = chunk.values * _WIDTHS.get(chunk.kind, _WIDEST)
                    unfolded += max(values, _check_chunk(chunk, content, f"{path}, column {chunk.column!r}"))
    if unfolded > max(HARMLESS, MAXIMUM_EXPANSION * size):
        raise JetFileError(f"{path} claims to unfold to {unfolded} bytes from {size}: not read.")


def _check_chunk(chunk: Chunk, content: IO[bytes], where: str) -> int:
    """Go through the pages of a column, and give the bytes that they unfold to."""
    place, values, unfolded = chunk.place, 0, 0
    while values < chunk.values and place < chunk.end:
        content.seek(place)
        try:
            fields, length = structure(content.read(min(LARGEST_HEADER, chunk.end - place)))
            page, stored = _number(fields[2]), _number(fields[3])
            # of the first or of the second version; the page of a dictionary has neither
            data = fields.get(5) or fields.get(8)
            values += _number(data[1]) if data else 0
        except (IndexError, KeyError, ValueError, TypeError) as error:
            raise JetFileError(f"{where}, is damaged: the header of a page makes no sense.") from error
        if page > LARGEST_PAGE or page > max(HARMLESS, MAXIMUM_EXPANSION * stored):
            raise JetFileError(f"{where}, has a page that unfolds to {page} bytes from {stored}: not read.")
        unfolded += page
        place += length + stored
    if values != chunk.values or place > chunk.end:
        raise JetFileError(
            f"{where}, is damaged: its pages hold {values} values, but {chunk.values} are announced."
        )
    return unfolded
