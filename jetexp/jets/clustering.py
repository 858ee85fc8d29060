"""From events to jets: anti-kT, the hardest jet in range of each event, matched to its parton.

Everything is vectorised: whole batches of events go from ``Pythia.nextBatch`` through NumPy and
awkward arrays into FastJet's awkward interface, with no Python loop over particles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jetexp.jets.sample import Jets
from jetexp.jets.settings import GenerationSettings

__all__ = ["MATCHING_DISTANCE", "PARTICLE_ETA", "Particles", "eta_phi", "find_jets", "visible", "wrap_phi"]

PARTICLE_ETA = 3.2
MATCHING_DISTANCE = 0.5
NEUTRINOS = (12, 14, 16)

Index = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]

# FastJet's names of a momentum's components, and Pythia's
_MOMENTUM = {"px": "px", "py": "py", "pz": "pz", "E": "e"}


@dataclass(frozen=True, eq=False)
class Particles:
    """Particles of some events, event after event.

    Attributes
    ----------
    momentum : dict of ndarray of float64, shape (M,)
        The components ``px``, ``py``, ``pz`` and ``E``, in GeV.
    identity : ndarray of int64, shape (M,)
        PDG ids.
    counts : ndarray of int64, shape (N,)
        Number of particles of each event.
    """

    momentum: dict[str, Float]
    identity: Index
    counts: Index

    @property
    def event(self) -> Index:
        """Number of the event that each particle belongs to, shape (M,)."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @property
    def start(self) -> Index:
        """Where the particles of each event begin, shape (N + 1,)."""
        return np.concatenate([[0], np.cumsum(self.counts)])


def wrap_phi(phi: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Bring angles into [-pi, pi).

    Parameters
    ----------
    phi : ndarray of float
        Angles in radians.

    Returns
    -------
    ndarray of float
        The same angles in [-pi, pi).

    Examples
    --------
    >>> wrap_phi(np.array([0.5, np.pi, -np.pi])).round(4).tolist()
    [0.5, -3.1416, -3.1416]
    """
    wrapped = (phi + np.pi) % (2 * np.pi) - np.pi
    # the modulo of a tiny negative number rounds up to 2 pi itself
    return np.where(wrapped >= np.pi, -np.pi, wrapped)


def visible(particles: Any) -> Particles:
    """Keep the visible final-state particles in acceptance.

    Parameters
    ----------
    particles : awkward.Array
        The particles ``prt`` of events of ``Pythia.nextBatch``.

    Returns
    -------
    Particles
        Of the same events: neither neutrinos, nor what flies beyond |eta| of ``PARTICLE_ETA``.
    """
    import awkward as ak

    counts = ak.to_numpy(ak.num(particles))
    flat = ak.flatten(particles)
    identity = np.abs(ak.to_numpy(flat.id))
    keep = np.flatnonzero((ak.to_numpy(flat.status) > 0) & ~np.isin(identity, NEUTRINOS))
    momentum = {name: ak.to_numpy(flat.p[field])[keep] for name, field in _MOMENTUM.items()}
    transverse = np.hypot(momentum["px"], momentum["py"])
    # |eta| < a is |pz| < pT sinh(a); this also leaves out particles along the beam
    inside = np.abs(momentum["pz"]) < transverse * np.sinh(PARTICLE_ETA)
    event = np.repeat(np.arange(len(counts)), counts)[keep[inside]]
    return Particles(
        {name: values[inside] for name, values in momentum.items()},
        ak.to_numpy(flat.id)[keep[inside]].astype(np.int64),
        np.bincount(event, minlength=len(counts)),
    )


def eta_phi(momentum: dict[str, Float]) -> tuple[Float, Float]:
    """Give the direction of momenta.

    Parameters
    ----------
    momentum : dict of ndarray of float64, shape (M,)
        The components ``px``, ``py`` and ``pz``, none along the beam.

    Returns
    -------
    tuple of ndarray of float64, shape (M,)
        Pseudorapidity, and the azimuth in radians.
    """
    transverse = np.hypot(momentum["px"], momentum["py"])
    return np.arcsinh(momentum["pz"] / transverse), np.arctan2(momentum["py"], momentum["px"])


def _near_parton(
    particles: Any, parton: int, jet_event: Index, jet_eta: Float, jet_phi: Float
) -> npt.NDArray[np.bool_]:
    """Tell which jets lie within the matching distance of a last copy of the parton."""
    import awkward as ak

    counts = ak.to_numpy(ak.num(particles))
    start = np.concatenate([[0], np.cumsum(counts)])
    flat = ak.flatten(particles)
    identity = ak.to_numpy(flat.id)
    copies = np.flatnonzero(np.abs(identity) == parton)
    event = np.searchsorted(start, copies, side="right") - 1
    # a copy is the last one if no daughter of it is the same parton
    last = np.ones(len(copies), dtype=bool)
    for field in ("daughter1", "daughter2"):
        daughter = start[event] + ak.to_numpy(flat[field])[copies]
        last &= identity[daughter] != identity[copies]
    eta, phi = eta_phi({name: ak.to_numpy(flat.p[name])[copies[last]] for name in ("px", "py", "pz")})
    pairs = jet_event[:, None] == event[last][None, :]
    distance = np.hypot(jet_eta[:, None] - eta, wrap_phi(jet_phi[:, None] - phi))
    near: npt.NDArray[np.bool_] = (pairs & (distance < MATCHING_DISTANCE)).any(axis=1)
    return near


def find_jets(
    events: Any,
    settings: GenerationSettings,
    *,
    name: str,
    parton: int | None,
    charge: Callable[[int], int],
    observe: Callable[[Particles], Particles] | None = None,
) -> Jets:
    """Find the hardest jet in range of each event.

    Parameters
    ----------
    events : awkward.Array
        Events of ``Pythia.nextBatch``.
    settings : GenerationSettings
        The kinematic window and the jet radius.
    name : str
        Name of the jets' class.
    parton : int, optional
        Absolute PDG id of the parton that jets are matched to.
    charge : callable
        Gives the electric charge of a PDG id, in units of e.
    observe : callable, optional
        What happens to the visible particles before jets are found: pile-up, a calorimeter. The
        parton is always that of the hard event.

    Returns
    -------
    Jets
        At most one an event, in the order of the events.
    """
    import awkward as ak

    particles = visible(events.prt)
    if observe is not None:
        particles = observe(particles)
    if not len(particles.identity):
        return _empty(name)
    jet, jet_event, members = _clustered(particles, settings)
    if not len(jet_event):
        return _empty(name)
    chosen = _hardest_wanted(events.prt, jet, jet_event, settings, parton)

    eta, phi = (values[chosen] for values in eta_phi(jet))
    lengths = ak.to_numpy(ak.num(members))[chosen]
    start = particles.start[jet_event[chosen]]
    index = ak.to_numpy(ak.flatten(members[chosen])) + np.repeat(start, lengths)
    constituent = {component: values[index] for component, values in particles.momentum.items()}
    constituent_eta, constituent_phi = eta_phi(constituent)
    px, py, pz, energy = (jet[component][chosen] for component in _MOMENTUM)
    return Jets(
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        constituent_eta=(constituent_eta - np.repeat(eta, lengths)).astype(np.float32),
        constituent_phi=_single(wrap_phi(constituent_phi - np.repeat(phi, lengths))),
        constituent_pt=np.hypot(constituent["px"], constituent["py"]).astype(np.float32),
        constituent_charge=_charges(particles.identity[index], charge),
        label=np.zeros(len(chosen), dtype=np.int64),
        pt=np.hypot(px, py).astype(np.float32),
        eta=eta.astype(np.float32),
        mass=np.sqrt(np.maximum(energy**2 - px**2 - py**2 - pz**2, 0)).astype(np.float32),
        weight=ak.to_numpy(events.info.weights[:, 0])[jet_event[chosen]].astype(np.float64),
        classes=(name,),
    )


def _clustered(particles: Particles, settings: GenerationSettings) -> tuple[dict[str, Float], Index, Any]:
    """Cluster each event: momenta of the jets, their events, their constituents' indices therein."""
    import awkward as ak
    import fastjet

    events = ak.unflatten(ak.zip(particles.momentum, with_name="Momentum4D"), particles.counts)
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, settings.radius)
    clusters = fastjet.ClusterSequence(events, definition)
    found = clusters.inclusive_jets(min_pt=settings.pt_range[0])
    members = ak.flatten(clusters.constituent_index(min_pt=settings.pt_range[0]))
    jet = {component: ak.to_numpy(ak.flatten(found[component])) for component in _MOMENTUM}
    per_event = ak.to_numpy(ak.num(found))
    return jet, np.repeat(np.arange(len(per_event)), per_event), members


def _hardest_wanted(
    particles: Any,
    jet: dict[str, Float],
    jet_event: Index,
    settings: GenerationSettings,
    parton: int | None,
) -> Index:
    """Choose the hardest jet of each event among those in range and near their parton."""
    pt = np.hypot(jet["px"], jet["py"])
    eta, phi = eta_phi(jet)
    wanted = (pt >= settings.pt_range[0]) & (pt < settings.pt_range[1])
    wanted &= np.abs(eta) < settings.maximum_eta
    if parton is not None:
        wanted &= _near_parton(particles, parton, jet_event, eta, phi)
    # sorted by event, then by falling pT: the first of each event is the hardest
    order = np.flatnonzero(wanted)[np.lexsort((-pt[wanted], jet_event[wanted]))]
    chosen: Index = order[np.unique(jet_event[order], return_index=True)[1]]
    return chosen


def _single(phi: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Turn wrapped angles into float32, still within [-pi, pi)."""
    return np.clip(phi.astype(np.float32), np.float32(-3.1415925), np.float32(3.1415925))


def _charges(identity: Index, charge: Callable[[int], int]) -> npt.NDArray[np.int8]:
    """Look up electric charges, once a species."""
    species, which = np.unique(identity, return_inverse=True)
    return np.array([charge(int(one)) for one in species], dtype=np.int8)[which]


def _empty(name: str) -> Jets:
    """No jets of this class, with charges and weights."""
    none = np.zeros(0, dtype=np.float32)
    return Jets(
        offsets=np.zeros(1, dtype=np.int64),
        constituent_eta=none,
        constituent_phi=none,
        constituent_pt=none,
        constituent_charge=np.zeros(0, dtype=np.int8),
        label=np.zeros(0, dtype=np.int64),
        pt=none,
        eta=none,
        mass=none,
        weight=np.zeros(0),
        classes=(name,),
    )
