"""An experiment from jets to registry."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from jetexp.evaluation.report import Evaluation, Summary, summarise
from jetexp.experiment import Experiment
from jetexp.fits import (
    FinalFit,
    evaluated,
    final_fits,
    record_evaluation,
    record_figures,
    served_settings,
)
from jetexp.images import make_images
from jetexp.mlflow_store import check_reachable
from jetexp.parts import JetParts, load_parts
from jetexp.plots import gallery
from jetexp.promotion import register_best
from jetexp.registry import Verdict
from jetexp.search import SearchResult, search
from jetexp.tracking import MlflowRecorder, open_parent
from jetexp.training import (
    Parts,
    Recorder,
    Sample,
    devices,
    network_summary,
)

if TYPE_CHECKING:
    import keras

__all__ = ["Outcome", "run_experiment"]

Float = npt.NDArray[np.float32]


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
    started = time.perf_counter()
    check_reachable()
    jets = load_parts(experiment, jets_folder, workers=workers)
    with open_parent(
        experiment.name,
        experiment.name,
        served=served_settings(experiment),
        description=experiment.description,
    ) as parent:
        _record_inputs(parent, experiment, jets)
        parts = Parts(
            train=Sample(make_images(jets.train, experiment.images), jets.train.label),
            validation=Sample(make_images(jets.validation, experiment.images), jets.validation.label),
            signal=experiment.classes.index(experiment.signal),
        )
        found, resolved = _search(experiment, parts, parent)
        fits = final_fits(resolved, parts, jets.test, parent)
        best = max(fits, key=lambda one: one.validation.auc)
        summary = summarise([one.test for one in fits])
        _record_results(parent, resolved, fits, best, found)
        served, verdict = register_best(resolved, best, jets.test, parent, new_test_sample=new_test_sample)
        seconds = time.perf_counter() - started
        parent.metrics({"seconds": seconds})
        return Outcome(resolved, parent.run_id, fits, best, summary, served, verdict, seconds)


def _record_inputs(parent: MlflowRecorder, experiment: Experiment, jets: JetParts) -> None:
    """Record what goes into the execution: settings, devices, jets."""
    parent.text("experiment.yaml", experiment.yaml())
    parent.text("devices.txt", "\n".join(devices()) + "\n")
    parent.parameters(experiment.model_dump(mode="json", exclude_none=True, exclude={"description"}))
    for name, context in (("train", "training"), ("validation", "validation"), ("test", "test")):
        parent.jets(getattr(jets, name), f"{experiment.name}-{name}", context)


def _search(
    experiment: Experiment, parts: Parts, parent: MlflowRecorder
) -> tuple[SearchResult | None, Experiment]:
    """Search, if the experiment asks for it, and set the best hyperparameters."""
    if experiment.search is None:
        return None, experiment

    def judge_trial(child: Recorder, network: keras.Model, scores: Float) -> None:
        record_evaluation(child, evaluated(experiment, scores, parts.validation.label, part="validation"))
        child.network(network)

    with tempfile.TemporaryDirectory(prefix="jetexp-search-") as folder:
        found = search(experiment, parts, recorder=parent, folder=Path(folder), on_trial_end=judge_trial)
    parent.result("search", found.to_dict())
    parent.parameters({f"best.{name}": value for name, value in found.best.items()})
    return found, experiment.with_hyperparameters(found.best)


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
    record_figures(
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
