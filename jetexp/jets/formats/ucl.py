"""The UCL jet images: an .npz of 40 x 40 images of transverse energy, one array a class.

The arrays ``top_jet_images``, ``W_jet_images`` and ``QCD_jet_images``, each of shape (N, 40, 40),
hold transverse energy in GeV in pixels of 0.05 x 0.05 in eta (first axis) and phi (second).
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jetexp.errors import JetFileError
from jetexp.files import whole_file
from jetexp.jets.formats.npz import IMAGES_PER_BLOCK, Member, blocks, check_member, reading
from jetexp.jets.pixels import jets_from_images
from jetexp.jets.sample import Jets, concatenate

__all__ = ["CLASSES", "HALF_WIDTH", "PIXELS", "default_ucl_name", "export_ucl", "read", "sniff"]

logger = logging.getLogger(__name__)

PIXELS = 40
HALF_WIDTH = 1.0
CLASSES = ("top", "W", "QCD")


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
    with reading(path), zipfile.ZipFile(path) as archive:
        names = _names(archive, path)
        for name in classes:
            if name not in names:
                raise JetFileError(
                    f"{path} has no jets of class {name!r}; it has "
                    f"{', '.join(names) or 'none of the arrays ' + ', '.join(map(_key, CLASSES))}."
                )
        members = [
            check_member(archive, names[name], (PIXELS, PIXELS), f"{path}, {_key(name)}") for name in classes
        ]
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


def _read_class(
    archive: zipfile.ZipFile, member: Member, where: str, per_class: int | None, maximum_pixel: float
) -> tuple[list[npt.NDArray[np.float32]], dict[str, int]]:
    """Read one class: the sound images, in blocks, and how many were dropped."""
    kept: list[npt.NDArray[np.float32]] = []
    start, room = 0, per_class
    absurd, empty, largest = 0, 0, 0.0
    for block in blocks(archive, member):
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
