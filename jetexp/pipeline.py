"""An experiment from jets to registry."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from jetexp.abandoned import close_abandoned
from jetexp.chief import Chief
from jetexp.evaluation.report import Evaluation, Summary, summarise
from jetexp.evaluation.sculpting import MassSculpting, RejectionAgainstPt
from jetexp.evaluation.seeds import SeedComparison
from jetexp.execution import open_execution
from jetexp.experiment import Experiment
from jetexp.files import scratch_folder
from jetexp.fit_store import FitStore, search_key
from jetexp.fit_task import training_parts
from jetexp.fits import FinalFit, TaggerFits, ensemble_of, fit_classical_tagger, with_temperature
from jetexp.inspection import record_inspection
from jetexp.interruption import before_parent
from jetexp.jets.sample import Jets
from jetexp.judging import Verdict
from jetexp.kept_scores import TEST_SCORES, scores_to_keep
from jetexp.mlflow_store import AWAY_TIME, check_reachable, connect
from jetexp.network_fits import fit_networks
from jetexp.parts import JetParts, load_parts
from jetexp.plots import gallery
from jetexp.promotion import register_best
from jetexp.recorder_protocol import Recorder
from jetexp.recording import record_figures, record_trial, served_settings
from jetexp.results import TaggerResult, compared, figures_of_results
from jetexp.search import SearchResult, search, search_on_workers
from jetexp.sentences import markdown_table
from jetexp.space import check_space
from jetexp.taggers.catalogue import input_settings
from jetexp.tracking import MlflowRecorder, open_parent
from jetexp.training import check_devices, devices, network_summary

if TYPE_CHECKING:
    import keras

__all__ = ["Outcome", "run_experiment"]

logger = logging.getLogger(__name__)

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
    results : tuple of TaggerResult
        Each tagger and variant; the experiment's own tagger comes first.
    comparisons : dict of str to SeedComparison
        Differences on the same test jets, by name.
    best : FinalFit
        The network that did best on validation, or the ensemble if that did better.
    served : Evaluation or None
        The best on the test jets as raw images, which is what a served model is given; None where the
        tagger cannot judge those.
    verdict : Verdict or None
        What the registry made of the best; None where the experiment names no registered model.
    seconds : float
        Wall time, jets included.
    """

    experiment: Experiment
    run_id: str
    results: tuple[TaggerResult, ...]
    comparisons: dict[str, SeedComparison]
    best: FinalFit
    served: Evaluation | None
    verdict: Verdict | None
    seconds: float

    @property
    def fits(self) -> tuple[FinalFit, ...]:
        """The experiment's own tagger, one fit a seed."""
        return self.results[0].fits

    @property
    def summary(self) -> Summary:
        """Test numbers of the experiment's own tagger over seeds."""
        return self.results[0].test


def run_experiment(
    experiment: Experiment,
    *,
    jets_folder: Path,
    workers: int | None = None,
    new_test_sample: bool = False,
    store: FitStore | None = None,
    executions: Path | None = None,
    fresh: bool = False,
    patience: float = AWAY_TIME,
    chief_address: str | None = None,
) -> Outcome:
    """Run an experiment: jets, inputs, search, final fits, evaluation, registry.

    Parameters
    ----------
    experiment : Experiment
        What to do.
    jets_folder : Path
        Where generated jets are kept.
    workers : int, optional
        Processes that generate jets, and that fit networks; by default one a core.
    new_test_sample : bool
        Let the registered model take the test jets as its own.
    store : FitStore, optional
        Where finished fits are looked up and kept; by default every fit is made.
    executions : Path, optional
        Where an execution that is interrupted leaves what is finished, and finds it when it is called
        again; by default nothing is left.
    fresh : bool
        Start over, whatever is there.
    patience : float
        Seconds that MLflow is waited for where nothing can go on without it.
    chief_address : str, optional
        Have workers make trials and final fits, which are waited for at this address, ``host:port``; needs
        ``executions``.

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
    variants = {name: experiment.variant(name) for name in experiment.variants} or {"": experiment}
    with ExitStack() as stack:
        chief = None if chief_address is None else stack.enter_context(Chief(chief_address))
        scratch = stack.enter_context(scratch_folder(jets_folder))
        # jets are made before a run is opened: what stands in their way leaves no failed run behind
        with before_parent():
            if chief is None:
                check_devices(max(one.training.devices for each in variants.values() for one in each.taggers))
            jets = {
                name: load_parts(one, jets_folder, workers=workers, scratch=scratch)
                for name, one in variants.items()
            }
            check_space(experiment, jets, executions)
        execution = None
        if executions is not None:
            close_abandoned(connect(), executions)
            execution = stack.enter_context(
                open_execution(executions, experiment, jets, fresh=fresh, with_workers=chief is not None)
            )
            store = execution.fits
            if chief is not None:
                chief.keep_state_in(execution.folder / "chief")
        parent = stack.enter_context(
            open_parent(
                experiment.name,
                experiment.name,
                served=served_settings(experiment),
                description=experiment.description,
                execution=execution,
                patience=patience,
            )
        )
        outcome = _executed(
            experiment,
            {
                name: TaggerFits(one, jets[name], parent, jets_folder / "observables", name)
                for name, one in variants.items()
            },
            parent,
            store,
            workers=workers,
            new_test_sample=new_test_sample,
            chief=chief,
        )
        seconds = time.perf_counter() - started
        parent.metrics({"seconds": seconds})
    # whatever had to wait for MLflow has its ids by now
    results = tuple(_with_ids(one, parent) for one in outcome.results)
    return replace(outcome, results=results, seconds=seconds)


def _executed(
    experiment: Experiment,
    variants: Mapping[str, TaggerFits],
    parent: MlflowRecorder,
    store: FitStore | None,
    *,
    workers: int | None,
    new_test_sample: bool,
    chief: Chief | None,
) -> Outcome:
    """Do everything that is recorded to the parent run."""
    _record_inputs(parent, experiment, next(iter(variants.values())).jets)
    results: list[TaggerResult] = []
    comparisons: dict[str, SeedComparison] = {}
    everything, found = [], None
    for shared in variants.values():
        found, searched = _search(shared, store, chief)
        everything.append(searched)
    fits = fit_networks(everything, store=store, workers=workers, chief=chief)
    if chief is not None:
        chief.dismiss()
    for shared in everything:
        of_variant = _results(shared, fits)
        comparisons |= _comparisons(of_variant, results, shared)
        results += of_variant
    _record_results(parent, results, comparisons, everything[0].jets.test)
    best = _best(results)
    served = verdict = None
    if not experiment.variants:
        experiment = shared.experiment
        best = _calibrated(shared, best)
        inspected = _record_best(parent, shared, results[0], best, found)
        # the registry can do nothing without the model
        parent.outbox.flush()
        best = _fit_with_ids(best, parent)
        served, verdict = register_best(shared, best, inspected, new_test_sample=new_test_sample)
    table = markdown_table([one.to_dict() for one in results], comparisons)
    parent.note(_introduction(experiment, verdict), table)
    return Outcome(experiment, parent.run_id, tuple(results), comparisons, best, served, verdict, 0.0)


def _with_ids(result: TaggerResult, parent: MlflowRecorder) -> TaggerResult:
    """Give a result with the runs and models that were pending while MLflow was away."""
    return replace(result, fits=tuple(_fit_with_ids(one, parent) for one in result.fits))


def _fit_with_ids(fit: FinalFit, parent: MlflowRecorder) -> FinalFit:
    run_id, model_uri = parent.outbox.resolved(fit.run_id), parent.outbox.resolved(fit.model_uri)
    return replace(fit, run_id=run_id, model_uri=model_uri)


def _introduction(experiment: Experiment, verdict: Verdict | None) -> str:
    """Say what an execution was about, and what became of its best model."""
    if verdict is None:
        return experiment.description
    address = f"#/models/{verdict.name}/versions/{verdict.version}"
    decision = verdict.decision
    return (
        f"{experiment.description}\n\nRegistered as [{verdict.name}, version {verdict.version}]({address}), "
        f"{decision.outcome}: {decision.reason}"
    )


def _record_inputs(parent: MlflowRecorder, experiment: Experiment, jets: JetParts) -> None:
    """Record what goes into the execution: settings, devices, jets."""
    parent.text("experiment.yaml", experiment.yaml())
    parent.text("devices.txt", "\n".join(devices()) + "\n")
    parent.parameters(
        experiment.model_dump(
            mode="json", exclude_none=True, exclude={"description", "variants", "references"}
        )
    )
    for name, context in (("train", "training"), ("validation", "validation"), ("test", "test")):
        parent.jets(getattr(jets, name), f"{experiment.name}-{name}", context)


def _search(
    shared: TaggerFits, store: FitStore | None, chief: Chief | None
) -> tuple[SearchResult | None, TaggerFits]:
    """Search, if the experiment asks for it, and set the best hyperparameters."""
    experiment, parent, jets = shared.experiment, shared.parent, shared.jets
    if experiment.search is None:
        return None, shared
    key = search_key(experiment, jets.train, jets.validation)
    known = None if store is None else store.load_search(key)
    if known is not None:
        found = SearchResult.from_dict(known)
        parent.tags({"search_finished_before": key})
    else:
        if chief is None:
            found = _new_search(shared)
        else:
            found = search_on_workers(
                experiment,
                chief,
                recorder=parent,
                key=key,
                train=jets.train.fingerprint,
                validation=jets.validation.fingerprint,
            )
        if store is not None:
            store.save_search(key, found.to_dict())
    parent.result("search", found.to_dict())
    if found.hints:
        parent.tags({"search_hint": " ".join(found.hints)})
    parent.parameters({f"best.{name}": value for name, value in found.best.items()})
    return found, replace(shared, experiment=experiment.with_hyperparameters(found.best))


def _new_search(shared: TaggerFits) -> SearchResult:
    experiment, jets = shared.experiment, shared.jets
    inputs = input_settings(experiment.tagger, experiment.images)
    signal = experiment.classes.index(experiment.signal)
    parts = training_parts(
        jets.train, jets.validation, inputs, signal, shared.cache, experiment.memory_of_part
    )

    def judge_trial(child: Recorder, network: keras.Model, scores: Float) -> None:
        record_trial(experiment, child, network, scores, parts.validation.label)

    before = shared.parent.outbox.payload_bytes
    found = search(experiment, parts, recorder=shared.parent, on_trial_end=judge_trial)
    taken = shared.parent.outbox.payload_bytes - before
    logger.info("Models and figures of the trials take %.1f MB in MLflow.", taken / 1e6)
    return found


def _results(shared: TaggerFits, networks: Mapping[str, FinalFit]) -> list[TaggerResult]:
    """Gather the fits of every tagger, and make those that need no worker: classical ones, the ensemble."""
    results = []
    for number, one in enumerate(shared.experiment.taggers):
        if one.is_classical:
            fits: tuple[FinalFit, ...] = (fit_classical_tagger(shared, one),)
        else:
            fits = tuple(networks[name] for name in shared.run_names(one))
        results.append(_result(shared, one.name, fits))
        if number == 0 and shared.experiment.ensemble and one.seeds > 1:
            results.append(_result(shared, "ensemble", (ensemble_of(shared, fits),)))
    return results


def _result(shared: TaggerFits, tagger: str, fits: tuple[FinalFit, ...]) -> TaggerResult:
    return TaggerResult(
        tagger=tagger,
        variant=shared.variant,
        fits=fits,
        validation=summarise([one.validation for one in fits]),
        test=summarise([one.test for one in fits]),
        training_jets=len(shared.jets.train),
        fingerprint=shared.jets.test.fingerprint,
    )


def _comparisons(
    of_variant: list[TaggerResult], before: list[TaggerResult], shared: TaggerFits
) -> dict[str, SeedComparison]:
    """Compare the experiment's own tagger with all others, and with its first variant on these test jets."""
    own, signal, test = of_variant[0], shared.experiment.signal, shared.jets.test
    pairs = [(own, one) for one in of_variant[1:]]
    pairs += [(own, one) for one in before if (one.tagger, one.fingerprint) == (own.tagger, own.fingerprint)][
        :1
    ]
    return {
        f"{a.name} against {b.name}": compared(a, b, test, signal=signal, one_training=b.tagger == "ensemble")
        for a, b in pairs
    }


def _best(results: list[TaggerResult]) -> FinalFit:
    """Choose the network that did best on validation: of the first tagger, or its ensemble."""
    candidates = [fit for one in results if one.tagger in (results[0].tagger, "ensemble") for fit in one.fits]
    return max(candidates, key=lambda one: one.validation.auc)


def _calibrated(shared: TaggerFits, best: FinalFit) -> FinalFit:
    """Scale the probabilities of the best, if the experiment asks for it."""
    if shared.experiment.calibration == "none" or best.network is None:
        return best
    return with_temperature(shared, best)


def _record_results(
    parent: MlflowRecorder,
    results: list[TaggerResult],
    comparisons: Mapping[str, SeedComparison],
    test: Jets,
) -> None:
    """Record on the parent what all fits together say; the first tagger's test jets are given."""
    own = results[0]
    kept = scores_to_keep([one.scores for one in own.fits], test, own.test.signal)
    parent.arrays(TEST_SCORES, kept)
    for part in ("validation", "test"):
        summary: Summary = getattr(own, part)
        parent.metrics(summary.metrics())
        parent.result(f"{part}_summary", summary.to_dict())
        steps = np.rint(1000 * summary.curve.signal_efficiency).astype(int)
        parent.curve(f"{part}_rejection_curve", steps, summary.curve.rejection)
    rows = [one.to_dict() for one in results]
    parent.result("table", rows)
    parent.result("comparisons", {name: one.to_dict() for name, one in comparisons.items()})
    parent.text("table.md", markdown_table(rows, comparisons))
    record_figures(parent, figures_of_results(results))


def _record_best(
    parent: MlflowRecorder,
    shared: TaggerFits,
    own: TaggerResult,
    best: FinalFit,
    found: SearchResult | None,
) -> tuple[RejectionAgainstPt, MassSculpting]:
    """Record every figure of the best, and what it looks at."""
    parent.tags({"best_run": best.run_id, "best_fit": best.name})
    parent.text("resolved_experiment.yaml", shared.experiment.yaml())
    if best.network is not None:
        parent.text("network.txt", network_summary(best.network) + "\n")
    shown = best if best in own.fits else max(own.fits, key=lambda one: one.validation.auc)
    record_figures(
        parent,
        gallery.figures_of_parent(
            own.test,
            [one.test for one in own.fits],
            [one.history for one in own.fits if one.history is not None],
            found.trials if found else (),
            objective=found.objective if found else "",
            edges=found.edges if found else None,
            best=own.fits.index(shown),
        ),
    )
    return record_inspection(parent, shared, best)
