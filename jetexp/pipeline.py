"""An experiment from jets to registry."""

from __future__ import annotations

import logging
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jetexp.console import progress
from jetexp.evaluation.report import Evaluation, Summary, evaluate, summarise
from jetexp.experiment import Experiment
from jetexp.images import make_images
from jetexp.jets.sample import Jets
from jetexp.parts import JetParts, load_parts, load_test_jets
from jetexp.plots import gallery
from jetexp.registry import TestSample, Verdict, champion_of, judge, model_of_run, register
from jetexp.search import SearchResult, search
from jetexp.serving import ServedSettings, probabilities
from jetexp.taggers.catalogue import build_network
from jetexp.tracking import MlflowRecorder, git_tags, open_parent
from jetexp.training import (
    History,
    Parts,
    Recorder,
    Sample,
    devices,
    fit,
    network_summary,
    predict,
)

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

__all__ = ["FinalFit", "Outcome", "promote_run", "run_experiment"]

logger = logging.getLogger(__name__)

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


@dataclass(frozen=True, eq=False)
class Outcome:
    """What an execution came to.

    Attributes
    ----------
    experiment : Experiment
        With the hyperparameters that were found.
    run_id : str
        The parent run.
    fits : tuple of FinalFit
        One a seed.
    best : FinalFit
        The one that did best on validation.
    summary : Summary
        Test numbers over seeds.
    served : Evaluation
        The best on the test jets as raw images, which is what a served model is given.
    verdict : Verdict or None
        What the registry made of the best; None where the experiment names no registered model.
    seconds : float
        Wall time, jets included.
    """

    experiment: Experiment
    run_id: str
    fits: tuple[FinalFit, ...]
    best: FinalFit
    summary: Summary
    served: Evaluation
    verdict: Verdict | None
    seconds: float


def run_experiment(
    experiment: Experiment,
    *,
    jets_folder: Path,
    workers: int | None = None,
    new_test_sample: bool = False,
) -> Outcome:
    """Run an experiment: jets, images, search, final fits, evaluation, registry.

    Parameters
    ----------
    experiment : Experiment
        What to do.
    jets_folder : Path
        Where generated jets are kept.
    workers : int, optional
        Processes that generate jets; by default one a core.
    new_test_sample : bool
        Let the registered model take the test jets as its own.

    Returns
    -------
    Outcome
        Numbers, models, and what the registry made of them; all of it stands in MLflow too.

    Raises
    ------
    JetexpError
        If something the user can mend stands in the way.
    """
    from jetexp.mlflow_store import check_reachable

    started = time.perf_counter()
    check_reachable()
    jets = load_parts(experiment, jets_folder, workers=workers)
    with open_parent(
        experiment.name, experiment.name, served=_served(experiment), description=experiment.description
    ) as parent:
        _record_inputs(parent, experiment, jets)
        parts = Parts(
            train=Sample(make_images(jets.train, experiment.images), jets.train.label),
            validation=Sample(make_images(jets.validation, experiment.images), jets.validation.label),
            signal=experiment.classes.index(experiment.signal),
        )
        found, resolved = _search(experiment, parts, parent)
        fits = _final_fits(resolved, parts, jets.test, parent)
        best = max(fits, key=lambda one: one.validation.auc)
        summary = summarise([one.test for one in fits])
        _record_results(parent, resolved, fits, best, found)
        served, verdict = _register(resolved, best, jets.test, parent, new_test_sample=new_test_sample)
        seconds = time.perf_counter() - started
        parent.metrics({"seconds": seconds})
        return Outcome(resolved, parent.run_id, fits, best, summary, served, verdict, seconds)


def promote_run(
    experiment: Experiment, run_name: str, *, jets_folder: Path, new_test_sample: bool = False
) -> Verdict:
    """Register the model of a run, and judge it against the champion.

    Parameters
    ----------
    experiment : Experiment
        Names the registered model, the test jets and the gate.
    run_name : str
        The run's id or name; for the parent run of an execution, its best final fit.
    jets_folder : Path
        Where generated jets are kept.
    new_test_sample : bool
        Let the registered model take the test jets as its own.

    Returns
    -------
    Verdict
        What the registry made of it.

    Raises
    ------
    JetexpError
        If there is no such run or model, or the experiment names no registered model.
    """
    from jetexp.compare import find_run
    from jetexp.errors import ModelError
    from jetexp.mlflow_store import connect
    from jetexp.serving import load_tagger

    if experiment.registered_model is None:
        raise ModelError(
            f"Experiment {experiment.name} names no registered_model, so nothing can be promoted."
        )
    client = connect()
    run = find_run(client, run_name)
    run_id = run.data.tags.get("best_run", run.info.run_id)
    uri = model_of_run(client, run_id)
    test = load_test_jets(experiment, jets_folder)
    network, served = load_tagger(uri)
    sample = _test_sample(experiment, test)
    recorder = MlflowRecorder(client, client.get_run(run_id))
    metrics = {name: value for name, value in run.data.metrics.items() if name.startswith("test_")}
    version = register(
        client,
        experiment.registered_model,
        uri,
        run_id=run_id,
        tags=_version_tags(experiment, metrics),
        description=experiment.description,
    )
    verdict = judge(
        client,
        experiment.registered_model,
        version,
        sample,
        experiment.gate,
        offline=probabilities(network, sample.images, served),
        new_test_sample=new_test_sample,
    )
    recorder.result("gate", verdict.to_dict())
    return verdict


def _served(experiment: Experiment) -> ServedSettings:
    return ServedSettings(classes=experiment.classes, signal=experiment.signal, images=experiment.images)


def _record_inputs(parent: MlflowRecorder, experiment: Experiment, jets: JetParts) -> None:
    """Record what goes into the execution: settings, devices, jets."""
    parent.text("experiment.yaml", experiment.yaml())
    parent.text("devices.txt", "\n".join(devices()) + "\n")
    parent.parameters(experiment.model_dump(mode="json", exclude_none=True, exclude={"description"}))
    for name, context in (("train", "training"), ("validation", "validation"), ("test", "test")):
        parent.jets(getattr(jets, name), f"{experiment.name}-{name}", context)


def _figures(recorder: Recorder, figures: dict[str, Figure]) -> None:
    for name, figure in figures.items():
        recorder.figure(name, figure)


def _record_evaluation(recorder: Recorder, evaluation: Evaluation, history: History | None = None) -> None:
    recorder.metrics(evaluation.metrics())
    recorder.curve(f"{evaluation.part}_rejection_curve", *evaluation.rejection_curve())
    recorder.result(f"{evaluation.part}_evaluation", evaluation.to_dict())
    figures = gallery.figures_of_run(evaluation, history)
    _figures(recorder, {_of_part(evaluation, name): figure for name, figure in figures.items()})


def _of_part(evaluation: Evaluation, name: str) -> str:
    return name if name == "learning_curves" else f"{evaluation.part}_{name}"


def _search(
    experiment: Experiment, parts: Parts, parent: MlflowRecorder
) -> tuple[SearchResult | None, Experiment]:
    """Search, if the experiment asks for it, and set the best hyperparameters."""
    if experiment.search is None:
        return None, experiment

    def judge_trial(child: Recorder, network: keras.Model, scores: Float) -> None:
        _record_evaluation(child, _evaluate(experiment, scores, parts.validation.label, part="validation"))
        child.network(network)

    with tempfile.TemporaryDirectory(prefix="jetexp-search-") as folder:
        found = search(experiment, parts, recorder=parent, folder=Path(folder), on_trial_end=judge_trial)
    parent.result("search", found.to_dict())
    parent.parameters({f"best.{name}": value for name, value in found.best.items()})
    return found, experiment.with_hyperparameters(found.best)


def _final_fits(
    experiment: Experiment, parts: Parts, test: Jets, parent: MlflowRecorder
) -> tuple[FinalFit, ...]:
    """Train the settings found afresh from several seeds, and score the test jets with each."""
    images = make_images(test, experiment.images)
    raw = make_images(test, _served(experiment).raw_images)
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
                validation = _evaluate(
                    experiment,
                    predict(network, parts.validation.images),
                    parts.validation.label,
                    part="validation",
                )
                # nothing is chosen by what the test jets say
                tested = _evaluate(experiment, predict(network, images), test.label, part="test", images=raw)
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


def _evaluate(
    experiment: Experiment,
    scores: Float,
    label: npt.NDArray[np.int64],
    *,
    part: str,
    images: Float | None = None,
) -> Evaluation:
    return evaluate(
        scores,
        label,
        classes=experiment.classes,
        signal=experiment.signal,
        part=part,
        images=images,
        half_width=_served(experiment).half_width,
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
    _record_evaluation(child, validation, history)
    _record_evaluation(child, tested)
    child.metrics({"fit_seconds": sum(history.seconds), "network_parameters": network.count_params()})
    child.network(network)


def _record_results(
    parent: MlflowRecorder,
    experiment: Experiment,
    fits: tuple[FinalFit, ...],
    best: FinalFit,
    found: SearchResult | None,
) -> None:
    """Record on the parent what all fits together say, and every figure of the best."""
    for part in ("validation", "test"):
        summary = summarise([getattr(one, part) for one in fits])
        parent.metrics(summary.metrics())
        parent.result(f"{part}_summary", summary.to_dict())
        steps = np.rint(1000 * summary.curve.signal_efficiency).astype(int)
        parent.curve(f"{part}_rejection_curve", steps, summary.curve.rejection)
    parent.text("network.txt", network_summary(best.network) + "\n")
    parent.tags({"best_run": best.run_id, "best_seed": best.name})
    parent.text("resolved_experiment.yaml", experiment.yaml())
    _figures(
        parent,
        gallery.figures_of_parent(
            summary,
            [one.test for one in fits],
            [one.history for one in fits],
            found.trials if found else (),
            objective=found.objective if found else "",
            best=fits.index(best),
        ),
    )


def _test_sample(experiment: Experiment, test: Jets) -> TestSample:
    return TestSample(
        images=make_images(test, _served(experiment).raw_images)[..., 0],
        label=test.label,
        classes=experiment.classes,
        signal=experiment.signal,
        fingerprint=test.fingerprint,
    )


def _version_tags(experiment: Experiment, metrics: dict[str, float]) -> dict[str, str]:
    numbers = {name: f"{value:.5g}" for name, value in metrics.items()}
    return {"experiment": experiment.name, **numbers, **git_tags()}


def _register(
    experiment: Experiment,
    best: FinalFit,
    test: Jets,
    parent: MlflowRecorder,
    *,
    new_test_sample: bool,
) -> tuple[Evaluation, Verdict | None]:
    """Measure the best fit as it would be served, enter it into the registry, and let the gate decide."""
    sample = _test_sample(experiment, test)
    offline = probabilities(best.network, sample.images, _served(experiment))
    served = _evaluate(experiment, offline, sample.label, part="served")
    parent.metrics(served.metrics())
    parent.result("served_evaluation", served.to_dict())
    name = experiment.registered_model
    if name is None:
        return served, None
    version = register(
        parent.client,
        name,
        best.model_uri,
        run_id=best.run_id,
        tags=_version_tags(experiment, best.test.metrics() | served.metrics()),
        description=experiment.description,
    )
    against = champion_of(parent.client, name)
    logger.info(
        "judging version %s of %s%s",
        version,
        name,
        "" if against is None else f" against the champion, version {against.version}",
    )
    verdict = judge(
        parent.client,
        name,
        version,
        sample,
        experiment.gate,
        offline=offline,
        new_test_sample=new_test_sample,
    )
    parent.result("gate", verdict.to_dict())
    parent.tags(
        {
            "registered_model": name,
            "registered_version": version,
            "gate": verdict.decision.outcome,
            "gate_reason": verdict.decision.reason,
        }
    )
    return served, verdict
