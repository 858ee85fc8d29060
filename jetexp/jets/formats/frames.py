"""Constituents by pT, eta and phi of which nobody said what the directions are relative to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jetexp.errors import JetFileError
from jetexp.jets.momenta import jets_from_constituents, jets_from_relative
from jetexp.jets.sample import Jets

__all__ = ["Constituents", "Frame", "frame_of", "jets_in_frame"]

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

# jets about their own axis are no further from it, whichever way the axis was found
NEAR = 0.2
# share of the jets that are near 0: at least about their own axis, at most in the detector
RELATIVE, DETECTOR = 0.95, 0.5
# of the jet's pT to that of the sum of its constituents
CONSISTENT = (0.5, 2.0)


@dataclass(frozen=True, eq=False)
class Constituents:
    """Massless constituents of N jets.

    Attributes
    ----------
    offsets : ndarray of int64, shape (N + 1,)
        Where the constituents of each jet begin.
    pt : ndarray of float64, shape (M,)
        In GeV.
    eta, phi : ndarray of float64, shape (M,)
        About the jet's axis or in the detector, phi in radians.
    charge : ndarray of int8, shape (M,), optional
        In units of e.
    """

    offsets: Index
    pt: Float
    eta: Float
    phi: Float
    charge: npt.NDArray[np.int8] | None = None

    def summed(self, where: str, first: int = 0) -> Jets:
        """Give the jets that the constituents sum up to, in one class; see ``jets_from_constituents``."""
        return jets_from_constituents(
            self.offsets,
            self.pt,
            self.eta,
            self.phi,
            label=np.zeros(len(self.offsets) - 1, dtype=np.int64),
            classes=("jets",),
            where=where,
            first=first,
            charge=self.charge,
        )


@dataclass(frozen=True)
class Frame:
    """What the numbers say.

    Attributes
    ----------
    relative : bool
        Whether directions are about the jet's axis.
    pt : float
        Median transverse momentum of the jets, GeV.
    """

    relative: bool
    pt: float

    def told(self, jet: Mapping[str, object]) -> tuple[str, ...]:
        """Say so, and what jets get that have no columns of their own.

        Parameters
        ----------
        jet : mapping
            Whose keys are those of ``pt``, ``eta`` and ``mass`` that the file has for its jets.

        Returns
        -------
        tuple of str
            A sentence each.
        """
        frame = "relative to the jet axis" if self.relative else "in the detector's frame"
        near = "near" if self.relative else "far from"
        sentences = [f"eta and phi are taken to be {frame}: their means in the first jets are {near} 0."]
        missing = [name for name in ("pt", "mass") if name not in jet]
        if missing:
            sentences.append(
                f"Of jets, {' and '.join(missing)} are not there, and taken from their massless constituents."
            )
        if self.relative and "eta" not in jet:
            sentences.append("Of jets, eta is not there, and taken to be 0.")
        return tuple(sentences)


def frame_of(constituents: Constituents, jet: Mapping[str, Float], where: str) -> Frame:
    """Tell from the numbers what directions are relative to.

    Parameters
    ----------
    constituents : Constituents
        Of N jets.
    jet : mapping of str to ndarray of float64, shape (N,)
        The jets' own ``pt``, ``eta`` and ``mass``, as far as they are there; in GeV.
    where : str
        The file, for messages.

    Returns
    -------
    Frame

    Raises
    ------
    JetFileError
        If the numbers do not say it, there is no jet at all, or jets and constituents differ in unit.
    """
    summed = constituents.summed(where)
    there = summed.pt > 0
    if not there.any():
        raise JetFileError(f"{where} begins with jets that have no constituents.")
    if "pt" in jet:
        ratio = float(np.median(jet["pt"][there] / summed.pt[there]))
        if not CONSISTENT[0] <= ratio <= CONSISTENT[1]:
            raise JetFileError(
                f"{where} has jets of {ratio:.3g} times the pT of their constituents' sum; both in the same "
                "unit would be right."
            )
    index = np.repeat(np.arange(len(there)), np.diff(constituents.offsets))

    def mean(values: Float) -> Float:
        sums = np.bincount(index, weights=constituents.pt * values, minlength=len(there))
        return sums[there] / np.bincount(index, weights=constituents.pt, minlength=len(there))[there]

    phi = np.arctan2(mean(np.sin(constituents.phi)), mean(np.cos(constituents.phi)))
    share = float((np.hypot(mean(constituents.eta), phi) < NEAR).mean())
    if DETECTOR < share < RELATIVE:
        raise JetFileError(
            f"{where} has {share:.0%} of its first jets about eta = phi = 0; all of them (relative to the "
            "jet axis) or few (in the detector) would be right."
        )
    return Frame(share >= RELATIVE, float(np.median(summed.pt[there])))


def jets_in_frame(
    constituents: Constituents,
    jet: Mapping[str, Float],
    frame: Frame,
    *,
    label: Index,
    classes: Sequence[str],
    where: str,
    first: int = 0,
) -> Jets:
    """Turn constituents into jets about their own axis.

    Parameters
    ----------
    constituents : Constituents
        Of N jets.
    jet : mapping of str to ndarray of float64, shape (N,)
        The jets' own ``pt``, ``eta`` and ``mass``, as far as they are there; in GeV.
    frame : Frame
        Of the file.
    label : ndarray of int64, shape (N,)
        Index into ``classes``, or -1.
    classes : sequence of str
        Names of the classes.
    where : str
        The file, for messages.
    first : int
        Place of the first of these jets in the file, for messages.

    Returns
    -------
    Jets
        N jets; what ``jet`` lacks is that of the sum of the constituents.

    Raises
    ------
    JetFileError
        If a value is one that no jet or constituent has.
    """
    summed = constituents.summed(where, first)
    if frame.relative:
        about, eta = constituents, np.zeros(len(label))
    else:
        about, eta = (
            Constituents(
                summed.offsets,
                summed.constituent_pt.astype(np.float64),
                summed.constituent_eta.astype(np.float64),
                summed.constituent_phi.astype(np.float64),
                summed.constituent_charge,
            ),
            summed.eta.astype(np.float64),
        )
    return jets_from_relative(
        about.offsets,
        about.pt,
        about.eta,
        about.phi,
        jet_pt=jet.get("pt", summed.pt),
        jet_eta=jet.get("eta", eta),
        jet_mass=jet.get("mass", summed.mass),
        label=label,
        classes=classes,
        where=where,
        first=first,
        charge=about.charge,
    )
