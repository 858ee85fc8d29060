"""Take soft radiation from jets: by a cut on pT, or soft drop (Larkoski et al., arXiv:1402.2657)."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jetexp.jets.collection import collect, in_blocks
from jetexp.jets.sample import Jets
from jetexp.jets.settings import SoftDropSettings

__all__ = ["soft_dropped", "with_hard_constituents"]

Float = npt.NDArray[np.float64]

# bounds the memory that FastJet takes
JETS_PER_BLOCK = 10_000
# reclustering must not leave out a constituent, however far it is from the others
EVERYTHING = 1000.0


def with_hard_constituents(jets: Jets, minimum_pt: float, *, scratch: Path | None = None) -> Jets:
    """Drop the constituents below a transverse momentum.

    Parameters
    ----------
    jets : Jets
        N jets.
    minimum_pt : float
        The least that a constituent keeps its place with, GeV.
    scratch : Path, optional
        Where jets that are too many for the memory are kept; see :func:`jetexp.jets.collection.collect`.

    Returns
    -------
    Jets
        The same N jets with fewer constituents, still relative to the axis of the whole jet, whose eta they
        keep; pt and mass are those of the constituents that remain. One without such a constituent stays
        as it is.
    """
    told = {**jets.provenance, "minimum_constituent_pt": minimum_pt}

    def cut(block: Jets) -> Jets:
        hard = block.constituent_pt >= minimum_pt
        changed = np.bincount(block.jet_index[hard], minlength=len(block)) > 0
        # constituents stay where they are to the axis, which soft drop may ask for yet
        return replace(_left(block, hard | ~changed[block.jet_index], changed), eta=block.eta)

    return collect(map(cut, in_blocks(jets, JETS_PER_BLOCK)), scratch, provenance=lambda: told)


def soft_dropped(
    jets: Jets, settings: SoftDropSettings, radius: float, *, scratch: Path | None = None
) -> Jets:
    """Groom jets.

    Constituents are reclustered with the Cambridge/Aachen algorithm, as massless particles.

    Parameters
    ----------
    jets : Jets
        N jets.
    settings : SoftDropSettings
        When declustering stops.
    radius : float
        The jets' radius, which the angle is measured by where ``settings.beta`` is not 0.
    scratch : Path, optional
        Where jets that are too many for the memory are kept; see :func:`jetexp.jets.collection.collect`.

    Returns
    -------
    Jets
        The same N jets with fewer constituents, still relative to the axis of the whole jet; pt,
        eta and mass are those of the constituents that remain. A jet with fewer than two
        constituents stays as it is. The provenance says what was done.
    """
    told = {**jets.provenance, "soft_drop": settings.model_dump() | {"radius": radius}}
    blocks = (_groomed(block, settings, radius) for block in in_blocks(jets, JETS_PER_BLOCK))
    return collect(blocks, scratch, provenance=lambda: told)


def _groomed(jets: Jets, settings: SoftDropSettings, radius: float) -> Jets:
    real = jets.constituent_pt > 0
    enough = np.bincount(jets.jet_index[real], minlength=len(jets)) > 1
    # a constituent without momentum has no direction: it leaves a jet that is groomed
    keep = ~enough[jets.jet_index]
    offered = np.flatnonzero(real & ~keep)
    keep[offered] = _survives(_momentum(jets)[offered], jets.jet_index[offered], settings, radius)
    return _left(jets, keep, enough)


def _left(jets: Jets, keep: npt.NDArray[np.bool_], changed: npt.NDArray[np.bool_]) -> Jets:
    """Keep some constituents, shape (M,), and measure the jets that they change, shape (N,), anew."""
    momentum = _momentum(jets)
    total = np.stack(
        [
            np.bincount(jets.jet_index[keep], weights=column[keep], minlength=len(jets))
            for column in momentum.T
        ],
        axis=1,
    )
    pt = np.hypot(total[:, 0], total[:, 1])
    mass = np.sqrt(np.maximum(total[:, 3] ** 2 - (total[:, :3] ** 2).sum(axis=1), 0))
    eta = np.arcsinh(np.divide(total[:, 2], pt, out=np.zeros_like(pt), where=pt > 0))
    counts = np.bincount(jets.jet_index[keep], minlength=len(jets))
    charge = jets.constituent_charge
    return replace(
        jets,
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        constituent_eta=jets.constituent_eta[keep],
        constituent_phi=jets.constituent_phi[keep],
        constituent_pt=jets.constituent_pt[keep],
        constituent_charge=None if charge is None else charge[keep],
        pt=np.where(changed, pt, jets.pt).astype(np.float32),
        eta=np.where(changed, eta, jets.eta).astype(np.float32),
        mass=np.where(changed, mass, jets.mass).astype(np.float32),
    )


def _momentum(jets: Jets) -> Float:
    """Give px, py, pz and E of massless constituents, phi relative to the jet axis, shape (M, 4)."""
    pt = jets.constituent_pt.astype(np.float64)
    eta = jets.constituent_eta + np.repeat(jets.eta.astype(np.float64), jets.counts)
    phi = jets.constituent_phi.astype(np.float64)
    return np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)], axis=1)


def _survives(
    momentum: Float, jet: npt.NDArray[np.int64], settings: SoftDropSettings, radius: float
) -> npt.NDArray[np.bool_]:
    """Tell which constituents are in the groomed jet; every jet has two of them or more."""
    import fastjet

    survives = np.zeros(len(jet), dtype=np.bool_)
    # FastJet would write its banner to standard output
    fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)
    definition = fastjet.JetDefinition(fastjet.cambridge_algorithm, EVERYTHING)
    bounds = np.flatnonzero(np.diff(jet, prepend=-1, append=-1)).tolist()
    for start, stop in pairwise(bounds):
        particles = []
        for index, values in enumerate(momentum[start:stop].tolist(), start):
            particle = fastjet.PseudoJet(*values)
            particle.set_user_index(index)
            particles.append(particle)
        # FastJet's own groomer for arrays gives momenta back, and takes a time that grows with the
        # square of what it leaves: 7 times this one's under 60 collisions
        sequence = fastjet._swig.ClusterSequence(particles, definition)
        left = _declustered(sequence.exclusive_jets(1)[0], settings, radius)
        survives[[one.user_index() for one in left.constituents()]] = True
    return survives


def _declustered(jet: Any, settings: SoftDropSettings, radius: float) -> Any:
    """Follow the harder branch of a clustered jet up to the first that is shared fairly (eq. 1.1)."""
    import fastjet

    harder, softer = fastjet.PseudoJet(), fastjet.PseudoJet()
    while jet.has_parents(harder, softer):
        pt = sorted((harder.pt(), softer.pt()))
        angle = harder.delta_R(softer) / radius
        if pt[0] > settings.z_cut * angle**settings.beta * sum(pt):
            break
        jet = fastjet.PseudoJet(harder if harder.pt() == pt[1] else softer)
    return jet
