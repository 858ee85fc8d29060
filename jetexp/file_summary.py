"""What a file of jets holds, for people: form, classes, ranges, mean images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jetexp.images import ImageSettings, make_images
from jetexp.jets.files import JetFiles, found_files, reading
from jetexp.jets.formats import format_of
from jetexp.jets.formats.form import Wanted
from jetexp.jets.sample import Jets
from jetexp.jets.settings import JetFileSettings

__all__ = ["ClassSummary", "ClassesInFiles", "FileSummary", "classes_in", "summarise_file"]

Float = npt.NDArray[np.float64]

# of the jets of a file that does not say of which class they are
UNNAMED = "jets"


@dataclass(frozen=True, eq=False)
class ClassSummary:
    """The jets of one class.

    Attributes
    ----------
    name : str
        As the file has it.
    jets : int
        Number of jets that were read.
    pt : tuple of float
        Smallest, median and largest transverse momentum, GeV.
    mass : float
        Median mass, GeV.
    constituents : tuple of float
        Mean and largest number of constituents.
    mean_image : ndarray of float64, shape (40, 40)
        Mean transverse energy in pixels about the jet axis, GeV; first axis eta, second phi.
    """

    name: str
    jets: int
    pt: tuple[float, float, float]
    mass: float
    constituents: tuple[float, int]
    mean_image: Float


@dataclass(frozen=True, eq=False)
class FileSummary:
    """A file, or several of one form.

    Attributes
    ----------
    form : str
        In words.
    jets : int
        Number of jets that the file says to hold, of all classes.
    classes : tuple of ClassSummary
        What was read.
    assumptions : tuple of str
        What the file does not say and had to be assumed.
    dropped : dict of str to int
        Jets left out, by reason.
    half_width : float
        Half the side of the mean images, in eta and phi.
    """

    form: str
    jets: int
    classes: tuple[ClassSummary, ...]
    assumptions: tuple[str, ...]
    dropped: dict[str, int]
    half_width: float


@dataclass(frozen=True, eq=False)
class ClassesInFiles:
    """What files say of themselves, before they are read.

    Attributes
    ----------
    form : str
        In words.
    jets : int
        Number of jets, of all classes.
    classes : tuple of str
        Those of which there are jets; one made-up name where the files have none.
    settings : JetFileSettings
        By which all of these jets are read.
    """

    form: str
    jets: int
    classes: tuple[str, ...]
    settings: JetFileSettings


def classes_in(settings: JetFileSettings) -> ClassesInFiles:
    """Find out which classes files hold, so that all of their jets can be read.

    Parameters
    ----------
    settings : JetFileSettings
        Files, folders or globs, without classes.

    Returns
    -------
    ClassesInFiles
        Of all files that were found.

    Raises
    ------
    JetFileError
        If a file is missing, damaged or of no known form.
    """
    with reading(settings):
        paths = [path for _, path in found_files(settings)]
        form, counts, jets = _named(paths, settings)
    classes = tuple(name for name, count in counts.items() if count) or (UNNAMED,)
    if not counts:
        settings = settings.model_copy(update={"path": {UNNAMED: settings.path}})
    return ClassesInFiles(form, jets, classes, settings)


def summarise_file(settings: JetFileSettings) -> FileSummary:
    """Read jets of a file, and sum up what they are.

    Parameters
    ----------
    settings : JetFileSettings
        One file, folder or glob, without classes.

    Returns
    -------
    FileSummary
        Of all files that were found, which should be of one form.

    Raises
    ------
    JetFileError
        If a file is missing, damaged or of no known form.
    """
    known = classes_in(settings)
    files = JetFiles(known.settings, known.classes)
    raw = ImageSettings.raw()
    tallies = [_Tally(name) for name in known.classes]
    for batch in files.batches():
        for label, tally in enumerate(tallies):
            tally.add(batch.take(batch.label == label), raw)
    told = files.provenance()
    each: Sequence[dict[str, Any]] = told.get("files", [told])
    return FileSummary(
        form=known.form,
        jets=known.jets,
        classes=tuple(tally.summary() for tally in tallies),
        assumptions=tuple(dict.fromkeys(text for one in each for text in one.get("assumed", ()))),
        dropped=dict(sum((Counter(one.get("dropped", {})) for one in each), Counter())),
        half_width=raw.half_width,
    )


def _named(paths: Sequence[Path], settings: JetFileSettings) -> tuple[str, dict[str, int], int]:
    """Tell form, jets of each class and jets in all, as the files say it themselves."""
    forms: dict[str, None] = {}
    counts: dict[str, int] = {}
    jets = 0
    for path in paths:
        if path.is_dir():
            from jetexp.jets.store import read_manifest

            forms["jetexp's own sample"] = None
            held = read_manifest(path).counts
            jets += sum(held.values())
        else:
            module = format_of(path)
            forms[module.NAME] = None
            content = module.content(path, Wanted((), half_width=settings.half_width, unit=settings.unit))
            held, jets = dict(content.classes), jets + content.jets
        for name, count in held.items():
            counts[name] = counts.get(name, 0) + count
    return " and ".join(forms), counts, jets


@dataclass
class _Tally:
    """Sums over the jets of one class."""

    name: str
    pt: list[npt.NDArray[np.float32]] = field(default_factory=list)
    mass: list[npt.NDArray[np.float32]] = field(default_factory=list)
    constituents: int = 0
    most: int = 0
    image: Float | None = None

    def add(self, jets: Jets, raw: ImageSettings) -> None:
        if not len(jets):
            return
        self.pt.append(jets.pt)
        self.mass.append(jets.mass)
        self.constituents += len(jets.constituent_pt)
        self.most = max(self.most, int(jets.counts.max()))
        image = make_images(jets, raw)[..., 0].sum(axis=0, dtype=np.float64)
        self.image = image if self.image is None else self.image + image

    def summary(self) -> ClassSummary:
        pt, mass = np.concatenate(self.pt), np.concatenate(self.mass)
        return ClassSummary(
            name=self.name,
            jets=len(pt),
            pt=(float(pt.min()), float(np.median(pt)), float(pt.max())),
            mass=float(np.median(mass)),
            constituents=(self.constituents / len(pt), self.most),
            mean_image=np.zeros((0, 0)) if self.image is None else self.image / len(pt),
        )
