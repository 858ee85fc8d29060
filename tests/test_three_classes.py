"""Three classes from jets to registry, on a small budget, with real jets and a real MLflow store."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from scipy.special import softmax

from jetexp.evaluation.calibration import apply_temperature
from jetexp.evaluation.separation import is_of_separation
from jetexp.experiment_file import override, read_experiment, validated
from jetexp.images import make_images
from jetexp.inference import compiled
from jetexp.jets.sample import Jets
from jetexp.jets.store import write_jets
from jetexp.pipeline import Outcome, run_experiment
from jetexp.recording import served_settings
from jetexp.serving import probabilities
from jetexp.tables import print_outcome

ROOT = Path(__file__).parent.parent
EXPERIMENT = ROOT / "experiments" / "three_classes.yaml"
pytestmark = pytest.mark.slow

CLASSES = ("QCD", "W", "top")
PAIRS = ("W_vs_QCD", "W_vs_top", "top_vs_QCD")


@dataclass(frozen=True)
class Executed:
    outcome: Outcome
    client: MlflowClient
    jets: Jets


@pytest.fixture(scope="module")
def executed(
    tmp_path_factory: pytest.TempPathFactory, pythia_jets: Jets, empty_mlflow_store: Path
) -> Iterator[Executed]:
    folder = tmp_path_factory.mktemp("three")
    shutil.copy(empty_mlflow_store, folder / "mlflow.db")
    write_jets(pythia_jets, folder / "sample")
    settings = override(read_experiment(EXPERIMENT), jets=str(folder / "sample"), epochs=2, seeds=2)
    content = settings.content() | {
        "registered_model": "three",
        "calibration": "temperature",
        "search": {"trials": 1, "epochs": 1, "space": {"dropout": {"min": 0.0, "max": 0.2}}},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
            patch.delenv(name, raising=False)
        outcome = run_experiment(validated(content, "three classes"), jets_folder=folder / "jets")
        yield Executed(outcome, MlflowClient(), pythia_jets)


def artifact(run_id: str, path: str) -> str:
    return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=path)).read_text()


def test_the_parent_has_every_pair_over_seeds(executed: Executed) -> None:
    outcome = executed.outcome
    metrics = executed.client.get_run(outcome.run_id).data.metrics
    for part in ("test", "validation"):
        for pair in PAIRS:
            assert {f"{part}_auc_{pair}{end}" for end in ("", "_error", "_spread")} <= set(metrics)
        assert {f"{part}_auc_{name}_vs_rest" for name in CLASSES} <= set(metrics)
    aucs = [one.auc for fit in outcome.fits for one in fit.test.separations if one.name == "top_vs_QCD"]
    assert metrics["test_auc_top_vs_QCD"] == pytest.approx(np.mean(aucs))
    assert metrics["test_auc_top_vs_QCD_spread"] == pytest.approx(np.std(aucs, ddof=1))
    plots = {file.path for file in executed.client.list_artifacts(outcome.run_id, "plots")}
    names = ("against_rest", "pair_auc", "pair_rejection", "pair_rejection_curves", "confusion", "saliency")
    assert {f"plots/{name}.png" for name in names} <= plots
    summary = json.loads(artifact(outcome.run_id, "results/test_summary.json"))
    assert {one["name"] for one in summary["separations"]} >= set(PAIRS)
    table = artifact(outcome.run_id, "table.md")
    assert "| AUC | cnn | ensemble | boosted_trees | logistic_regression |" in table
    assert "| `top_vs_W` |" in table


def test_every_child_has_the_pairs_of_its_own_scores(executed: Executed) -> None:
    outcome, client = executed.outcome, executed.client
    parent = client.get_run(outcome.run_id)
    children = {run.info.run_name: run for run in client.search_runs([parent.info.experiment_id])}
    del children[parent.info.run_name]
    fits = {"seed-00", "seed-01", "ensemble", "calibrated", "boosted_trees", "logistic_regression"}
    assert set(children) == fits | {"trial-00"}
    for name, run in children.items():
        assert run.info.status == "FINISHED"
        part = "validation" if name == "trial-00" else "test"
        assert {f"{part}_rejection_50_W_vs_QCD", f"{part}_auc_W_vs_QCD_error"} <= set(run.data.metrics)
        plots = {file.path for file in client.list_artifacts(run.info.run_id, "plots")}
        assert {f"plots/{part}_pair_auc.png", f"plots/{part}_pair_rejection.png"} <= plots
    for result in outcome.results:
        fit = result.fits[0]
        assert fit.scores.shape[1] == 3
        np.testing.assert_allclose(fit.scores.sum(axis=1), 1, atol=1e-5)
        assert children[fit.name].data.metrics["test_auc_W_vs_QCD"] == next(
            one.auc for one in fit.test.separations if one.name == "W_vs_QCD"
        )


def test_the_ensemble_and_the_temperature_work_on_logarithms_of_all_probabilities(executed: Executed) -> None:
    own, ensemble = executed.outcome.results[:2]
    logarithms = np.mean([np.log(fit.scores.astype(np.float64)) for fit in own.fits], axis=0)
    np.testing.assert_allclose(ensemble.fits[0].scores, softmax(logarithms, axis=1), atol=1e-5)
    best, client = executed.outcome.best, executed.client
    assert best.name == "calibrated"
    parameters = client.get_run(best.run_id).data.params
    scaled = {fit.name: fit for result in (own, ensemble) for fit in result.fits}[parameters["calibrated"]]
    expected = apply_temperature(scaled.scores, float(parameters["temperature"]))
    np.testing.assert_allclose(best.scores, expected, atol=1e-5)


def test_the_registered_model_answers_a_probability_a_class(executed: Executed) -> None:
    outcome, client = executed.outcome, executed.client
    served = served_settings(outcome.experiment)
    images = make_images(executed.jets.take(slice(0, 5)), served.raw_images)
    answer = mlflow.pyfunc.load_model("models:/three@challenger").predict(images)
    assert list(answer.columns) == [*served.classes, "discriminant"]
    np.testing.assert_array_equal(answer["discriminant"], answer[served.signal])
    answer = answer[list(served.classes)]
    np.testing.assert_allclose(
        answer, probabilities(compiled(outcome.best.network), images, served), atol=1e-5
    )
    metrics = client.get_run(outcome.run_id).data.metrics
    assert metrics["served_auc_W_vs_QCD"] == next(
        one.auc for one in outcome.served.separations if one.name == "W_vs_QCD"
    )
    version = client.get_model_version("three", "1")
    assert "test_auc" in version.tags
    assert not any(is_of_separation(name) for name in version.tags)


def test_the_printed_table_has_the_signal_against_each_and_each_against_all(
    executed: Executed, capsys: pytest.CaptureFixture[str]
) -> None:
    print_outcome(executed.outcome)
    printed = capsys.readouterr().out
    rows = ("W against QCD", "W against top", "QCD against all others", "top against all others")
    for row in rows:
        assert f"cnn: {row}" in printed
    measured = {one.name: one.measurements["auc"] for one in executed.outcome.summary.separations}
    assert f"{measured['W_vs_QCD'].mean:.3f}"[:4] in printed
