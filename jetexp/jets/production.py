"""A sample of generated jets: chunks made in parallel, kept on disk, accepted in order."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from jetexp.cluster import check_workers
from jetexp.console import progress
from jetexp.errors import JetexpError, JetFileError
from jetexp.files import free_space
from jetexp.jets.collection import collect, relabelled
from jetexp.jets.generate import (
    PROCESSES,
    check_request,
    chunk_key,
    events_per_chunk,
    make_chunk,
    make_pool,
    physics,
)
from jetexp.jets.lock import only_maker
from jetexp.jets.pileup import read_pool, stored_pool
from jetexp.jets.sample import Jets
from jetexp.jets.settings import GenerationSettings
from jetexp.jets.spectrum import Spectrum, acceptance, fit_spectrum
from jetexp.jets.store import MANIFEST, read_jets, write_jets
from jetexp.jets.table import read_table, write_chunk
from jetexp.workers import Workers, cores, finished_tasks

__all__ = ["generated_jets", "make_part", "sample_folder"]

logger = logging.getLogger(__name__)

# a chunk is accepted by the spectra of all chunks up to it, of these at most
SPECTRUM_CHUNKS = 20
# of a chunk's events, the part that is accepted, before anything is known of it
FIRST_GUESS = 0.8
BYTES_PER_JET = 1_000
# of a part: who makes the sample waits for those that are being made
PART_LOCK = ".part-{}.lock"
# temporary folders of jets that are put together
REMAINS = ".jets-"
# and of each collision of its pile-up, at a radius of 1
BYTES_PER_COLLISION = 120
SELECTION = (
    "The sample is defined by its selection: events are generated with pTHat weighted by its power of 5 "
    "(bias2Selection), and each class is accepted against the smallest common density of jet pT. The "
    "event weights that would undo the first are stored, and not used in training."
)


def sample_folder(settings: GenerationSettings, classes: Sequence[str], folder: Path) -> Path:
    """Name the folder of a generated sample.

    Parameters
    ----------
    settings : GenerationSettings
        What is asked.
    classes : sequence of str
        The classes, in any order: it does not matter to the jets.
    folder : Path
        Where samples are kept.

    Returns
    -------
    Path
        Its name says classes, size and seed, and has a digest of everything else.
    """
    names = sorted(classes)
    content = json.dumps([physics(settings), SPECTRUM_CHUNKS, settings.per_class, settings.seed, names])
    digest = hashlib.sha256(content.encode()).hexdigest()[:8]
    return folder / f"pythia-{'-'.join(names)}-{settings.per_class}-seed{settings.seed}-{digest}"


def generated_jets(
    settings: GenerationSettings,
    classes: Sequence[str],
    folder: Path,
    *,
    workers: Workers | None = None,
    scratch: Path | None = None,
) -> Jets:
    """Give a sample of generated jets, making what is not there yet.

    Parameters
    ----------
    settings : GenerationSettings
        What is asked.
    classes : sequence of str
        The classes, in the order of the labels.
    folder : Path
        Where samples and chunks are kept.
    workers : int or distributed.Client, optional
        Number of processes, or a Dask cluster; by default one a core. The jets do not depend on it.
    scratch : Path, optional
        Where jets that are too many for the memory are kept; see :func:`jetexp.jets.collection.collect`.

    Returns
    -------
    Jets
        ``settings.per_class`` jets of each class; a larger request begins with the same jets.

    Raises
    ------
    JetexpError
        If a class or window cannot be made, the disk is too small, or a worker dies.
    """
    check_request(settings, tuple(classes))
    target = sample_folder(settings, classes, folder)
    if not (target / MANIFEST).exists():
        _check_space(settings, classes, folder)
        chunks = _chunks_folder(settings, folder)
        with only_maker(chunks / ".lock", "jets"):
            # another process may have made it while this one waited
            if not (target / MANIFEST).exists():
                for part in sorted(chunks.glob(PART_LOCK.format("*"))):
                    with only_maker(part, "a part of the jets"):
                        pass
                _clear_remains(chunks)
                if workers is not None and not isinstance(workers, int):
                    check_workers(workers, chunks, partial(physics, settings))
                production = _production(settings, classes, folder)
                with TemporaryDirectory(prefix=REMAINS, dir=chunks) as temporary:
                    write_jets(production.run(workers or cores(), Path(temporary)), target)
    jets = read_jets(target, scratch=scratch)
    return relabelled(jets, classes)


def make_part(
    settings: GenerationSettings,
    classes: Sequence[str],
    folder: Path,
    part: int,
    parts: int,
    *,
    workers: Workers | None = None,
) -> int:
    """Make one of several parts of the events that a sample needs, as one job of an array does.

    :func:`generated_jets` puts the sample together afterwards, and makes what is still missing.

    Parameters
    ----------
    settings : GenerationSettings
        What is asked.
    classes : sequence of str
        The classes.
    folder : Path
        Where samples and chunks are kept, which all parts share.
    part, parts : int
        Which part, from 0, of how many.
    workers : int or distributed.Client, optional
        Number of processes, or a Dask cluster; by default one a core.

    Returns
    -------
    int
        Number of chunks of events that were made.

    Raises
    ------
    JetexpError
        As of :func:`generated_jets`, or if there is no such part.
    """
    check_request(settings, tuple(classes))
    if not 0 <= part < parts:
        raise JetexpError(f"There is no part {part} of {parts}: 0 to {parts - 1} would be right.")
    if (sample_folder(settings, classes, folder) / MANIFEST).exists():
        return 0
    _check_space(settings, classes, folder)
    chunks = _chunks_folder(settings, folder)
    with only_maker(chunks / PART_LOCK.format(f"{part}-of-{parts}"), f"part {part} of the jets"):
        if workers is not None and not isinstance(workers, int):
            check_workers(workers, chunks, partial(physics, settings))
        return _production(settings, classes, folder).make_part(part, parts, workers or cores())


def _chunks_folder(settings: GenerationSettings, folder: Path) -> Path:
    return folder / "chunks" / f"seed{settings.seed}-{chunk_key(settings)}"


def _production(settings: GenerationSettings, classes: Sequence[str], folder: Path) -> _Production:
    pool = None
    if settings.pileup:
        pool = stored_pool(folder, settings.seed, lambda: make_pool(settings.seed))
    return _Production(settings, tuple(sorted(classes)), _chunks_folder(settings, folder), pool)


def _check_space(settings: GenerationSettings, classes: Sequence[str], folder: Path) -> None:
    """Refuse, before any work, what the disk cannot hold."""
    # whole chunks of candidates, and the sample itself
    candidates = max(settings.per_class / FIRST_GUESS, events_per_chunk(settings))
    each = BYTES_PER_JET + BYTES_PER_COLLISION * settings.pileup
    needed = int(len(classes) * (candidates + settings.per_class) * each)
    free, _ = free_space(folder)
    if free < needed:
        raise JetexpError(
            f"{settings.per_class} jets of each of {', '.join(classes)} need about {needed / 1e6:.1f} MB "
            f"in {folder}, but {free / 1e6:.1f} MB are free there."
        )


def _clear_remains(chunks: Path) -> None:
    """Remove the temporary files of a process that was killed."""
    for remains in chunks.glob("*/.*.parquet"):
        remains.unlink(missing_ok=True)
    for folder in chunks.glob(f"{REMAINS}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _make(
    process: str, seed: int, chunk: int, settings: GenerationSettings, path: Path, pool: Path | None
) -> None:
    """Make one chunk, in a worker."""
    collisions = None if pool is None else read_pool(pool)
    write_chunk(make_chunk(process, seed, chunk, settings, collisions), path)


@dataclass
class _Production:
    """The making of one sample.

    Attributes
    ----------
    settings : GenerationSettings
        What is asked.
    classes : tuple of str
        In alphabetical order.
    chunks : Path
        Where this seed's chunks are kept.
    pool : Path, optional
        The collisions that pile-up is drawn from, if there is pile-up.
    pt : dict
        For each class, the pT of the candidates of each chunk that is made.
    """

    settings: GenerationSettings
    classes: tuple[str, ...]
    chunks: Path
    pool: Path | None = None
    pt: dict[str, dict[int, npt.NDArray[np.float32]]] = field(default_factory=dict)
    fits: dict[int, dict[str, Spectrum]] = field(default_factory=dict)
    accepted: dict[str, list[npt.NDArray[np.int64]]] = field(default_factory=dict)

    def run(self, workers: Workers, scratch: Path) -> Jets:
        """Make the chunks that are needed and put the sample together."""
        start, made = time.monotonic(), 0
        self._find_made()
        with progress() as display:
            bars = {
                name: display.add_task(f"{name} jets", total=self.settings.per_class, rate="")
                for name in self.classes
            }
            before = self._advance()
            if not self._complete():
                logger.info(
                    "Making %d jets of each of %s, with %s.",
                    self.settings.per_class,
                    ", ".join(self.classes),
                    f"{workers} workers" if isinstance(workers, int) else "the Dask cluster",
                )
            for name, bar in bars.items():
                display.update(bar, completed=min(before[name], self.settings.per_class))
            for now in self._make_chunks(workers, self._next) if not self._complete() else ():
                made += 1
                rate = (sum(now.values()) - sum(before.values())) / (time.monotonic() - start)
                for name, bar in bars.items():
                    done = min(now[name], self.settings.per_class)
                    display.update(bar, completed=done, rate=f"{rate:.0f} jets/s")
        if made:
            logger.info("Made %d chunks of events in %.0f s.", made, time.monotonic() - start)
        return collect(self._assembled(), scratch, provenance=self._provenance)

    def make_part(self, part: int, parts: int, workers: Workers) -> int:
        """Make every so many-th of the chunks that are needed, as far as that is known; give their number."""
        made = 0
        while True:
            # other parts have made some meanwhile, from which follows how many are needed
            self._find_made()
            self._advance()
            if self._next((), part, parts) is None:
                return made
            choose = partial(self._next, part=part, parts=parts)
            for _ in self._make_chunks(workers, choose):
                made += 1

    def _path(self, name: str, chunk: int) -> Path:
        return self.chunks / name / f"{chunk:06d}.parquet"

    def _find_made(self) -> None:
        """Take note of the chunks that are on disk already; a damaged one is made again."""
        self.pt = {name: self.pt.get(name, {}) for name in self.classes}
        self.accepted = {name: [] for name in self.classes}
        self.fits = {}
        for name in self.classes:
            for path in sorted((self.chunks / name).glob("[0-9]*.parquet")):
                if int(path.stem) in self.pt[name]:
                    continue
                try:
                    self.pt[name][int(path.stem)] = read_table(path, (name,)).pt
                except JetFileError as error:
                    logger.warning("%s It is made again.", error)
                    path.unlink()

    def _spectra(self, chunk: int) -> dict[str, Spectrum] | None:
        """Fit the spectra that a chunk is accepted by, if the chunks for them are made."""
        last = min(chunk + 1, SPECTRUM_CHUNKS)
        if last not in self.fits:
            if any(number not in self.pt[name] for name in self.classes for number in range(last)):
                return None
            self.fits[last] = {
                name: fit_spectrum(
                    np.concatenate([self.pt[name][number] for number in range(last)]), self.settings.pt_range
                )
                for name in self.classes
            }
        return self.fits[last]

    def _advance(self) -> dict[str, int]:
        """Accept jets of the chunks that have become available, in order; give the numbers so far."""
        for name in self.classes:
            accepted = self.accepted[name]
            while sum(map(len, accepted)) < self.settings.per_class:
                chunk = len(accepted)
                spectra = self._spectra(chunk)
                if spectra is None or chunk not in self.pt[name]:
                    break
                pt = self.pt[name][chunk]
                entropy = [self.settings.seed, list(PROCESSES).index(name), chunk]
                dice = np.random.default_rng(np.random.SeedSequence(entropy)).random(len(pt))
                accepted.append(np.flatnonzero(dice < acceptance(name, spectra, pt)))
        return {name: sum(map(len, accepted)) for name, accepted in self.accepted.items()}

    def _complete(self) -> bool:
        return all(sum(map(len, self.accepted[name])) >= self.settings.per_class for name in self.classes)

    def _needed(self, name: str) -> int:
        """Estimate how many chunks of a class are needed."""
        accepted = self.accepted[name]
        got = sum(map(len, accepted))
        if got >= self.settings.per_class:
            return len(accepted)
        each = got / len(accepted) if got else FIRST_GUESS * events_per_chunk(self.settings)
        return len(accepted) + max(1, math.ceil((self.settings.per_class - got) / each))

    def _next(
        self, running: Collection[tuple[int, str]], part: int = 0, parts: int = 1
    ) -> tuple[int, str] | None:
        """Choose the next chunk to make: the lowest number of the part that is needed and not under way."""
        if self._complete():
            return None
        needed = {name: self._needed(name) for name in self.classes}
        # spectra take the first chunks of every class, whichever class needs most
        common = min(max(needed.values()), SPECTRUM_CHUNKS)
        missing = [
            (number, name)
            for name in self.classes
            for number in range(max(needed[name], common))
            if number % parts == part and number not in self.pt[name] and (number, name) not in running
        ]
        return min(missing) if missing else None

    def _make_chunks(
        self,
        workers: Workers,
        choose: Callable[[Collection[tuple[int, str]]], tuple[int, str] | None],
    ) -> Iterator[dict[str, int]]:
        """Make chunks as long as one is chosen; give the numbers of jets after each."""

        def arguments(task: tuple[int, str]) -> tuple[Any, ...]:
            number, name = task
            path = self._path(name, number)
            return name, self.settings.seed, number, self.settings, path, self.pool

        for (number, name), ended in finished_tasks(_make, choose, arguments, workers):
            ended.result()
            self.pt[name][number] = read_table(self._path(name, number), (name,)).pt
            yield self._advance()

    def _assembled(self) -> Iterator[Jets]:
        """Put the accepted jets together, class by class, in the order of their chunks."""
        for label, name in enumerate(self.classes):
            left = self.settings.per_class
            for chunk, chosen in enumerate(self.accepted[name]):
                jets = read_table(self._path(name, chunk), (name,)).take(chosen[:left])
                left -= len(jets)
                yield replace(jets, classes=self.classes, label=np.full(len(jets), label, dtype=np.int64))

    def _provenance(self) -> dict[str, Any]:
        return {
            "source": "pythia",
            "settings": self.settings.stored(),
            "physics": physics(self.settings),
            "selection": SELECTION,
            "chunks": {name: len(self.accepted[name]) for name in self.classes},
        }
