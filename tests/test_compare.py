"""Several runs side by side."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from registered import SERVED, tagger

from jetexp.cli import jetexp
from jetexp.compare import best_runs, compare_runs, find_run, record_comparison
from jetexp.comparison_tables import HEADINGS, as_latex, as_markdown
from jetexp.errors import ModelError
from jetexp.evaluation.report import evaluate, summarise
from jetexp.evaluation.summary import SeedCurve
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


def scored(distance, noise, seeds=1, fingerprint="f" * 64):
    """Scores of the same 1 000 jets by a tagger that sees this much of their distance."""
    label = np.repeat([0, 1], 500)
    common = np.random.default_rng(7).normal(size=1000)
    logits = distance * label + common + noise * np.random.default_rng(8).normal(size=(seeds, 1000))
    signal = 1 / (1 + np.exp(-logits))
    return {
        "scores": np.stack([1 - signal, signal], axis=-1).astype(np.float32),
        "label": label.astype(np.int16),
        "classes": np.array(["QCD", "W"]),
        "signal": np.array("W"),
        "fingerprint": np.array(fingerprint),
    }


def measured(name, kept, seconds=None):
    """Record a run as an execution does, of one experiment."""
    found = [
        evaluate(one, kept["label"], classes=("QCD", "W"), signal="W", part="test") for one in kept["scores"]
    ]
    with open_parent("e", name) as recorder:
        recorder.result("test_summary", summarise(found).to_dict())
        recorder.arrays("test_scores", kept)
        recorder.metrics({"validation_auc": found[0].auc, "network_parameters": 12_345})
        if seconds is not None:
            recorder.metrics({"fit_seconds": seconds})
    return recorder.run_id


@pytest.fixture
def executions(mlflow_store):
    """Three executions, of which two were tested on the same jets, and the better has two seeds."""
    return {
        "better": measured("better", scored(2.5, 0.1, seeds=2), seconds=60),
        "worse": measured("worse", scored(1.5, 0.1)),
        "elsewhere": measured("elsewhere", scored(1.0, 0.1, fingerprint="e" * 64)),
    }


def test_pairs_on_the_same_test_jets_are_compared_jet_by_jet(executions):
    comparison = compare_runs(list(executions))
    ((names, pair),) = comparison.pairs.items()
    assert names == ("better", "worse")
    assert len(pair.auc_a) == 2
    assert pair.auc.lower_bound > 0
    assert pair.ratio > 1.5
    # several seeds show their spread, one its statistical error
    better, worse, _ = comparison.runs
    assert isinstance(better.curve, SeedCurve)
    assert np.median(worse.curve.high / worse.curve.low) > 1.1
    text = as_markdown(comparison)
    assert "better against worse: AUC difference +" in text
    assert "| 12 345 | 60 |" in text
    assert "elsewhere against" not in text
    content = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    assert [run["run"] for run in content["runs"]] == list(executions.values())
    assert content["pairs"][0]["first"] == "better"
    assert content["runs"][2]["test_sample"] == "e" * 64


def test_a_latex_table_has_a_cell_for_every_heading_and_nothing_special_unescaped(executions):
    comparison = compare_runs([executions["better"], "worse"])
    lines = as_latex(comparison).splitlines()
    rows = [line for line in lines if line.endswith(r"\\")]
    assert len(rows) == 3
    assert all(row.count(" & ") == len(HEADINGS) - 1 for row in rows)
    assert r"rejection at 50 \%" in rows[0]
    assert r"$\pm$" in rows[1]
    assert lines[-1].startswith("% better against worse: ")


def test_the_best_executions_of_an_experiment_are_found_by_validation(executions):
    # a child and a run of another experiment are none
    with open_parent("e", "parent") as parent, parent.child("trial-00") as trial:
        trial.metrics({"validation_auc": 0.999})
    with open_parent("other", "best of all") as other:
        other.metrics({"validation_auc": 0.998})
    assert best_runs(2, "e") == (executions["better"], executions["worse"])
    assert len(best_runs(9, "e")) == 3
    with pytest.raises(ModelError, match="There is no MLflow experiment 'nowhere'"):
        best_runs(2, "nowhere")
    MlflowClient().create_experiment("empty")
    with pytest.raises(ModelError, match="'empty' holds no execution that was measured"):
        best_runs(2, "empty")


def test_a_comparison_is_a_run_of_its_own(executions):
    client = MlflowClient()
    run = client.get_run(record_comparison(compare_runs(["better", "worse"])))
    assert run.info.run_name == "comparison"
    assert client.get_experiment(run.info.experiment_id).name == "e"
    assert run.data.tags["compared_runs"].split() == [executions["better"], executions["worse"]]
    assert "better against worse" in run.data.tags["mlflow.note.content"]
    files = {
        item.path
        for folder in ("plots", "results")
        for item in client.list_artifacts(run.info.run_id, folder)
    }
    assert files == {"plots/rejection.png", "results/comparison.json"}


def test_runs_of_one_name_are_told_apart(executions):
    again = measured("better", scored(2.0, 0.1))
    names = [run.name for run in compare_runs([executions["better"], again]).runs]
    assert names == [f"better {executions['better'][:8]}", f"better {again[:8]}"]


def test_a_run_that_is_named_twice_stands_once(executions):
    (run,) = compare_runs(["better", executions["better"]]).runs
    assert run.name == "better"


def test_a_model_s_size_is_told(mlflow_store):
    with open_parent("e", "fit", served=SERVED) as recorder:
        recorder.result("test_evaluation", evaluation(2).to_dict())
        recorder.network(tagger(0))
    (compared,) = compare_runs(["fit"]).runs
    assert 10_000 < compared.size < 1_000_000
    assert compared.to_dict()["model_bytes"] == compared.size


def test_of_a_parent_one_of_its_own_fits_tells_size_and_time(mlflow_store):
    kept = scored(2.0, 0.1, seeds=2)
    with open_parent("e", "parent") as parent:
        numbers = {}
        for name, parameters in (("seed-00", 100), ("seed-01", 100), ("ensemble", 200)):
            with parent.child(name) as child:
                child.metrics({"network_parameters": parameters, "fit_seconds": parameters})
                numbers[name] = child.run_id
        found = evaluate(kept["scores"][0], kept["label"], classes=("QCD", "W"), signal="W", part="test")
        parent.result("test_summary", summarise([found, found]).to_dict())
        parent.result("table", [{"tagger": "cnn", "runs": [numbers["seed-00"], numbers["seed-01"]]}])
        # the numbers of the row are means over seeds, not the ensemble's
        parent.tags({"best_run": numbers["ensemble"]})
    (compared,) = compare_runs(["parent"]).runs
    assert (compared.parameters, compared.seconds) == (100, 100)


def test_the_command_prints_what_it_is_asked_for(executions):
    def printed(*arguments):
        return CliRunner().invoke(jetexp, ["compare", *arguments])

    table = printed("better", "worse").stdout
    assert "better against worse: AUC difference" in table
    assert Path("comparison.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads(printed("better", "--format", "json").stdout)["pairs"] == []
    assert printed("worse", "--format", "latex").stdout.startswith(r"\begin{tabular}")
    best = printed("--experiment-name", "e", "--best", "2", "--format", "markdown").stdout
    assert [line.split(" | ")[0] for line in best.splitlines()[2:4]] == ["| better", "| worse"]
    assert "--best needs --experiment-name" in printed("--best", "2").stderr
    assert "Name at least one run" in printed().stderr
