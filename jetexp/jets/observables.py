"""Observables of jet substructure: mass, multiplicity, soft drop, N-subjettiness, energy correlators.

pT, mass and multiplicity need the constituents and NumPy alone; the others come from FastJet and its
contributed packages (Cacciari, Salam and Soyez, arXiv:1111.6097), through its awkward interface.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from jetexp.errors import JetexpError
from jetexp.files import whole_file
from jetexp.jets.collection import in_blocks
from jetexp.jets.sample import Jets

__all__ = ["LABELS", "OBSERVABLES", "Observable", "make_observables"]

Float = npt.NDArray[np.float64]

Observable = Literal["pt", "mass", "multiplicity", "soft_drop_mass", "tau21", "tau32", "d2"]
OBSERVABLES: tuple[Observable, ...] = get_args(Observable)
LABELS: Mapping[str, str] = MappingProxyType(
    {
        "pt": r"$p_\mathrm{T}$ (GeV)",
        "mass": "Mass (GeV)",
        "multiplicity": "Number of constituents",
        "soft_drop_mass": "Soft-drop mass (GeV)",
        "tau21": r"$\tau_{21}$",
        "tau32": r"$\tau_{32}$",
        "d2": r"$D_2$",
    }
)

# what FastJet computes; to be counted up when the definition of one of these changes
FROM_FASTJET: tuple[str, ...] = ("soft_drop_mass", "tau21", "tau32", "d2")
VERSION = 1

Z_CUT = 0.1
# all constituents of a jet are one jet, whatever radius it was found with
RADIUS = 100.0
# below this (float32 constituents carry rounding of this order) all constituents lie on the axes
ON_AXIS = 1e-6
# constituents held by FastJet at once; bounds the memory taken
BLOCK_CONSTITUENTS = 200_000
# jets whose momenta are summed at once: their constituents fit into the caches of a processor
SUMMED_AT_ONCE = 1_000


def make_observables(
    jets: Jets, names: Sequence[str], *, cache: Path | None = None
) -> npt.NDArray[np.float32]:
    """Compute observables of each jet.

    All follow from the massless constituents at their relative eta and phi. None is changed by a
    rotation about the beam or a boost along it, so the place of the jet axis is not needed.
    Constituents without pT count for nothing.

    ``pt``
        Transverse momentum of the constituents' vector sum, GeV.
    ``mass``
        Invariant mass of the constituents' vector sum, GeV.
    ``multiplicity``
        Number of constituents.
    ``soft_drop_mass``
        Mass in GeV after soft drop with beta = 0 and z_cut = 0.1 (Larkoski et al., arXiv:1402.2657)
        on the Cambridge/Aachen tree.
    ``tau21``, ``tau32``
        Ratios of N-subjettiness with beta = 1 (Thaler and Van Tilburg, arXiv:1011.2268), the axes
        being those of exclusive kT with winner-take-all recombination, improved by one pass of
        minimisation. 1 where the denominator is 0, since a further axis then gains nothing.
    ``d2``
        Ratio e3 / e2^3 of energy correlation functions with beta = 1 (Larkoski, Moult and Neill,
        arXiv:1409.6298). 0 where e2 is 0.

    Jets of one direction have mass and soft-drop mass equal to 0 (up to rounding) and ratios of
    N-subjettiness equal to 1; their D2 is 0 or, where roundings are left of e2, about 1. An empty jet has pT
    and multiplicity 0, too.

    Parameters
    ----------
    jets : Jets
        N jets.
    names : sequence of str
        Which observables, of ``OBSERVABLES``.
    cache : Path, optional
        Folder in which what FastJet computes is kept, one file a sample, and found again.

    Returns
    -------
    ndarray of float32, shape (N, len(names))
        Finite; the columns in the order of ``names``.

    Raises
    ------
    JetexpError
        If there is no observable of such a name, or the cache cannot be written.

    Examples
    --------
    >>> jets = Jets(
    ...     offsets=np.array([0, 2]),
    ...     constituent_eta=np.array([0.0, 0.0], np.float32),
    ...     constituent_phi=np.array([0.5, -0.5], np.float32),
    ...     constituent_pt=np.array([100, 100], np.float32),
    ...     label=np.array([0]),
    ...     pt=np.array([0], np.float32),
    ...     eta=np.array([0], np.float32),
    ...     mass=np.array([0], np.float32),
    ...     classes=("W",),
    ... )
    >>> make_observables(jets, ["pt", "mass", "multiplicity"]).round().tolist()
    [[176.0, 96.0, 2.0]]
    """
    for name in names:
        if name not in OBSERVABLES:
            raise JetexpError(f"There is no observable {name!r}; there are {', '.join(OBSERVABLES)}.")
    values: dict[str, npt.NDArray[Any]] = {}
    if set(names) & {"pt", "mass", "multiplicity"}:
        values |= _joined(_summed(block) for block in in_blocks(jets, SUMMED_AT_ONCE))
    wanted = [name for name in FROM_FASTJET if name in names]
    if wanted:
        values |= _by_fastjet(jets, wanted) if cache is None else _cached(jets, cache)
    columns = np.zeros((len(jets), len(names)), dtype=np.float32)
    for column, name in enumerate(names):
        columns[:, column] = values[name]
    return columns


def _joined(blocks: Iterable[dict[str, npt.NDArray[Any]]]) -> dict[str, npt.NDArray[Any]]:
    found = list(blocks)
    return {name: np.concatenate([block[name] for block in found]) for name in found[0]}


def _summed(jets: Jets) -> dict[str, npt.NDArray[Any]]:
    """Sum the constituents' momenta."""
    jet, number = jets.jet_index, len(jets)
    momentum = {name: np.bincount(jet, values, minlength=number) for name, values in _momenta(jets).items()}
    pt = np.hypot(momentum["px"], momentum["py"])
    mass_squared = momentum["E"] ** 2 - pt**2 - momentum["pz"] ** 2
    return {
        "pt": pt,
        "mass": np.sqrt(np.maximum(mass_squared, 0)),
        "multiplicity": np.bincount(jet[jets.constituent_pt > 0], minlength=number),
    }


def _momenta(jets: Jets) -> dict[str, Float]:
    """Four-momenta of the constituents, massless, in the frame in which the jet has eta = phi = 0."""
    eta, phi, pt = (
        values.astype(np.float64)
        for values in (jets.constituent_eta, jets.constituent_phi, jets.constituent_pt)
    )
    return {
        "px": pt * np.cos(phi),
        "py": pt * np.sin(phi),
        "pz": pt * np.sinh(eta),
        "E": pt * np.cosh(eta),
    }


def _by_fastjet(jets: Jets, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Compute the named observables of FastJet, block by block."""
    return _joined(_of_jets(_without_zeros(block), names) for block in in_blocks(jets))


def _of_jets(jets: Jets, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Compute the named observables of FastJet of jets that may be empty."""
    # what a jet without constituents has: FastJet is never shown one
    values = {
        name: np.full(len(jets), float(name in ("tau21", "tau32")), dtype=np.float32) for name in FROM_FASTJET
    }
    filled = np.flatnonzero(jets.counts)
    block = jets.offsets[filled] // BLOCK_CONSTITUENTS
    for index in np.split(filled, np.flatnonzero(np.diff(block)) + 1):
        if len(index):
            for name, found in _of_block(jets.take(index), names).items():
                values[name][index] = found
    return {name: values[name] for name in names}


def _without_zeros(jets: Jets) -> Jets:
    """Leave out the constituents that have no pT."""
    keep = jets.constituent_pt > 0
    if keep.all():
        return jets
    kept = np.concatenate([[0], np.cumsum(keep)])
    return replace(
        jets,
        offsets=kept[jets.offsets],
        constituent_eta=jets.constituent_eta[keep],
        constituent_phi=jets.constituent_phi[keep],
        constituent_pt=jets.constituent_pt[keep],
        constituent_charge=None,
    )


def _of_block(jets: Jets, names: Sequence[str]) -> dict[str, Float]:
    """Compute the named observables of jets that all have constituents."""
    # a served model has no FastJet
    import awkward as ak
    import fastjet

    # FastJet would write its banner to standard output
    fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)
    constituents = ak.unflatten(ak.zip(_momenta(jets), with_name="Momentum4D"), jets.counts)
    tree = fastjet.ClusterSequence(constituents, fastjet.JetDefinition(fastjet.cambridge_algorithm, RADIUS))
    values: dict[str, Float] = {}
    if "soft_drop_mass" in names:
        groomed = tree.exclusive_jets_softdrop_grooming(beta=0.0, symmetry_cut=Z_CUT, R0=1.0)
        # FastJet gives a mass squared that rounding made negative a negative root
        values["soft_drop_mass"] = np.maximum(ak.to_numpy(groomed.msoftdrop), 0)
    if "tau21" in names or "tau32" in names:
        tau = ak.to_numpy(
            tree.njettiness("NormalizedMeasure", "OnePass_WTA_KT_Axes", njets=[1, 2, 3], beta=1.0, R0=1.0)
        )
        values["tau21"] = _ratio(tau[:, 1], tau[:, 0])
        values["tau32"] = _ratio(tau[:, 2], tau[:, 1])
    if "d2" in names:
        correlators = tree.exclusive_jets_energy_correlator(beta=1.0, func="d2")
        # constituents of next to no pT beside a hard one make more of it than single precision holds
        largest = np.finfo(np.float32).max
        values["d2"] = np.clip(np.nan_to_num(ak.to_numpy(correlators), nan=0.0, posinf=0.0), 0, largest)
    return {name: values[name] for name in names}


def _ratio(above: Float, below: Float) -> Float:
    """Divide, giving 1 where the denominator is rounding."""
    return np.divide(above, below, out=np.ones_like(below), where=below > ON_AXIS)


def _cached(jets: Jets, folder: Path) -> dict[str, npt.NDArray[Any]]:
    """Read what FastJet computes of these jets, or compute and keep it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(folder) / f"observables-{jets.fingerprint[:16]}-v{VERSION}.parquet"
    values = _read(path, len(jets))
    if values is None:
        values = _by_fastjet(jets, FROM_FASTJET)
        with whole_file(path) as temporary:
            pq.write_table(pa.table(values), temporary, compression="zstd", write_page_checksum=True)
    return values


def _read(path: Path, number: int) -> dict[str, npt.NDArray[Any]] | None:
    """Read a file of the cache; None if there is none or it is not as it should be."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = pa.schema([(name, pa.float32()) for name in FROM_FASTJET])
    try:
        with pq.ParquetFile(path, page_checksum_verification=True, memory_map=False) as file:
            # before reading, since a small file can claim to hold very many rows
            if file.metadata.num_rows != number or not file.schema_arrow.equals(wanted):
                return None
            table = file.read()
    except (pa.ArrowException, OSError):
        return None
    values = {name: table[name].to_numpy() for name in FROM_FASTJET}
    return values if all(np.isfinite(found).all() for found in values.values()) else None
