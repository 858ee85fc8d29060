"""Runs in a real MLflow store: what they hold, and that their status tells the truth."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from servers import free_port

from jetexp.delivery import NewRun
from jetexp.errors import JetexpError
from jetexp.jets.pixels import jets_from_images
from jetexp.mlflow_store import AWAY_TIME, StoreError, check_reachable, connect, delivered, first_line, masked
from jetexp.recorder import git_tags
from jetexp.tracking import open_parent

ROOT = Path(__file__).parent.parent


def run_of(recorder):
    return MlflowClient().get_run(recorder.run_id)


def artifact(recorder, name):
    return Path(MlflowClient().download_artifacts(recorder.run_id, name)).read_bytes()


def test_a_note_has_sentences_links_and_numbers_within_the_limit(mlflow_store):
    with open_parent("e", "first", description="W against QCD") as parent:
        for name in ("roc", "rejection"):
            parent.figure(name, Figure())
        parent.note("W against QCD, found.", "| a |\n|---|\n| 1 |\n")
        note = run_of(parent).data.tags["mlflow.note.content"]
        artifacts = f"#/experiments/{parent.experiment_id}/runs/{parent.run_id}/artifacts/plots"
        assert note.splitlines() == [
            "W against QCD, found.",
            "",
            f"Figures: [roc]({artifacts}/roc.png), [rejection]({artifacts}/rejection.png)",
            "",
            "| a |",
            "|---|",
            "| 1 |",
        ]
        parent.note("", "| a line |\n" * 1000)
        note = run_of(parent).data.tags["mlflow.note.content"]
        assert 7900 < len(note) <= 8000
        assert note.endswith("| a line |")


def test_a_parent_and_its_children_hold_what_was_recorded(mlflow_store):
    with open_parent("w_vs_qcd", "first", description="W against QCD") as parent:
        parent.parameters({"trials": 3, "images": {"pixels": 24, "zoom": True}})
        parent.result("summary", {"auc": 0.9})
        parent.text("experiment.yaml", "name: x\n")
        figure = Figure()
        figure.subplots().plot([1, 2])
        parent.figure("roc", figure)
        with parent.child("seed-00") as child:
            child.parameters({"seed": 0})
            child.metrics({"loss": 0.5, "val_auc": 0.8}, step=1)
            child.tags({"best": "yes"})
    run = run_of(parent)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "first")
    assert MlflowClient().get_experiment(run.info.experiment_id).name == "w_vs_qcd"
    assert run.data.params == {
        "settings.trials": "3",
        "settings.images.pixels": "24",
        "settings.images.zoom": "True",
    }
    assert run.data.tags["mlflow.note.content"] == "W against QCD"
    assert json.loads(artifact(parent, "results/summary.json")) == {"auc": 0.9}
    assert artifact(parent, "experiment.yaml") == b"name: x\n"
    assert artifact(parent, "plots/roc.png").startswith(b"\x89PNG")
    assert not figure.axes
    below = run_of(child)
    assert (below.info.status, below.info.run_name) == ("FINISHED", "seed-00")
    assert below.data.tags["mlflow.parentRunId"] == parent.run_id
    assert below.data.tags["best"] == "yes"
    assert below.data.params == {"seed": "0"}
    assert below.data.metrics == {"loss": 0.5, "val_auc": 0.8}


def test_a_curve_is_one_stepped_metric_without_points_that_are_not_finite(mlflow_store):
    steps = np.arange(2500)
    values = 1.0 + steps
    values[7] = np.inf
    with open_parent("e", "r") as recorder:
        recorder.curve("test_rejection_curve", steps, values)
        recorder.metrics({"fine": 1.0, "infinite": np.inf, "nan": np.nan})
    history = MlflowClient().get_metric_history(recorder.run_id, "test_rejection_curve")
    logged = {point.step: point.value for point in history}
    assert logged == {step: step + 1.0 for step in range(2500) if step != 7}
    assert len(history) == 2499
    assert set(run_of(recorder).data.metrics) == {"test_rejection_curve", "fine"}


def test_more_parameters_than_mlflow_takes_at_once(mlflow_store):
    with open_parent("e", "r") as recorder:
        recorder.parameters({f"p{number}": number for number in range(250)})
    assert len(run_of(recorder).data.params) == 250


def test_jets_are_logged_with_their_fingerprint(mlflow_store):
    images = np.ones((4, 40, 40))
    jets = jets_from_images(
        images,
        half_width=1.0,
        label=np.array([0, 0, 0, 1]),
        classes=("QCD", "W"),
        provenance={"source": "x"},
    )
    with open_parent("e", "r") as recorder:
        recorder.jets(jets, "e-test", "test")
    (entry,) = run_of(recorder).inputs.dataset_inputs
    assert entry.dataset.name == "e-test"
    assert entry.dataset.digest == jets.fingerprint[:36]
    assert json.loads(entry.dataset.source) == {"source": "x"}
    profile = json.loads(entry.dataset.profile)
    assert profile == {"jets": 4, "QCD": 3, "W": 1, "fingerprint": jets.fingerprint}
    assert [tag.value for tag in entry.tags] == ["test"]


def test_a_child_that_fails_is_failed_with_its_traceback_and_the_parent_goes_on(mlflow_store):
    def diverge():
        raise ZeroDivisionError("the network diverged")

    with open_parent("e", "r") as parent:
        with pytest.raises(ZeroDivisionError), parent.child("trial-00") as child:
            diverge()
        with parent.child("trial-01") as second:
            pass
    assert [run_of(one).info.status for one in (child, second, parent)] == ["FAILED", "FINISHED", "FINISHED"]
    text = artifact(child, "traceback.txt").decode()
    assert "in diverge" in text
    assert "the network diverged" in text


def test_a_parent_that_raises_is_failed_with_its_children_and_masks_passwords(mlflow_store):
    with (
        pytest.raises(ValueError, match="secret"),
        open_parent("e", "r") as parent,
        parent.child("seed-00") as child,
    ):
        raise ValueError("no jets at https://anna:secret@host/jets")
    assert run_of(parent).info.status == run_of(child).info.status == "FAILED"
    text = artifact(parent, "traceback.txt").decode()
    assert "https://***@host/jets" in text


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_run_that_was_stopped_is_killed(mlflow_store, stop):
    with pytest.raises(stop), open_parent("e", "r") as parent, parent.child("seed-00") as child:
        raise stop
    assert run_of(parent).info.status == run_of(child).info.status == "KILLED"


def test_a_run_that_was_stopped_as_it_was_opened_is_killed(mlflow_store, monkeypatch):
    def stopped():
        with open_parent("e", "r") as parent:
            runs.append(parent)
            send = parent.outbox.send

            def send_and_stop(item, payload=None):
                send(item, payload)
                if isinstance(item, NewRun):
                    os.kill(os.getpid(), signal.SIGTERM)

            monkeypatch.setattr(parent.outbox, "send", send_and_stop)
            with parent.child("seed-00"):
                raise AssertionError("it went on")

    runs = []
    with pytest.raises(SystemExit):
        stopped()
    statuses = [run.info.status for run in MlflowClient().search_runs([runs[0].experiment_id])]
    assert statuses == ["KILLED", "KILLED"]


def test_a_run_that_was_stopped_is_killed_though_a_library_made_another_error_of_it(mlflow_store):
    def stopped():
        with open_parent("e", "r") as parent, parent.child("seed-00") as child:
            runs.extend([parent, child])
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(5)
            except SystemExit as error:
                raise SystemError("bad argument to internal function") from error

    runs = []
    with pytest.raises(SystemExit):
        stopped()
    assert [run_of(one).info.status for one in runs] == ["KILLED", "KILLED"]


@pytest.fixture
def opened_by_mlflow(mlflow_store, monkeypatch):
    """A run as `mlflow run` leaves it to its entry point: the overrides are logged, as given."""

    def opened(name=None):
        client = MlflowClient()
        experiment = client.create_experiment("chosen on the command line")
        run = client.create_run(experiment, run_name=name)
        client.log_param(run.info.run_id, "trials", "")
        monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
        monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
        return run

    return opened


def test_under_mlflow_run_the_parent_is_the_run_that_mlflow_opened(opened_by_mlflow):
    run = opened_by_mlflow()
    with open_parent("another", "w_vs_qcd") as parent:
        parent.parameters({"trials": 6})
        with parent.child("trial-00") as child:
            pass
    assert parent.run_id == run.info.run_id
    assert child.experiment_id == run.info.experiment_id
    assert run_of(parent).data.params == {"trials": "", "settings.trials": "6"}
    assert run_of(parent).info.run_name == "w_vs_qcd"
    assert run_of(parent).info.status == "FINISHED"


def test_a_run_name_given_on_mlflows_command_line_is_kept(opened_by_mlflow):
    opened_by_mlflow("my best run")
    with open_parent(None, "w_vs_qcd") as parent:
        pass
    assert run_of(parent).info.run_name == "my best run"


def test_a_run_id_left_over_in_the_environment_is_refused(opened_by_mlflow, monkeypatch):
    run = opened_by_mlflow()
    MlflowClient().set_terminated(run.info.run_id)
    with pytest.raises(JetexpError, match=r"that run is over; unset it\."), open_parent(None, "x"):
        pass
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with pytest.raises(JetexpError, match="there is no such run"), open_parent(None, "x"):
        pass


def test_a_deleted_experiment_is_named(mlflow_store):
    client = MlflowClient()
    client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(JetexpError, match="'gone' is deleted; restore it"), open_parent("gone", "x"):
        pass


def test_the_environments_experiment_goes_first(mlflow_store, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "chosen")
    with open_parent("by the file", "x") as parent:
        pass
    assert MlflowClient().get_experiment(parent.experiment_id).name == "chosen"


@pytest.mark.parametrize(
    "address", ["http://anna:secret@127.0.0.1:{}", "postgresql://anna:secret@127.0.0.1:{}/mlflow"]
)
def test_a_server_that_is_not_there_is_reported_at_once_and_nothing_is_written(
    tmp_path, monkeypatch, address
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address.format(free_port()))
    started = time.monotonic()
    with pytest.raises(JetexpError, match="does not answer") as caught:
        check_reachable()
    assert time.monotonic() - started < 30
    assert "secret" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_store_that_is_none_is_reported_at_once(tmp_path, monkeypatch):
    (tmp_path / "mlflow.db").write_bytes(b"not a database" * 100)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    started = time.monotonic()
    with pytest.raises(JetexpError, match="file is not a database"):
        connect()
    assert time.monotonic() - started < 30


def test_a_locked_store_is_waited_for_and_another_fault_is_not(monkeypatch):
    calls = []

    def locked_twice(value):
        calls.append(value)
        if len(calls) < 3:
            raise MlflowException("(sqlite3.OperationalError) database is locked")
        return value

    assert delivered(locked_twice, 5) == 5
    assert calls == [5, 5, 5]

    def broken():
        calls.append("broken")
        raise MlflowException("no such run at http://anna:secret@host")

    with pytest.raises(StoreError, match=r"no such run at http://\*\*\*@host"):
        delivered(broken)
    assert calls.count("broken") == 1
    assert AWAY_TIME > 20  # SQLite's own time in MLflow


def test_a_full_disk_is_told_whatever_is_said_before():
    error = MlflowException(
        "(raised as a result of autoflush)\n(sqlite3.OperationalError) database or disk is full"
    )
    assert first_line(error) == "(sqlite3.OperationalError) database or disk is full"
    assert first_line(MlflowException("one\ntwo")) == "one"


def test_a_store_locked_by_another_process_does_not_lose_metrics(mlflow_store):
    with open_parent("e", "r") as recorder:
        other = sqlite3.connect(mlflow_store / "mlflow.db", check_same_thread=False)
        other.execute("BEGIN EXCLUSIVE")
        let_go = threading.Timer(1.0, other.rollback)
        let_go.start()
        started = time.monotonic()
        recorder.metrics({"loss": 1.0})
        assert time.monotonic() - started > 0.5
        let_go.join()
        other.close()
    assert run_of(recorder).data.metrics == {"loss": 1.0}


def test_masking_leaves_other_text_alone():
    assert masked("sqlite:///mlflow.db, mail to a@b") == "sqlite:///mlflow.db, mail to a@b"


def test_git_tags_name_the_commit_of_this_code():
    tags = git_tags()
    head = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    assert tags == {} or tags["mlflow.source.git.commit"] == head


STOPPED = """
import time
from jetexp.tracking import open_parent

with open_parent("e", "r") as parent, parent.child("seed-00"):
    print(parent.run_id, flush=True)
    for _ in range(600):  # a signal just before one long sleep would be seen only after it
        time.sleep(0.1)
"""


@pytest.mark.slow
def test_a_process_that_is_terminated_leaves_no_running_run(mlflow_store):
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with process:
        process.stdout.readline()
        # as under `mlflow run`: Ctrl-C and, at once, the TERM that MLflow sends on
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) != 0
    runs = MlflowClient().search_runs([MlflowClient().get_experiment_by_name("e").experiment_id])
    assert [run.info.status for run in runs] == ["KILLED", "KILLED"]


PROJECT = """
name: stopped
entry_points:
  main:
    command: "python stopped.py"
"""


@pytest.mark.slow
def test_a_run_stopped_under_mlflow_run_ends_killed_whatever_mlflow_says(mlflow_store):
    (mlflow_store / "MLproject").write_text(PROJECT)
    (mlflow_store / "stopped.py").write_text(STOPPED.replace("print(parent.run_id", "print('opened'"))
    commands = Path(sys.executable).parent
    process = subprocess.Popen(
        [commands / "mlflow", "run", ".", "--env-manager", "local", "--experiment-name", "chosen"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{commands}:{os.environ['PATH']}"},
    )
    with process:
        assert process.stdout.readline() == "opened\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) != 0
    client = MlflowClient()
    experiment = client.get_experiment_by_name("chosen").experiment_id
    end, statuses = time.monotonic() + 60, {}
    while set(statuses.values()) != {"KILLED"} and time.monotonic() < end:
        time.sleep(0.5)
        statuses = {run.info.run_name: run.info.status for run in client.search_runs([experiment])}
    assert statuses == {"r": "KILLED", "seed-00": "KILLED"}


@pytest.mark.slow
def test_two_processes_may_set_up_one_new_store(tmp_path):
    command = [sys.executable, "-c", "from jetexp.mlflow_store import connect; connect()"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
    }
    both = [
        subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    errors = [one.communicate(timeout=120)[1] for one in both]
    assert [one.returncode for one in both] == [0, 0], errors
