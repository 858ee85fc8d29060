"""Executions that are interrupted go on, in a real MLflow store, and their runs tell the truth."""

from __future__ import annotations

import pytest
from mlflow import MlflowClient
from searches import JETS, execute, experiment, homes

from jetexp.execution import open_execution


def test_what_is_finished_is_not_made_again(mlflow_store, tmp_path_factory):
    quiet, uninterrupted, _ = execute(mlflow_store)
    assert homes(mlflow_store) == []
    client = MlflowClient()

    first, _, made = execute(mlflow_store, stop_in="trial-02")
    assert made == ["trial-00", "trial-01", "trial-02"]
    assert len(homes(mlflow_store)) == 1
    second, _, made = execute(mlflow_store, stop_in="trial-03")
    assert made == ["trial-02", "trial-03"]
    last, found, made = execute(mlflow_store)
    assert made == ["trial-03"]
    assert homes(mlflow_store) == []

    for one, expected in zip(found.trials, uninterrupted.trials, strict=True):
        assert (one.name, one.hyperparameters) == (expected.name, expected.hyperparameters)
        assert one.objective == pytest.approx(expected.objective, abs=1e-6)
    runs = client.search_runs([client.get_run(last).info.experiment_id])
    of_parent = {
        parent: {run.info.run_name: run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent}
        for parent in (quiet, first, second, last)
    }
    assert sorted(of_parent[last]) == sorted(of_parent[quiet]) == [f"trial-0{number}" for number in range(4)]
    assert {run.info.status for run in of_parent[last].values()} == {"FINISHED"}
    # those that were interrupted stay where they were
    assert {name: run.info.status for name, run in of_parent[first].items()} == {"trial-02": "KILLED"}
    assert {name: run.info.status for name, run in of_parent[second].items()} == {"trial-03": "KILLED"}
    retried = of_parent[last]["trial-02"].data.tags["retry_of"]
    assert retried == of_parent[first]["trial-02"].info.run_id
    assert "retry_of" not in of_parent[last]["trial-00"].data.tags
    for parent in (first, second):
        run = client.get_run(parent)
        assert (run.info.status, run.data.tags["continued_by"]) == ("KILLED", last)
    # every epoch once
    for run in of_parent[last].values():
        assert len(client.get_metric_history(run.info.run_id, "val_auc")) == 1


def test_another_experiment_is_another_execution_and_fresh_starts_over(mlflow_store):
    execute(mlflow_store, stop_in="trial-01")
    (home,) = homes(mlflow_store)
    _, _, made = execute(mlflow_store, stop_in="trial-01", asked=experiment(trials=3))
    assert made == ["trial-00", "trial-01"]
    assert len(homes(mlflow_store)) == 2
    _, _, made = execute(mlflow_store, stop_in="trial-02", fresh=True)
    assert made == ["trial-00", "trial-01", "trial-02"]
    assert len(homes(mlflow_store)) == 2
    assert home in homes(mlflow_store)


def test_a_second_living_execution_has_a_home_of_its_own(mlflow_store):
    folder = mlflow_store / "executions"
    with open_execution(folder, experiment(), JETS, fresh=False) as one:
        with open_execution(folder, experiment(), JETS, fresh=False) as other:
            assert one.folder != other.folder
            assert len(homes(mlflow_store)) == 2
        assert homes(mlflow_store) == [one.folder.name]
    assert homes(mlflow_store) == []


def test_a_child_run_that_was_deleted_is_made_again(mlflow_store):
    execute(mlflow_store, stop_in="trial-02")
    client = MlflowClient()
    (trial,) = client.search_runs(["1"], "attributes.run_name = 'trial-00'")
    client.delete_run(trial.info.run_id)
    _, found, made = execute(mlflow_store)
    assert made == ["trial-00", "trial-02", "trial-03"]
    assert len(found.trials) == 4


def test_a_damaged_record_is_told_and_everything_made_again(mlflow_store, caplog):
    execute(mlflow_store, stop_in="trial-02")
    (home,) = (mlflow_store / "executions").glob("*")
    (home / "record.json").write_text('{"key": 1}')
    _, _, made = execute(mlflow_store)
    assert made == [f"trial-0{number}" for number in range(4)]
    assert "cannot be read" in caplog.text
