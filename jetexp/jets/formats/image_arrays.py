"""Arrays of images, one a class, in an .npz or HDF5 file; the arrays' names are the classes' names.

Each array is of shape (N, H, W), (N, H, W, 1) or (N, 1, H, W). The file says neither how large the images
are nor in what unit: that comes from ``half_width`` and ``unit``, and the sums of the images are told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from jetexp.errors import JetFileError
from jetexp.jets.formats.arrays import Array, checked, is_npz
from jetexp.jets.formats.batches import scale_told
from jetexp.jets.formats.containers import named_arrays, readable
from jetexp.jets.formats.form import Content, Drops, Wanted
from jetexp.jets.formats.hdf5 import is_hdf5
from jetexp.jets.formats.images import images_per_batch, jets_of_images, sound_images
from jetexp.jets.sample import Jets

__all__ = ["KEY", "NAME", "content", "read", "sniff"]

KEY = "image_arrays"
NAME = "arrays of images, one a class"

# fewer a side are no image: four would be the components of momenta
FEWEST_PIXELS = 8
MOST_PIXELS = 1_000
_KINDS = "fiu"


def sniff(path: Path) -> bool:
    """Tell from its content whether a file is of this form: whether an array has the shape of images.

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
        If it is a file of arrays, but damaged.
    """
    if not (is_npz(path) or is_hdf5(path)):
        return False
    with named_arrays(path) as arrays:
        return bool(_images(readable(arrays)))


def content(path: Path, wanted: Wanted) -> Content:
    """Say what the file holds.

    Parameters
    ----------
    path : Path
        Of this form.
    wanted : Wanted
        Its ``unit`` and ``maximum_pixel`` matter.

    Returns
    -------
    Content
        The number of images of each class, empty and corrupt ones included.

    Raises
    ------
    JetFileError
        If an array of images is of a wrong type or truncated, or holds a pixel that is negative or not
        finite.
    """
    with named_arrays(path) as arrays:
        images = _images(readable(arrays))
        counts = {name: checked(array, (None, *array.shape[1:]), _KINDS)[0] for name, array in images.items()}
        asked = wanted.classes if wanted.of_class is None else (wanted.of_class,)
        called = {wanted.names.get(name, name) for name in asked}
        told = ["The first axis of an image is taken for eta, the second for phi."]
        for name, array in images.items():
            if not asked or name in called:
                told += (f"{name}: {text}" for text in _scale(array, wanted))
                height, width = _sides(array)
                if height != width:
                    told.append(f"{name}: {height} x {width} pixels are taken to span equal ranges.")
    return Content(counts, sum(counts.values()), tuple(told))


def read(path: Path, wanted: Wanted, drops: Drops) -> Iterator[Jets]:
    """Read the images, one class behind the other: a constituent for each pixel that is not zero.

    Parameters
    ----------
    path : Path
        Of this form.
    wanted : Wanted
        Which jets; with ``half_width``, and ``unit`` where pixels are not in GeV.
    drops : Drops
        Counts empty and corrupt images, which are left out.

    Yields
    ------
    Jets
        In batches.

    Raises
    ------
    JetFileError
        If the file is truncated, of a wrong type, lacks a class, or holds a pixel that is negative or not
        finite; if ``half_width`` is missing.
    """
    if wanted.half_width is None:
        raise JetFileError(
            f"{path} does not say how large its images are: give half_width, half their side in eta and phi, "
            "such as half_width: 1.0."
        )
    labels = wanted.labels(content(path, wanted), str(path))
    with named_arrays(path) as arrays:
        for name, label in labels.items():
            yield from jets_of_images(
                arrays[name],
                label=label,
                wanted=wanted,
                half_width=wanted.half_width,
                drops=drops,
                unit=wanted.unit,
            )


def _sides(array: Array) -> tuple[int, ...]:
    """Give height and width, or nothing where the shape is not that of images."""
    shape = array.shape[1:]
    if len(shape) == 3 and 1 in (shape[0], shape[2]):
        shape = shape[:2] if shape[2] == 1 else shape[1:]
    return shape if len(shape) == 2 and all(FEWEST_PIXELS <= side <= MOST_PIXELS for side in shape) else ()


def _images(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name: array for name, array in arrays.items() if array.dtype.kind in _KINDS and _sides(array)}


def _scale(array: Array, wanted: Wanted) -> tuple[str, ...]:
    """Tell which sums the first images have."""
    first = next(array.rows(images_per_batch(array)))
    sound, _ = sound_images(first, 0, array.where, wanted.maximum_pixel / wanted.unit, Drops())
    if not len(sound):
        return ()
    sums = sound.sum(axis=(1, 2), dtype=np.float64)
    return scale_told(float(np.median(sums)) * wanted.unit, wanted.unit, "pixel")
