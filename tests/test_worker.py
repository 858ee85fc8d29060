"""Workers make a search's trials and final fits, each in the run that the chief has opened."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import grpc
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from toys import toy_jets

from jetexp.chief import LEASE_SECONDS, Chief
from jetexp.cli import jetexp
from jetexp.errors import JetexpError
from jetexp.experiment import Experiment
from jetexp.images import ImageSettings
from jetexp.jets.settings import JetFileSettings
from jetexp.jets.store import write_jets
from jetexp.pipeline import run_experiment
from jetexp.search_settings import Range, SearchSettings
from jetexp.taggers.settings import CnnSettings, TrainingSettings
from jetexp.tasks import FinalFitTask, Report
from jetexp.worker import Worker

ADDRESS = "127.0.0.1:8742"
SPACE = {"learning_rate": Range(min=1e-3, max=1e-2, scale="log"), "dropout": Range(min=0.0, max=0.1)}


@pytest.fixture
def experiment(tmp_path):
    write_jets(toy_jets(900, seed=5), tmp_path / "toys")
    return Experiment(
        name="toy",
        classes=("background", "signal"),
        signal="signal",
        jets=JetFileSettings(path=(str(tmp_path / "toys"),)),
        images=ImageSettings(pixels=12),
        tagger=CnnSettings(width=4, dense=8),
        training=TrainingSettings(batch_size=64, epochs=2),
        search=SearchSettings(method="random", trials=3, epochs=1, space=SPACE),
        seeds=2,
    )


def work(folder, made, **changes):
    """Work in a thread; what it came to is put into ``made``."""

    def run():
        try:
            one = Worker(ADDRESS, jets_folder=folder, processes=1, patience=60.0)
            for name, value in changes.items():
                setattr(one, name, value)
            made.append(one.run())
        except Exception as error:
            made.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def run_by_chief(experiment, folder, **settings):
    """Run an experiment whose trials and final fits workers make."""
    return run_experiment(
        experiment,
        jets_folder=folder / "chief",
        executions=folder / "executions",
        chief_address=ADDRESS,
        **settings,
    )


def wait_until(condition):
    """Wait for what comes soon; what does not come fails the test at its next assertion."""
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)


def runs_of(outcome):
    client = MlflowClient()
    parent = client.get_run(outcome.run_id)
    found = client.search_runs(
        [parent.info.experiment_id], f"tags.mlflow.parentRunId = '{outcome.run_id}'", max_results=100
    )
    return {run.info.run_name: run for run in sorted(found, key=lambda run: run.info.start_time)}


@pytest.mark.slow
def test_a_worker_does_what_one_process_does(mlflow_store, tmp_path, experiment):
    alone = run_experiment(
        experiment, jets_folder=tmp_path / "alone", workers=1, executions=tmp_path / "executions"
    )
    made = []
    # one alone: Keras' random numbers are a process's, and the test has but one
    thread = work(tmp_path / "worker", made)
    together = run_by_chief(experiment, tmp_path)
    thread.join(60)
    assert made == [5]
    assert not list((tmp_path / "executions").glob("*/"))
    first, second = runs_of(alone), runs_of(together)
    names = ["seed-00", "seed-01", "trial-00", "trial-01", "trial-02"]
    assert sorted(first) == sorted(second) == names
    client = MlflowClient()
    for name in names:
        one, other = first[name], second[name]
        assert other.info.status == "FINISHED"
        assert other.data.params == one.data.params
        assert set(other.data.metrics) == set(one.data.metrics)
        assert other.data.metrics["val_auc"] == pytest.approx(one.data.metrics["val_auc"], abs=1e-4)
        history = client.get_metric_history(other.info.run_id, "val_auc")
        assert len({point.step for point in history}) == len(history)
        assert len(other.outputs.model_outputs) == len(one.outputs.model_outputs) == 1
        files = {file.path for file in client.list_artifacts(other.info.run_id)}
        fit = {"fit"} if name.startswith("seed") else set()
        assert files == {file.path for file in client.list_artifacts(one.info.run_id)} | fit
    assert together.summary.metrics() == pytest.approx(alone.summary.metrics(), rel=1e-3)


def test_a_trial_that_fails_fails_there_and_the_search_goes_on(
    mlflow_store, tmp_path, experiment, monkeypatch
):
    def fit(self, name, values, child):
        if name == "trial-01":
            raise RuntimeError("the cat ate it")
        return 0.5

    monkeypatch.setattr("jetexp.search.TrialRunner._fit", fit)
    made = []
    thread = work(tmp_path / "worker", made)
    outcome = run_by_chief(experiment.model_copy(update={"seeds": 1}), tmp_path)
    thread.join(60)
    assert made == [4]
    runs = runs_of(outcome)
    assert {name: run.info.status for name, run in runs.items()} == {
        "trial-00": "FINISHED",
        "trial-01": "FAILED",
        "trial-02": "FINISHED",
        "seed-00": "FINISHED",
    }
    client = MlflowClient()
    traceback = client.download_artifacts(runs["trial-01"].info.run_id, "traceback.txt", str(tmp_path))
    with open(traceback, encoding="utf-8") as file:
        assert "RuntimeError: the cat ate it" in file.read()


@pytest.mark.slow
def test_a_worker_that_is_stopped_gives_its_trial_back_at_once(
    mlflow_store, tmp_path, experiment, monkeypatch
):
    stopped, made = [], []

    def fit(self, name, values, child):
        if name == "trial-01" and not stopped:
            stopped.append(time.time())
            raise KeyboardInterrupt
        return 0.5

    def run():
        for _ in range(2):
            try:
                made.append(
                    Worker(ADDRESS, jets_folder=tmp_path / "worker", processes=1, patience=60.0).run()
                )
            except KeyboardInterrupt:
                made.append("stopped")

    monkeypatch.setattr("jetexp.search.TrialRunner._fit", fit)
    thread = threading.Thread(target=run)
    thread.start()
    outcome = run_by_chief(experiment.model_copy(update={"seeds": 1}), tmp_path)
    thread.join(60)
    assert made == ["stopped", 3]
    again = next(one for one in runs_of(outcome).values() if "retry_of" in one.data.tags)
    assert again.info.status == "FINISHED"
    assert MlflowClient().get_run(again.data.tags["retry_of"]).info.status == "KILLED"
    # long before its lease would have run out
    assert again.info.start_time / 1000 - stopped[0] < LEASE_SECONDS / 2


@pytest.mark.slow
def test_a_worker_that_has_lost_its_trial_stops_at_the_next_epoch_and_goes_on(
    mlflow_store, tmp_path, experiment, monkeypatch
):
    monkeypatch.setitem(Chief.__init__.__kwdefaults__, "lease", 10.0)
    monkeypatch.setattr("jetexp.worker.SIGN_OF_LIFE", 0.5)
    cut_off, get = threading.Event(), Chief._get
    begun = []

    def reached(self, request, context):
        if cut_off.is_set():
            context.abort(grpc.StatusCode.UNAVAILABLE, "cut off")
        return get(self, request, context)

    def fit(self, name, values, child):
        begun.append(name)
        if begun.count("trial-01") == 1:
            cut_off.set()
            wait_until(lambda: MlflowClient().get_run(child.run_id).info.status == "KILLED")
            cut_off.clear()
            wait_until(child._is_taken_away)
        child.metrics({"val_auc": 0.5}, step=1)
        return 0.5

    monkeypatch.setattr(Chief, "_get", reached)
    monkeypatch.setattr("jetexp.search.TrialRunner._fit", fit)
    made = []
    thread = work(tmp_path / "worker", made)
    outcome = run_by_chief(
        experiment.model_copy(
            update={"seeds": 1, "training": experiment.training.model_copy(update={"epochs": 1})}
        ),
        tmp_path,
    )
    thread.join(60)
    assert made == [4]
    assert begun == ["trial-00", "trial-01", "trial-01", "trial-02"]
    client = MlflowClient()
    runs = runs_of(outcome)
    (lost,) = client.search_runs(
        [client.get_run(outcome.run_id).info.experiment_id],
        "attributes.run_name = 'trial-01' and attributes.status = 'KILLED'",
    )
    # nothing of its own was recorded after it was lost
    assert not lost.data.metrics
    assert not client.list_artifacts(lost.info.run_id)
    assert {name for name, run in runs.items() if run.info.status == "FINISHED"} >= {"trial-01", "trial-02"}


def test_a_final_fit_that_fails_ends_the_execution(mlflow_store, tmp_path, experiment, monkeypatch):
    def fit(task, experiment, recorder):
        return Report(run_id=task.run_id, outcome="failed", reason="its loss is not a number")

    made = []
    thread = work(tmp_path / "worker", made, _fit=fit)
    asked = experiment.model_copy(update={"search": None, "seeds": 1})
    with pytest.raises(JetexpError, match="The fit seed-00 failed: its loss is not a number"):
        run_by_chief(asked, tmp_path, patience=5.0)
    statuses = sorted(
        (run.info.run_name, run.info.status)
        for run in MlflowClient().search_runs(
            [one.experiment_id for one in MlflowClient().search_experiments()]
        )
    )
    assert statuses == [("seed-00", "FAILED"), ("toy", "FAILED")]
    # the worker still waits for a chief
    with Chief(ADDRESS) as chief:
        chief.dismiss()
        thread.join(60)
    assert not thread.is_alive()


def test_a_worker_with_other_jets_or_other_code_refuses(tmp_path, experiment):
    write_jets(replace(toy_jets(900, seed=6)), tmp_path / "others")
    other = experiment.model_copy(update={"jets": JetFileSettings(path=(str(tmp_path / "others"),))})
    task = FinalFitTask(
        name="seed-00",
        run_id="",
        experiment_id="",
        experiment=other.content(),
        train="0",
        validation="0",
        key="another",
        tagger="cnn",
        number=0,
    )
    one = Worker(ADDRESS, jets_folder=tmp_path / "jets", processes=1)
    with pytest.raises(JetexpError, match=r"train part of toy has the fingerprint .* and 0 on the chief's"):
        one._fit(task, other, None)

    from jetexp.parts import load_parts

    parts = load_parts(other, tmp_path / "jets", scratch=tmp_path)
    right = {"train": parts.train.fingerprint, "validation": parts.validation.fingerprint}
    with pytest.raises(JetexpError, match="seed-00 depends on code, or versions of Keras"):
        one._fit(task.model_copy(update=right), other, None)


def test_a_worker_without_a_chief_says_so(mlflow_store):
    result = CliRunner().invoke(jetexp, ["work", "--chief", "127.0.0.1:1", "--patience", "0.5"])
    assert isinstance(result.exception, JetexpError)
    assert str(result.exception).startswith("The chief at 127.0.0.1:1 does not answer")
