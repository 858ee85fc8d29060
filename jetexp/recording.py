"""A tagger's scores, evaluated and recorded to its run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from jetexp.evaluation.report import Evaluation, evaluate
from jetexp.experiment import Experiment
from jetexp.images import make_images
from jetexp.inputs import LazyArray
from jetexp.jets.sample import Jets
from jetexp.plots import gallery
from jetexp.recorder_protocol import Recorder
from jetexp.sentences import table_of_parts
from jetexp.serving import ServedSettings
from jetexp.taggers.catalogue import input_settings
from jetexp.training import History

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

__all__ = [
    "evaluated",
    "raw_images",
    "record_evaluation",
    "record_figures",
    "record_note",
    "record_trial",
    "served_settings",
]

Float = npt.NDArray[np.float32]


def served_settings(experiment: Experiment) -> ServedSettings:
    """Say what the experiment's networks need to be served.

    Parameters
    ----------
    experiment : Experiment
        The experiment.

    Returns
    -------
    ServedSettings
        Classes, signal and inputs.
    """
    return ServedSettings(
        classes=experiment.classes,
        signal=experiment.signal,
        inputs=input_settings(experiment.tagger, experiment.images),
    )


def raw_images(jets: Jets, served: ServedSettings) -> LazyArray:
    """Give jets' images as they come from a client, made when they are looked at.

    Parameters
    ----------
    jets : Jets
        N jets.
    served : ServedSettings
        Says what a client sends.

    Returns
    -------
    LazyArray, shape (N, pixels, pixels)
        In GeV; first axis eta, second phi.
    """

    def make(some: Jets) -> Float:
        return make_images(some, served.raw_images)[..., 0]

    return LazyArray(jets, make, (len(jets), served.pixels, served.pixels))


def evaluated(
    experiment: Experiment,
    scores: Float,
    label: npt.NDArray[np.int64],
    *,
    part: str,
    images: LazyArray | None = None,
) -> Evaluation:
    """Evaluate scores of the experiment's classes.

    Parameters
    ----------
    experiment : Experiment
        Names classes and signal.
    scores : ndarray of float32, shape (N, classes)
        Class probabilities.
    label : ndarray of int64, shape (N,)
        True classes.
    part : str
        "validation", "test" or "served".
    images : LazyArray, shape (N, pixels, pixels), optional
        Raw images, to sum those misidentified.

    Returns
    -------
    Evaluation
        All numbers.
    """
    return evaluate(
        scores,
        label,
        classes=experiment.classes,
        signal=experiment.signal,
        part=part,
        images=images,
        half_width=served_settings(experiment).half_width,
    )


def record_figures(recorder: Recorder, figures: dict[str, Figure]) -> None:
    """Record figures by their names.

    Parameters
    ----------
    recorder : Recorder
        Of the run.
    figures : dict of str to Figure
        By file name without its ending.
    """
    for name, figure in figures.items():
        recorder.figure(name, figure)


def record_evaluation(
    recorder: Recorder, evaluation: Evaluation, history: History | None = None, *, brief: bool = False
) -> None:
    """Record the numbers and figures of one tagger on one part.

    Parameters
    ----------
    recorder : Recorder
        Of the run.
    evaluation : Evaluation
        The numbers.
    history : History, optional
        How the network was fitted, to draw its learning curves too.
    brief : bool
        Draw nothing.
    """
    recorder.metrics(evaluation.metrics())
    recorder.curve(f"{evaluation.part}_rejection_curve", *evaluation.rejection_curve())
    recorder.result(f"{evaluation.part}_evaluation", evaluation.to_dict())
    if brief:
        return
    figures = gallery.figures_of_run(evaluation, history)
    record_figures(recorder, {_of_part(evaluation, name): figure for name, figure in figures.items()})


def record_note(recorder: Recorder, *evaluations: Evaluation) -> None:
    """Describe the run of one fit by its numbers.

    Parameters
    ----------
    recorder : Recorder
        Of the run.
    *evaluations : Evaluation
        One a part.
    """
    recorder.note("", table_of_parts({one.part: one.measurements() for one in evaluations}))


def record_trial(
    experiment: Experiment,
    child: Recorder,
    network: keras.Model,
    scores: Float,
    label: npt.NDArray[np.int64],
) -> None:
    """Record what a trial of a search reached on the validation jets, and its network.

    Parameters
    ----------
    experiment : Experiment
        Names classes and signal.
    child : Recorder
        Of the trial.
    network : keras.Model
        Trained.
    scores : ndarray of float32, shape (N, classes)
        Of the validation jets.
    label : ndarray of int64, shape (N,)
        Their true classes.
    """
    evaluation = evaluated(experiment, scores, label, part="validation")
    record_evaluation(child, evaluation)
    record_note(child, evaluation)
    child.network(network)


def _of_part(evaluation: Evaluation, name: str) -> str:
    return name if name == "learning_curves" else f"{evaluation.part}_{name}"
