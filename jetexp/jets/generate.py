"""Candidate jets from Pythia 8 and FastJet, one reproducible chunk of events at a time.

Everything is vectorised: whole batches of events go from ``Pythia.nextBatch`` through NumPy and
awkward arrays into FastJet's awkward interface, with no Python loop over particles.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jetexp.errors import JetexpError
from jetexp.jets.sample import Jets, concatenate
from jetexp.jets.settings import GenerationSettings

if TYPE_CHECKING:
    import pythia8mc

__all__ = [
    "EVENTS_PER_CHUNK",
    "PROCESSES",
    "REACH",
    "bare_batches",
    "check_request",
    "chunk_key",
    "event_seed",
    "make_chunk",
    "physics",
    "start_pythia",
    "wrap_phi",
]

_HADRONIC_W = ("24:onMode = off", "24:onIfAny = 1 2 3 4 5")

# what Pythia makes for each class, and the parton (absolute PDG id) its jets are matched to
PROCESSES: dict[str, tuple[tuple[str, ...], int | None]] = {
    "QCD": (("HardQCD:all = on",), None),
    "W": (("WeakBosonAndParton:qqbar2Wg = on", "WeakBosonAndParton:qg2Wq = on", *_HADRONIC_W), 24),
    "top": (("Top:gg2ttbar = on", "Top:qqbar2ttbar = on", *_HADRONIC_W), 6),
}

_COMMON = (
    "Print:quiet = on",
    "Beams:idA = 2212",
    "Beams:idB = 2212",
    "Beams:eCM = 13000.",
    "PhaseSpace:pTHatMin = 550.",
    "PhaseSpace:pTHatMax = 1700.",
    "PhaseSpace:bias2Selection = on",
    "PhaseSpace:bias2SelectionPow = 5.",
    "PhaseSpace:bias2SelectionRef = 600.",
)

# the jet pT (GeV) that this range of pTHat covers without a bias at its ends
REACH = (600.0, 1500.0)
PARTICLE_ETA = 3.2
MATCHING_DISTANCE = 0.5
EVENTS_PER_CHUNK = 500
EVENTS_PER_BATCH = 100
NEUTRINOS = (12, 14, 16)
PYTHIA_SEEDS = 900_000_000


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


def physics(settings: GenerationSettings) -> dict[str, Any]:
    """Say all that decides what candidates a chunk holds, but the class, the seed and its number.

    Parameters
    ----------
    settings : GenerationSettings
        The kinematic window and the jet radius.

    Returns
    -------
    dict
        JSON-serialisable: generator and selection settings, and software versions.
    """
    return {
        "form": 1,
        "generator": list(_COMMON),
        "processes": {name: list(lines) for name, (lines, _) in PROCESSES.items()},
        "jets": "anti-kT, the hardest jet of an event in range; W and top matched to their parton",
        "radius": settings.radius,
        "pt_range": list(settings.pt_range),
        "maximum_eta": settings.maximum_eta,
        "particle_eta": PARTICLE_ETA,
        "matching_distance": MATCHING_DISTANCE,
        "events_per_chunk": EVENTS_PER_CHUNK,
        "events_per_batch": EVENTS_PER_BATCH,
        "versions": {name: version(name) for name in ("pythia8mc", "fastjet")},
    }


def chunk_key(settings: GenerationSettings) -> str:
    """Name the settings and versions that candidates depend on, in ten hexadecimal digits."""
    content = json.dumps(physics(settings), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:10]


def check_request(settings: GenerationSettings, classes: tuple[str, ...]) -> None:
    """Refuse classes and kinematic windows that cannot be made.

    Parameters
    ----------
    settings : GenerationSettings
        The kinematic window.
    classes : tuple of str
        The classes asked.

    Raises
    ------
    JetexpError
        If a class is unknown, or the window is outside the reach of the generator's settings.
    """
    for name in classes:
        if name not in PROCESSES:
            raise JetexpError(f"Pythia jets are of the classes {', '.join(PROCESSES)}; {name!r} is not one.")
    low, high = settings.pt_range
    if low < REACH[0] or high > REACH[1]:
        raise JetexpError(
            f"jets.pt_range is [{low:g}, {high:g}] GeV, but events are generated with pTHat of 550 to "
            f"1700 GeV, which covers jets of {REACH[0]:g} to {REACH[1]:g} GeV: choose a range within."
        )


def event_seed(process: str, seed: int, chunk: int) -> int:
    """Give the random seed of a chunk.

    The seeds of one sample's chunks follow each other; those of another sample begin far away
    (steps of the golden ratio), so samples of different seeds share no event. Pythia's generator
    (RANMAR, Marsaglia and Zaman) gives independent sequences for all of its 900 million seeds.

    Parameters
    ----------
    process : str
        Name of the class.
    seed, chunk : int
        Seed of the sample, number of the chunk.

    Returns
    -------
    int
        From 1 to 900 000 000.

    Examples
    --------
    >>> event_seed("W", 1, 1) - event_seed("W", 1, 0)
    1
    """
    start = seed * 556_230_589 + list(PROCESSES).index(process) * (PYTHIA_SEEDS // 3)
    return (start + chunk) % PYTHIA_SEEDS + 1


def start_pythia(process: str, random_seed: int) -> pythia8mc.Pythia:
    """Set up Pythia for a process.

    Parameters
    ----------
    process : str
        Name of the class.
    random_seed : int
        Pythia's own seed.

    Returns
    -------
    pythia8mc.Pythia
        Initialised: default tune, hadronisation and underlying event on.

    Raises
    ------
    JetexpError
        If Pythia refuses a setting or does not start.
    """
    import pythia8mc

    pythia = pythia8mc.Pythia("", False)
    lines = (*_COMMON, *PROCESSES[process][0], "Random:setSeed = on", f"Random:seed = {random_seed}")
    for line in lines:
        if not pythia.readString(line):
            raise JetexpError(f"Pythia {version('pythia8mc')} refuses the setting {line!r}.")
    if not pythia.init():
        raise JetexpError(f"Pythia {version('pythia8mc')} does not start for the process {process}.")
    return pythia


def bare_batches(pythia: pythia8mc.Pythia, events: int) -> Iterator[Any]:
    """Generate events, and do nothing with them.

    Parameters
    ----------
    pythia : pythia8mc.Pythia
        As started by ``start_pythia``.
    events : int
        Number of events.

    Yields
    ------
    awkward.Array
        Whole events, as ``Pythia.nextBatch`` gives them.
    """
    for start in range(0, events, EVENTS_PER_BATCH):
        yield pythia.nextBatch(min(EVENTS_PER_BATCH, events - start))


def make_chunk(process: str, seed: int, chunk: int, settings: GenerationSettings) -> Jets:
    """Generate one chunk of events and find its candidate jets.

    Parameters
    ----------
    process : str
        Name of the class.
    seed, chunk : int
        Seed of the sample, number of the chunk.
    settings : GenerationSettings
        The kinematic window and the jet radius.

    Returns
    -------
    Jets
        At most one an event, in the order of the events, of the one class ``process``.
    """
    pythia = start_pythia(process, event_seed(process, seed, chunk))
    return concatenate(
        [find_jets(batch, process, settings, pythia) for batch in bare_batches(pythia, EVENTS_PER_CHUNK)]
    )


def _visible(particles: Any) -> tuple[Any, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Keep the visible final-state particles in acceptance: momenta, ids and numbers an event."""
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
    return (
        {name: values[inside] for name, values in momentum.items()},
        ak.to_numpy(flat.id)[keep[inside]].astype(np.int64),
        np.bincount(event, minlength=len(counts)),
    )


_MOMENTUM = {"px": "px", "py": "py", "pz": "pz", "E": "e"}


def _eta_phi(momentum: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    transverse = np.hypot(momentum["px"], momentum["py"])
    return np.arcsinh(momentum["pz"] / transverse), np.arctan2(momentum["py"], momentum["px"])


def _near_parton(
    particles: Any, parton: int, jet_event: npt.NDArray[np.int64], jet_eta: Any, jet_phi: Any
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
    eta, phi = _eta_phi({name: ak.to_numpy(flat.p[name])[copies[last]] for name in ("px", "py", "pz")})
    pairs = jet_event[:, None] == event[last][None, :]
    distance = np.hypot(jet_eta[:, None] - eta, wrap_phi(jet_phi[:, None] - phi))
    near: npt.NDArray[np.bool_] = (pairs & (distance < MATCHING_DISTANCE)).any(axis=1)
    return near


def find_jets(events: Any, process: str, settings: GenerationSettings, pythia: pythia8mc.Pythia) -> Jets:
    """Find the hardest jet in range of each event.

    Parameters
    ----------
    events : awkward.Array
        Events of ``Pythia.nextBatch``.
    process : str
        Name of the class; its jets are matched to its parton, if it has one.
    settings : GenerationSettings
        The kinematic window and the jet radius.
    pythia : pythia8mc.Pythia
        Knows the charges of particles.

    Returns
    -------
    Jets
        At most one an event, in the order of the events.
    """
    import awkward as ak
    import fastjet

    momentum, identity, counts = _visible(events.prt)
    if not len(identity):
        return _empty(process)
    particles = ak.unflatten(ak.zip(momentum, with_name="Momentum4D"), counts)
    clusters = fastjet.ClusterSequence(
        particles, fastjet.JetDefinition(fastjet.antikt_algorithm, settings.radius)
    )
    found = clusters.inclusive_jets(min_pt=settings.pt_range[0])
    per_event = ak.to_numpy(ak.num(found))
    if not per_event.sum():
        return _empty(process)
    members = ak.flatten(clusters.constituent_index(min_pt=settings.pt_range[0]))
    jet = {name: ak.to_numpy(ak.flatten(found[name])) for name in _MOMENTUM}
    jet_event = np.repeat(np.arange(len(per_event)), per_event)
    pt = np.hypot(jet["px"], jet["py"])
    eta, phi = _eta_phi(jet)
    wanted = (pt >= settings.pt_range[0]) & (pt < settings.pt_range[1])
    wanted &= np.abs(eta) < settings.maximum_eta
    parton = PROCESSES[process][1]
    if parton is not None:
        wanted &= _near_parton(events.prt, parton, jet_event, eta, phi)
    # the hardest wanted jet of each event: sorted by event, then by falling pT, the first one
    order = np.flatnonzero(wanted)[np.lexsort((-pt[wanted], jet_event[wanted]))]
    chosen = order[np.unique(jet_event[order], return_index=True)[1]]

    lengths = ak.to_numpy(ak.num(members))[chosen]
    start = np.concatenate([[0], np.cumsum(counts)])[jet_event[chosen]]
    index = ak.to_numpy(ak.flatten(members[chosen])) + np.repeat(start, lengths)
    constituent = {name: values[index] for name, values in momentum.items()}
    part_eta, part_phi = _eta_phi(constituent)
    energy = jet["E"][chosen] ** 2 - jet["px"][chosen] ** 2 - jet["py"][chosen] ** 2 - jet["pz"][chosen] ** 2
    return Jets(
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        constituent_eta=(part_eta - np.repeat(eta[chosen], lengths)).astype(np.float32),
        constituent_phi=_single(wrap_phi(part_phi - np.repeat(phi[chosen], lengths))),
        constituent_pt=np.hypot(constituent["px"], constituent["py"]).astype(np.float32),
        constituent_charge=_charges(identity[index], pythia),
        label=np.zeros(len(chosen), dtype=np.int64),
        pt=pt[chosen].astype(np.float32),
        eta=eta[chosen].astype(np.float32),
        mass=np.sqrt(np.maximum(energy, 0)).astype(np.float32),
        weight=ak.to_numpy(events.info.weights[:, 0])[jet_event[chosen]].astype(np.float64),
        classes=(process,),
    )


def _single(phi: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Turn wrapped angles into float32, still within [-pi, pi)."""
    return np.clip(phi.astype(np.float32), np.float32(-3.1415925), np.float32(3.1415925))


def _charges(identity: npt.NDArray[np.int64], pythia: pythia8mc.Pythia) -> npt.NDArray[np.int8]:
    """Look up electric charges in units of e, once a species."""
    species, which = np.unique(identity, return_inverse=True)
    charge = [pythia.particleData.chargeType(int(one)) // 3 for one in species]
    return np.array(charge, dtype=np.int8)[which]


def _empty(process: str) -> Jets:
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
        classes=(process,),
    )
