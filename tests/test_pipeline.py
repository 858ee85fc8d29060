"""An experiment from jets to registry, on a small budget, with real jets and a real MLflow store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

from jetexp.errors import ModelError
from jetexp.evaluation.report import Measurement
from jetexp.experiment import Experiment
from jetexp.experiment_file import override, read_experiment
from jetexp.fit_task import FitTask
from jetexp.images import make_images
from jetexp.jets import collection
from jetexp.jets.sample import Jets
from jetexp.jets.store import write_jets
from jetexp.pipeline import Outcome, run_experiment
from jetexp.promotion import promote_run
from jetexp.tables import print_outcome

ROOT = Path(__file__).parent.parent
TRIALS, EPOCHS, SEEDS = 2, 2, 2


@dataclass(frozen=True)
class Executed:
    experiment: Experiment
    outcome: Outcome
    client: MlflowClient
    folder: Path
    jets: Jets


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory, pythia_jets: Jets) -> Iterator[Executed]:
    folder = tmp_path_factory.mktemp("execution")
    jets = pythia_jets.with_classes(("QCD", "W"))
    write_jets(jets, folder / "sample")
    experiment = override(
        read_experiment(ROOT / "experiments" / "w_vs_qcd.yaml"),
        jets=str(folder / "sample"),
        trials=TRIALS,
        epochs=EPOCHS,
        seeds=SEEDS,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
            patch.delenv(name, raising=False)
        outcome = run_experiment(experiment, jets_folder=folder / "jets")
        yield Executed(experiment, outcome, MlflowClient(), folder, jets)


def test_every_run_stands_under_the_parent_and_is_finished(executed: Executed) -> None:
    client = executed.client
    parent = client.get_run(executed.outcome.run_id)
    runs = client.search_runs([parent.info.experiment_id])
    names = {run.info.run_name for run in runs}
    fits = {"trial-00", "trial-01", "seed-00", "seed-01", "ensemble"}
    assert names == {"w_vs_qcd", *fits, "boosted_trees", "mass_window", "logistic_regression"}
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        if run.info.run_id != parent.info.run_id:
            assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id


def test_jets_that_do_not_fit_into_the_memory_give_the_same_parts_and_scores(
    executed: Executed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "MEMORY", 1000)
    # other tests look at all runs of the execution's experiment
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "little memory")
    seen: list[Jets] = []
    evaluated = FitTask.run

    def watched(task: FitTask, *args: Any) -> Any:
        seen.append(task.train)
        return evaluated(task, *args)

    monkeypatch.setattr(FitTask, "run", watched)
    settings = override(executed.experiment, trials=1, epochs=1, seeds=1)
    experiment = settings.model_copy(update={"memory": 1e-6, "registered_model": None})
    outcome = run_experiment(experiment, jets_folder=executed.folder / "jets", workers=1)
    assert isinstance(seen[0].constituent_pt, collection.MappedArray)
    assert outcome.results[0].fingerprint == executed.outcome.results[0].fingerprint
    trees = {one.tagger: one.fits[0].scores for one in outcome.results}["boosted_trees"]
    before = {one.tagger: one.fits[0].scores for one in executed.outcome.results}["boosted_trees"]
    np.testing.assert_allclose(trees, before, atol=1e-6)
    assert not list((executed.folder / "jets").glob(".scratch-*"))


def test_every_child_has_parameters_epochs_validation_plots_and_model(executed: Executed) -> None:
    client = executed.client
    parent = client.get_run(executed.outcome.run_id)
    for run in client.search_runs([parent.info.experiment_id]):
        if run.info.run_id == parent.info.run_id:
            continue
        is_fitted = run.info.run_name.startswith(("trial", "seed"))
        for name in ("loss", "accuracy", "val_loss", "val_accuracy", "val_auc") if is_fitted else ():
            assert [point.step for point in client.get_metric_history(run.info.run_id, name)] == [1, 2]
        is_network = is_fitted or run.info.run_name == "ensemble"
        assert ("learning_rate" in run.data.params) == (is_network or run.info.run_name == "boosted_trees")
        assert bool(run.outputs and run.outputs.model_outputs) == is_network
        assert {"validation_auc", "validation_rejection_50"} <= set(run.data.metrics)
        assert client.get_metric_history(run.info.run_id, "validation_rejection_curve")
        plots = {file.path for file in client.list_artifacts(run.info.run_id, "plots")}
        assert {"plots/validation_roc.png", "plots/validation_rejection.png"} <= plots
        is_trial = run.info.run_name.startswith("trial")
        assert ("test_auc" in run.data.metrics) == (not is_trial)


def test_only_the_final_fits_saw_the_test_jets_and_the_parent_holds_their_summary(executed: Executed) -> None:
    client, outcome = executed.client, executed.outcome
    parent = client.get_run(outcome.run_id)
    values = [one.test.auc for one in outcome.fits]
    assert parent.data.metrics["test_auc"] == pytest.approx(np.mean(values))
    assert parent.data.metrics["test_auc_spread"] == pytest.approx(np.std(values, ddof=1))
    assert parent.data.metrics["test_auc_error"] > 0
    assert parent.data.metrics["served_auc"] == pytest.approx(outcome.served.auc)
    own, ensemble = outcome.results[:2]
    candidates = (*own.fits, *ensemble.fits)
    assert (own.fits, ensemble.tagger) == (outcome.fits, "ensemble")
    assert outcome.best.validation.auc == max(one.validation.auc for one in candidates)
    plots = {file.path.removeprefix("plots/") for file in client.list_artifacts(outcome.run_id, "plots")}
    assert plots >= {
        f"{name}.png"
        for name in (
            "roc",
            "rejection",
            "scores",
            "thresholds",
            "confusion",
            "examples",
            "class_sums",
            "misidentified",
            "learning_curves",
            "search",
        )
    }
    inputs = {entry.dataset.name: entry.dataset for entry in parent.inputs.dataset_inputs}
    assert set(inputs) == {"w_vs_qcd-train", "w_vs_qcd-validation", "w_vs_qcd-test"}
    assert parent.data.params["settings.search.trials"] == str(TRIALS)


def test_every_run_describes_itself(executed: Executed) -> None:
    client, outcome = executed.client, executed.outcome
    parent = client.get_run(outcome.run_id)
    note = parent.data.tags["mlflow.note.content"]
    assert note.startswith(outcome.experiment.description)
    assert "[w-vs-qcd, version 1](#/models/w-vs-qcd/versions/1), refused: It was judged on" in note
    assert f"/runs/{outcome.run_id}/artifacts/plots/rejection.png)" in note
    assert "| cnn | 2 |" in note
    children = client.search_runs(
        [parent.info.experiment_id], filter_string=f"tags.mlflow.parentRunId = '{outcome.run_id}'"
    )
    for child in children:
        told = child.data.tags["mlflow.note.content"]
        assert "| validation |" in told
        assert ("| test |" in told) == (not child.info.run_name.startswith("trial"))


def test_the_model_has_a_card_with_its_numbers_and_the_version_a_summary(executed: Executed) -> None:
    client, outcome = executed.client, executed.outcome
    cards = [
        Path(client.download_artifacts(run_id, "model_card.md")).read_text()
        for run_id in (outcome.run_id, outcome.best.run_id)
    ]
    assert cards[0] == cards[1]
    sections = [line for line in cards[0].splitlines() if line.startswith("#")]
    assert sections == [
        "# w-vs-qcd",
        "## Measured",
        "## Against pT",
        "## Jet mass",
        "## Use",
        "## Limits",
        "## Made from",
    ]
    for evaluation in (outcome.best.test, outcome.served):
        assert f"| {evaluation.measurements()['auc']} |" in cards[0]
    test = f"fingerprint `{outcome.results[0].fingerprint[:12]}`"
    assert cards[0].count(test) == 2
    assert "The jets are of stable particles, no detector, with 0 further collisions" in cards[0]
    described = client.get_model_version("w-vs-qcd", "1").description
    assert described.startswith("# w-vs-qcd")
    assert "## Limits" in described
    assert "## Made from" not in described
    assert len(described) <= 4500


def test_the_first_model_is_refused_for_its_few_test_jets(executed: Executed) -> None:
    verdict = executed.outcome.verdict
    assert verdict is not None
    assert verdict.decision.outcome == "refused"
    assert "fewer than 1000" in verdict.decision.reason
    model = executed.client.get_registered_model("w-vs-qcd")
    assert {alias: str(version) for alias, version in model.aliases.items()} == {"challenger": "1"}
    version = executed.client.get_model_version("w-vs-qcd", "1")
    assert version.run_id == executed.outcome.best.run_id
    assert float(version.tags["test_auc"]) == pytest.approx(executed.outcome.best.test.auc, rel=1e-4)
    assert version.tags["experiment"] == "w_vs_qcd"
    assert float(version.tags["served_auc"]) == pytest.approx(executed.outcome.served.auc, rel=1e-4)
    path = mlflow.artifacts.download_artifacts(
        run_id=executed.outcome.run_id, artifact_path="results/gate.json"
    )
    assert json.loads(Path(path).read_text())["outcome"] == "refused"


def test_the_registered_model_answers_as_jetexp_does(executed: Executed) -> None:
    from jetexp.inference import compiled
    from jetexp.recording import served_settings
    from jetexp.serving import probabilities

    experiment, best = executed.outcome.experiment, executed.outcome.best
    served = served_settings(experiment)
    images = make_images(executed.jets.take(slice(0, 5)), served.raw_images)
    model = mlflow.pyfunc.load_model("models:/w-vs-qcd@challenger")
    answer = model.predict(images)[list(served.classes)]
    np.testing.assert_allclose(answer, probabilities(compiled(best.network), images, served), atol=1e-5)
    half = model.predict(make_images(executed.jets, served.raw_images), params={"signal_efficiency": 0.5})
    is_signal = executed.jets.label == served.classes.index(served.signal)
    # seventy signal jets validate, and so few epochs do not overfit the others
    assert half["selected"][is_signal].mean() == pytest.approx(0.5, abs=0.2)


def test_promote_registers_a_run_anew_and_names_what_is_missing(executed: Executed) -> None:
    dry = promote_run(executed.experiment, executed.outcome.run_id, jets_folder=executed.folder, dry_run=True)
    assert (dry.version, dry.decision.outcome) == (None, "refused")
    assert len(executed.client.search_model_versions("name = 'w-vs-qcd'")) == 1
    verdict = promote_run(
        executed.experiment, executed.outcome.run_id, jets_folder=executed.folder, new_test_sample=True
    )
    assert verdict.decision.outcome == "promoted"
    assert verdict.version == "2"
    versions = [executed.client.get_model_version("w-vs-qcd", number) for number in "12"]
    assert versions[0].description == versions[1].description
    model = executed.client.get_registered_model("w-vs-qcd")
    assert str(model.aliases["champion"]) == "2"
    with pytest.raises(ModelError, match="names no registered_model"):
        promote_run(
            executed.experiment.model_copy(update={"registered_model": None}),
            executed.outcome.run_id,
            jets_folder=executed.folder,
        )
    with pytest.raises(ModelError):
        promote_run(executed.experiment, "no-such-run", jets_folder=executed.folder)
    other = executed.experiment.model_copy(update={"signal": "QCD"})
    with pytest.raises(
        ModelError, match=r"tells apart QCD, W \(signal W\), experiment w_vs_qcd QCD, W \(signal QCD"
    ):
        promote_run(other, executed.outcome.run_id, jets_folder=executed.folder)
    assert len(executed.client.search_model_versions("name = 'w-vs-qcd'")) == 2


def test_the_table_holds_what_was_measured(executed: Executed, capsys: pytest.CaptureFixture[str]) -> None:
    print_outcome(executed.outcome)
    printed = capsys.readouterr().out
    for one in executed.outcome.fits:
        assert str(one.test.measurements()["auc"]) in printed
    rejection = executed.outcome.summary.measurements["rejection_50"]
    assert str(Measurement(rejection.mean, rejection.error, rejection.is_limit)) in printed
    assert str(executed.outcome.served.measurements()["auc"]) in printed
    assert executed.outcome.run_id in printed
    assert "version 1: refused." in printed
