"""Runs of processes that are gone are ended, and MLflow gets what it has not got of them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from searches import JETS, execute, experiment, homes

from jetexp import abandoned
from jetexp.abandoned import close_abandoned, deliver
from jetexp.cli import jetexp
from jetexp.delivery import Batch
from jetexp.execution import open_execution
from jetexp.mlflow_store import StoreAwayError, connect
from jetexp.outbox import Outbox, undelivered
from jetexp.starting import starting
from jetexp.tracking import open_parent

ROOT = Path(__file__).parent.parent

KILLED = """
import os, signal, sys
sys.path[:0] = {paths}
from test_abandoned import *
with (
    open_execution(Path("executions"), experiment(), JETS, fresh=False) as home,
    open_parent("toy", "parent", execution=home) as parent,
):
    with parent.child("trial-00") as child:
        child.metrics({{"loss": 1.0}})
    if {unnoted}:
        home.opened = lambda *given: os.kill(os.getpid(), signal.SIGKILL)
    with parent.child("trial-01"):
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("unnoted", [False, True], ids=["in a child run", "as one had just been opened"])
def test_runs_of_a_killed_process_are_closed_by_the_next_and_those_of_a_living_one_are_not(
    mlflow_store, unnoted
):
    script = KILLED.format(paths=[str(ROOT / "tests"), str(ROOT)], unnoted=unnoted)
    killed = subprocess.run([sys.executable, "-c", script], cwd=mlflow_store, check=False)
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
    monkeypatch.setattr(abandoned, "_others_alive", lambda: True)
    close_abandoned(client, mlflow_store / "executions")
    assert client.get_run(left).info.status == "RUNNING"
    monkeypatch.setattr(abandoned, "_others_alive", lambda: False)
    close_abandoned(client, mlflow_store / "executions")
    assert [client.get_run(one).info.status for one in (left, elsewhere, own)] == [
        "KILLED",
        "RUNNING",
        "RUNNING",
    ]


def left_by_an_outage(folder, monkeypatch, *, ends: bool):
    """Execute while the store refuses for want of an answer; give the homes that are left."""

    def away(*arguments, **keywords):
        raise StoreAwayError("MLflow does not answer.")

    def execute_without_a_store():
        with (
            open_execution(folder / "executions", experiment(), JETS, fresh=False) as home,
            open_parent("toy", "parent", execution=home, patience=0.2) as parent,
        ):
            with parent.child("trial-00") as child:
                child.metrics({"loss": 1.0})
            if not ends:
                parent.outbox.flush(0.2)

    with monkeypatch.context() as patched:
        patched.setattr(Outbox, "_deliver", away)
        with pytest.raises(StoreAwayError, match="`jetexp deliver`"):
            execute_without_a_store()
    return homes(folder)


def test_an_execution_that_ended_while_mlflow_was_away_is_delivered_and_its_home_removed(
    mlflow_store, monkeypatch
):
    (home,) = left_by_an_outage(mlflow_store, monkeypatch, ends=True)
    # the same command is a new execution
    with open_execution(mlflow_store / "executions", experiment(), JETS, fresh=False) as other:
        assert other.folder.name != home
        assert other.child("trial-00") is None
    ran = CliRunner().invoke(jetexp, ["deliver", "--executions", "executions"])
    assert ran.exit_code == 0
    assert "items, delivered\n" in ran.output
    assert homes(mlflow_store) == []
    runs = {run.info.run_name: run for run in MlflowClient().search_runs(["1"])}
    assert {name: run.info.status for name, run in runs.items()} == {
        "parent": "FINISHED",
        "trial-00": "FINISHED",
    }
    assert runs["trial-00"].data.metrics == {"loss": 1.0}
    assert runs["trial-00"].data.tags["mlflow.parentRunId"] == runs["parent"].info.run_id
    ran = CliRunner().invoke(jetexp, ["deliver", "--executions", "executions"])
    assert ran.output == "Nothing waits in executions.\n"


def test_an_execution_that_could_not_end_is_delivered_and_gone_on_with(mlflow_store, monkeypatch):
    (home,) = left_by_an_outage(mlflow_store, monkeypatch, ends=False)
    (one,) = deliver(MlflowClient(), mlflow_store / "executions", patience=10)
    assert (one.home.name, one.outcome) == (home, "delivered; the same command goes on with the rest")
    assert undelivered(one.home / "outbox") == []
    parent, _, made = execute(mlflow_store)
    assert made == [f"trial-0{number}" for number in range(1, 4)]
    assert homes(mlflow_store) == []
    client = MlflowClient()
    trial = client.search_runs(["1"], "attributes.run_name = 'trial-00'")
    assert [run.data.tags["mlflow.parentRunId"] for run in trial] == [parent]


def test_the_next_start_delivers_what_was_left(mlflow_store, monkeypatch):
    left_by_an_outage(mlflow_store, monkeypatch, ends=True)
    close_abandoned(connect(), mlflow_store / "executions")
    assert homes(mlflow_store) == []
    assert len(MlflowClient().search_runs(["1"], "attributes.status = 'FINISHED'")) == 2


def test_what_belongs_to_another_store_is_named_and_left(mlflow_store, monkeypatch):
    (home,) = left_by_an_outage(mlflow_store, monkeypatch, ends=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{mlflow_store}/other.db")
    (one,) = deliver(connect(), mlflow_store / "executions", patience=10)
    assert one.outcome == f"belongs to sqlite:///{mlflow_store}/mlflow.db: set MLFLOW_TRACKING_URI to that"
    close_abandoned(connect(), mlflow_store / "executions")
    assert homes(mlflow_store) == [home]


def test_what_a_living_execution_still_has_to_deliver_is_left_to_it(mlflow_store):
    folder = mlflow_store / "executions"
    with open_execution(folder, experiment(), JETS, fresh=False) as home:
        run = MlflowClient().create_run("0")
        outbox = Outbox(MlflowClient(), home.folder / "outbox")
        outbox.hurry()
        outbox.send(Batch(run_id=run.info.run_id, tags={"a": "b"}))
        assert deliver(MlflowClient(), folder, patience=1) == []
        assert len(undelivered(home.folder / "outbox")) == 1
