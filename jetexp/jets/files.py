"""Jets from files that the user has: which files, of which form, and how many jets of each class."""

from __future__ import annotations

import glob
import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jetexp.errors import JetFileError
from jetexp.jets.collection import collect, in_blocks
from jetexp.jets.formats import format_of
from jetexp.jets.formats.batches import from_rows
from jetexp.jets.formats.form import Content, Drops, Wanted
from jetexp.jets.sample import Jets
from jetexp.jets.settings import JetFileSettings

__all__ = ["JetFiles", "found_files", "read_files", "reading"]

logger = logging.getLogger(__name__)

MAXIMUM_FILES = 100_000


def read_files(settings: JetFileSettings, classes: Sequence[str], *, scratch: Path | None = None) -> Jets:
    """Read jets from files of any known form, or from a stored sample.

    Parameters
    ----------
    settings : JetFileSettings
        Which files.
    classes : sequence of str
        The classes wanted, in the order of the labels.
    scratch : Path, optional
        Where jets that are too many for the memory are kept; see :func:`jetexp.jets.collection.collect`.

    Returns
    -------
    Jets
        At least one of each class; the provenance tells files, forms, what was assumed, what was dropped.

    Raises
    ------
    JetFileError
        If a file is missing, damaged, of no known form, has not the checksum asked, or lacks a class.
    """
    reader = JetFiles(settings, tuple(classes))
    with reading(settings):
        return collect(reader.batches(), scratch, provenance=reader.provenance)


@contextmanager
def reading(settings: JetFileSettings) -> Iterator[None]:
    """Say of files that cannot be opened or read which they are.

    Parameters
    ----------
    settings : JetFileSettings
        Which files are read.

    Raises
    ------
    JetFileError
        Instead of an error of the system.
    """
    try:
        yield
    except OSError as error:
        named = settings.path.values() if isinstance(settings.path, dict) else [settings.path]
        path = error.filename or ", ".join(path for paths in named for path in paths)
        raise JetFileError(f"{path} cannot be read: {error.strerror or error}.") from error


def found_files(settings: JetFileSettings) -> list[tuple[str | None, Path]]:
    """List the files that settings name.

    Parameters
    ----------
    settings : JetFileSettings
        With paths and globs.

    Returns
    -------
    list of tuple
        The class that the file was given for, or None, and the file; those of a glob sorted by name.

    Raises
    ------
    JetFileError
        If there is none of that name, a glob finds nothing, or one is named twice for a class.
    """
    by_class: dict[str | None, Sequence[str]] = {}
    if isinstance(settings.path, dict):
        by_class.update(settings.path)
    else:
        by_class[None] = settings.path
    found = [
        (name, path)
        for name, patterns in by_class.items()
        for pattern in patterns
        for path in _matching(pattern)
    ]
    for (name, path), times in Counter((name, path.resolve()) for name, path in found).items():
        if times > 1:
            of_class = "" if name is None else f" for {name}"
            raise JetFileError(f"{path} is named {times} times{of_class}: its jets would count as often.")
    return found


def _matching(pattern: str) -> list[Path]:
    if Path(pattern).exists() or not glob.has_magic(pattern):
        if not Path(pattern).exists():
            raise JetFileError(f"There is no file or folder {pattern} to read jets from.")
        return [Path(pattern)]
    found = sorted(glob.glob(pattern))
    if not found:
        raise JetFileError(f"No file matches {pattern}.")
    if len(found) > MAXIMUM_FILES:
        raise JetFileError(f"{pattern} matches {len(found)} files; at most {MAXIMUM_FILES} are read.")
    return [Path(name) for name in found]


class JetFiles:
    """Files that are gone through until there are enough jets of each class.

    Parameters
    ----------
    settings : JetFileSettings
        Which files.
    classes : tuple of str
        The classes wanted, in the order of the labels.

    Attributes
    ----------
    counts : ndarray of int64, shape (classes,)
        Jets of each class so far.
    """

    def __init__(self, settings: JetFileSettings, classes: tuple[str, ...]) -> None:
        self._settings, self._classes = settings, classes
        self.counts = np.zeros(len(classes), dtype=np.int64)
        self._told: list[dict[str, Any]] = []
        self._held: dict[str, None] = {}

    def batches(self) -> Iterator[Jets]:
        """Read the jets.

        Yields
        ------
        Jets
            File by file.

        Raises
        ------
        JetFileError
            If a file is missing, damaged, of no known form, has not the checksum asked, or lacks a class.
        """
        with reading(self._settings):
            files = found_files(self._settings)
            self._check_classes(files)
            several = sum(name is None for name, _ in files) > 1
            paths = {path for _, path in files}
            unused = set(self._settings.sha256) - {path.name for path in paths if path.is_file()}
            if unused:
                raise JetFileError(f"sha256 names {', '.join(sorted(unused))}, but no such file is read.")
            for path in paths:
                _check_sum(path, self._settings)
            for of_class, path in files:
                yield from self._file(of_class, path, several=several)
        for name, count in zip(self._classes, self.counts, strict=True):
            if not count:
                held = f"; they have {', '.join(self._held)}" if self._held else ""
                raise JetFileError(f"The files given hold no jets of class {name!r} (path){held}.")

    def provenance(self) -> dict[str, Any]:
        """Say where the jets came from; of one file as it always was."""
        if len(self._told) == 1:
            return self._told[0]
        return {"source": "file", "files": self._told}

    def _check_classes(self, files: Sequence[tuple[str | None, Path]]) -> None:
        given = {name for name, _ in files}
        if None in given:
            return
        for name in self._classes:
            if name not in given:
                raise JetFileError(f"No file is given for class {name!r} (path).")
        for other in given:
            if other not in self._classes:
                raise JetFileError(
                    f"A file is given for {other!r} (path), which is not among the classes "
                    f"{', '.join(self._classes)}."
                )

    def _room(self, label: int | None) -> int | None:
        """Count the jets that may still come, of a class or of the one that lacks most."""
        if self._settings.per_class is None:
            return None
        room = self._settings.per_class - self.counts
        return int(room.max() if label is None else room[label])

    def _enough(self, labels: Sequence[int | None]) -> bool:
        """Tell whether there are enough jets of the classes that a file has; none is enough of none."""
        return all(self._room(label) == 0 for label in labels)

    def _file(self, of_class: str | None, path: Path, *, several: bool) -> Iterator[Jets]:
        label = None if of_class is None else self._classes.index(of_class)
        labels: Sequence[int | None] = [label]
        room = self._room(label)
        if room == 0:
            return
        if path.is_dir():
            yield from self._stored(path, of_class)
            return
        form = format_of(path)
        wanted = Wanted(
            classes=self._classes,
            names=self._settings.names,
            of_class=of_class,
            per_class=room,
            maximum_pixel=self._settings.maximum_pixel,
            half_width=self._settings.half_width,
            unit=self._settings.unit,
            several=several,
        )
        held = form.content(path, wanted)
        self._held.update({name: None for name, count in held.classes.items() if count})
        if label is None and held.classes:
            labels = list(wanted.labels(held, str(path)).values())
        if self._enough(labels):
            return
        assumptions = held.assumptions
        for sentence in assumptions:
            logger.warning("%s", sentence)
        drops: Drops = Drops()
        for jets in form.read(path, wanted, drops):
            yield from self._limited(jets)
            if self._enough(labels):
                break
        dropped = {reason: count for reason, count in drops.items() if count}
        for reason, count in dropped.items():
            logger.warning("%d jets are left out: %s.", count, reason)
        self._told.append(
            {
                "source": "file",
                "format": form.KEY,
                "file": path.name,
                "assumed": list(assumptions),
                "dropped": dropped,
            }
        )

    def _stored(self, path: Path, of_class: str | None) -> Iterator[Jets]:
        """Read a stored sample."""
        from jetexp.jets.store import read_manifest, read_parts

        manifest = read_manifest(path)
        wanted = Wanted(self._classes, names=self._settings.names, of_class=of_class)
        chosen = wanted.labels(Content(manifest.counts, sum(manifest.counts.values())), str(path))
        labels = np.array(list(chosen.values()))
        self._told.append(manifest.provenance)
        first = 0
        for part in read_parts(path, manifest):
            for block in in_blocks(part):
                placed = from_rows(block, str(path), first + np.arange(len(block)))
                first += len(block)
                some = placed.with_classes(list(chosen))
                yield from self._limited(replace(some, classes=self._classes, label=labels[some.label]))

    def _limited(self, jets: Jets) -> Iterator[Jets]:
        """Let through what is still wanted of each class."""
        if self._settings.per_class is not None:
            keep = np.zeros(len(jets), dtype=bool)
            for label, count in enumerate(self.counts):
                keep[np.flatnonzero(jets.label == label)[: self._settings.per_class - count]] = True
            jets = jets.take(keep)
        self.counts += np.bincount(jets.label, minlength=len(self._classes))
        if len(jets):
            yield jets


def _check_sum(path: Path, settings: JetFileSettings) -> None:
    wanted = settings.sha256.get(path.name)
    if wanted is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wanted.lower():
        raise JetFileError(f"{path} has the checksum {found}, not {wanted.lower()} (sha256).")
