"""Batches of jets that formats give: how many at once, and which of them are kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from jetexp.errors import JetFileError
from jetexp.jets.formats.form import JETS_PER_BATCH, Drops
from jetexp.jets.momenta import double
from jetexp.jets.sample import Jets

__all__ = [
    "CONSTITUENTS_PER_BATCH",
    "MAXIMUM_CONSTITUENTS",
    "from_rows",
    "jets_per_batch",
    "kept",
    "scale_told",
    "whole_charges",
]

# beyond any jet, pile-up included
MAXIMUM_CONSTITUENTS = 10_000
# some hundred megabytes while they are turned into jets
CONSTITUENTS_PER_BATCH = 1_000_000
# GeV
PLAUSIBLE_PT = (10.0, 7_000.0)


def jets_per_batch(constituents: int, where: str) -> int:
    """Say how many jets are read at once.

    Parameters
    ----------
    constituents : int
        Places for constituents that each jet has.
    where : str
        File and array, for messages.

    Returns
    -------
    int
        At least 1, at most ``JETS_PER_BATCH``.

    Raises
    ------
    JetFileError
        If there are more than any jet needs, or none.
    """
    if not 0 < constituents <= MAXIMUM_CONSTITUENTS:
        raise JetFileError(
            f"{where} has {constituents} constituents a jet; 1 to {MAXIMUM_CONSTITUENTS} would be right."
        )
    return min(JETS_PER_BATCH, max(1, CONSTITUENTS_PER_BATCH // constituents))


def from_rows(jets: Jets, where: str, rows: npt.NDArray[np.int64]) -> Jets:
    """Say of jets where they were read.

    Parameters
    ----------
    jets : Jets
        N jets.
    where : str
        The file, and the array if each class has one.
    rows : ndarray of int64, shape (N,)
        Their places there, from 0.

    Returns
    -------
    Jets
        The same.
    """
    return replace(jets, source=np.full(len(jets), where, dtype=object), row=rows)


def kept(jets: Jets, drops: Drops, where: str, first: int) -> Jets:
    """Leave out jets that are not wanted, and jets that are nothing.

    Parameters
    ----------
    jets : Jets
        N jets; those of classes that are not wanted have the label -1.
    drops : Drops
        Counts the wanted jets that are left out.
    where : str
        The file.
    first : int
        Place of the first of them in the file.

    Returns
    -------
    Jets
        Those with a class and a transverse momentum, which know their places.
    """
    jets = from_rows(jets, where, first + np.arange(len(jets)))
    wanted, sound = jets.label >= 0, (jets.counts > 0) & (jets.pt > 0)
    drops[f"{where}: no transverse momentum"] += int((wanted & ~sound).sum())
    return jets.take(wanted & sound)


def scale_told(median: float, unit: float, what: str) -> tuple[str, ...]:
    """Tell which scale the jets have, where a file leaves it open.

    Parameters
    ----------
    median : float
        Median transverse momentum of the first jets, GeV.
    unit : float
        What 1 in the file is in GeV; 1 if nobody said.
    what : str
        What 1 in the file is of: a pixel, a momentum.

    Returns
    -------
    tuple of str
        One sentence; none if the unit was given and the jets are plausible.

    Examples
    --------
    >>> scale_told(0.02, 1.0, "pixel")[0].endswith("not a collider's: give unit.")
    True
    >>> scale_told(800.0, 0.001, "momentum")
    ()
    """
    low, high = PLAUSIBLE_PT
    plausible = low <= median <= high
    if plausible and unit != 1:
        return ()
    sentence = (
        f"A {what} of 1 is taken for {unit:g} GeV; the median transverse momentum of the first jets is "
        f"then {median:.4g} GeV"
    )
    return (f"{sentence}." if plausible else f"{sentence}, not a collider's: give unit.",)


def whole_charges(values: npt.NDArray[np.generic], where: str) -> npt.NDArray[np.int8]:
    """Check electric charges.

    Parameters
    ----------
    values : ndarray, shape (M,)
        Of constituents, in units of e.
    where : str
        File and array, for messages.

    Returns
    -------
    ndarray of int8, shape (M,)

    Raises
    ------
    JetFileError
        If one is no whole number, or beyond any nucleus.
    """
    charges = double(values)
    bad = ~((np.abs(charges) <= 127) & (charges == np.trunc(charges)))
    if bad.any():
        entry = int(np.argmax(bad))
        raise JetFileError(
            f"{where} holds the charge {charges[entry]:.9g}; a whole number, in units of e, would be right."
        )
    return charges.astype(np.int8)
