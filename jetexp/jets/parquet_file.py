"""Parquet files, opened when they are found to be in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jetexp.errors import JetFileError

__all__ = ["parquet_file"]

# bytes of a column that are read at once
BUFFER = 2**20
LONGEST_REASON = 200


@contextmanager
def parquet_file(path: Path, text: Sequence[str] = ()) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file.

    Parameters
    ----------
    path : Path
        The file.
    text : sequence of str
        Columns of text, each different text of which is kept once only.

    Yields
    ------
    pyarrow.parquet.ParquetFile
        Checksums of pages are compared, where there are some, and columns are read in pieces. Its metadata
        on columns are not to be trusted: see :mod:`jetexp.jets.parquet_pages`.

    Raises
    ------
    JetFileError
        If it is truncated, damaged or no Parquet file at all; in the block too.
    """
    try:
        with pq.ParquetFile(
            path,
            page_checksum_verification=True,
            memory_map=False,
            buffer_size=BUFFER,
            read_dictionary=list(text),
        ) as file:
            yield file
    except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError) as error:
        reason = " ".join((str(error).splitlines() or [type(error).__name__])[0].split())
        raise JetFileError(
            f"{path} cannot be read as Parquet: {reason[:LONGEST_REASON].rstrip('.')}."
        ) from error
