"""The UCL jet images: an .npz of 40 x 40 images of transverse energy, one array a class.

The arrays ``top_jet_images``, ``W_jet_images`` and ``QCD_jet_images``, each of shape (N, 40, 40),
hold transverse energy in GeV in pixels of 0.05 x 0.05 in eta (first axis) and phi (second).
"""

from __future__ import annotations

import logging
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from jetexp.errors import JetFileError
from jetexp.files import whole_file
from jetexp.jets.pixels import jets_from_images
from jetexp.jets.sample import Jets, concatenate

__all__ = ["CLASSES", "HALF_WIDTH", "PIXELS", "default_ucl_name", "export_ucl", "read", "sniff"]

logger = logging.getLogger(__name__)

PIXELS = 40
HALF_WIDTH = 1.0
CLASSES = ("top", "W", "QCD")
IMAGES_PER_BLOCK = 1_000
# sparse images shrink some twentyfold; an array that is large and shrinks so much more is a trap
MAXIMUM_EXPANSION = 300
LARGE = 1_000_000_000


def _key(name: str) -> str:
    return f"{name}_jet_images"


def default_ucl_name(pt_range: tuple[float, float] = (600.0, 1500.0), per_class: int = 10_000) -> str:
    """Give the file name by which the UCL file is known, for a pT range and size.

    Parameters
    ----------
    pt_range : tuple of float
        Smallest and largest jet pT, GeV.
    per_class : int
        Number of jets of each class.

    Returns
    -------
    str

    Examples
    --------
    >>> default_ucl_name((600.0, 1500.0), 10_000)
    '20190920_pt600.0_1500.0_40bins_10k.npz'
    """
    size = f"{per_class // 1000}k" if per_class % 1000 == 0 else str(per_class)
    low, high = (float(end) for end in pt_range)
    return f"20190920_pt{low}_{high}_{PIXELS}bins_{size}.npz"


def sniff(path: Path) -> bool:
    """Tell whether a file may be of this format: by its name, or by its first bytes.

    Parameters
    ----------
    path : Path
        An existing file.

    Returns
    -------
    bool
    """
    if path.suffix == ".npz":
        return True
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


@dataclass(frozen=True)
class _Member:
    """One array of the file, its header read and checked."""

    info: zipfile.ZipInfo
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    column_order: bool

    @property
    def image_bytes(self) -> int:
        return PIXELS * PIXELS * self.dtype.itemsize


def read(path: Path, classes: Sequence[str], *, per_class: int | None, maximum_pixel: float) -> Jets:
    """Read jets from a UCL file.

    Images without any energy, and images with a pixel above ``maximum_pixel`` (the public file
    has some of about 1e6 GeV), are counted in a warning and dropped.

    Parameters
    ----------
    path : Path
        The .npz file.
    classes : sequence of str
        The classes to read, in the order of the labels; each must be there.
    per_class : int, optional
        Read no more jets than this of each class, the first ones; by default all.
    maximum_pixel : float
        Largest pixel of a sound jet, GeV.

    Returns
    -------
    Jets
        A constituent for each pixel that is not zero.

    Raises
    ------
    JetFileError
        If the file is truncated, of a wrong shape or type, lacks a class, or holds a pixel that is
        negative or not finite.
    """
    parts: list[Jets] = []
    dropped: dict[str, dict[str, int]] = {}
    with _reading(path), zipfile.ZipFile(path) as archive:
        names = _names(archive, path)
        for name in classes:
            if name not in names:
                raise JetFileError(
                    f"{path} has no jets of class {name!r}; it has "
                    f"{', '.join(names) or 'none of the arrays ' + ', '.join(map(_key, CLASSES))}."
                )
        members = [_member(archive, names[name], f"{path}, {_key(name)}") for name in classes]
        for label, (name, member) in enumerate(zip(classes, members, strict=True)):
            where = f"{path}, {_key(name)}"
            kept, dropped[name] = _read_class(archive, member, where, per_class, maximum_pixel)
            parts += [
                jets_from_images(
                    images,
                    half_width=HALF_WIDTH,
                    label=np.full(len(images), label),
                    classes=classes,
                )
                for images in kept
            ]
    return concatenate(
        parts, provenance={"source": "file", "format": "ucl", "file": path.name, "dropped": dropped}
    )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Tell what a broken archive raises as one sentence."""
    try:
        yield
    except zipfile.BadZipFile as error:
        reason = str(error).rstrip(".")
        raise JetFileError(f"{path} is truncated or no .npz file: {reason}.") from error
    except (zlib.error, EOFError) as error:
        raise JetFileError(f"{path} is damaged: its compressed data end or break off.") from error
    except (NotImplementedError, RuntimeError) as error:
        raise JetFileError(f"{path} cannot be unpacked: {str(error).rstrip('.')}.") from error
    except OSError as error:
        raise JetFileError(f"{path} cannot be read: {error.strerror or error}.") from error


def _names(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Find the arrays of known classes."""
    found: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        for name in CLASSES:
            if info.filename in (_key(name), f"{_key(name)}.npy"):
                if name in found:
                    raise JetFileError(f"{path} holds the array {_key(name)!r} twice.")
                found[name] = info
    return found


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> _Member:
    """Read an array's header, and refuse what it announces before any memory is taken."""
    with archive.open(info) as file:
        try:
            major = np.lib.format.read_magic(file)
            header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[major]
            # a warning here is about a header of Python 2, which numpy reads all the same
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                shape, column_order, dtype = header(file)
        except (ValueError, KeyError) as error:
            raise JetFileError(f"{where} is not an array in NumPy's format.") from error
        length = file.tell()
    if dtype.hasobject:
        raise JetFileError(f"{where} holds pickled Python objects, which are never read; save numbers.")
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise JetFileError(f"{where} is of type {dtype}, not a floating type of at most 64 bits.")
    if len(shape) != 3 or shape[1:] != (PIXELS, PIXELS):
        raise JetFileError(f"{where} is of shape {shape}, not (N, {PIXELS}, {PIXELS}).")
    if shape[0] < 1:
        raise JetFileError(f"{where} holds no jets.")
    announced = length + shape[0] * PIXELS * PIXELS * dtype.itemsize
    if announced != info.file_size:
        raise JetFileError(f"{where} announces {announced} bytes but has {info.file_size}: truncated.")
    if info.file_size > LARGE and info.file_size > MAXIMUM_EXPANSION * info.compress_size:
        raise JetFileError(f"{where} unfolds to {info.file_size} bytes from {info.compress_size}: not read.")
    if column_order and info.file_size > LARGE:
        raise JetFileError(f"{where} is over {LARGE} bytes and in Fortran order, which is not read.")
    return _Member(info, shape, dtype, column_order)


def _blocks(archive: zipfile.ZipFile, member: _Member) -> Iterator[npt.NDArray[np.floating]]:
    """Read images a block at a time, so that memory does not grow with the file."""
    number = member.shape[0]
    with archive.open(member.info) as file:
        header = member.info.file_size - number * member.image_bytes
        file.read(header)
        if member.column_order:
            whole = np.frombuffer(_exactly(file, number * member.image_bytes), dtype=member.dtype)
            yield whole.reshape(member.shape, order="F")
            return
        for start in range(0, number, IMAGES_PER_BLOCK):
            count = min(IMAGES_PER_BLOCK, number - start)
            block = np.frombuffer(_exactly(file, count * member.image_bytes), dtype=member.dtype)
            yield block.reshape(count, PIXELS, PIXELS)
        # reading to the very end makes zipfile compare the checksum
        file.read(1)


def _exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise EOFError
    return data


def _read_class(
    archive: zipfile.ZipFile, member: _Member, where: str, per_class: int | None, maximum_pixel: float
) -> tuple[list[npt.NDArray[np.float32]], dict[str, int]]:
    """Read one class: the sound images, in blocks, and how many were dropped."""
    kept: list[npt.NDArray[np.float32]] = []
    start, room = 0, per_class
    absurd, empty, largest = 0, 0, 0.0
    for block in _blocks(archive, member):
        bad = ~(np.isfinite(block) & (block >= 0))
        if bad.any():
            jet, row, column = (int(index) for index in np.unravel_index(np.argmax(bad), bad.shape))
            value = block[jet, row, column]
            raise JetFileError(
                f"{where}, jet {start + jet}, pixel ({row}, {column}), is {value}; "
                "pixels are finite and not negative."
            )
        highest = block.max(axis=(1, 2))
        sound = (highest > 0) & (highest <= maximum_pixel)
        kept.append(block[sound][:room].astype(np.float32))
        absurd += int((highest > maximum_pixel).sum())
        empty += int((highest == 0).sum())
        largest = max(largest, float(highest.max()))
        start += len(block)
        if room is not None:
            room -= len(kept[-1])
            if room == 0:
                break
    if absurd:
        logger.warning(
            "%s: %d of %d jets have a pixel above %g GeV (the largest: %g GeV) and are dropped.",
            where,
            absurd,
            start,
            maximum_pixel,
            largest,
        )
    if empty:
        logger.warning("%s: %d of %d jets have no energy in any pixel and are dropped.", where, empty, start)
    if not sum(map(len, kept)):
        raise JetFileError(
            f"{where} holds only jets that are empty or have a pixel above {maximum_pixel:g} GeV."
        )
    return kept, {"absurd": absurd, "empty": empty}


def export_ucl(jets: Jets, path: str | Path) -> None:
    """Write jets as a UCL file, whole or not at all.

    Parameters
    ----------
    jets : Jets
        Jets of some of the classes top, W and QCD.
    path : str or Path
        The .npz file to write, in float32; ``default_ucl_name`` gives the usual name.

    Raises
    ------
    JetFileError
        If the jets are of another class, or there are none of a class.
    JetexpError
        If the file cannot be written.
    """
    # the one function that makes images; imported here because images are made from jets
    from jetexp.images import ImageSettings, make_images

    for name, count in jets.class_counts.items():
        if name not in CLASSES:
            raise JetFileError(f"A UCL file holds the classes {', '.join(CLASSES)}; {name!r} is not one.")
        if not count:
            raise JetFileError(f"There are no jets of class {name!r} to export.")
    raw = ImageSettings(
        pixels=PIXELS,
        half_width=HALF_WIDTH,
        centre=False,
        rotate=False,
        flip=False,
        zoom=False,
        scale="gev",
        intensity="linear",
    )
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in (name for name in CLASSES if name in jets.classes):
            which = np.flatnonzero(jets.label == jets.classes.index(name))
            # a fixed date: the same jets give the same file
            info = zipfile.ZipInfo(f"{_key(name)}.npy")
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as file:
                header = {
                    "descr": "<f4",
                    "fortran_order": False,
                    "shape": (len(which), PIXELS, PIXELS),
                }
                np.lib.format.write_array_header_1_0(file, header)
                for start in range(0, len(which), IMAGES_PER_BLOCK):
                    images = make_images(jets.take(which[start : start + IMAGES_PER_BLOCK]), raw)
                    file.write(np.ascontiguousarray(images[..., 0], dtype="<f4").tobytes())
