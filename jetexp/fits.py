"""The final fits: settings that are found, trained afresh from several seeds and scored on the test jets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jetexp.augmentation import AugmentationSettings, augmented
from jetexp.console import progress
from jetexp.evaluation.calibration import fit_temperature
from jetexp.evaluation.report import Evaluation, evaluate
from jetexp.experiment import Experiment, TaggerFit
from jetexp.fit_store import FitStore, fit_key
from jetexp.images import make_images
from jetexp.inputs import Inputs, InputSettings, make_inputs
from jetexp.parts import JetParts
from jetexp.plots import gallery
from jetexp.serving import ServedSettings
from jetexp.taggers.catalogue import build_ensemble, build_network, input_settings
from jetexp.taggers.classical import fit_classical, importance
from jetexp.taggers.settings import CLASSICAL, BoostedTreesSettings, ClassicalSettings
from jetexp.tracking import MlflowRecorder
from jetexp.training import History, Parts, Recorder, Sample, fit, network_summary, predict

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure
    from rich.progress import Progress

__all__ = [
    "FinalFit",
    "TaggerFits",
    "ensemble_of",
    "evaluated",
    "fit_tagger",
    "record_evaluation",
    "record_figures",
    "served_settings",
    "training_parts",
    "with_temperature",
]

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
    network : keras.Model or None
        Trained; None for a classical tagger.
    model_uri : str
        Where MLflow keeps it; empty for a classical tagger.
    history : History or None
        How the fit went; None where there were no epochs.
    validation, test : Evaluation
        Its numbers.
    scores : ndarray of float32, shape (N, classes)
        Its scores of the test jets.
    """

    name: str
    run_id: str
    network: keras.Model | None
    model_uri: str
    history: History | None
    validation: Evaluation
    test: Evaluation
    scores: Float


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


def training_parts(
    experiment: Experiment, jets: JetParts, inputs: InputSettings, cache: Path | None
) -> Parts:
    """Make what a network is fitted to and judged by.

    Parameters
    ----------
    experiment : Experiment
        Names the signal.
    jets : JetParts
        Training and validation jets.
    inputs : InputSettings
        What the network takes.
    cache : Path, optional
        Folder in which observables that take long are kept.

    Returns
    -------
    Parts
        Which can be augmented.
    """

    def redraw(settings: AugmentationSettings, rng: np.random.Generator) -> Inputs:
        return make_inputs(augmented(jets.train, settings, rng), inputs)

    return Parts(
        train=Sample(make_inputs(jets.train, inputs, cache=cache), jets.train.label),
        validation=Sample(make_inputs(jets.validation, inputs, cache=cache), jets.validation.label),
        signal=experiment.classes.index(experiment.signal),
        redraw=redraw,
    )


@dataclass(frozen=True, eq=False)
class TaggerFits:
    """What all fits of one experiment share.

    Attributes
    ----------
    experiment : Experiment
        With the hyperparameters found.
    jets : JetParts
        Train, validation and test part.
    parent : MlflowRecorder
        Each fit opens a child of it.
    cache : Path
        Folder in which observables that take long are kept.
    store : FitStore or None
        Where finished fits are looked up and kept.
    brief : bool
        Whether the child runs go without figures of their own, as where variants make them many; their
        curves, from which the UI draws, are recorded all the same.
    """

    experiment: Experiment
    jets: JetParts
    parent: MlflowRecorder
    cache: Path
    store: FitStore | None = None
    brief: bool = False


def fit_tagger(
    shared: TaggerFits, one: TaggerFit, *, prefix: str = "", with_images: bool = False
) -> tuple[FinalFit, ...]:
    """Train a tagger from each of its seeds, and score the test jets with each.

    Nothing is chosen by what the test jets say.

    Parameters
    ----------
    shared : TaggerFits
        Jets, recorder and so on.
    one : TaggerFit
        The tagger.
    prefix : str
        Stands before the names of the child runs, which are ``seed-00``, ``seed-01``, ..., or the
        tagger's own name if it is a classical one.
    with_images : bool
        Whether the images of misidentified jets are summed.

    Returns
    -------
    tuple of FinalFit
        One a seed.
    """
    inputs = input_settings(one.tagger, one.images)
    tested = make_inputs(shared.jets.test, inputs, cache=shared.cache)
    if isinstance(one.tagger, CLASSICAL):
        return (_fit_classical(shared, one, one.tagger, inputs, tested, f"{prefix}{one.name}"),)
    raw = _raw_images(shared) if with_images else None
    parts = training_parts(shared.experiment, shared.jets, inputs, shared.cache)
    fits = []
    with progress() as display:
        bar = display.add_task(f"{prefix or 'final '}fits", total=one.seeds, rate="")
        for number in range(one.seeds):
            fits.append(_fit_network(shared, one, parts, tested, number, prefix, raw, display))
            display.update(bar, advance=1)
    return tuple(fits)


def _raw_images(shared: TaggerFits) -> Float:
    return make_images(shared.jets.test, served_settings(shared.experiment).raw_images)


def _fit_network(
    shared: TaggerFits,
    one: TaggerFit,
    parts: Parts,
    tested: Inputs,
    number: int,
    prefix: str,
    raw: Float | None,
    display: Progress,
) -> FinalFit:
    """Train a network from one seed, or find it finished, and record it."""
    experiment, name, seed = shared.experiment, f"{prefix}seed-{number:02d}", one.seed + number
    with shared.parent.child(name) as child:
        child.parameters({"seed": seed, **_hyperparameters(one)})
        key = fit_key(experiment, one, seed, shared.jets.train, shared.jets.validation)
        finished = None if shared.store is None else shared.store.load(key)
        if finished is not None:
            network, history = finished
            child.tags({"finished_before": key})
            for epoch, values in enumerate(history.steps()):
                child.metrics(values, step=epoch + 1)
        else:
            network = build_network(one.tagger, parts.train.shapes, len(experiment.classes), seed)
            history = fit(
                network,
                parts,
                one.training,
                seed=seed,
                recorder=child,
                progress=display,
                description=name,
            )
            if shared.store is not None:
                shared.store.save(key, network, history)
        child.text("network.txt", network_summary(network) + "\n")
        child.result("history", history.to_dict())
        child.metrics({"fit_seconds": sum(history.seconds), "network_parameters": network.count_params()})
        return _scored(
            shared,
            child,
            name,
            network,
            predict(network, parts.validation.inputs),
            predict(network, tested),
            raw,
            history,
            _served(shared, one),
        )


def _served(shared: TaggerFits, one: TaggerFit) -> ServedSettings:
    experiment = shared.experiment
    return served_settings(experiment.model_copy(update={"tagger": one.tagger, "images": one.images}))


def _fit_classical(
    shared: TaggerFits,
    one: TaggerFit,
    settings: ClassicalSettings,
    inputs: InputSettings,
    tested: Inputs,
    name: str,
) -> FinalFit:
    """Train a classical tagger and record it."""
    experiment, jets = shared.experiment, shared.jets
    with shared.parent.child(name) as child:
        child.parameters({"seed": one.seed, **settings.model_dump(mode="json", exclude_none=True)})
        train, validation, test = (
            next(iter(values.values())).reshape(len(part), -1)
            for part, values in (
                (jets.train, make_inputs(jets.train, inputs, cache=shared.cache)),
                (jets.validation, make_inputs(jets.validation, inputs, cache=shared.cache)),
                (jets.test, tested),
            )
        )
        signal = experiment.classes.index(experiment.signal)
        tagger = fit_classical(
            settings,
            train,
            jets.train.label,
            validation,
            jets.validation.label,
            classes=len(experiment.classes),
            signal=signal,
            seed=one.seed,
        )
        if isinstance(settings, BoostedTreesSettings):
            drops = importance(
                tagger,
                validation,
                jets.validation.label,
                settings.observables,
                signal=signal,
                seed=one.seed,
            )
            child.result("importance", drops)
        return _scored(shared, child, name, None, tagger.scores(validation), tagger.scores(test), None)


def _scored(
    shared: TaggerFits,
    child: MlflowRecorder,
    name: str,
    network: keras.Model | None,
    validation_scores: Float,
    test_scores: Float,
    raw: Float | None,
    history: History | None = None,
    served: ServedSettings | None = None,
) -> FinalFit:
    """Evaluate a fit on validation and test jets, and record numbers, figures and model."""
    experiment, jets = shared.experiment, shared.jets
    validation = evaluated(experiment, validation_scores, jets.validation.label, part="validation")
    test = evaluated(experiment, test_scores, jets.test.label, part="test", images=raw)
    record_evaluation(child, validation, history, brief=shared.brief)
    record_evaluation(child, test, brief=shared.brief)
    if network is not None:
        child.network(network, served)
    return FinalFit(
        name, child.run_id, network, str(child.model_uri or ""), history, validation, test, test_scores
    )


def ensemble_of(shared: TaggerFits, fits: Sequence[FinalFit], *, prefix: str = "") -> FinalFit:
    """Join the final fits to one tagger, and score the test jets with it.

    Parameters
    ----------
    shared : TaggerFits
        Jets, recorder and so on.
    fits : sequence of FinalFit
        Of the experiment's own tagger.
    prefix : str
        Stands before the name of the child run, which is ``ensemble``.

    Returns
    -------
    FinalFit
        Its network takes what its members take.
    """
    one = shared.experiment.taggers[0]
    inputs, name = input_settings(one.tagger, one.images), f"{prefix}ensemble"
    network = build_ensemble([fit.network for fit in fits if fit.network is not None])
    raw = None if prefix else _raw_images(shared)
    with shared.parent.child(name) as child:
        child.parameters({"members": len(fits), **_hyperparameters(one)})
        child.metrics({"network_parameters": network.count_params()})
        validation, test = (
            predict(network, make_inputs(part, inputs, cache=shared.cache))
            for part in (shared.jets.validation, shared.jets.test)
        )
        return _scored(shared, child, name, network, validation, test, raw, None, _served(shared, one))


def with_temperature(shared: TaggerFits, fit: FinalFit) -> FinalFit:
    """Scale a network's probabilities by a temperature fitted to the validation jets.

    Parameters
    ----------
    shared : TaggerFits
        Jets, recorder and so on.
    fit : FinalFit
        With a network.

    Returns
    -------
    FinalFit
        A network that takes the same; for two classes every rejection is the same too. Its child run
        is called ``calibrated``.
    """
    if fit.network is None:
        raise ValueError(f"{fit.name} is no network")
    one = shared.experiment.taggers[0]
    inputs = input_settings(one.tagger, one.images)
    validation, test = (
        make_inputs(part, inputs, cache=shared.cache) for part in (shared.jets.validation, shared.jets.test)
    )
    temperature = fit_temperature(predict(fit.network, validation), shared.jets.validation.label)
    network = build_ensemble([fit.network], temperature=temperature)
    with shared.parent.child("calibrated") as child:
        child.parameters({"temperature": temperature, "calibrated": fit.name, **_hyperparameters(one)})
        return _scored(
            shared,
            child,
            "calibrated",
            network,
            predict(network, validation),
            predict(network, test),
            _raw_images(shared),
            None,
            _served(shared, one),
        )


def _hyperparameters(one: TaggerFit) -> dict[str, Any]:
    return {
        **one.tagger.model_dump(mode="json", exclude_none=True),
        **one.training.model_dump(mode="json", exclude_none=True),
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


def _of_part(evaluation: Evaluation, name: str) -> str:
    return name if name == "learning_curves" else f"{evaluation.part}_{name}"
