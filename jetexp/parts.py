"""Train, validation and test part of an experiment's jets."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jetexp.errors import JetexpError
from jetexp.experiment import Experiment, SplitSettings
from jetexp.jets.collection import selected
from jetexp.jets.load import load_jets
from jetexp.jets.sample import Jets, jet_hash, split_fraction

__all__ = ["JetParts", "first_of_each_class", "load_parts", "load_test_jets", "split"]

logger = logging.getLogger(__name__)

# jets of each class that a part needs, for its numbers to have errors
MINIMUM_PER_CLASS = 2


@dataclass(frozen=True, eq=False)
class JetParts:
    """The jets of an experiment.

    Attributes
    ----------
    train, validation, test : Jets
        Labelled alike; no jet stands in two of them.
    """

    train: Jets
    validation: Jets
    test: Jets

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test"):
            for label, count in getattr(self, name).class_counts.items():
                if count < MINIMUM_PER_CLASS:
                    raise JetexpError(
                        f"The {name} part holds {count} jets of class {label!r}, and at least "
                        f"{MINIMUM_PER_CLASS} are needed: take more jets, or another split."
                    )


def split(
    jets: Jets, settings: SplitSettings, *, with_test: bool, scratch: Path | None = None
) -> tuple[Jets, Jets, Jets]:
    """Split jets by a stable hash of their content.

    Parameters
    ----------
    jets : Jets
        N jets.
    settings : SplitSettings
        Fractions and seed.
    with_test : bool
        Whether a test part is split off.
    scratch : Path, optional
        Where jets that are too many for the memory are kept; see :func:`jetexp.jets.collection.collect`.

    Returns
    -------
    tuple of Jets
        Train, validation and test part; the last is empty without ``with_test``.
    """
    fraction = split_fraction(jets, settings.seed)
    is_validation = fraction < settings.validation
    is_test = (fraction >= 1 - settings.test) if with_test else np.zeros(len(jets), dtype=bool)
    train, validation, test = (
        selected(jets, which, scratch) for which in (~is_validation & ~is_test, is_validation, is_test)
    )
    return train, validation, test


def load_test_jets(
    experiment: Experiment, folder: Path, *, workers: int | None = None, scratch: Path | None = None
) -> Jets:
    """Make or read the jets that the experiment tests on.

    Parameters
    ----------
    experiment : Experiment
        The experiment.
    folder : Path
        Where generated jets are kept.
    workers : int, optional
        Processes that generate; by default one a core.
    scratch : Path, optional
        Where jets that are too many for the memory are kept; see :func:`jetexp.jets.collection.collect`.

    Returns
    -------
    Jets
        The test part.
    """
    if experiment.test is not None:
        return load_jets(experiment.test, experiment.classes, folder, workers=workers, scratch=scratch)
    jets = load_jets(experiment.jets, experiment.classes, folder, workers=workers, scratch=scratch)
    return split(jets, experiment.split, with_test=True, scratch=scratch)[2]


def load_parts(
    experiment: Experiment, folder: Path, *, workers: int | None = None, scratch: Path | None = None
) -> JetParts:
    """Make or read an experiment's jets, and split them.

    Parameters
    ----------
    experiment : Experiment
        The experiment.
    folder : Path
        Where generated jets are kept.
    workers : int, optional
        Processes that generate; by default one a core.
    scratch : Path, optional
        Where jets that are too many for the memory are kept; see :func:`jetexp.jets.collection.collect`.

    Returns
    -------
    JetParts
        Train, validation and test part. Jets of the first two that stand in a test sample of its
        own too are left out of them.

    Raises
    ------
    JetexpError
        If the jets cannot be made or read, or a part lacks jets of a class.
    """
    jets = load_jets(experiment.jets, experiment.classes, folder, workers=workers, scratch=scratch)
    own_test = experiment.test is not None
    train, validation, test = split(jets, experiment.split, with_test=not own_test, scratch=scratch)
    if experiment.train_per_class is not None:
        train = first_of_each_class(train, experiment.train_per_class, scratch)
    if own_test:
        test = load_test_jets(experiment, folder, workers=workers, scratch=scratch)
        train = _without(train, test, "train", scratch)
        validation = _without(validation, test, "validation", scratch)
    return JetParts(train, validation, test)


def first_of_each_class(jets: Jets, number: int, scratch: Path | None = None) -> Jets:
    """Keep the first jets of each class.

    Parameters
    ----------
    jets : Jets
        N jets.
    number : int
        How many of each class.

    Returns
    -------
    Jets
        In the order they had.

    Raises
    ------
    JetexpError
        If there are not so many.
    """
    for name, count in jets.class_counts.items():
        if count < number:
            raise JetexpError(
                f"train_per_class asks for {number} jets of each class, but the training part holds "
                f"{count} of class {name!r}: take more jets, or ask for fewer."
            )
    first = [np.flatnonzero(jets.label == label)[:number] for label in range(len(jets.classes))]
    return selected(jets, np.sort(np.concatenate(first)), scratch)


def _without(jets: Jets, test: Jets, name: str, scratch: Path | None) -> Jets:
    known = np.isin(jet_hash(jets), jet_hash(test))
    if known.any():
        logger.warning("%d jets of the %s part stand in the test sample too: left out", known.sum(), name)
        return selected(jets, ~known, scratch)
    return jets
