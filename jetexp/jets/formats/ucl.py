"""The UCL jet images: an .npz of 40 x 40 images of transverse energy, one array a class.

The arrays ``top_jet_images``, ``W_jet_images`` and ``QCD_jet_images``, each of shape (N, 40, 40),
hold transverse energy in GeV in pixels of 0.05 x 0.05 in eta (first axis) and phi (second).
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jetexp.errors import JetFileError
from jetexp.files import whole_file
from jetexp.jets.formats.arrays import checked, is_npz, npz_arrays
from jetexp.jets.formats.form import Content, Drops, Wanted
from jetexp.jets.formats.images import IMAGES_PER_BATCH, jets_of_images
from jetexp.jets.sample import Jets

__all__ = [
    "CLASSES",
    "HALF_WIDTH",
    "KEY",
    "NAME",
    "PIXELS",
    "content",
    "default_ucl_name",
    "export_ucl",
    "read",
    "sniff",
]

KEY = "ucl"
NAME = "UCL jet images"
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
        If it is an archive, but damaged.
    """
    if not is_npz(path):
        return False
    with npz_arrays(path) as arrays:
        return any(_key(name) in arrays for name in CLASSES)


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
        The number of images of each class, empty and corrupt ones included.

    Raises
    ------
    JetFileError
        If an array is of a wrong shape or type, or truncated.
    """
    with npz_arrays(path) as arrays:
        counts = {
            name: checked(arrays[_key(name)], (None, PIXELS, PIXELS))[0]
            for name in CLASSES
            if _key(name) in arrays
        }
    return Content(counts, sum(counts.values()))


def read(path: Path, wanted: Wanted, drops: Drops) -> Iterator[Jets]:
    """Read the images, one class behind the other: a constituent for each pixel that is not zero.

    Images without any energy, and images with a pixel above ``wanted.maximum_pixel`` (the public file
    has some of about 1e6 GeV), are dropped.

    Parameters
    ----------
    path : Path
        Of this form.
    wanted : Wanted
        Which jets.
    drops : Drops
        Counts the jets that are left out.

    Yields
    ------
    Jets
        In batches.

    Raises
    ------
    JetFileError
        If the file is truncated, of a wrong shape or type, lacks a class, or holds a pixel that is
        negative or not finite.
    """
    labels = wanted.labels(content(path, wanted), str(path))
    with npz_arrays(path) as arrays:
        for name, label in labels.items():
            yield from jets_of_images(
                arrays[_key(name)], label=label, wanted=wanted, half_width=HALF_WIDTH, drops=drops
            )


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
    raw = ImageSettings.raw(PIXELS, HALF_WIDTH)
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
                for start in range(0, len(which), IMAGES_PER_BATCH):
                    images = make_images(jets.take(which[start : start + IMAGES_PER_BATCH]), raw)
                    file.write(np.ascontiguousarray(images[..., 0], dtype="<f4").tobytes())
