"""Several runs side by side: numbers, curves, and pairs on the same test jets."""

from __future__ import annotations

import itertools
import json
import re
import tempfile
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from jetexp.errors import ModelError
from jetexp.evaluation.report import CurveWithBand, Evaluation, Measurement, SeedMeasurement, Summary
from jetexp.evaluation.seeds import SeedComparison
from jetexp.evaluation.summary import SeedCurve
from jetexp.kept_scores import TEST_SCORES, TestScores
from jetexp.mlflow_store import connect, first_line
from jetexp.registry import model_of_run
from jetexp.tracking import open_parent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ComparedRun", "Comparison", "best_runs", "compare_runs", "find_run", "record_comparison"]

RUN_ID = re.compile(r"[0-9a-f]{32}")
VERSION = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<version>\d+)|@(?P<alias>[^/@]+))")
PARTS = ("test", "validation")
MAXIMUM_RESULT_SIZE = 1_000_000_000
# executions are ordered by it: no choice sees the test jets
OBJECTIVE = "validation_auc"


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """One run's figures, a row of the table.

    Attributes
    ----------
    name : str
        As the user named it, with the run's name.
    run_id : str
        The run.
    part : str
        The jets that the figures stand for: "test", or "validation" where a run saw no test jets.
    numbers : dict of str to Measurement or SeedMeasurement
        "accuracy", "auc", "rejection_30", ...; each shows itself with its errors.
    curve : RejectionCurve or SeedCurve
        Background rejection against signal efficiency, with its band.
    experiment_id : str
        The MLflow experiment that it belongs to.
    parameters : int or None
        Of the network; of a run over seeds, of its best one. None where there is no network.
    seconds : float or None
        That one fit took.
    size : int or None
        Bytes that the model takes as it is kept to be served.
    scores : TestScores or None
        Of the test jets; None where the run kept none.
    """

    name: str
    run_id: str
    part: str
    numbers: Mapping[str, Measurement | SeedMeasurement]
    curve: CurveWithBand
    experiment_id: str
    parameters: int | None = None
    seconds: float | None = None
    size: int | None = None
    scores: TestScores | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the row in a form that JSON can hold.

        Returns
        -------
        dict
            All but curve and scores.
        """
        return {
            "name": self.name,
            "run": self.run_id,
            "part": self.part,
            "numbers": {name: one.to_dict() for name, one in self.numbers.items()},
            "parameters": self.parameters,
            "fit_seconds": self.seconds,
            "model_bytes": self.size,
            "test_sample": None if self.scores is None else self.scores.fingerprint,
        }


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs side by side.

    Attributes
    ----------
    runs : tuple of ComparedRun
        The rows, in the order asked for.
    """

    runs: tuple[ComparedRun, ...]

    @cached_property
    def pairs(self) -> dict[tuple[str, str], SeedComparison]:
        """Pairs of runs that were scored on the same test jets; above zero where the first is better."""
        return {
            (one.name, other.name): one.scores.compared_with(other.scores)
            for one, other in itertools.combinations(self.runs, 2)
            if one.scores is not None
            and other.scores is not None
            and one.scores.are_of_the_same_jets(other.scores)
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison in a form that JSON can hold.

        Returns
        -------
        dict
            Rows and pairs.
        """
        pairs = [
            {"first": first, "second": second, **one.to_dict()} for (first, second), one in self.pairs.items()
        ]
        return {"runs": [run.to_dict() for run in self.runs], "pairs": pairs}

    @property
    def figure(self) -> Figure:
        """The background rejection of all runs against signal efficiency."""
        from jetexp.plots.gallery import rejection_comparison

        return rejection_comparison({run.name: run.curve for run in self.runs})


def find_run(client: MlflowClient, name: str, experiment_name: str | None = None) -> Run:
    """Find a run by its id, its name or a registered version of its model.

    Parameters
    ----------
    client : mlflow.MlflowClient
        Connected.
    name : str
        A run id, a run's name (the newest of that name), ``models:/NAME/VERSION`` or
        ``models:/NAME@ALIAS``.
    experiment_name : str, optional
        The MLflow experiment to look for names in; by default all.

    Returns
    -------
    mlflow.entities.Run
        The run.

    Raises
    ------
    ModelError
        If there is none.
    """
    try:
        if match := VERSION.fullmatch(name):
            return _run_of_version(client, name, **match.groupdict())
        if RUN_ID.fullmatch(name):
            return client.get_run(name)
        return _newest_run(client, name, experiment_name)
    except MlflowException as error:
        raise ModelError(f"There is no run {name!r}: {first_line(error)}.") from error


def _run_of_version(
    client: MlflowClient, address: str, name: str, version: str | None, alias: str | None
) -> Run:
    found = (
        client.get_model_version(name, version)
        if version is not None
        else client.get_model_version_by_alias(name, str(alias))
    )
    if not found.run_id:
        raise ModelError(f"{address} belongs to no run.")
    return client.get_run(found.run_id)


def _newest_run(client: MlflowClient, name: str, experiment_name: str | None) -> Run:
    experiments = [
        one for one in client.search_experiments() if experiment_name is None or one.name == experiment_name
    ]
    if not experiments:
        raise ModelError(f"There is no MLflow experiment {experiment_name!r}.")
    if "'" in name or '"' in name:
        raise ModelError(f"There is no run {name!r}: give a name without quotes, or a run id.")
    runs = client.search_runs(
        [one.experiment_id for one in experiments],
        filter_string=f"attributes.run_name = '{name}'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    if not runs:
        where = "any experiment" if experiment_name is None else f"the experiment {experiment_name!r}"
        raise ModelError(f"There is no run {name!r} in {where}; give a run id, a name or models:/NAME@ALIAS.")
    return runs[0]


def best_runs(number: int, experiment_name: str) -> tuple[str, ...]:
    """Find the best executions of an MLflow experiment, by their AUC on validation jets.

    Parameters
    ----------
    number : int
        How many at most.
    experiment_name : str
        The MLflow experiment.

    Returns
    -------
    tuple of str
        Their parent runs, the best first.

    Raises
    ------
    ModelError
        If there is no such experiment, or nothing in it was measured.
    """
    client = connect()
    experiment = client.get_experiment_by_name(experiment_name)
    if experiment is None:
        raise ModelError(f"There is no MLflow experiment {experiment_name!r}.")
    # MLflow cannot ask for runs without a parent
    found: list[str] = []
    token = None
    while len(found) < number:
        page = client.search_runs(
            [experiment.experiment_id],
            filter_string=f"metrics.{OBJECTIVE} > 0",
            order_by=[f"metrics.{OBJECTIVE} DESC"],
            page_token=token,
        )
        found += [run.info.run_id for run in page if MLFLOW_PARENT_RUN_ID not in run.data.tags]
        token = page.token
        if not token:
            break
    if not found:
        raise ModelError(f"The MLflow experiment {experiment_name!r} holds no execution that was measured.")
    return tuple(found[:number])


def compare_runs(names: Sequence[str], experiment_name: str | None = None) -> Comparison:
    """Read the figures of several runs from MLflow.

    Parameters
    ----------
    names : sequence of str
        Run ids, names, or addresses of registered models.
    experiment_name : str, optional
        The MLflow experiment to look for names in; by default all.

    Returns
    -------
    Comparison
        One row a run; runs of one name are told apart by the beginning of their ids.

    Raises
    ------
    ModelError
        If a run is not there or was never measured.
    """
    client = connect()
    found = [(find_run(client, name, experiment_name), name) for name in names]
    # a run may be named, and stand among the best too
    runs = [_read(client, run, name) for run, name in {one[0].info.run_id: one for one in found}.values()]
    often = Counter(run.name for run in runs)
    return Comparison(
        tuple(
            replace(run, name=f"{run.name} {run.run_id[:8]}") if often[run.name] > 1 else run for run in runs
        )
    )


def record_comparison(comparison: Comparison) -> str:
    """Record a comparison as a run of its own, in the MLflow experiment of the first run.

    Under ``mlflow run`` it is the run that MLflow opened.

    Parameters
    ----------
    comparison : Comparison
        Of :func:`compare_runs`.

    Returns
    -------
    str
        The run.
    """
    from jetexp.comparison_tables import as_markdown

    client = connect()
    first = client.get_experiment(comparison.runs[0].experiment_id)
    table = as_markdown(comparison)
    with open_parent(first.name, "comparison", description=table) as recorder:
        recorder.tags({"compared_runs": " ".join(run.run_id for run in comparison.runs)})
        recorder.figure("rejection", comparison.figure)
        recorder.result("comparison", comparison.to_dict())
        recorder.text("table.md", table)
        return recorder.run_id


def _read(client: MlflowClient, run: Run, asked: str) -> ComparedRun:
    """Read one run's figures from its results: over seeds if it is a parent, else of one fit."""
    run_id, named = run.info.run_id, run.info.run_name or run.info.run_id
    name = named if asked in (named, run_id) else f"{asked} ({named})"
    stored = {Path(item.path).name for item in client.list_artifacts(run_id, "results")}
    for part in PARTS:
        if f"{part}_summary.json" in stored:
            summary = Summary.from_dict(_result(client, run_id, f"{part}_summary.json"))
            numbers: Mapping[str, Any] = summary.measurements
            curve: CurveWithBand = summary.curve
            break
        if f"{part}_evaluation.json" in stored:
            fitted = Evaluation.from_dict(_result(client, run_id, f"{part}_evaluation.json"))
            numbers, curve = fitted.measurements(), fitted.rejection
            break
    else:
        raise ModelError(f"Run {asked!r} holds no results of test or validation jets: it was never measured.")
    scores = None
    if part == "test" and f"{TEST_SCORES}.npz" in stored:
        with _downloaded(client, run_id, f"{TEST_SCORES}.npz") as path:
            scores = TestScores.read(path)
        if isinstance(curve, SeedCurve) and len(scores.scores) == 1:
            # one seed has no spread over seeds to show
            curve = scores.curve_of(0)
    fit = _one_fit(client, run, stored)
    parameters = fit.data.metrics.get("network_parameters")
    return ComparedRun(
        name=name,
        run_id=run_id,
        part=part,
        numbers=numbers,
        curve=curve,
        experiment_id=run.info.experiment_id,
        parameters=None if parameters is None else int(parameters),
        seconds=fit.data.metrics.get("fit_seconds"),
        size=_model_size(client, fit),
        scores=scores,
    )


def _one_fit(client: MlflowClient, run: Run, stored: Container[str]) -> Run:
    """Give the fit whose size and time stand for a run's: of a parent the first of those that it averages."""
    if "best_run" not in run.data.tags or "table.json" not in stored:
        return run
    own: str = _result(client, run.info.run_id, "table.json")[0]["runs"][0]
    return client.get_run(own)


def _model_size(client: MlflowClient, run: Run) -> int | None:
    """Say how many bytes the model of a run takes, if it logged one."""
    try:
        return Model.load(model_of_run(client, run.info.run_id)).model_size_bytes
    except (ModelError, MlflowException, OSError):
        # a trial, a classical tagger, or a model that was deleted since
        return None


def _result(client: MlflowClient, run_id: str, name: str) -> Any:
    with _downloaded(client, run_id, name) as path:
        try:
            return json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise ModelError(f"results/{name} of run {run_id} is not JSON: {error}.") from error


@contextmanager
def _downloaded(client: MlflowClient, run_id: str, name: str) -> Iterator[Path]:
    """Fetch a result of a run."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(client.download_artifacts(run_id, f"results/{name}", folder))
        if path.stat().st_size > MAXIMUM_RESULT_SIZE:
            raise ModelError(f"results/{name} of run {run_id} is over {MAXIMUM_RESULT_SIZE} bytes long.")
        yield path
