"""Executions that are interrupted go on, in a real MLflow store, and their runs tell the truth."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from toys import toy_jets, toy_parts

from jetexp import execution
from jetexp.execution import close_abandoned, open_execution
from jetexp.experiment import Experiment
from jetexp.images import ImageSettings
from jetexp.jets.settings import GenerationSettings
from jetexp.mlflow_store import connect
from jetexp.parts import JetParts
from jetexp.search import search
from jetexp.search_settings import Range, SearchSettings
from jetexp.starting import starting
from jetexp.taggers.settings import CnnSettings, TrainingSettings
from jetexp.tracking import open_parent

ROOT = Path(__file__).parent.parent
PARTS = toy_parts(120, 60)
JETS = {"": JetParts(toy_jets(30, 1), toy_jets(20, 2), toy_jets(20, 3))}


def experiment(trials: int = 4) -> Experiment:
    return Experiment(
        name="toy",
        classes=("background", "signal"),
        signal="signal",
        jets=GenerationSettings(),
        images=ImageSettings(pixels=12),
        tagger=CnnSettings(width=4, dense=8),
        training=TrainingSettings(batch_size=64),
        search=SearchSettings(
            method="bayesian",
            trials=trials,
            epochs=1,
            space={"learning_rate": Range(min=1e-4, max=1e-1, scale="log"), "layers": Range(min=1, max=2)},
        ),
    )


def execute(folder: Path, stop_in: str = "", fresh: bool = False, asked: Experiment | None = None):
    """Search, stopped in a trial perhaps; give the parent's id, the result, and the trials that were made."""
    made: list[str] = []

    def on_trial_end(child, network, scores):
        made.append(child.name)
        if child.name == stop_in:
            raise KeyboardInterrupt

    asked = asked or experiment()
    found, parent = None, None
    try:
        with (
            open_execution(folder / "executions", asked, JETS, fresh=fresh) as home,
            open_parent("toy", "parent", execution=home) as parent,
        ):
            found = search(
                asked,
                PARTS,
                recorder=parent,
                folder=folder / f"tuner-{time.time_ns()}",
                on_trial_end=on_trial_end,
            )
    except KeyboardInterrupt:
        assert stop_in
    return parent.run_id, found, made


def homes(folder: Path) -> list[str]:
    return sorted(one.name for one in (folder / "executions").glob("*"))


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


KILLED = """
import os, signal, sys
sys.path[:0] = {paths}
from test_execution import *
with (
    open_execution(Path("executions"), experiment(), JETS, fresh=False) as home,
    open_parent("toy", "parent", execution=home) as parent,
):
    with parent.child("trial-00") as child:
        child.metrics({{"loss": 1.0}})
    with parent.child("trial-01"):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_runs_of_a_killed_process_are_closed_by_the_next_and_those_of_a_living_one_are_not(mlflow_store):
    paths = [str(ROOT / "tests"), str(ROOT)]
    killed = subprocess.run([sys.executable, "-c", KILLED.format(paths=paths)], cwd=mlflow_store, check=False)
    assert killed.returncode == -signal.SIGKILL
    client = connect()

    def statuses():
        return {run.info.run_name: run.info.status for run in client.search_runs(["1"])}

    assert statuses() == {"parent": "RUNNING", "trial-00": "FINISHED", "trial-01": "RUNNING"}
    with (
        open_execution(mlflow_store / "executions", experiment(3), JETS, fresh=False) as other,
        open_parent("toy", "other", execution=other),
    ):
        close_abandoned(client, mlflow_store / "executions")
        assert statuses()["other"] == "RUNNING"
    assert statuses() == {
        "parent": "KILLED",
        "trial-00": "FINISHED",
        "trial-01": "KILLED",
        "other": "FINISHED",
    }
    _, _, made = execute(mlflow_store, stop_in="trial-01")
    # the killed process had kept nothing of its first trial that a search could use
    assert "trial-01" in made


def test_a_run_that_mlflow_opened_is_closed_though_its_execution_had_not_begun(mlflow_store, monkeypatch):
    client = connect()
    run = client.create_run("0")
    monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
    folder = mlflow_store / "executions"

    def stopped():
        with starting(folder):
            close_abandoned(client, folder)
            assert client.get_run(run.info.run_id).info.status == "RUNNING"
            raise SystemExit(143)

    with pytest.raises(SystemExit):
        stopped()
    close_abandoned(client, folder)
    assert client.get_run(run.info.run_id).info.status == "KILLED"
    assert homes(mlflow_store) == []
    with starting(folder):
        pass
    assert homes(mlflow_store) == []


def test_a_run_whose_command_never_began_is_closed_when_no_other_is_alive(mlflow_store, monkeypatch):
    client = connect()
    tags = {"mlflow.source.type": "PROJECT", "mlflow.source.name": f"file://{mlflow_store}"}
    left, elsewhere, own = (
        client.create_run("0", tags=one).info.run_id
        for one in (tags, tags | {"mlflow.source.name": "file:///elsewhere"}, tags)
    )
    monkeypatch.setenv("MLFLOW_RUN_ID", own)
    monkeypatch.setattr(execution, "_others_alive", lambda: True)
    close_abandoned(client, mlflow_store / "executions")
    assert client.get_run(left).info.status == "RUNNING"
    monkeypatch.setattr(execution, "_others_alive", lambda: False)
    close_abandoned(client, mlflow_store / "executions")
    assert [client.get_run(one).info.status for one in (left, elsewhere, own)] == [
        "KILLED",
        "RUNNING",
        "RUNNING",
    ]


BELOW = """
import sys, time
sys.path.insert(0, {root!r})
from jetexp.execution import stop_with_mlflow
with stop_with_mlflow():
    print("there", flush=True)
    time.sleep(60)
"""
ABOVE = "import subprocess, sys; subprocess.run(['bash', '-c', sys.argv[1] + '; true'])"


@pytest.mark.parametrize("name", ["mlflow", "another"])
def test_a_command_stops_when_its_mlflow_is_gone_though_a_shell_lives_between(tmp_path, name):
    (tmp_path / name).write_text(ABOVE)
    (tmp_path / "below.py").write_text(BELOW.format(root=str(ROOT)))
    above = subprocess.Popen(
        [sys.executable, str(tmp_path / name), f"{sys.executable} {tmp_path / 'below.py'}"],
        env={**os.environ, "MLFLOW_RUN_ID": "some"},
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    try:
        assert above.stdout is not None
        with above.stdout as said:
            assert said.readline() == "there\n"
        above.kill()
        above.wait()
        end = time.monotonic() + 5
        while time.monotonic() < end and alive(above.pid):
            time.sleep(0.05)
        assert alive(above.pid) is (name == "another")
    finally:
        if alive(above.pid):
            os.killpg(above.pid, signal.SIGKILL)


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
