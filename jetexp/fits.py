"""The final fits: the settings found, trained afresh from several seeds and scored on the test jets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jetexp.console import progress
from jetexp.evaluation.report import Evaluation, evaluate
from jetexp.experiment import Experiment
from jetexp.images import make_images
from jetexp.jets.sample import Jets
from jetexp.plots import gallery
from jetexp.serving import ServedSettings
from jetexp.taggers.catalogue import build_network
from jetexp.tracking import MlflowRecorder
from jetexp.training import History, Parts, Recorder, fit, network_summary, predict

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

__all__ = ["FinalFit", "evaluated", "final_fits", "record_evaluation", "record_figures", "served_settings"]

Float = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class FinalFit:
    """One of the final fits.

    Attributes
    ----------
    name : str
        Name of its child run, such as ``seed-00``.
    run_id : str
        That run.
    network : keras.Model
        Trained.
    model_uri : str
        Where MLflow keeps it.
    history : History
        How the fit went.
    validation, test : Evaluation
        Its numbers.
    """

    name: str
    run_id: str
    network: keras.Model
    model_uri: str
    history: History
    validation: Evaluation
    test: Evaluation


def served_settings(experiment: Experiment) -> ServedSettings:
    """Say what the experiment's networks need to be served.

    Parameters
    ----------
    experiment : Experiment
        The experiment.

    Returns
    -------
    ServedSettings
        Classes, signal and images.
    """
    return ServedSettings(classes=experiment.classes, signal=experiment.signal, images=experiment.images)


def final_fits(
    experiment: Experiment, parts: Parts, test: Jets, parent: MlflowRecorder
) -> tuple[FinalFit, ...]:
    """Train the settings found afresh from several seeds, and score the test jets with each.

    Parameters
    ----------
    experiment : Experiment
        With the hyperparameters found.
    parts : Parts
        Jets to fit to and to be judged by.
    test : Jets
        Scored by each network once it is trained; nothing is chosen by what they say.
    parent : MlflowRecorder
        Each fit opens a child ``seed-00``, ``seed-01``, ...

    Returns
    -------
    tuple of FinalFit
        One a seed.
    """
    images = make_images(test, experiment.images)
    raw = make_images(test, served_settings(experiment).raw_images)
    fits = []
    with progress() as display:
        bar = display.add_task("final fits", total=experiment.seeds, rate="")
        for number in range(experiment.seeds):
            name, seed = f"seed-{number:02d}", experiment.seed + number
            with parent.child(name) as child:
                child.parameters({"seed": seed, **_hyperparameters(experiment)})
                network = build_network(
                    experiment.tagger, parts.train.images.shape[1:], len(experiment.classes), seed
                )
                history = fit(
                    network,
                    parts,
                    experiment.training,
                    seed=seed,
                    recorder=child,
                    progress=display,
                    description=name,
                )
                validation = evaluated(
                    experiment,
                    predict(network, parts.validation.images),
                    parts.validation.label,
                    part="validation",
                )
                # nothing is chosen by what the test jets say
                tested = evaluated(experiment, predict(network, images), test.label, part="test", images=raw)
                _record_fit(child, network, history, validation, tested)
                fits.append(
                    FinalFit(name, child.run_id, network, str(child.model_uri), history, validation, tested)
                )
            display.update(bar, advance=1)
    return tuple(fits)


def _hyperparameters(experiment: Experiment) -> dict[str, Any]:
    return {
        **experiment.tagger.model_dump(mode="json", exclude_none=True),
        **experiment.training.model_dump(mode="json", exclude_none=True),
    }


def evaluated(
    experiment: Experiment,
    scores: Float,
    label: npt.NDArray[np.int64],
    *,
    part: str,
    images: Float | None = None,
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
    images : ndarray of float32, shape (N, pixels, pixels, 1), optional
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


def _record_fit(
    child: MlflowRecorder,
    network: keras.Model,
    history: History,
    validation: Evaluation,
    tested: Evaluation,
) -> None:
    child.text("network.txt", network_summary(network) + "\n")
    child.result("history", history.to_dict())
    record_evaluation(child, validation, history)
    record_evaluation(child, tested)
    child.metrics({"fit_seconds": sum(history.seconds), "network_parameters": network.count_params()})
    child.network(network)


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


def record_evaluation(recorder: Recorder, evaluation: Evaluation, history: History | None = None) -> None:
    """Record the numbers and figures of one tagger on one part.

    Parameters
    ----------
    recorder : Recorder
        Of the run.
    evaluation : Evaluation
        The numbers.
    history : History, optional
        How the network was fitted, to draw its learning curves too.
    """
    recorder.metrics(evaluation.metrics())
    recorder.curve(f"{evaluation.part}_rejection_curve", *evaluation.rejection_curve())
    recorder.result(f"{evaluation.part}_evaluation", evaluation.to_dict())
    figures = gallery.figures_of_run(evaluation, history)
    record_figures(recorder, {_of_part(evaluation, name): figure for name, figure in figures.items()})


def _of_part(evaluation: Evaluation, name: str) -> str:
    return name if name == "learning_curves" else f"{evaluation.part}_{name}"
