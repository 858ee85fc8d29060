"""What is recorded while MLflow is away arrives later, in order and once: a real server, reached or not."""

from __future__ import annotations

import json
import logging
import shutil
import time
from pathlib import Path

import mlflow
import numpy as np
import pytest
import requests
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository
from registered import SERVED, tagger
from searches import JETS, experiment
from servers import Link, TrackingServer

from jetexp.abandoned import deliver
from jetexp.delivery import Artifact, Batch, End, NewRun, TornUploadError, create_run, pending_id
from jetexp.errors import JetexpError
from jetexp.execution import open_execution
from jetexp.mlflow_store import StoreAwayError, StoreError, connect, is_away
from jetexp.outbox import Outbox, temporary_outbox, undelivered
from jetexp.recorder import MlflowRecorder
from jetexp.tracking import open_parent


@pytest.fixture(scope="module")
def real_server(tmp_path_factory):
    one = TrackingServer(tmp_path_factory.mktemp("server"))
    yield one.start()
    one.kill()


@pytest.fixture
def server(real_server):
    """The way to a real server, which can be cut."""
    link = Link(real_server.port)
    yield link
    link.cut()


@pytest.fixture
def run(server):
    mlflow.set_tracking_uri(server.address)
    yield MlflowClient().create_run("0")
    mlflow.set_tracking_uri(None)


def recorder_of(outbox, run, **keywords):
    return MlflowRecorder(outbox, run.info.run_id, run.info.experiment_id, "parent", **keywords)


def test_a_server_that_is_away_keeps_nobody_waiting_and_gets_everything_later(server, run, tmp_path, caplog):
    outbox = Outbox(MlflowClient(), tmp_path)
    recorder = recorder_of(outbox, run, served=SERVED)
    recorder.metrics({"loss": 3.0}, step=1)
    assert len(outbox) == 0
    server.cut()
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        recorder.metrics({"loss": 2.0}, step=2)
        recorder.parameters({"layers": 3})
        recorder.figure("scores", Figure())
        with recorder.child("trial-00") as child:
            child.metrics({"val_auc": 0.9}, step=1)
            child.result("told", {"run": child.run_id})
            child.arrays("scores", {"scores": np.arange(3)})
            child.network(tagger(0.5))
            child.note("one trial", "| a |")
        recorder.tags({"best_run": child.run_id, "best_model": child.model_uri})
        recorder.metrics({"loss": 1.0}, step=3)
    assert time.monotonic() - began < 60
    assert child.run_id.startswith("pending-")
    assert child.model_uri.startswith("models:/pending-")
    assert caplog.messages[0].startswith("MLflow does not answer: what is recorded is kept in ")
    assert len(caplog.messages) == 1
    recorded_by = int(time.time() * 1000)
    assert len(undelivered(tmp_path)) == len(outbox) > 8
    server.restore()
    outbox.flush(60)

    assert undelivered(tmp_path) == []
    assert list(tmp_path.glob("*.payload")) == []
    client = MlflowClient()
    stored = client.get_run(run.info.run_id)
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(one.step, one.value) for one in history] == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert max(one.timestamp for one in history) <= recorded_by
    assert stored.data.params == {"layers": "3"}
    assert [one.path for one in client.list_artifacts(run.info.run_id, "plots")] == ["plots/scores.png"]
    found = client.search_runs(["0"], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
    assert [one.info.run_id for one in found] == [child.run_id] == [stored.data.tags["best_run"]]
    assert found[0].info.status == "FINISHED"
    assert found[0].info.end_time <= recorded_by
    assert child.run_id in found[0].data.tags["mlflow.note.content"] or "one trial" in str(found[0].data.tags)
    told = client.download_artifacts(child.run_id, "results/told.json", str(tmp_path))
    assert json.loads(Path(told).read_text()) == {"run": child.run_id}
    assert stored.data.tags["best_model"] == child.model_uri
    outputs = [one.model_id for one in found[0].outputs.model_outputs]
    assert [f"models:/{one}" for one in outputs] == [child.model_uri]
    model = client.get_logged_model(outputs[0])
    assert (str(model.status), model.source_run_id) == ("READY", child.run_id)
    assert mlflow.pyfunc.load_model(child.model_uri).metadata.run_id == child.run_id


def test_what_a_killed_process_left_is_delivered_by_the_next(server, run, tmp_path):
    outbox = Outbox(MlflowClient(), tmp_path / "box")
    recorder = recorder_of(outbox, run)
    server.cut()
    with recorder.child("trial-00") as child:
        child.metrics({"loss": 1.0})
        child.text("told.txt", "told")
    # killed after it delivered, before it took note: all of it comes a second time
    shutil.copytree(tmp_path / "box", tmp_path / "again")
    (tmp_path / "again" / "00000099.payload").write_text("half written")
    server.restore()
    outbox.flush(60)
    second = Outbox(MlflowClient(), tmp_path / "again")
    assert not (tmp_path / "again" / "00000099.payload").exists()
    second.flush(60)
    client = MlflowClient()
    found = client.search_runs(["0"], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
    assert [one.info.run_name for one in found] == ["trial-00"]
    assert second.resolved(child._run_id) == found[0].info.run_id
    assert len(client.get_metric_history(found[0].info.run_id, "loss")) == 1
    # and what it recorded under a pending id before, a third process still knows
    assert Outbox(client, tmp_path / "again").resolved(child._run_id) == found[0].info.run_id


def test_a_server_that_never_comes_back_leaves_everything_on_disk(server, run, tmp_path):
    outbox = Outbox(MlflowClient(), tmp_path, patience=1.0)
    server.cut()
    recorder_of(outbox, run).metrics({"loss": 1.0})
    with pytest.raises(
        StoreAwayError, match=r"did not come back.* \(1 items\) is kept in .*`jetexp deliver`"
    ):
        outbox.flush()
    assert len(undelivered(tmp_path)) == 1


def test_an_execution_that_is_stopped_waits_for_no_server(server, run, tmp_path):
    outbox = Outbox(MlflowClient(), tmp_path)
    server.cut()
    recorder = recorder_of(outbox, run)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), recorder.child("trial-00"):
        raise KeyboardInterrupt
    with pytest.raises(StoreAwayError):
        outbox.close(2.0)
    assert time.monotonic() - began < 30
    kept = [json.loads(path.read_text()) for path in undelivered(tmp_path)]
    assert [one["kind"] for one in kept] == ["run", "end"]
    assert kept[-1]["status"] == "KILLED"
    # and nothing is delivered behind the back of whoever opens it next
    server.restore()
    time.sleep(1.5)
    assert len(undelivered(tmp_path)) == 2


def test_what_mlflow_refuses_is_told_at_once_or_at_the_next_call(server, run, tmp_path):
    outbox = Outbox(MlflowClient(), tmp_path)
    recorder = recorder_of(outbox, run)
    recorder.parameters({"layers": 3})
    with pytest.raises(StoreError, match="cannot do what it is asked"):
        recorder.parameters({"layers": 4})
    assert len(outbox) == 0
    server.cut()
    recorder.parameters({"layers": 5})
    server.restore()
    with pytest.raises(StoreError, match="cannot do what it is asked"):
        outbox.flush(60)
    with pytest.raises(StoreError, match="cannot do what it is asked"):
        recorder.metrics({"loss": 1.0})


class Torn(MlflowClient):
    """Uploads half of the file the first time, and is cut off."""

    tries = 0

    def log_artifact(self, run_id, local_path, artifact_path=None):
        self.tries += 1
        if self.tries <= 2:
            whole = Path(local_path).read_bytes()
            half = Path(local_path).parent / "half" / Path(local_path).name
            half.parent.mkdir()
            half.write_bytes(whole[: len(whole) // 2])
            super().log_artifact(run_id, str(half), artifact_path)
        else:
            super().log_artifact(run_id, local_path, artifact_path)
        if self.tries == 1:
            raise requests.exceptions.ConnectionError("cut off")


def test_an_upload_that_was_cut_off_is_repeated_until_its_checksum_is_right(server, run, tmp_path):
    client = Torn()
    outbox = Outbox(client, tmp_path / "box")
    recorder_of(outbox, run).text("told.txt", "all of it")
    outbox.flush(60)
    assert client.tries == 3
    stored = client.download_artifacts(run.info.run_id, "told.txt", str(tmp_path))
    assert Path(stored).read_text() == "all of it"


def test_an_upload_is_compared_only_where_it_may_have_been_torn(server, run, tmp_path):
    path = tmp_path / "told.txt"
    path.write_text("all of it")
    item = Artifact(run_id=run.info.run_id, folder="", name="told.txt")
    client = Torn()
    client.tries = 1
    item.deliver(client, path, again=False)
    client.tries = 1
    with pytest.raises(TornUploadError, match=r"told\.txt"):
        item.deliver(client, path, again=True)


def test_a_server_that_goes_before_an_upload_is_read_back_is_waited_for(server, run, tmp_path, monkeypatch):
    # MLflow itself says then that there is no such file
    downloaded = RunsArtifactRepository.download_artifacts
    tries = []

    def leaves_first(self, artifact_path, dst_path=None):
        tries.append(artifact_path)
        if len(tries) > 1:
            return downloaded(self, artifact_path, dst_path)
        server.cut()
        try:
            return downloaded(self, artifact_path, dst_path)
        finally:
            server.restore()

    monkeypatch.setattr(RunsArtifactRepository, "download_artifacts", leaves_first)
    server.cut()
    outbox = Outbox(MlflowClient(), tmp_path / "box")
    recorder_of(outbox, run).text("told.txt", "all of it")
    server.restore()
    outbox.flush(60)
    assert tries == ["told.txt"] * 2


def test_a_run_is_found_by_its_start_name_and_parent(server, run):
    client = MlflowClient()
    tags = {"mlflow.parentRunId": run.info.run_id}
    first = create_run(client, "0", "trial-00", tags, 1_700_000_000_000, again=False)
    assert (
        create_run(client, "0", "trial-00", tags, 1_700_000_000_000, again=True).info.run_id
        == first.info.run_id
    )
    for name, parent, start in (
        ("trial-01", run.info.run_id, 1_700_000_000_000),
        ("trial-00", "another", 1_700_000_000_000),
        ("trial-00", run.info.run_id, 1_700_000_000_001),
    ):
        other = create_run(client, "0", name, {"mlflow.parentRunId": parent}, start, again=True)
        assert other.info.run_id != first.info.run_id


def test_a_parent_waits_for_mlflow_at_its_end(server, run, monkeypatch):
    def away_at_the_end():
        with open_parent("0", "r", patience=0.5) as parent:
            server.cut()
            parent.metrics({"loss": 1.0})

    with pytest.raises(StoreAwayError, match=r"did not come back.* \(\d+ items\) is lost\."):
        away_at_the_end()
    server.restore()
    with open_parent("0", "r", patience=60) as parent:
        server.cut()
        parent.metrics({"loss": 1.0})
        server.restore()
    assert MlflowClient().get_run(parent.run_id).info.status == "FINISHED"


@pytest.mark.parametrize(
    "damage", ["{", '{"kind": "shell", "run_id": "x"}', '{"kind": "end", "run_id": "x"}']
)
def test_an_item_that_cannot_be_read_is_one_sentence(mlflow_store, tmp_path, damage):
    (tmp_path / "00000000.json").write_text(damage)
    with pytest.raises(StoreError, match=r"00000000\.json cannot be read"):
        Outbox(connect(), tmp_path).flush(10)


def test_ids_that_cannot_be_read_are_one_sentence(mlflow_store, tmp_path):
    (tmp_path / "ids.json").write_text("[")
    with pytest.raises(JetexpError, match=r"ids\.json cannot be read"):
        Outbox(connect(), tmp_path)


def test_a_temporary_outbox_leaves_nothing(mlflow_store):
    client = connect()
    run = client.create_run("0")
    with temporary_outbox(client) as outbox:
        outbox.send(Batch(run_id=run.info.run_id, tags={"a": "b"}))
        outbox.send(End(run_id=run.info.run_id, status="FINISHED", end_time=5))
        folder = outbox.folder
        new = NewRun(run_id=pending_id(), experiment_id="0", name="n", start_time=1, tags={})
        outbox.send(new)
        assert not outbox.resolved(new.run_id).startswith("pending")
    assert not folder.exists()
    stored = client.get_run(run.info.run_id)
    assert (stored.data.tags["a"], stored.info.end_time) == ("b", 5)


def http_error(status):
    response = requests.Response()
    response.status_code = status
    return requests.exceptions.HTTPError("no", response=response)


@pytest.mark.parametrize(
    ("uri", "error", "away"),
    [
        ("sqlite:///mlflow.db", MlflowException("(sqlite3.OperationalError) database is locked"), True),
        (
            "sqlite:///mlflow.db",
            MlflowException("(sqlite3.OperationalError) database or disk is full"),
            False,
        ),
        ("sqlite:///mlflow.db", OSError(28, "No space left on device"), False),
        ("http://host:5000", MlflowException("API request failed with exception"), True),
        ("http://host:5000", MlflowException("no", error_code=1007), True),
        ("http://host:5000", MlflowException("changed", error_code=1000), False),
        ("http://host:5000", requests.exceptions.ConnectionError("refused"), True),
        ("http://host:5000", http_error(403), False),
        ("http://host:5000", http_error(503), True),
        ("http://host:5000", OSError(28, "No space left on device"), False),
        ("postgresql://host/mlflow", MlflowException("gone", error_code=2), True),
    ],
)
def test_what_may_do_a_little_later(uri, error, away, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert is_away(error) is away


@pytest.mark.slow
def test_a_password_in_the_address_of_the_server_is_recorded_nowhere(
    server, real_server, tmp_path, monkeypatch, caplog, capsys
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address.replace("://", "://anna:opensesame@"))
    caplog.set_level(logging.DEBUG, logger="jetexp")

    def fails():
        with (
            open_execution(tmp_path / "executions", experiment(), JETS, fresh=False) as home,
            open_parent("secrets", "parent", execution=home, patience=1.0) as parent,
        ):
            server.cut()
            with parent.child("trial-00") as child:
                child.metrics({"loss": 1.0})
            parent.outbox.flush()

    with pytest.raises(StoreAwayError) as raised:
        fails()
    assert "opensesame" not in str(raised.value)
    kept = [path for path in (tmp_path / "executions").rglob("*") if path.is_file()]
    assert any("traceback" in path.read_text() for path in kept if path.suffix == ".json")
    server.restore()
    deliver(MlflowClient(), tmp_path / "executions", patience=60)
    (run,) = MlflowClient().search_runs(
        [MlflowClient().get_experiment_by_name("secrets").experiment_id], "attributes.status = 'FAILED'"
    )
    assert [one.path for one in MlflowClient().list_artifacts(run.info.run_id)] == ["traceback.txt"]
    stored = [path for path in real_server.folder.rglob("*") if path.is_file()]
    for path in (*kept, *stored):
        assert not path.exists() or b"opensesame" not in path.read_bytes(), path
    assert "opensesame" not in caplog.text
    said = capsys.readouterr()
    assert "opensesame" not in said.out + said.err
