"""EnergyFlow's quark and gluon jets: an .npz of padded particles (Zenodo 3164691).

As described by Komiske, Metodiev and Thaler (arXiv:1810.05165): ``X``, of shape (N, M, 4), holds the
transverse momentum in GeV, rapidity, azimuth and PDG id of each particle, padded with zeros, or without
the PDG id; ``y``, of shape (N,), is 1 for quark jets and 0 for gluon jets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jetexp.errors import JetFileError
from jetexp.jets.formats.arrays import Array, checked, is_npz, npz_arrays
from jetexp.jets.formats.batches import jets_per_batch, kept
from jetexp.jets.formats.form import JETS_PER_BATCH, Content, Drops, Wanted
from jetexp.jets.formats.in_step import class_names, in_step
from jetexp.jets.formats.labels import counted, labels_of
from jetexp.jets.momenta import double, jets_from_constituents
from jetexp.jets.sample import Jets

__all__ = ["CHARGES", "CLASSES", "KEY", "NAME", "charges_of", "content", "read", "sniff"]

KEY = "energyflow"
NAME = "EnergyFlow quark and gluon jets"
CLASSES = {"0": "gluon", "1": "quark"}

# of particles that live long enough to be seen in a detector, by PDG id, in units of e
CHARGES: Mapping[int, int] = {
    11: -1,
    12: 0,
    13: -1,
    14: 0,
    16: 0,
    22: 0,
    111: 0,
    130: 0,
    211: 1,
    310: 0,
    321: 1,
    2112: 0,
    2212: 1,
    3112: -1,
    3122: 0,
    3222: 1,
    3312: -1,
    3322: 0,
    3334: -1,
}

_JETS_LOOKED_AT = 100
_MASSLESS = (
    "Particles are taken to be massless, so that their rapidity is their pseudorapidity: jet masses are "
    "slightly smaller than they were."
)


def charges_of(identities: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.int8], list[int]]:
    """Give the electric charges of particles.

    Parameters
    ----------
    identities : ndarray of int, shape (M,)
        PDG ids (Review of Particle Physics, "Monte Carlo particle numbering scheme"); 0 is padding.

    Returns
    -------
    ndarray of int8, shape (M,)
        In units of e; 0 where the id is not in ``CHARGES``.
    list of int
        Those ids, without their sign.

    Examples
    --------
    >>> charges, unknown = charges_of(np.array([-211, 22, 999, 11, 0]))
    >>> charges.tolist(), unknown
    ([-1, 0, 0, -1, 0], [999])
    """
    kinds, place = np.unique(np.abs(identities), return_inverse=True)
    found = np.array([CHARGES.get(int(kind), 0) for kind in kinds], dtype=np.int8)
    unknown = [int(kind) for kind in kinds if kind and int(kind) not in CHARGES]
    return (np.sign(identities) * found[place]).astype(np.int8), unknown


def sniff(path: Path) -> bool:
    """Tell from its content whether a file is of this form.

    Padded four-momenta may have the same names and shape: here no transverse momentum is negative, and
    all PDG ids are whole numbers.

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
        if "X" not in arrays or "y" not in arrays:
            return False
        particles = arrays["X"]
        if len(particles.shape) != 3 or particles.shape[2] not in (3, 4) or particles.dtype.kind != "f":
            return False
        first = next(particles.rows(min(_JETS_LOOKED_AT, _jets_at_once(particles))), None)
        return first is not None and not (first[..., 0] < 0).any() and not _fractional(first[..., 3:]).any()


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
        The number of jets of each class.

    Raises
    ------
    JetFileError
        If an array is of a wrong shape or type, or truncated, or a label neither 0 nor 1.
    """
    with npz_arrays(path) as arrays:
        particles, labels = _arrays(arrays)
        steps = in_step([labels], JETS_PER_BATCH)
        names = (class_names(values, CLASSES, labels.where, first) for first, (values,) in steps)
        counts = counted(names, labels.where)
        told = [_MASSLESS]
        if particles.shape[2] == 4:
            block = next(particles.rows(_jets_at_once(particles)))
            unknown = charges_of(_identities(block, particles.where, 0))[1]
            if unknown:
                told.append(
                    f"Particles of PDG ids other than {', '.join(map(str, CHARGES))} are taken to be "
                    f"neutral; the first jets have {', '.join(map(str, unknown[:10]))}."
                )
    return Content(counts, sum(counts.values()), tuple(told))


def read(path: Path, wanted: Wanted, drops: Drops) -> Iterator[Jets]:
    """Read the jets in order.

    Parameters
    ----------
    path : Path
        Of this form.
    wanted : Wanted
        Which jets.
    drops : Drops
        Counts the jets without particles, which are left out.

    Yields
    ------
    Jets
        In batches, with charges where there are PDG ids.

    Raises
    ------
    JetFileError
        If the file is truncated, of a wrong shape or type, lacks a class, or holds values that no particle
        has.
    """
    chosen = wanted.labels(content(path, wanted), str(path))
    with npz_arrays(path) as arrays:
        particles, labels = _arrays(arrays)
        for first, (block, values) in in_step([particles, labels], _jets_at_once(particles)):
            names = class_names(values, CLASSES, labels.where, first)
            pt, rapidity, phi = (block[..., place].ravel() for place in range(3))
            charge = None
            if block.shape[2] == 4:
                charge = charges_of(_identities(block, particles.where, first))[0]
            jets = jets_from_constituents(
                np.arange(len(block) + 1) * block.shape[1],
                pt,
                rapidity,
                phi,
                label=labels_of(names, chosen),
                classes=wanted.classes,
                where=particles.where,
                first=first,
                charge=charge,
            )
            sound = kept(jets, drops, str(path), first)
            if len(sound):
                yield sound


def _jets_at_once(particles: Array) -> int:
    return jets_per_batch(particles.shape[1], particles.where)


def _arrays(arrays: Mapping[str, Array]) -> tuple[Array, Array]:
    """Give particles and labels, their shapes and types checked."""
    particles, labels = arrays["X"], arrays["y"]
    number = checked(particles, (None, None, 3 if particles.shape[2:] == (3,) else 4))[0]
    checked(labels, (number,), "fiub", of="whole numbers")
    return particles, labels


def _fractional(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    return np.isfinite(values) & (values != np.trunc(values))


def _identities(block: npt.NDArray[Any], where: str, first: int) -> npt.NDArray[np.int64]:
    values = double(block[..., 3])
    bad = ~(np.abs(values) < 2**31) | _fractional(values)
    if bad.any():
        jet, place = (int(index) for index in np.unravel_index(np.argmax(bad), bad.shape))
        raise JetFileError(
            f"{where}, jet {first + jet}, constituent {place}: the PDG id is {values[jet, place]:g}; a whole "
            "number would be right."
        )
    return values.astype(np.int64).ravel()
