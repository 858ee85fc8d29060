"""Compressed blocks of ROOT files: what they unfold to is known before uproot unfolds them.

uproot compares a block's size with the one that is announced after it has unfolded all of it.
"""

from __future__ import annotations

import lzma
import zlib
from typing import IO

import pyarrow as pa

from jetexp.errors import JetFileError

__all__ = ["check_blocks"]

# bytes that an LZMA dictionary may take
LARGEST_DICTIONARY = 256 * 2**20
# two letters of the method, its version, and 3 bytes each of the sizes (ROOT's RZip.cxx)
_HEADER = 9


def check_blocks(content: IO[bytes], place: int, stored: int, size: int, *, largest: int, where: str) -> None:
    """Refuse what does not unfold to the bytes that are announced.

    Parameters
    ----------
    content : file
        The file.
    place : int
        Where the blocks begin.
    stored : int
        Bytes of all blocks; they are not compressed, if there are ``size`` of them.
    size : int
        Bytes that they are said to unfold to.
    largest : int
        Bytes that are allowed.
    where : str
        File and what it is, for messages.

    Raises
    ------
    JetFileError
        If there are more or fewer, or the blocks lie beyond the end of the file.
    """
    if not 0 <= size <= largest or not 0 <= stored <= largest:
        raise JetFileError(f"{where}, unfolds to {size} bytes from {stored}; at most {largest} are read.")
    data = b""
    if place >= 0:
        content.seek(place)
        data = content.read(stored)
    if len(data) != stored:
        raise JetFileError(f"{where}, is damaged: it is said to lie beyond the end of the file.")
    if stored == size:
        return
    start = unfolded = 0
    while start < stored and unfolded < size:
        header = data[start : start + _HEADER]
        packed, block = (int.from_bytes(header[at : at + 3], "little") for at in (3, 6))
        start += _HEADER + packed
        unfolded += block
        if start > stored or not _unfolds(header[:2], data[start - packed : start], block):
            raise JetFileError(f"{where}, is damaged: a block does not unfold to {block} bytes.")
    if unfolded != size:
        raise JetFileError(f"{where}, is damaged: it does not unfold to {size} bytes.")


def _unfolds(method: bytes, data: bytes, size: int) -> bool:
    """Tell whether a block unfolds to so many bytes, without unfolding more."""
    try:
        if method == b"ZL":
            return len(zlib.decompressobj().decompress(data, size + 1)) == size
        if method == b"XZ":
            unfolding = lzma.LZMADecompressor(memlimit=LARGEST_DICTIONARY)
            return len(unfolding.decompress(data, size + 1)) == size
        if method == b"ZS":
            return len(pa.Codec("zstd").decompress(data, decompressed_size=size)) == size
    except (zlib.error, lzma.LZMAError, EOFError, OSError):
        return False
    # uproot tells LZ4 how many bytes there are, and knows no other method
    return method == b"L4"
