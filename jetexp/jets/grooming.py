"""Soft drop (Larkoski et al., arXiv:1402.2657): remove soft radiation at wide angles from jets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jetexp.jets.collection import collect, in_blocks
from jetexp.jets.sample import Jets
from jetexp.jets.settings import SoftDropSettings

__all__ = ["soft_dropped"]

Float = npt.NDArray[np.float64]

# bounds the memory that FastJet takes
JETS_PER_BLOCK = 10_000
# reclustering must not leave out a constituent, however far it is from the others
EVERYTHING = 1000.0


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
    momentum = _momentum(jets)
    real = jets.constituent_pt > 0
    enough = np.bincount(jets.jet_index[real], minlength=len(jets)) > 1
    # a constituent without momentum has no direction: it leaves a jet that is groomed
    keep = ~enough[jets.jet_index]
    offered = np.flatnonzero(real & ~keep)
    keep[offered] = _survives(momentum[offered], jets.jet_index[offered], settings, radius)

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
        pt=np.where(enough, pt, jets.pt).astype(np.float32),
        eta=np.where(enough, eta, jets.eta).astype(np.float32),
        mass=np.where(enough, mass, jets.mass).astype(np.float32),
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
    import awkward as ak
    import fastjet

    if not len(jet):
        return np.zeros(0, dtype=np.bool_)
    # FastJet would write its banner to standard output
    fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)
    columns = {name: np.ascontiguousarray(momentum[:, i]) for i, name in enumerate(("px", "py", "pz", "E"))}
    numbers, counts = np.unique(jet, return_counts=True)
    constituents = ak.unflatten(ak.zip(columns, with_name="Momentum4D"), counts)
    definition = fastjet.JetDefinition(fastjet.cambridge_algorithm, EVERYTHING)
    groomed = fastjet.ClusterSequence(constituents, definition).exclusive_jets_softdrop_grooming(
        njets=1,
        beta=settings.beta,
        symmetry_cut=settings.z_cut,
        symmetry_measure="scalar_z",
        R0=radius,
        recursion_choice="larger_pt",
    )
    left = groomed.constituents
    kept = np.stack([ak.to_numpy(ak.flatten(left[name])) for name in columns], axis=1)
    kept_jet = np.repeat(numbers, ak.to_numpy(ak.num(left)))
    # FastJet gives momenta back, not indices, but to the last bit; equal ones are never parted,
    # since a pair without distance always passes
    offered, returned = (
        np.ascontiguousarray(np.column_stack([which.astype(np.float64), values])).view("V40").ravel()
        for which, values in ((jet, momentum), (kept_jet, kept))
    )
    survives: npt.NDArray[np.bool_] = np.isin(offered, returned)
    return survives
