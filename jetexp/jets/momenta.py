"""From constituents in the detector's frame to jets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from jetexp.errors import JetFileError
from jetexp.jets.sample import Jets

__all__ = [
    "LARGEST_MOMENTUM",
    "double",
    "jets_from_constituents",
    "jets_from_four_momenta",
    "jets_from_relative",
]

Float = npt.NDArray[np.floating]
Index = npt.NDArray[np.integer]

# GeV: beyond any collider, and below what overflows float32 when squared
LARGEST_MOMENTUM = 1e9
LARGEST_ETA = 50.0


def double(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Widen numbers from a file, whatever they are.

    Parameters
    ----------
    values : ndarray
        Of any type of numbers.

    Returns
    -------
    ndarray of float64
    """
    # to widen a NaN that signals is an invalid operation
    with np.errstate(invalid="ignore"):
        return np.asarray(values, dtype=np.float64)


def jets_from_four_momenta(
    offsets: Index,
    px: Float,
    py: Float,
    pz: Float,
    energy: Float,
    *,
    label: Index,
    classes: Sequence[str],
    where: str,
    first: int = 0,
    charge: Index | None = None,
) -> Jets:
    """Turn four-momenta of constituents into jets about their own axis.

    The jet's four-momentum is the sum over its constituents. Constituents without transverse momentum
    (padding among them) are left out.

    Parameters
    ----------
    offsets : ndarray of int, shape (N + 1,)
        Where the constituents of each jet begin.
    px, py, pz, energy : ndarray of float, shape (M,)
        In GeV.
    label : ndarray of int, shape (N,)
        Index into ``classes``.
    classes : sequence of str
        Names of the classes.
    where : str
        The file, for messages.
    first : int
        Place of the first of these jets in the file, for messages.
    charge : ndarray of int, shape (M,), optional
        Of the constituents, in units of e.

    Returns
    -------
    Jets
        N jets; one without constituents has a pT of 0.

    Raises
    ------
    JetFileError
        If a momentum is no finite number or beyond reach, or an energy negative.
    """
    px, py, pz, energy = (double(values) for values in (px, py, pz, energy))
    for name, values in (("px", px), ("py", py), ("pz", pz), ("energy", energy)):
        _check(values, offsets, name, where, first, negative=name != "energy")
    pt = np.hypot(px, py)
    keep = _some(pt)
    eta = np.arcsinh(np.divide(pz, pt, out=np.zeros_like(pz), where=keep))
    _check(eta, offsets, "eta", where, first, limit=LARGEST_ETA)
    jet = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))[keep]
    return _about_axis(
        jet,
        pt[keep],
        eta[keep],
        np.arctan2(py, px)[keep],
        energy[keep],
        label=label,
        classes=classes,
        charge=None if charge is None else np.asarray(charge)[keep],
    )


def jets_from_constituents(
    offsets: Index,
    pt: Float,
    eta: Float,
    phi: Float,
    *,
    label: Index,
    classes: Sequence[str],
    where: str,
    first: int = 0,
    charge: Index | None = None,
) -> Jets:
    """Turn massless constituents, given by pT and direction, into jets about their own axis.

    Parameters
    ----------
    offsets : ndarray of int, shape (N + 1,)
        Where the constituents of each jet begin.
    pt : ndarray of float, shape (M,)
        In GeV; those of 0 (padding among them) are left out.
    eta, phi : ndarray of float, shape (M,)
        Direction in the detector, phi in radians.
    label : ndarray of int, shape (N,)
        Index into ``classes``.
    classes : sequence of str
        Names of the classes.
    where : str
        The file, for messages.
    first : int
        Place of the first of these jets in the file, for messages.
    charge : ndarray of int, shape (M,), optional
        Of the constituents, in units of e.

    Returns
    -------
    Jets
        N jets; one without constituents has a pT of 0.

    Raises
    ------
    JetFileError
        If a pT is negative, or a value no finite number or beyond reach.
    """
    pt, eta, phi = (double(values) for values in (pt, eta, phi))
    _check_directions(offsets, pt, eta, phi, where, first)
    keep = _some(pt)
    jet = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))[keep]
    return _about_axis(
        jet,
        pt[keep],
        eta[keep],
        phi[keep],
        pt[keep] * np.cosh(eta[keep]),
        label=label,
        classes=classes,
        charge=None if charge is None else np.asarray(charge)[keep],
    )


def jets_from_relative(
    offsets: Index,
    pt: Float,
    eta: Float,
    phi: Float,
    *,
    jet_pt: Float,
    jet_eta: Float,
    jet_mass: Float,
    label: Index,
    classes: Sequence[str],
    where: str,
    first: int = 0,
    charge: Index | None = None,
) -> Jets:
    """Make jets of constituents whose directions are relative to the jet axis already.

    Parameters
    ----------
    offsets : ndarray of int, shape (N + 1,)
        Where the constituents of each jet begin.
    pt : ndarray of float, shape (M,)
        In GeV; those of 0 (padding among them) are left out.
    eta, phi : ndarray of float, shape (M,)
        Relative to the jet axis, phi in radians.
    jet_pt, jet_eta, jet_mass : ndarray of float, shape (N,)
        The jet's kinematics, in GeV where they have a unit.
    label : ndarray of int, shape (N,)
        Index into ``classes``.
    classes : sequence of str
        Names of the classes.
    where : str
        The file, for messages.
    first : int
        Place of the first of these jets in the file, for messages.
    charge : ndarray of int, shape (M,), optional
        Of the constituents, in units of e.

    Returns
    -------
    Jets
        N jets.

    Raises
    ------
    JetFileError
        If a pT or a mass is negative, or a value no finite number or beyond reach.
    """
    pt, eta, phi = (double(values) for values in (pt, eta, phi))
    _check_directions(offsets, pt, eta, phi, where, first)
    alone = np.arange(len(offsets))
    for name, values in (("pT", jet_pt), ("eta", jet_eta), ("mass", jet_mass)):
        _check(double(values), alone, f"jet {name}", where, first, negative=name == "eta")
    keep = _some(pt)
    jet = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))[keep]
    return Jets(
        offsets=_offsets(jet, len(label)),
        constituent_eta=eta[keep].astype(np.float32),
        constituent_phi=_wrapped(phi[keep]),
        constituent_pt=pt[keep].astype(np.float32),
        label=np.asarray(label, dtype=np.int64),
        pt=np.asarray(jet_pt, dtype=np.float32),
        eta=np.asarray(jet_eta, dtype=np.float32),
        mass=np.asarray(jet_mass, dtype=np.float32),
        classes=tuple(classes),
        constituent_charge=None if charge is None else np.asarray(charge)[keep].astype(np.int8),
    )


def _about_axis(
    jet: Index,
    pt: Float,
    eta: Float,
    phi: Float,
    energy: Float,
    *,
    label: Index,
    classes: Sequence[str],
    charge: Index | None,
) -> Jets:
    number = len(label)

    def summed(values: Float) -> npt.NDArray[np.float64]:
        return np.bincount(jet, weights=values, minlength=number).astype(np.float64)

    x, y, z = summed(pt * np.cos(phi)), summed(pt * np.sin(phi)), summed(pt * np.sinh(eta))
    transverse = np.hypot(x, y)
    jet_eta = np.arcsinh(np.divide(z, transverse, out=np.zeros(number), where=transverse > 0))
    squared = summed(energy) ** 2 - transverse**2 - z**2
    return Jets(
        offsets=_offsets(jet, number),
        constituent_eta=(eta - jet_eta[jet]).astype(np.float32),
        constituent_phi=_wrapped(phi - np.arctan2(y, x)[jet]),
        constituent_pt=pt.astype(np.float32),
        label=np.asarray(label, dtype=np.int64),
        pt=transverse.astype(np.float32),
        eta=jet_eta.astype(np.float32),
        mass=np.sqrt(np.maximum(squared, 0)).astype(np.float32),
        classes=tuple(classes),
        constituent_charge=None if charge is None else charge.astype(np.int8),
    )


def _offsets(jet: Index, number: int) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.bincount(jet, minlength=number))]).astype(np.int64)


def _some(pt: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Tell which transverse momenta are not 0, in float32 too."""
    return pt.astype(np.float32) > 0


def _wrapped(phi: Float) -> npt.NDArray[np.float32]:
    """Bring angles to [-pi, pi), in float32 too."""
    wrapped = ((phi + np.pi) % (2 * np.pi) - np.pi).astype(np.float32)
    return np.where(wrapped >= np.float32(np.pi), -np.float32(np.pi), wrapped)


def _check_directions(offsets: Index, pt: Float, eta: Float, phi: Float, where: str, first: int) -> None:
    _check(pt, offsets, "pT", where, first, negative=False)
    for name, values, limit in (("eta", eta, LARGEST_ETA), ("phi", phi, 1e3)):
        _check(values, offsets, name, where, first, limit=limit)


def _check(
    values: Float,
    offsets: Index,
    name: str,
    where: str,
    first: int,
    *,
    negative: bool = True,
    limit: float = LARGEST_MOMENTUM,
) -> None:
    """Refuse what no constituent can have, and say where it stands."""
    bad = ~(np.abs(values) <= limit)
    if not negative:
        bad |= values < 0
    if bad.any():
        entry = int(np.argmax(bad))
        jet = int(np.searchsorted(offsets, entry, side="right")) - 1
        allowed = f"a finite number{'' if negative else ' that is not negative'}, at most {limit:g}"
        place = "" if name.startswith("jet") else f", constituent {entry - int(offsets[jet])}"
        raise JetFileError(
            f"{where}, jet {first + jet}{place}: {name} is {values[entry]:g}; {allowed}, would be right."
        )
