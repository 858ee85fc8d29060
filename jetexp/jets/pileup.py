"""Pile-up: further proton collisions, drawn from a pool and laid over the events.

The pool is made once for each seed of a sample and kept on disk. A collision that is drawn is
turned by a random angle about the beam and mirrored along it at random, under both of which the
physics is symmetric, so that drawing it again gives another event.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jetexp.errors import JetFileError
from jetexp.files import whole_file
from jetexp.jets.clustering import PARTICLE_ETA, Particles, visible
from jetexp.jets.lock import only_maker

__all__ = [
    "MINIMUM_BIAS",
    "POOL_EVENTS",
    "collect",
    "overlay",
    "pool_path",
    "pool_physics",
    "read_pool",
    "stored_pool",
]

logger = logging.getLogger(__name__)

MINIMUM_BIAS = ("SoftQCD:nonDiffractive = on",)
POOL_EVENTS = 3_000

_COLUMNS = {"px": np.float32, "py": np.float32, "pz": np.float32, "mass": np.float32, "id": np.int32}


def pool_physics() -> dict[str, Any]:
    """Say all that decides what a pool holds, but its seed and the software's versions.

    Returns
    -------
    dict
        JSON-serialisable.
    """
    return {"process": list(MINIMUM_BIAS), "pool_events": POOL_EVENTS, "particle_eta": PARTICLE_ETA}


def pool_path(folder: Path, seed: int) -> Path:
    """Name the file of a pool.

    Parameters
    ----------
    folder : Path
        Where samples are kept.
    seed : int
        Seed of the sample that the pool is for.

    Returns
    -------
    Path
        Its name says the seed and Pythia's version, and has a digest of everything else.
    """
    content = json.dumps([pool_physics(), version("pythia8mc")], sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:8]
    return folder / f"pileup-seed{seed}-{digest}-pythia{version('pythia8mc')}.parquet"


def collect(batches: Iterable[Any]) -> Particles:
    """Keep the visible particles of generated collisions.

    Parameters
    ----------
    batches : iterable of awkward.Array
        Events of ``Pythia.nextBatch``.

    Returns
    -------
    Particles
        Those of all collisions.
    """
    parts = [visible(batch.prt) for batch in batches]
    return Particles(
        {name: np.concatenate([part.momentum[name] for part in parts]) for name in parts[0].momentum},
        np.concatenate([part.identity for part in parts]),
        np.concatenate([part.counts for part in parts]),
    )


def overlay(particles: Particles, pool: Particles, mean: float, rng: np.random.Generator) -> Particles:
    """Lay further collisions over events.

    Parameters
    ----------
    particles : Particles
        Those of N events.
    pool : Particles
        Those of the collisions to draw from, with repetition.
    mean : float
        Mean number of further collisions in an event.
    rng : numpy.random.Generator
        Draws their numbers, which they are, and how each is turned and mirrored.

    Returns
    -------
    Particles
        Of the same N events: in each, first its own particles, then those of the pile-up.
    """
    events = len(particles.counts)
    numbers = rng.poisson(mean, events)
    drawn = rng.integers(len(pool.counts), size=numbers.sum())
    angle = rng.uniform(-np.pi, np.pi, len(drawn))
    mirror = rng.choice((-1.0, 1.0), len(drawn))

    lengths = pool.counts[drawn]
    ends = np.cumsum(lengths)
    index = np.arange(lengths.sum()) + np.repeat(pool.start[drawn] - (ends - lengths), lengths)
    cosine, sine = (np.repeat(values, lengths) for values in (np.cos(angle), np.sin(angle)))
    px, py = (pool.momentum[name][index] for name in ("px", "py"))
    added = {
        "px": cosine * px - sine * py,
        "py": sine * px + cosine * py,
        "pz": pool.momentum["pz"][index] * np.repeat(mirror, lengths),
        "E": pool.momentum["E"][index],
    }
    event = np.concatenate([particles.event, np.repeat(np.repeat(np.arange(events), numbers), lengths)])
    # a stable sort keeps the event's own particles in front
    order = np.argsort(event, kind="stable")
    return Particles(
        {name: np.concatenate([values, added[name]])[order] for name, values in particles.momentum.items()},
        np.concatenate([particles.identity, pool.identity[index]])[order],
        np.bincount(event, minlength=events),
    )


def stored_pool(folder: Path, seed: int, make: Callable[[], Particles]) -> Path:
    """Give the file of a pool, making it if it is not there yet.

    Parameters
    ----------
    folder : Path
        Where samples are kept.
    seed : int
        Seed of the sample that the pool is for.
    make : callable
        Makes the pool.

    Returns
    -------
    Path
        For ``read_pool``.

    Raises
    ------
    JetexpError
        If the folder cannot be written, or the disk is full.
    """
    path = pool_path(folder, seed)
    if _usable(path):
        return path
    with only_maker(folder / f".{path.name}.lock", "pile-up"):
        # another process may have made it while this one waited
        if not _usable(path):
            # what a process that was killed left behind
            for remains in folder.glob(f".{path.name}.*.parquet"):
                remains.unlink(missing_ok=True)
            logger.info("Making a pool of %d collisions for pile-up.", POOL_EVENTS)
            _write(make(), path)
    return path


def _usable(path: Path) -> bool:
    """Tell whether a pool is there and whole."""
    if not path.exists():
        return False
    try:
        read_pool(path)
    except JetFileError as error:
        logger.warning("%s It is made again.", error)
        return False
    return True


def _write(pool: Particles, path: Path) -> None:
    """Write a pool as one Parquet file, one row a collision, whole or not at all."""
    # the mass, not the energy, is stored: in single precision the energy would not know it
    squares = {name: values**2 for name, values in pool.momentum.items()}
    mass = np.sqrt(np.maximum(squares["E"] - squares["px"] - squares["py"] - squares["pz"], 0))
    values = pool.momentum | {"mass": mass, "id": pool.identity}
    offsets = pa.array(pool.start.astype(np.int32))
    columns = {
        name: pa.ListArray.from_arrays(offsets, pa.array(values[name].astype(form)))
        for name, form in _COLUMNS.items()
    }
    with whole_file(path) as temporary:
        pq.write_table(pa.table(columns), temporary, compression="zstd", write_page_checksum=True)


def read_pool(path: Path) -> Particles:
    """Read a pool.

    Parameters
    ----------
    path : Path
        As given by ``stored_pool``.

    Returns
    -------
    Particles
        The visible particles of each of its collisions.

    Raises
    ------
    JetFileError
        If the file is damaged or holds something else.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True, memory_map=False) as file:
            table = file.read()
        columns = {name: table.column(name).combine_chunks() for name in _COLUMNS}
        counts = {name: column.value_lengths().to_numpy() for name, column in columns.items()}
        flat = {name: column.flatten().to_numpy() for name, column in columns.items()}
    except (pa.ArrowException, OSError, KeyError, AttributeError) as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise JetFileError(f"{path} cannot be read as a pool of collisions: {reason}.") from error
    same = all(np.array_equal(values, counts["px"]) for values in counts.values())
    if not same or not len(counts["px"]) or any(flat[name].dtype != form for name, form in _COLUMNS.items()):
        raise JetFileError(f"{path} cannot be read as a pool of collisions: its columns do not fit.")
    momentum = {name: flat[name].astype(np.float64) for name in ("px", "py", "pz")}
    mass = flat["mass"].astype(np.float64)
    momentum["E"] = np.sqrt(sum(values**2 for values in momentum.values()) + mass**2)
    return Particles(momentum, flat["id"].astype(np.int64), counts["px"].astype(np.int64))
