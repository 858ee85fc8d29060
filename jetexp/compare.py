"""Several runs side by side: one table and one figure."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from jetexp.errors import ModelError
from jetexp.evaluation.report import CurveWithBand, Evaluation, Measurement, SeedMeasurement, Summary
from jetexp.mlflow_store import connect, first_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ComparedRun", "Comparison", "compare_runs", "find_run"]

RUN_ID = re.compile(r"[0-9a-f]{32}")
VERSION = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<version>\d+)|@(?P<alias>[^/@]+))")
PARTS = ("test", "validation")
MAXIMUM_RESULT_SIZE = 100_000_000


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
    """

    name: str
    run_id: str
    part: str
    numbers: Mapping[str, Measurement | SeedMeasurement]
    curve: CurveWithBand


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs side by side.

    Attributes
    ----------
    runs : tuple of ComparedRun
        The rows, in the order asked for.
    """

    runs: tuple[ComparedRun, ...]

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
        One row a run.

    Raises
    ------
    ModelError
        If a run is not there or was never measured.
    """
    client = connect()
    return Comparison(tuple(_read(client, find_run(client, name, experiment_name), name) for name in names))


def _read(client: MlflowClient, run: Run, asked: str) -> ComparedRun:
    """Read one run's figures from its results: over seeds if it is a parent, else of one fit."""
    run_id, named = run.info.run_id, run.info.run_name or run.info.run_id
    name = named if asked in (named, run_id) else f"{asked} ({named})"
    stored = {Path(item.path).name for item in client.list_artifacts(run_id, "results")}
    for part in PARTS:
        if f"{part}_summary.json" in stored:
            summary = Summary.from_dict(_result(client, run_id, f"{part}_summary.json"))
            return ComparedRun(name, run_id, part, summary.measurements, summary.curve)
        if f"{part}_evaluation.json" in stored:
            fitted = Evaluation.from_dict(_result(client, run_id, f"{part}_evaluation.json"))
            return ComparedRun(name, run_id, part, fitted.measurements(), fitted.rejection)
    raise ModelError(f"Run {asked!r} holds no results of test or validation jets: it was never measured.")


def _result(client: MlflowClient, run_id: str, name: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(client.download_artifacts(run_id, f"results/{name}", folder))
        if path.stat().st_size > MAXIMUM_RESULT_SIZE:
            raise ModelError(f"results/{name} of run {run_id} is over {MAXIMUM_RESULT_SIZE} bytes long.")
        try:
            return json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise ModelError(f"results/{name} of run {run_id} is not JSON: {error}.") from error
