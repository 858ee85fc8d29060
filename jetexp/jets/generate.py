"""Events from Pythia 8 and their candidate jets, one reproducible chunk at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from jetexp.errors import JetexpError
from jetexp.jets.calorimeter import observer
from jetexp.jets.clustering import MATCHING_DISTANCE, PARTICLE_ETA, Particles, find_jets
from jetexp.jets.pileup import MINIMUM_BIAS, POOL_EVENTS, collect, pool_physics
from jetexp.jets.sample import Jets, concatenate
from jetexp.jets.settings import GenerationSettings

if TYPE_CHECKING:
    import pythia8mc

__all__ = [
    "EVENTS_PER_CHUNK",
    "PROCESSES",
    "REACH",
    "bare_batches",
    "candidates",
    "check_request",
    "chunk_key",
    "event_seed",
    "events_per_chunk",
    "make_chunk",
    "make_pool",
    "physics",
    "start_pythia",
]

_HADRONIC_W = ("24:onMode = off", "24:onIfAny = 1 2 3 4 5")

# what Pythia makes for each class, and the parton (absolute PDG id) its jets are matched to
PROCESSES: dict[str, tuple[tuple[str, ...], int | None]] = {
    "QCD": (("HardQCD:all = on",), None),
    "W": (("WeakBosonAndParton:qqbar2Wg = on", "WeakBosonAndParton:qg2Wq = on", *_HADRONIC_W), 24),
    "top": (("Top:gg2ttbar = on", "Top:qqbar2ttbar = on", *_HADRONIC_W), 6),
}

# Vincia prints its settings on standard output at any other verbosity
SHOWERS: dict[str, tuple[str, ...]] = {
    "simple": (),
    "vincia": ("PartonShowers:model = 2", "Print:verbosity = 1"),
}

_BEAMS = (
    "Print:quiet = on",
    "Beams:idA = 2212",
    "Beams:idB = 2212",
    "Beams:eCM = 13000.",
)
# GeV, of the hard collision alone
LOWEST_PTHAT = 550.0
# a further collision adds 3 GeV to a jet of radius 1, and their number varies
PTHAT_OF_A_COLLISION = 4.0
LEAST_PTHAT = 150.0
_COMMON = (
    *_BEAMS,
    "PhaseSpace:pTHatMax = 1700.",
    "PhaseSpace:bias2Selection = on",
    "PhaseSpace:bias2SelectionPow = 5.",
    "PhaseSpace:bias2SelectionRef = 600.",
)

# the jet pT (GeV) that this range of pTHat covers; up to 640 a part of the jets, of lower pTHat, is missing
REACH = (600.0, 1500.0)
# of Pythia's own shower: five seconds
EVENTS_PER_CHUNK = 500
# Vincia takes sixteen times as long for an event
VINCIA_EVENTS_PER_CHUNK = 100
EVENTS_PER_BATCH = 100
PYTHIA_SEEDS = 900_000_000


def events_per_chunk(settings: GenerationSettings) -> int:
    """Say how many events a chunk is made of.

    Parameters
    ----------
    settings : GenerationSettings
        With the shower.

    Returns
    -------
    int
        The smaller the slower the shower is, so that a small sample, whose chunks are made whole, does not
        take minutes.
    """
    return VINCIA_EVENTS_PER_CHUNK if settings.shower == "vincia" else EVENTS_PER_CHUNK


def physics(settings: GenerationSettings) -> dict[str, Any]:
    """Say all that decides what candidates a chunk holds, but the class, the seed and its number.

    Parameters
    ----------
    settings : GenerationSettings
        The kinematic window, the jet radius, the shower and the surroundings.

    Returns
    -------
    dict
        JSON-serialisable: generator and selection settings, and software versions. A shower,
        pile-up or calorimeter that is not the default adds a key of its own; nothing else does,
        so that samples stored before these settings came keep their names.
    """
    added: dict[str, Any] = {}
    if settings.shower != "simple":
        added["shower"] = list(SHOWERS[settings.shower])
    if settings.pileup:
        added["pileup"] = {"mean": settings.pileup, **pool_physics()}
    if settings.calorimeter is not None:
        added["calorimeter"] = settings.calorimeter.model_dump(mode="json")
    return added | {
        "form": 1,
        "generator": list(_phase_space(settings.pileup)),
        "processes": {name: list(lines) for name, (lines, _) in PROCESSES.items()},
        "jets": "anti-kT, the hardest jet of an event in range; W and top matched to their parton",
        "radius": settings.radius,
        "pt_range": list(settings.pt_range),
        "maximum_eta": settings.maximum_eta,
        "particle_eta": PARTICLE_ETA,
        "matching_distance": MATCHING_DISTANCE,
        "events_per_chunk": events_per_chunk(settings),
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
        If a class is unknown, or the window is outside the reach of the generator's settings or of the
        particles that are seen.
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
    if settings.maximum_eta + settings.radius > PARTICLE_ETA:
        raise JetexpError(
            f"jets.maximum_eta is {settings.maximum_eta:g} and jets.radius {settings.radius:g}, but "
            f"particles are seen up to {PARTICLE_ETA:g} in eta: a sum of no more would be right."
        )


def event_seed(process: str, seed: int, chunk: int) -> int:
    """Give the random seed of a chunk.

    The seeds of one sample's chunks follow each other; those of another sample begin far away
    (steps of the golden ratio), so samples of different seeds share no event, but for some pairs of seeds
    over a hundred thousand apart and samples of hundreds of thousands of jets. Pythia's generator
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


def _phase_space(pileup: float) -> tuple[str, ...]:
    """Give the settings that all processes share: what lies on top of a jet lifts softer ones into reach."""
    lowest = round(max(LEAST_PTHAT, LOWEST_PTHAT - PTHAT_OF_A_COLLISION * pileup))
    beams = len(_BEAMS)
    return (*_COMMON[:beams], f"PhaseSpace:pTHatMin = {lowest}.", *_COMMON[beams:])


def start_pythia(
    process: str, random_seed: int, shower: str = "simple", pileup: float = 0.0
) -> pythia8mc.Pythia:
    """Set up Pythia for a process.

    Parameters
    ----------
    process : str
        Name of the class.
    random_seed : int
        Pythia's own seed.
    shower : {"simple", "vincia"}
        The parton shower.
    pileup : float
        Mean number of further collisions that the events will be seen under.

    Returns
    -------
    pythia8mc.Pythia
        Initialised: the shower's default tune, hadronisation and underlying event on.

    Raises
    ------
    JetexpError
        If the shower is unknown, or Pythia refuses a setting or does not start.
    """
    if shower not in SHOWERS:
        raise JetexpError(f"Pythia's showers are {' and '.join(SHOWERS)}; {shower!r} is not one.")
    return _started((*_phase_space(pileup), *PROCESSES[process][0], *SHOWERS[shower]), random_seed, process)


def _started(lines: tuple[str, ...], random_seed: int, process: str) -> pythia8mc.Pythia:
    """Start Pythia with these settings and this seed."""
    import pythia8mc

    pythia = pythia8mc.Pythia("", False)
    for line in (*lines, "Random:setSeed = on", f"Random:seed = {random_seed}"):
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


def make_pool(seed: int, events: int = POOL_EVENTS) -> Particles:
    """Generate the collisions that pile-up is drawn from, with Pythia's own shower.

    Parameters
    ----------
    seed : int
        Seed of the sample that the pool is for.
    events : int
        Number of collisions.

    Returns
    -------
    Particles
        The visible particles of each collision.
    """
    # half way between the seeds of two processes
    random_seed = (event_seed(next(iter(PROCESSES)), seed, 0) + PYTHIA_SEEDS // 6) % PYTHIA_SEEDS + 1
    pythia = _started((*_BEAMS, *MINIMUM_BIAS), random_seed, "minimum bias")
    return collect(bare_batches(pythia, events))


def make_chunk(
    process: str, seed: int, chunk: int, settings: GenerationSettings, pool: Particles | None = None
) -> Jets:
    """Generate one chunk of events and find its candidate jets.

    Parameters
    ----------
    process : str
        Name of the class.
    seed, chunk : int
        Seed of the sample, number of the chunk.
    settings : GenerationSettings
        The kinematic window, the jet radius, the shower and the surroundings.
    pool : Particles, optional
        Collisions that pile-up is drawn from, needed where there is some.

    Returns
    -------
    Jets
        At most one an event, in the order of the events, of the one class ``process``.
    """
    random_seed = event_seed(process, seed, chunk)
    observe = observer(settings, random_seed, pool)
    pythia = start_pythia(process, random_seed, settings.shower, settings.pileup)
    return concatenate(
        [
            candidates(batch, process, settings, pythia, observe)
            for batch in bare_batches(pythia, events_per_chunk(settings))
        ]
    )


def candidates(
    events: Any,
    process: str,
    settings: GenerationSettings,
    pythia: pythia8mc.Pythia,
    observe: Callable[[Particles], Particles] | None = None,
) -> Jets:
    """Find the candidate jets of a batch of events.

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
    observe : callable, optional
        What happens to visible particles before jets are found; by default nothing.

    Returns
    -------
    Jets
        At most one an event, in the order of the events.
    """
    return find_jets(
        events,
        settings,
        name=process,
        parton=PROCESSES[process][1],
        charge=_charge(pythia),
        observe=observe,
    )


def _charge(pythia: pythia8mc.Pythia) -> Callable[[int], int]:
    """Give the electric charge of a species, in units of e."""
    return lambda identity: pythia.particleData.chargeType(identity) // 3
