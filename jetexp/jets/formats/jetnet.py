"""JetNet: padded particles relative to their jet in HDF5, one class a file (Zenodo 6975118 and 6975117).

As described by Kansal et al. (arXiv:2106.11535): ``particle_features``, of shape (N, M, 4) with M of 30 or
150, holds for each particle its eta and phi relative to the jet, its transverse momentum as a fraction of the
jet's, and a mask, which is 0 for padding; ``jet_features``, of shape (N, 4), holds the transverse momentum of
the jet in GeV, its eta, its mass in GeV, and the number of particles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jetexp.errors import JetFileError
from jetexp.jets.formats.arrays import checked
from jetexp.jets.formats.batches import jets_per_batch, kept
from jetexp.jets.formats.form import Content, Drops, Wanted
from jetexp.jets.formats.hdf5 import Hdf5Array, hdf5_arrays, is_hdf5
from jetexp.jets.formats.in_step import in_step
from jetexp.jets.momenta import double, jets_from_relative
from jetexp.jets.sample import Jets

__all__ = ["KEY", "NAME", "content", "read", "sniff"]

KEY = "jetnet"
NAME = "JetNet"

_PARTICLES, _JETS = "particle_features", "jet_features"
# median sum of the particles' shares of the jet's transverse momentum
_WHOLE = (0.3, 1.5)


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
        return _PARTICLES in arrays and _JETS in arrays


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
        The number of jets; the file names no classes.

    Raises
    ------
    JetFileError
        If an array is of a wrong shape or type, or truncated, or momenta are no fractions of the jet's.
    """
    with hdf5_arrays(path) as arrays:
        particles, _ = _arrays(arrays)
        block = next(particles.rows(_jets_at_once(particles)))
        # what is no number is told with its place when it is read
        there = (block[..., 3] > 0) & np.isfinite(block[..., 2])
        share = float(np.median(np.where(there, block[..., 2], 0).sum(axis=1, dtype=np.float64)))
        if not _WHOLE[0] <= share <= _WHOLE[1]:
            raise JetFileError(
                f"{particles.where} has particles whose transverse momenta (the third of four values) sum to "
                f"{share:.3g}; fractions of the jet's, about 1 in all, would be right."
            )
    return Content({}, particles.shape[0])


def read(path: Path, wanted: Wanted, drops: Drops) -> Iterator[Jets]:
    """Read the jets in order.

    Parameters
    ----------
    path : Path
        Of this form.
    wanted : Wanted
        Which class the jets are of.
    drops : Drops
        Counts the jets without particles, which are left out.

    Yields
    ------
    Jets
        In batches, with the pT, eta and mass that the file has for them.

    Raises
    ------
    JetFileError
        If the file is truncated, of a wrong shape or type, not given for one class, or holds values that no
        particle has.
    """
    label = wanted.only_label(str(path))
    content(path, wanted)
    with hdf5_arrays(path) as arrays:
        particles, features = _arrays(arrays)
        for first, (block, jet) in in_step([particles, features], _jets_at_once(particles)):
            there = _there(block, particles.where, first)
            eta, phi, share = (double(block[..., place][there]) for place in range(3))
            counts = there.sum(axis=1)
            pt, jet_eta, mass, _ = double(jet.T)
            # a jet's own pT is looked at for itself
            momentum = share * np.repeat(np.where(pt > 0, pt, 0), counts)
            jets = jets_from_relative(
                np.concatenate([[0], np.cumsum(counts)]),
                momentum,
                eta,
                phi,
                jet_pt=pt,
                jet_eta=jet_eta,
                jet_mass=mass,
                label=np.full(len(block), label),
                classes=wanted.classes,
                where=str(path),
                first=first,
            )
            sound = kept(jets, drops, str(path), first)
            if len(sound):
                yield sound


def _jets_at_once(particles: Hdf5Array) -> int:
    return jets_per_batch(particles.shape[1], particles.where)


def _arrays(arrays: Mapping[str, Hdf5Array]) -> tuple[Hdf5Array, Hdf5Array]:
    """Give particles and jets, their shapes and types checked."""
    particles, jets = arrays[_PARTICLES], arrays[_JETS]
    number = checked(particles, (None, None, 4))[0]
    checked(jets, (number, 4))
    return particles, jets


def _there(block: npt.NDArray[Any], where: str, first: int) -> npt.NDArray[np.bool_]:
    """Tell particles from padding."""
    mask = block[..., 3]
    bad = (mask != 0) & (mask != 1)
    if bad.any():
        jet, place = (int(index) for index in np.unravel_index(np.argmax(bad), bad.shape))
        raise JetFileError(
            f"{where}, jet {first + jet}, particle {place}: the mask is {mask[jet, place]:g}; 0 (padding) or "
            "1 would be right."
        )
    there: npt.NDArray[np.bool_] = mask == 1
    return there
