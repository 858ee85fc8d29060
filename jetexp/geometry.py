"""Standardise where a jet's constituents lie: threshold, centre, rotate, flip, zoom."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from jetexp.jets.sample import Jets
from jetexp.settings import Settings

__all__ = ["Block", "BlockArray", "GeometrySettings", "blocks", "make_arrays", "sums"]

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

# below this distance (float32 constituents carry rounding of this order) a coordinate is on the axis
ON_AXIS = 1e-6


class GeometrySettings(Settings):
    """Which steps bring jets to one standard position.

    Attributes
    ----------
    minimum_pt : float
        Constituents (or pixels of a raw image) with less pT than this are left out, GeV.
    centre : bool
        Move the pT-weighted centroid to the middle.
    rotate : bool
        Turn the principal axis upright, that is along phi.
    flip : bool
        Mirror so that the harder half lies on the positive side of each axis.
    zoom : bool
        Scale angles by the jet's pT over ``reference_pt``, since a decay's opening angle goes as
        2 m / pT (Barnard et al., arXiv:1609.00607). The jet's pT is here the scalar sum over its
        constituents, which particles and pixels both have, so that training and serving agree.
    reference_pt : float
        The pT at which the zoom leaves angles as they are, GeV.
    """

    minimum_pt: float = Field(0.0, ge=0, le=100)
    centre: bool = True
    rotate: bool = True
    flip: bool = True
    zoom: bool = True
    reference_pt: float = Field(600.0, gt=0)

    @property
    def geometry(self) -> GeometrySettings:
        """These settings alone, of whatever else there is."""
        return GeometrySettings(**{name: getattr(self, name) for name in GeometrySettings.model_fields})


@dataclass(frozen=True, eq=False)
class Block:
    """Constituents of some consecutive jets, in standard position.

    Attributes
    ----------
    jets : slice
        Which jets of the sample.
    jet : ndarray of int64, shape (M,)
        The jet that each constituent belongs to, counted from the first of the block.
    eta, phi, pt : ndarray of float64, shape (M,)
        The constituents; pT in GeV.
    charge : ndarray of int8, shape (M,), optional
        Their charges, where the jets have them.
    total : ndarray of float64, shape (number,)
        Scalar sum of pT of each jet of the block.
    """

    jets: slice
    jet: Index
    eta: Float
    phi: Float
    pt: Float
    charge: npt.NDArray[np.int8] | None
    total: Float

    @property
    def number(self) -> int:
        """Number of jets."""
        return len(self.total)


def blocks(jets: Jets, settings: GeometrySettings, jets_at_once: int) -> Iterator[Block]:
    """Bring jets to standard position, some at a time so that memory is bounded.

    Parameters
    ----------
    jets : Jets
        N jets.
    settings : GeometrySettings
        The steps.
    jets_at_once : int
        Jets of a block.

    Yields
    ------
    Block
        Consecutive jets, until all have been.
    """
    for start in range(0, len(jets), jets_at_once):
        stop = min(start + jets_at_once, len(jets))
        offsets = jets.offsets[start : stop + 1]
        flat = slice(offsets[0], offsets[-1])
        jet = np.repeat(np.arange(stop - start), np.diff(offsets))
        eta, phi, pt = (
            values[flat].astype(np.float64)
            for values in (jets.constituent_eta, jets.constituent_phi, jets.constituent_pt)
        )
        charge = None if jets.constituent_charge is None else jets.constituent_charge[flat]
        if settings.minimum_pt:
            keep = pt >= settings.minimum_pt
            jet, eta, phi, pt = jet[keep], eta[keep], phi[keep], pt[keep]
            charge = None if charge is None else charge[keep]
        total = sums(jet, pt, stop - start)
        eta, phi = _moved(jet, eta, phi, pt, total, settings)
        yield Block(slice(start, stop), jet, eta, phi, pt, charge, total)
        jets.release()


@dataclass(frozen=True, eq=False)
class BlockArray:
    """An array that is made from jets in standard position, block by block.

    Attributes
    ----------
    settings : GeometrySettings
        What the standard position is.
    shape : tuple of int
        Of the entry of one jet.
    jets_at_once : int
        Jets of a block, at most.
    fill : callable
        Given a block and the zeros of its jets, shape (number, ...), writes their entries.
    """

    settings: GeometrySettings
    shape: tuple[int, ...]
    jets_at_once: int
    fill: Callable[[Block, npt.NDArray[np.float32]], None]


def make_arrays(jets: Jets, wanted: Sequence[BlockArray]) -> list[npt.NDArray[np.float32]]:
    """Make arrays from jets, bringing these to each standard position once.

    Parameters
    ----------
    jets : Jets
        N jets.
    wanted : sequence of BlockArray
        What is made of them.

    Returns
    -------
    list of ndarray of float32, first axis N
        In the order of ``wanted``.
    """
    made = [np.zeros((len(jets), *one.shape), dtype=np.float32) for one in wanted]
    for geometry in dict.fromkeys(one.settings.geometry for one in wanted):
        alike = [pair for pair in zip(wanted, made, strict=True) if pair[0].settings.geometry == geometry]
        for block in blocks(jets, geometry, min(one.jets_at_once for one, _ in alike)):
            for one, array in alike:
                one.fill(block, array[block.jets])
    return made


def sums(jet: Index, values: Float | None, number: int) -> Float:
    """Sum values within each jet.

    Parameters
    ----------
    jet : ndarray of int64, shape (M,)
        Where each value belongs.
    values : ndarray of float64, shape (M,), optional
        What is summed; None counts.
    number : int
        Number of jets.

    Returns
    -------
    ndarray of float64, shape (number,)
    """
    return np.asarray(np.bincount(jet, weights=values, minlength=number), dtype=np.float64)


def _moved(
    jet: Index, eta: Float, phi: Float, pt: Float, total: Float, settings: GeometrySettings
) -> tuple[Float, Float]:
    number = len(total)
    if settings.centre:
        eta, phi = _centred(jet, eta, phi, pt, total)
    if settings.rotate:
        eta, phi = _rotated(jet, eta, phi, pt, number)
    if settings.centre or settings.rotate:
        # what lies on an axis must not fall to either side of it by rounding
        eta, phi = (np.where(np.abs(values) < ON_AXIS, 0.0, values) for values in (eta, phi))
    if settings.flip:
        eta, phi = (_flipped(jet, values, pt, number) for values in (eta, phi))
    if settings.zoom:
        factor = (total / settings.reference_pt)[jet]
        eta, phi = eta * factor, phi * factor
    return eta, phi


def _wrapped(phi: Float) -> Float:
    """Bring phi back to [-pi, pi)."""
    return phi - 2 * np.pi * np.floor((phi + np.pi) / (2 * np.pi))


def _centred(jet: Index, eta: Float, phi: Float, pt: Float, total: Float) -> tuple[Float, Float]:
    """Move the pT-weighted centroid to the origin."""
    number, safe = len(total), np.where(total > 0, total, 1.0)
    # an ordinary mean of phi means nothing across the seam, so first turn to the circular mean
    around = np.arctan2(sums(jet, pt * np.sin(phi), number), sums(jet, pt * np.cos(phi), number))
    phi = _wrapped(phi - around[jet])
    eta = eta - (sums(jet, pt * eta, number) / safe)[jet]
    phi = phi - (sums(jet, pt * phi, number) / safe)[jet]
    return eta, phi


def _rotated(jet: Index, eta: Float, phi: Float, pt: Float, number: int) -> tuple[Float, Float]:
    """Turn about the origin until the principal axis of the pT-weighted second moments lies along phi."""
    in_eta, in_phi = sums(jet, pt * eta * eta, number), sums(jet, pt * phi * phi, number)
    mixed = sums(jet, pt * eta * phi, number)
    # a jet equally wide in all directions has no principal axis and stays as it is
    has_axis = np.hypot(2 * mixed, in_phi - in_eta) > ON_AXIS * (in_eta + in_phi)
    angle = np.where(has_axis, 0.5 * np.arctan2(2 * mixed, in_phi - in_eta), 0.0)
    cosine, sine = np.cos(angle)[jet], np.sin(angle)[jet]
    return cosine * eta - sine * phi, sine * eta + cosine * phi


def _flipped(jet: Index, values: Float, pt: Float, number: int) -> Float:
    """Mirror one coordinate of those jets whose negative half holds more pT."""
    mirrored = sums(jet, pt * np.sign(values), number) < 0
    return np.where(mirrored[jet], -values, values)
