"""One fit from its settings and jets alone, in this process or in a worker."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jetexp.augmentation import AugmentationSettings, augmented
from jetexp.console import import_quietly
from jetexp.experiment import Experiment
from jetexp.fit_store import FitStore, fit_key
from jetexp.inputs import InputSettings, make_inputs, some_inputs
from jetexp.network_size import check_size
from jetexp.parts import JetParts
from jetexp.recorder_protocol import NullRecorder, Recorder
from jetexp.tagger_fit import TaggerFit
from jetexp.taggers.catalogue import build_network, input_settings
from jetexp.taggers.settings import TaggerSettings, TrainingSettings
from jetexp.training import History, Parts, Sample, fit, shared_by

if TYPE_CHECKING:
    import keras
    from rich.progress import Progress

    from jetexp.jets.sample import Jets

__all__ = ["FitTask", "epochs_so_far", "fit_into_store", "fitted_network", "task_of", "training_parts"]


@dataclass(frozen=True, eq=False)
class FitTask:
    """A network to be fitted from one seed.

    Attributes
    ----------
    name : str
        Of its run.
    key : str
        All that the fit depends on; see :func:`jetexp.fit_store.fit_key`.
    one : TaggerFit
        Tagger, images, training.
    seed : int
        Of this fit.
    classes : int
        Number of classes.
    signal : int
        Index of the signal class.
    train, validation : Jets
        What it sees.
    cache : Path
        Folder in which observables that take long are kept.
    memory : float
        Bytes that the inputs of each part may take.
    """

    name: str
    key: str
    one: TaggerFit
    seed: int
    classes: int
    signal: int
    train: Jets
    validation: Jets
    cache: Path
    memory: float

    @property
    def work(self) -> int:
        """Jets that the network is shown, all epochs together."""
        return len(self.train) * self.one.training.epochs

    def run(self, recorder: Recorder, display: Progress | None = None) -> tuple[keras.Model, History]:
        """Fit the network.

        Parameters
        ----------
        recorder : Recorder
            Given the numbers of each epoch.
        display : rich.progress.Progress, optional
            Where the epochs are shown meanwhile.

        Returns
        -------
        keras.Model
            Fitted.
        History
            How it went.
        """
        parts = training_parts(
            self.train,
            self.validation,
            input_settings(self.one.tagger, self.one.images),
            self.signal,
            self.cache,
            self.memory,
        )
        return fitted_network(
            self.one.tagger,
            self.one.training,
            parts,
            classes=self.classes,
            seed=self.seed,
            recorder=recorder,
            display=display,
            name=self.name,
        )


def task_of(
    experiment: Experiment, jets: JetParts, one: TaggerFit, number: int, *, name: str, cache: Path
) -> FitTask:
    """Put together what one fit of an experiment needs.

    Parameters
    ----------
    experiment : Experiment
        Names the classes.
    jets : JetParts
        Its jets; a fit sees training and validation part alone.
    one : TaggerFit
        The tagger.
    number : int
        Of the seed, from 0.
    name : str
        Of the run.
    cache : Path
        Folder in which observables that take long are kept.

    Returns
    -------
    FitTask
        Independent of all else.
    """
    seed = one.seed + number
    return FitTask(
        name=name,
        key=fit_key(experiment, one, seed, jets.train, jets.validation),
        one=one,
        seed=seed,
        classes=len(experiment.classes),
        signal=experiment.classes.index(experiment.signal),
        train=jets.train,
        validation=jets.validation,
        cache=cache,
        memory=experiment.memory_of_part,
    )


def fitted_network(
    tagger: TaggerSettings,
    training: TrainingSettings,
    parts: Parts,
    *,
    classes: int,
    seed: int,
    recorder: Recorder,
    display: Progress | None,
    name: str,
) -> tuple[keras.Model, History]:
    """Build a network and fit it.

    Parameters
    ----------
    tagger : settings of a network
        Which one.
    training : TrainingSettings
        How long, how fast, in which precision, on how many devices.
    parts : Parts
        Jets to fit to and to be judged by.
    classes : int
        Number of classes.
    seed : int
        Of initial weights, shuffling, augmentation and dropout.
    recorder : Recorder
        Given the numbers of each epoch.
    display : rich.progress.Progress, optional
        Where the epochs are shown meanwhile.
    name : str
        What they are shown by.

    Returns
    -------
    keras.Model
        Fitted; in float32 and on one device, whatever the steps computed with.
    History
        How it went.

    Raises
    ------
    JetexpError
        If the memory cannot hold the network.
    """
    shapes = parts.train.shapes
    check_size(tagger, training, shapes, classes)
    network, stepped = build_network(tagger, shapes, classes, seed), None
    if training.precision != "float32" or training.devices > 1:
        with shared_by(training.devices):
            stepped = build_network(tagger, shapes, classes, seed, training.precision)
    history = fit(
        network,
        parts,
        training,
        seed=seed,
        recorder=recorder,
        progress=display,
        description=name,
        stepped=stepped,
    )
    return network, history


def training_parts(
    train: Jets,
    validation: Jets,
    inputs: InputSettings,
    signal: int,
    cache: Path | None,
    memory: float | None = None,
) -> Parts:
    """Make what a network is fitted to and judged by.

    Parameters
    ----------
    train, validation : Jets
        The jets.
    inputs : InputSettings
        What the network takes.
    signal : int
        Index of the signal class.
    cache : Path, optional
        Folder in which observables that take long are kept.
    memory : float, optional
        Bytes that the inputs of each part may take; see :func:`jetexp.inputs.make_inputs`.

    Returns
    -------
    Parts
        Which can be augmented.
    """

    def redraw(
        settings: AugmentationSettings, rng: np.random.Generator, which: npt.NDArray[np.int64] | None
    ) -> dict[str, npt.NDArray[np.float32]]:
        jets = train if which is None else train.take(which)
        train.release()
        return some_inputs(make_inputs(augmented(jets, settings, rng), inputs), slice(None))

    return Parts(
        train=Sample(make_inputs(train, inputs, cache=cache, memory=memory), train.label),
        validation=Sample(make_inputs(validation, inputs, cache=cache, memory=memory), validation.label),
        signal=signal,
        redraw=redraw,
    )


class _EpochsFile(NullRecorder):
    """Writes the numbers of each epoch to a file, a line an epoch, for the process that waits."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Add an epoch."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(values)) + "\n")


def _epochs_file(store: FitStore, key: str) -> Path:
    return store.folder / f".{key}.epochs"


def fit_into_store(task: FitTask, store: FitStore) -> None:
    """Fit a network in a worker process, and leave it in a store.

    Parameters
    ----------
    task : FitTask
        The fit.
    store : FitStore
        Where the network is kept, by ``task.key``; :func:`epochs_so_far` tells how it goes.
    """
    logging.getLogger("jetexp").setLevel(logging.WARNING)
    import_quietly("keras")
    epochs = _epochs_file(store, task.key)
    epochs.parent.mkdir(parents=True, exist_ok=True)
    epochs.unlink(missing_ok=True)
    try:
        store.save(task.key, *task.run(_EpochsFile(epochs)))
    finally:
        epochs.unlink(missing_ok=True)


def epochs_so_far(store: FitStore, key: str) -> list[dict[str, Any]]:
    """Read the numbers of a fit's epochs while a worker makes it.

    Parameters
    ----------
    store : FitStore
        Given to :func:`fit_into_store`.
    key : str
        Of the fit.

    Returns
    -------
    list of dict
        One an epoch; none if it has not begun, or is over.
    """
    try:
        lines = _epochs_file(store, key).read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.endswith("\n")]
