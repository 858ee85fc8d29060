"""Jet images of W bosons and QCD in HDF5, with the jets' kinematics (Zenodo 269622).

As described by de Oliveira, Kagan, Mackey, Nachman and Schwartzman (arXiv:1511.05190) and de Oliveira,
Paganini and Nachman (arXiv:1701.05927), and as their published programs write it: ``image``, of shape
(N, 25, 25), holds transverse momentum in GeV in pixels of 0.1 x 0.1; ``signal`` is 1 for W bosons and 0 for
QCD; ``jet_pt``, ``jet_eta`` and ``jet_mass`` are those of the trimmed jet.

Images are centred on the leading subjet, rotated so that the second subjet is below it, and flipped. Rows
run down in phi and columns up in eta, as an image is shown. The rotation interpolates by cubic splines, which
leaves a little energy, also negative, where there was none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jetexp.errors import JetFileError
from jetexp.jets.formats.arrays import checked
from jetexp.jets.formats.batches import kept
from jetexp.jets.formats.form import JETS_PER_BATCH, Content, Drops, Wanted
from jetexp.jets.formats.hdf5 import Hdf5Array, hdf5_arrays, is_hdf5
from jetexp.jets.formats.images import images_per_batch
from jetexp.jets.formats.in_step import class_names, in_step
from jetexp.jets.formats.labels import counted, labels_of
from jetexp.jets.momenta import double, jets_from_relative
from jetexp.jets.pixels import jets_from_images
from jetexp.jets.sample import Jets

__all__ = ["CLASSES", "HALF_WIDTH", "KEY", "NAME", "PIXELS", "SOFTEST_PIXEL", "content", "read", "sniff"]

KEY = "jet_images"
NAME = "jet images with kinematics"
PIXELS = 25
HALF_WIDTH = 1.25
CLASSES = {"0": "QCD", "1": "W"}
# GeV; what is softer comes from the interpolation, and the authors leave it out too
SOFTEST_PIXEL = 1e-3

_IMAGE, _SIGNAL = "image", "signal"
_KINEMATICS = ("jet_pt", "jet_eta", "jet_mass")
# median of an image's sum over the jet's pT where pixels are in GeV
_IN_GEV = (0.8, 1.25)
# share of an image's energy that may be negative
_NEGATIVE = 0.01
_PREPARED = (
    "Images are taken to be centred on the leading subjet, rotated and flipped, with rows down in phi and "
    "columns up in eta, as published."
)


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
        If it is an HDF5 file, but damaged.
    """
    if not is_hdf5(path):
        return False
    with hdf5_arrays(path) as arrays:
        return all(name in arrays for name in (_IMAGE, _SIGNAL, *_KINEMATICS))


def content(path: Path, wanted: Wanted) -> Content:
    """Say what the file holds.

    Parameters
    ----------
    path : Path
        Of this form.
    wanted : Wanted
        Its ``half_width`` matters.

    Returns
    -------
    Content
        The number of images of each class, ``QCD`` and ``W``, empty and corrupt ones included.

    Raises
    ------
    JetFileError
        If an array is of a wrong shape or type, or truncated, a label neither 0 nor 1, or a pixel of the
        first images no finite number.
    """
    with hdf5_arrays(path) as arrays:
        image, signal, kinematics = _arrays(arrays)
        counts = counted(
            (
                class_names(block, CLASSES, signal.where, first)
                for first, (block,) in in_step([signal], JETS_PER_BATCH)
            ),
            signal.where,
        )
        ratio = _ratio(image, kinematics[0])
    half_width = wanted.half_width or HALF_WIDTH
    told = [
        f"The {PIXELS} x {PIXELS} pixels are taken to reach {half_width:g} to each side.",
        _PREPARED,
        f"Pixels under {SOFTEST_PIXEL:g} GeV, negative too, are taken for zero: interpolation leaves them.",
    ]
    if not _in_gev(ratio):
        told.append(
            f"Pixels are not in GeV (the images sum to {ratio:.3g} of jet_pt); each image is scaled to "
            "sum up to jet_pt."
        )
    return Content(counts, sum(counts.values()), tuple(told))


def read(path: Path, wanted: Wanted, drops: Drops) -> Iterator[Jets]:
    """Read the images in order: a constituent for each pixel that is not zero.

    Images without energy, and images with a pixel above ``wanted.maximum_pixel``, are dropped.

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
        In batches, with the pT, eta and mass that the file has for them.

    Raises
    ------
    JetFileError
        If the file is truncated, of a wrong shape or type, lacks a class, or holds values that no image or
        jet has.
    """
    labels = wanted.labels(content(path, wanted), str(path))
    with hdf5_arrays(path) as arrays:
        image, signal, kinematics = _arrays(arrays)
        in_gev = _in_gev(_ratio(image, kinematics[0]))
        for first, (block, values, *jet) in in_step([image, signal, *kinematics], images_per_batch(image)):
            images = _upright(block, image.where, first)
            label = labels_of(class_names(values, CLASSES, signal.where, first), labels)
            if not in_gev:
                images = _scaled(images, jet[0])
            images[images < SOFTEST_PIXEL] = 0
            bright = images.max(axis=(1, 2)) > wanted.maximum_pixel
            reason = f"{image.where}: a pixel above the maximum of {wanted.maximum_pixel:g} GeV"
            drops[reason] += int((bright & (label >= 0)).sum())
            # what they hold need not even be numbers of single precision
            images[bright] = 0
            label[bright] = -1
            pixels = jets_from_images(images, half_width=wanted.half_width or HALF_WIDTH)
            jets = jets_from_relative(
                pixels.offsets,
                pixels.constituent_pt,
                pixels.constituent_eta,
                pixels.constituent_phi,
                jet_pt=jet[0],
                jet_eta=jet[1],
                jet_mass=jet[2],
                label=label,
                classes=wanted.classes,
                where=str(path),
                first=first,
            )
            sound = kept(jets, drops, str(path), first)
            if len(sound):
                yield sound


def _arrays(arrays: Mapping[str, Hdf5Array]) -> tuple[Hdf5Array, Hdf5Array, list[Hdf5Array]]:
    """Give images, labels and kinematics, their shapes and types checked."""
    image, signal = arrays[_IMAGE], arrays[_SIGNAL]
    number = checked(image, (None, PIXELS, PIXELS))[0]
    checked(signal, (number,), "fiub", of="whole numbers")
    kinematics = [arrays[name] for name in _KINEMATICS]
    for array in kinematics:
        checked(array, (number,))
    return image, signal, kinematics


def _ratio(image: Hdf5Array, jet_pt: Hdf5Array) -> float:
    """Compare the sum of pixels with the jets' transverse momentum: the median of the first jets."""
    first, (block, pt) = next(in_step([image, jet_pt], images_per_batch(image)))
    sums = _upright(block, image.where, first).sum(axis=(1, 2))
    pt = double(pt)
    there = (sums > 0) & (pt > 0)
    return float(np.median(sums[there] / pt[there])) if there.any() else 1.0


def _in_gev(ratio: float) -> bool:
    return _IN_GEV[0] <= ratio <= _IN_GEV[1]


def _upright(block: npt.NDArray[Any], where: str, first: int) -> npt.NDArray[np.float64]:
    """Bring images to the order of eta and phi, without negative pixels; refuse what is no image."""
    images = double(block[:, ::-1].transpose(0, 2, 1))
    bad = ~np.isfinite(images)
    if bad.any():
        jet = int(np.argmax(bad.any(axis=(1, 2))))
        raise JetFileError(f"{where}, jet {first + jet}, has a pixel that is no finite number.")
    negative = -np.minimum(images, 0).sum(axis=(1, 2))
    images = np.maximum(images, 0)
    much = negative > _NEGATIVE * images.sum(axis=(1, 2))
    if much.any():
        jet = int(np.argmax(much))
        raise JetFileError(
            f"{where}, jet {first + jet}, has negative pixels of {-negative[jet]:.3g} in all; up to "
            f"{_NEGATIVE:.0%} of the image's sum are taken for what interpolation left."
        )
    return images


def _scaled(images: npt.NDArray[np.float64], jet_pt: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Scale images so that their pixels sum to the jet's transverse momentum."""
    sums = images.sum(axis=(1, 2))
    factor = np.divide(double(jet_pt), sums, out=np.zeros_like(sums), where=sums > 0)
    scaled: npt.NDArray[np.float64] = images * factor[:, None, None]
    return scaled
