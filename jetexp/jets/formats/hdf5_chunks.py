"""Chunks of HDF5 datasets: what they unfold to is known before the HDF5 library unfolds them.

The library trusts a file here: a chunk that unfolds to more than it should takes any amount of memory,
and one that unfolds to less is filled up with whatever the memory held before.
"""

from __future__ import annotations

import itertools
import math
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import h5py  # type: ignore[import-untyped]

# makes the filter of BLOSC known to the HDF5 library
import hdf5plugin  # noqa: F401

from jetexp.errors import JetFileError
from jetexp.jets.formats.arrays import LARGE, MAXIMUM_EXPANSION

__all__ = ["LARGEST_PIECE", "Chunks", "check_chunk", "chunks_of"]

# bytes that are in memory at once: a chunk, or all chunks that hold the same jets
LARGEST_PIECE = 256 * 2**20

_AT_ONCE = 2**20
BLOSC = 32001
_BLOSC_PARAMETERS = 4
# versions and flags, then the sizes of the content, of a block, and of the whole when it is packed
_BLOSC_HEADER = struct.Struct("<4xIII")
_CHECKSUM = 4
_COMPRESSORS = {h5py.h5z.FILTER_DEFLATE: "gzip", BLOSC: "blosc"}
_KNOWN = {*_COMPRESSORS, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}


@dataclass(frozen=True)
class Chunks:
    """How a dataset is cut into chunks.

    Attributes
    ----------
    shape : tuple of int
        Of a chunk.
    size : int
        Bytes of a chunk when it is unfolded.
    band : int
        Bytes of all chunks that hold the same entries of the first axis.
    filters : tuple of int
        HDF5's numbers of the filters that a chunk went through, in this order.
    """

    shape: tuple[int, ...]
    size: int
    band: int
    filters: tuple[int, ...]


def chunks_of(dataset: Any, where: str, file_size: int) -> Chunks:
    """Say how a dataset is cut into chunks, and refuse what is incomplete, too large or packed oddly.

    Parameters
    ----------
    dataset : h5py.h5d.DatasetID
        In chunks, of at least one axis.
    where : str
        File and name, for messages.
    file_size : int
        Bytes of the file.

    Returns
    -------
    Chunks

    Raises
    ------
    JetFileError
        If a chunk is larger than LARGEST_PIECE, chunks were never written, are said to overlap, would
        unfold to something absurd, or went through a filter that is not known here.
    """
    created = dataset.get_create_plist()
    shape, itemsize = created.get_chunk(), dataset.dtype.itemsize
    size = math.prod(shape) * itemsize
    counts = [-(-length // step) for length, step in zip(dataset.shape, shape, strict=True)]
    band = size * math.prod(counts[1:])
    if band > LARGEST_PIECE:
        raise JetFileError(
            f"{where} is in chunks of shape {shape}: {band} bytes would be needed at once, over the limit of "
            f"{LARGEST_PIECE}; write it in chunks of fewer jets."
        )
    filters = tuple(_filter(created.get_filter(place), where) for place in range(created.get_nfilters()))
    if sum(number in _COMPRESSORS for number in filters) > 1:
        raise JetFileError(f"{where} is compressed twice over, which is not read; compress it once.")
    announced = math.prod(counts)
    found, stored = _stored(dataset, announced, file_size)
    if found != announced or stored > file_size:
        raise JetFileError(
            f"{where} announces {announced} chunks of shape {shape} but has {found}, of {stored} bytes: "
            "incomplete or damaged."
        )
    whole = math.prod(dataset.shape) * itemsize
    if whole > LARGE and whole > MAXIMUM_EXPANSION * stored:
        raise JetFileError(f"{where} unfolds to {whole} bytes from {stored}: not read.")
    return Chunks(shape, size, band, filters)


def _filter(described: tuple[Any, ...], where: str) -> int:
    number, _, parameters, name = described
    if number not in _KNOWN:
        told = name.decode("utf-8", "backslashreplace") or "of no name"
        raise JetFileError(
            f"{where} went through the filter {told!r} (number {number}), which is not read here; "
            f"{' and '.join(_COMPRESSORS.values())} are."
        )
    # the filter takes for granted that they are there
    if number == BLOSC and len(parameters) < _BLOSC_PARAMETERS:
        raise JetFileError(f"{where} is damaged: its filter blosc has {len(parameters)} parameters.")
    return int(number)


def _stored(dataset: Any, announced: int, file_size: int) -> tuple[int, int]:
    """Count the chunks in the file and their bytes, no further than makes sense."""
    found = stored = 0

    def count(chunk: Any) -> bool | None:
        nonlocal found, stored
        found += 1
        stored += chunk.size
        return True if found > announced or stored > file_size else None

    dataset.chunk_iter(count)
    return found, stored


def check_chunk(dataset: Any, chunks: Chunks, row: int, where: str) -> None:
    """Refuse chunks that do not unfold to what they should.

    Parameters
    ----------
    dataset : h5py.h5d.DatasetID
        The dataset.
    chunks : Chunks
        Of the dataset.
    row : int
        First entry of the first axis that the chunks hold; all of those are looked at.
    where : str
        File and name, for messages.

    Raises
    ------
    JetFileError
        If one unfolds to more or less.
    """
    places = (
        range(0, length, step) for length, step in zip(dataset.shape[1:], chunks.shape[1:], strict=True)
    )
    for place in itertools.product((row,), *places):
        skipped, stored = dataset.read_direct_chunk(place)
        active = [number for bit, number in enumerate(chunks.filters) if not skipped >> bit & 1]
        if not _sound(stored, active, chunks.size):
            raise JetFileError(f"{where} is damaged: the chunk at {place} is not of {chunks.size} bytes.")


def _sound(stored: bytes, filters: list[int], size: int) -> bool:
    """Follow a chunk back through its filters; only compressors and checksums change its size.

    Nobody shuffles what is compressed already; it would be refused.
    """
    packed = next((place for place, number in enumerate(filters) if number in _COMPRESSORS), None)
    if packed is None:
        return len(stored) == size + _checksums(filters)
    size += _checksums(filters[:packed])
    content = stored[: len(stored) - _checksums(filters[packed:])]
    if filters[packed] == BLOSC:
        if len(content) < _BLOSC_HEADER.size:
            return False
        unfolded, _, length = _BLOSC_HEADER.unpack_from(content)
        return bool(unfolded == size and length == len(content))
    return _inflated(content, size + 1) == size


def _inflated(content: bytes, limit: int) -> int | None:
    """Count the bytes that compressed data unfold to, up to a limit; None if they make no sense."""
    unfolding, found = zlib.decompressobj(), 0
    try:
        for start in range(0, len(content), _AT_ONCE):
            rest, unfolded = content[start : start + _AT_ONCE], _AT_ONCE
            # as long as it gives all that is asked for, there may be more of it
            while (rest or unfolded == _AT_ONCE) and found < limit:
                unfolded = len(unfolding.decompress(rest, _AT_ONCE))
                found, rest = found + unfolded, unfolding.unconsumed_tail
    except zlib.error:
        return None
    return found if unfolding.eof else None


def _checksums(filters: list[int]) -> int:
    return _CHECKSUM * filters.count(h5py.h5z.FILTER_FLETCHER32)
