"""From an array of raw images in a file to jets."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from jetexp.errors import JetFileError
from jetexp.jets.formats.arrays import Array
from jetexp.jets.formats.batches import from_rows
from jetexp.jets.formats.form import Drops, Wanted
from jetexp.jets.pixels import jets_from_images
from jetexp.jets.sample import Jets

__all__ = ["IMAGES_PER_BATCH", "images_per_batch", "jets_of_images", "sound_images"]

IMAGES_PER_BATCH = 1_000
# some hundred megabytes while they are turned into jets
PIXELS_PER_BATCH = 4_000_000


def images_per_batch(array: Array) -> int:
    """Say how many images are read at once.

    Parameters
    ----------
    array : Array
        Of images.

    Returns
    -------
    int
        At least 1, at most ``IMAGES_PER_BATCH``.
    """
    return min(IMAGES_PER_BATCH, max(1, PIXELS_PER_BATCH // math.prod(array.shape[1:])))


def jets_of_images(
    array: Array, *, label: int, wanted: Wanted, half_width: float, drops: Drops, unit: float = 1.0
) -> Iterator[Jets]:
    """Read images of one class, in batches: a constituent for each pixel that is not zero.

    Images without any energy, and images with a pixel above ``wanted.maximum_pixel``, are dropped.

    Parameters
    ----------
    array : Array
        Of shape (N, H, W), (N, H, W, 1) or (N, 1, H, W), checked.
    label : int
        Of all of them.
    wanted : Wanted
        Classes, and how many jets of each at most.
    half_width : float
        Half the side of the images in eta and phi.
    drops : Drops
        Counts the jets that are left out.
    unit : float
        What a pixel of 1 is in GeV.

    Yields
    ------
    Jets
        In order, at least one jet each.

    Raises
    ------
    JetFileError
        If a pixel is negative or no finite number, or no image is sound.
    """
    start, given = 0, 0
    for block in array.rows(images_per_batch(array)):
        images, rows = sound_images(block, start, array.where, wanted.maximum_pixel / unit, drops)
        start += len(block)
        if wanted.per_class is not None:
            images = images[: wanted.per_class - given]
        given += len(images)
        if len(images):
            jets = jets_from_images(
                np.multiply(images, unit, dtype=np.float64).astype(np.float32),
                half_width=half_width,
                label=np.full(len(images), label),
                classes=wanted.classes,
            )
            yield from_rows(jets, array.where, rows[: len(images)])
        if given == wanted.per_class:
            return
    if not given:
        raise JetFileError(
            f"{array.where} holds only jets that are empty or have a pixel above "
            f"{wanted.maximum_pixel:g} GeV."
        )


def sound_images(
    images: npt.NDArray[np.floating], start: int, where: str, maximum: float, drops: Drops
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.int64]]:
    """Drop images that are empty or corrupt.

    Parameters
    ----------
    images : ndarray of float, first axis N
        As they stand in the file.
    start : int
        Place of the first of them in the file.
    where : str
        File and array, for messages.
    maximum : float
        Largest pixel of a sound image.
    drops : Drops
        Counts the jets that are left out.

    Returns
    -------
    ndarray of float, shape (n, H, W)
        The sound ones, in order.
    ndarray of int64, shape (n,)
        Their places in the file.

    Raises
    ------
    JetFileError
        If a pixel is negative or no finite number.
    """
    channel = 3 if images.ndim == 4 and images.shape[3] == 1 else 1
    images = images.squeeze(channel) if images.ndim == 4 else images
    bad = ~(np.isfinite(images) & (images >= 0))
    if bad.any():
        jet, row, column = (int(index) for index in np.unravel_index(np.argmax(bad), bad.shape))
        raise JetFileError(
            f"{where}, jet {start + jet}, pixel ({row}, {column}), is {images[jet, row, column]}; "
            "pixels are finite and not negative."
        )
    # half precision ends before the maximum does
    highest = images.max(axis=(1, 2)).astype(np.float64)
    drops[f"{where}: a pixel above the maximum of {maximum:g}"] += int((highest > maximum).sum())
    drops[f"{where}: no energy in any pixel"] += int((highest == 0).sum())
    sound = (highest > 0) & (highest <= maximum)
    return images[sound], start + np.flatnonzero(sound)
