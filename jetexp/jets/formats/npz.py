"""Arrays of images in an .npz file, read a block at a time and never trusted."""

from __future__ import annotations

import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from jetexp.errors import JetFileError

__all__ = ["IMAGES_PER_BLOCK", "Member", "blocks", "check_member", "reading"]

IMAGES_PER_BLOCK = 1_000
# sparse images shrink some twentyfold; an array that is large and shrinks so much more is a trap
MAXIMUM_EXPANSION = 300
LARGE = 1_000_000_000
# what NumPy's parser raises on a header that is none: it takes it for a Python literal
_HEADER_FAULTS = (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError)


@dataclass(frozen=True)
class Member:
    """One array of images in the file, its header read and checked.

    Attributes
    ----------
    info : zipfile.ZipInfo
        Where it stands in the archive.
    shape : tuple of int
        (N, H, W).
    dtype : numpy.dtype
        A floating type of at most 64 bits.
    column_order : bool
        Whether it is stored in Fortran order.
    """

    info: zipfile.ZipInfo
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    column_order: bool

    @property
    def image_bytes(self) -> int:
        """Size of one image."""
        return self.shape[1] * self.shape[2] * self.dtype.itemsize


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Tell what a broken archive raises as one sentence.

    Parameters
    ----------
    path : Path
        The file that is read in the block.

    Raises
    ------
    JetFileError
        If it is truncated, damaged, encrypted or no .npz file at all.
    """
    try:
        yield
    except zipfile.BadZipFile as error:
        reason = str(error).rstrip(".")
        raise JetFileError(f"{path} is truncated or no .npz file: {reason}.") from error
    except (zlib.error, EOFError) as error:
        raise JetFileError(f"{path} is damaged: its compressed data break off or make no sense.") from error
    except (NotImplementedError, RuntimeError) as error:
        raise JetFileError(f"{path} cannot be unpacked: {str(error).rstrip('.')}.") from error
    except OSError as error:
        raise JetFileError(f"{path} cannot be read: {error.strerror or error}.") from error


def check_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, side: tuple[int, int], where: str
) -> Member:
    """Read an array's header, and refuse what it announces before any memory is taken.

    Parameters
    ----------
    archive : zipfile.ZipFile
        The open file.
    info : zipfile.ZipInfo
        The array's place therein.
    side : tuple of int
        Height and width that the images must have.
    where : str
        Name of file and array, for messages.

    Returns
    -------
    Member
        Of at least one image.

    Raises
    ------
    JetFileError
        If it holds pickled objects, is of another type or shape, or lies about its size.
    """
    with archive.open(info) as file:
        try:
            # the longer headers of later versions describe records, and could be of any length
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError("another version")
            # a warning here is about a header of Python 2, which NumPy reads all the same
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                shape, column_order, dtype = np.lib.format.read_array_header_1_0(file)
        except _HEADER_FAULTS as error:
            raise JetFileError(f"{where} is not an array in NumPy's format.") from error
        length = file.tell()
    if dtype.hasobject:
        raise JetFileError(f"{where} holds pickled Python objects, which are never read; save numbers.")
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise JetFileError(f"{where} is of type {dtype}, not a floating type of at most 64 bits.")
    if len(shape) != 3 or shape[1:] != side:
        raise JetFileError(f"{where} is of shape {shape}, not (N, {side[0]}, {side[1]}).")
    if shape[0] < 1:
        raise JetFileError(f"{where} holds no jets.")
    member = Member(info, shape, dtype, column_order)
    announced = length + shape[0] * member.image_bytes
    if announced != info.file_size:
        raise JetFileError(f"{where} announces {announced} bytes but has {info.file_size}: truncated.")
    if info.file_size > LARGE and info.file_size > MAXIMUM_EXPANSION * info.compress_size:
        raise JetFileError(f"{where} unfolds to {info.file_size} bytes from {info.compress_size}: not read.")
    if column_order and info.file_size > LARGE:
        raise JetFileError(f"{where} is over {LARGE} bytes and in Fortran order, which is not read.")
    return member


def blocks(archive: zipfile.ZipFile, member: Member) -> Iterator[npt.NDArray[np.floating]]:
    """Read images a block at a time, so that memory does not grow with the file.

    Parameters
    ----------
    archive : zipfile.ZipFile
        The open file.
    member : Member
        The array, as checked.

    Yields
    ------
    ndarray of float, shape (n, H, W)
        The images in order; an array in Fortran order comes as one block.
    """
    number = member.shape[0]
    with archive.open(member.info) as file:
        file.read(member.info.file_size - number * member.image_bytes)
        if member.column_order:
            whole = np.frombuffer(_exactly(file, number * member.image_bytes), dtype=member.dtype)
            yield whole.reshape(member.shape, order="F")
            return
        for start in range(0, number, IMAGES_PER_BLOCK):
            count = min(IMAGES_PER_BLOCK, number - start)
            block = np.frombuffer(_exactly(file, count * member.image_bytes), dtype=member.dtype)
            # the last bytes make zipfile compare the checksum
            yield block.reshape(count, *member.shape[1:])


def _exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise EOFError
    return data
