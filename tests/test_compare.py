"""Several runs side by side."""

import numpy as np
import pytest
from mlflow import MlflowClient

from jetexp.compare import compare_runs, find_run
from jetexp.errors import ModelError
from jetexp.evaluation.report import evaluate, summarise
from jetexp.tracking import open_parent


def evaluation(distance, part="test", seed=0):
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1], 500)
    signal = 1 / (1 + np.exp(-(distance * (label - 0.5) + rng.normal(size=1000))))
    scores = np.stack([1 - signal, signal], axis=1)
    return evaluate(scores, label, classes=("QCD", "W"), signal="W", part=part)


@pytest.fixture
def runs(mlflow_store):
    """A parent over two seeds with a fit below it, and a trial that saw no test jets."""
    seeds = [evaluation(2, seed=seed) for seed in (0, 1)]
    with open_parent("e", "all") as parent:
        parent.result("validation_summary", summarise([evaluation(2, "validation")]).to_dict())
        parent.result("test_summary", summarise(seeds).to_dict())
        with parent.child("seed-00") as fit:
            fit.result("validation_evaluation", evaluation(2, "validation").to_dict())
            fit.result("test_evaluation", seeds[0].to_dict())
        with parent.child("trial-00") as trial:
            trial.result("validation_evaluation", evaluation(1, "validation").to_dict())
    return parent, fit, trial


def test_runs_are_compared_by_id_and_name_on_test_jets_where_they_have_any(runs):
    parent = runs[0]
    comparison = compare_runs([parent.run_id, "seed-00", "trial-00"])
    assert [run.run_id for run in comparison.runs] == [one.run_id for one in runs]
    assert [run.part for run in comparison.runs] == ["test", "test", "validation"]
    assert [run.name for run in comparison.runs] == ["all", "seed-00", "trial-00"]
    mean, one, _ = comparison.runs
    expected = evaluation(2).measurements()["rejection_50"]
    assert one.numbers["rejection_50"].value == expected.value
    assert one.numbers["rejection_50"].error == expected.error
    assert mean.numbers["auc"].spread > 0
    steps, values = evaluation(2).rejection_curve()
    assert np.array_equal(np.rint(1000 * one.curve.signal_efficiency), steps)
    assert np.array_equal(one.curve.rejection, values)
    legend = [text.get_text() for text in comparison.figure.axes[0].get_legend().get_texts()]
    assert legend[:3] == ["all", "seed-00", "trial-00"]


def test_a_registered_model_stands_for_the_run_that_made_it(runs):
    _, fit, _ = runs
    client = MlflowClient()
    client.create_registered_model("w-vs-qcd")
    client.create_model_version("w-vs-qcd", source=f"runs:/{fit.run_id}/model", run_id=fit.run_id)
    client.set_registered_model_alias("w-vs-qcd", "champion", "1")
    for address in ("models:/w-vs-qcd/1", "models:/w-vs-qcd@champion"):
        assert find_run(client, address).info.run_id == fit.run_id
    (compared,) = compare_runs(["models:/w-vs-qcd@champion"]).runs
    assert compared.name == "models:/w-vs-qcd@champion (seed-00)"


def test_of_runs_with_one_name_the_newest_of_the_experiment_counts(runs):
    for experiment in ("e", "other"):
        with open_parent(experiment, "all") as newest:
            pass
    client = MlflowClient()
    assert find_run(client, "all").info.run_id == newest.run_id
    assert find_run(client, "all", "e").info.run_id not in (newest.run_id, runs[0].run_id)


@pytest.mark.parametrize(
    ("name", "experiment", "sentence"),
    [
        ("nothing", None, "no run 'nothing' in any experiment"),
        ("nothing", "e", "no run 'nothing' in the experiment 'e'"),
        ("all", "unknown", "no MLflow experiment 'unknown'"),
        ("0" * 32, None, "no run '0000"),
        ("models:/w-vs-qcd@champion", None, "no run 'models:/w-vs-qcd@champion'"),
        ("it's", None, "without quotes"),
    ],
)
def test_a_run_that_is_not_there_is_named(runs, name, experiment, sentence):
    with pytest.raises(ModelError, match=sentence):
        compare_runs([name], experiment)


def test_a_run_that_was_never_measured_is_named(mlflow_store):
    with open_parent("e", "empty"):
        pass
    with pytest.raises(ModelError, match="'empty' holds no results"):
        compare_runs(["empty"])


def test_results_that_are_no_results_are_refused(mlflow_store):
    with open_parent("e", "odd") as recorder:
        recorder.text("results/test_evaluation.json", "{not json")
    with pytest.raises(ModelError, match="is not JSON"):
        compare_runs(["odd"])
