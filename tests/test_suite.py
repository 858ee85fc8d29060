"""Many experiments, one table: nothing is done twice, and one failure does not stop the others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from toys import toy_jets

from jetexp.errors import JetexpError
from jetexp.experiment import Experiment
from jetexp.experiment_file import read_experiment
from jetexp.jets.store import write_jets
from jetexp.suite import SuiteResult, fast, find_experiments, run_suite

ROOT = Path(__file__).parent.parent
EXPERIMENT = """
name: {name}
description: Toy jets.
classes: [background, signal]
signal: signal
jets: {{source: file, path: "{folder}/train"}}
test: {{source: file, path: "{folder}/test"}}
images: {{pixels: 12}}
tagger: {{kind: cnn, layers: 1, width: 2, dense: 4}}
training: {{epochs: 1}}
seeds: 2
"""
VARIANTS = """
references: [{tagger: {kind: mass_window, observable: mass}}]
variants:
  "100": {train_per_class: 100}
  "200": {train_per_class: 200}
"""
CROSSED = """
variants:
  "100": {train_per_class: 100}
  "100 on few": {train_per_class: 100, test: {per_class: 200}}
  "200 on few": {train_per_class: 200, test: {per_class: 200}}
"""
REFERENCES = """
registered_model: toys
references:
- {tagger: {kind: mass_window, observable: mass}}
- {tagger: {kind: boosted_trees, observables: [mass, multiplicity]}}
- {tagger: {kind: logistic_regression}}
- {tagger: {kind: pfn, latent: [4], dense: [4]}, seeds: 1}
ensemble: true
calibration: temperature
"""


@dataclass(frozen=True)
class Ran:
    folder: Path
    experiments: list[Experiment]
    first: SuiteResult
    again: SuiteResult
    client: MlflowClient


def write(folder: Path, name: str, more: str = "") -> Experiment:
    path = folder / f"{name}.yaml"
    path.write_text(EXPERIMENT.format(name=name, folder=folder) + more)
    return read_experiment(path)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    folder = tmp_path_factory.mktemp("suite")
    write_jets(toy_jets(800, seed=1), folder / "train")
    write_jets(toy_jets(600, seed=2), folder / "test")
    missing = write(folder, "missing").model_dump(mode="json")
    missing["jets"]["path"] = str(folder / "nowhere")
    experiments = [
        write(folder, "taggers", REFERENCES),
        Experiment.model_validate(missing),
        write(folder, "sizes", VARIANTS),
        write(folder, "crossed", CROSSED),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
            patch.delenv(name, raising=False)
        settings = {"folder": folder / "results", "jets_folder": folder / "jets"}
        first = run_suite(experiments, **settings)
        # the variants' result is gone, as after an interruption, but the fits are there
        (folder / "results" / "sizes.json").unlink()
        again = run_suite([experiments[2]], **settings)
        yield Ran(folder, experiments, first, again, MlflowClient())


@pytest.mark.slow
def test_every_tagger_and_variant_has_a_row(ran: Ran) -> None:
    rows = {result.name: result.rows for result in ran.first.results}
    assert [row["tagger"] for row in rows["taggers"]] == [
        "cnn",
        "ensemble",
        "mass_window",
        "boosted_trees",
        "logistic_regression",
        "pfn",
    ]
    assert [(row["variant"], row["tagger"]) for row in rows["sizes"]] == [
        ("100", "cnn"),
        ("100", "mass_window"),
        ("200", "cnn"),
        ("200", "mass_window"),
    ]
    assert [row["training_jets"] for row in rows["sizes"]] == [200, 200, 400, 400]
    for row in (*rows["taggers"], *rows["sizes"]):
        assert f"| {row['tagger']} | {len(row['runs'])} |" in ran.first.table
    assert (ran.folder / "results" / "table.md").read_text() == ran.again.table
    # what an earlier suite has measured is in it, too
    assert [ran.again.table.count(f"## {name}\n") for name in ("taggers", "missing")] == [1, 0]


@pytest.mark.slow
def test_the_own_tagger_is_compared_with_each_other_and_with_the_first_variant_on_the_same_jets(
    ran: Ran,
) -> None:
    comparisons = {result.name: set(result.comparisons) for result in ran.first.results}
    assert "cnn against boosted_trees" in comparisons["taggers"]
    assert len(comparisons["taggers"]) == 5
    with_members = {
        name
        for one in ran.first.results
        for name, text in one.comparisons.items()
        if "of the same fits" in text
    }
    assert with_members == {"cnn against ensemble"}
    assert comparisons["sizes"] == {
        "100: cnn against 100: mass_window",
        "200: cnn against 200: mass_window",
        "200: cnn against 100: cnn",
    }
    # no test jets in common with the first of all
    assert comparisons["crossed"] == {"200 on few: cnn against 100 on few: cnn"}
    assert "rejection ratio at 50 %" in ran.first.results[0].comparisons["cnn against pfn"]


@pytest.mark.slow
def test_one_failure_does_not_stop_the_others_and_is_told(ran: Ran) -> None:
    assert [result.name for result in ran.first.results] == ["taggers", "sizes", "crossed"]
    assert list(ran.first.failures) == ["missing"]
    assert "nowhere" in ran.first.failures["missing"]


@pytest.mark.slow
def test_what_is_finished_is_not_done_again(ran: Ran) -> None:
    (sizes,) = ran.again.results
    before = ran.first.results[1]
    assert sizes.run_id != before.run_id
    assert [row["test"] for row in sizes.rows] == [row["test"] for row in before.rows]
    for row in sizes.rows:
        for run_id in row["runs"] if row["tagger"] == "cnn" else ():
            run = ran.client.get_run(run_id)
            assert "finished_before" in run.data.tags
            assert len(ran.client.get_metric_history(run_id, "val_auc")) == 1


@pytest.mark.slow
def test_every_child_is_finished_and_networks_have_a_model(ran: Ran) -> None:
    run = ran.client.get_run(ran.first.results[0].run_id)
    children = {
        child.info.run_name: child
        for child in ran.client.search_runs(
            [run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
        )
    }
    assert set(children) == {
        "seed-00",
        "seed-01",
        "ensemble",
        "mass_window",
        "boosted_trees",
        "logistic_regression",
        "pfn-seed-00",
        "calibrated",
    }
    assert {child.info.status for child in children.values()} == {"FINISHED"}
    for name, child in children.items():
        is_network = name in ("seed-00", "seed-01", "ensemble", "pfn-seed-00", "calibrated")
        assert bool(child.outputs and child.outputs.model_outputs) == is_network
        assert "test_auc" in child.data.metrics
    ensemble, calibrated = children["ensemble"], children["calibrated"]
    assert children["calibrated"].data.params["calibrated"] in ("ensemble", "seed-00", "seed-01")
    if calibrated.data.params["calibrated"] == "ensemble":
        assert calibrated.data.metrics["test_auc"] == pytest.approx(ensemble.data.metrics["test_auc"])


@pytest.mark.slow
def test_the_parent_shows_what_the_network_sees(ran: Ran) -> None:
    run_id = ran.first.results[0].run_id
    plots = {file.path.removeprefix("plots/") for file in ran.client.list_artifacts(run_id, "plots")}
    seen = ("rejection_against_pt", "mass_sculpting", "reliability", "correlation", "saliency")
    assert plots >= {f"{name}.png" for name in (*seen, "results", "taggers")}
    results = {file.path for file in ran.client.list_artifacts(run_id, "results")}
    assert {"results/table.json", "results/comparisons.json"} <= results
    sizes = ran.first.results[1].run_id
    assert "plots/rejection_against_jets.png" in {
        file.path for file in ran.client.list_artifacts(sizes, "plots")
    }
    assert (ran.folder / "results" / "sizes_rejection_against_jets.png").stat().st_size > 5000


@pytest.mark.slow
def test_a_suite_registers_nothing(ran: Ran) -> None:
    assert ran.experiments[0].registered_model == "toys"
    assert not ran.client.search_registered_models()


@pytest.mark.slow
def test_other_files_and_other_code_are_another_result(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    from jetexp import suite

    folder, experiment = ran.folder / "results", ran.experiments[2]
    assert suite._read_result(folder, experiment) is not None
    monkeypatch.setattr(suite, "package_key", lambda: "other")
    assert suite._read_result(folder, experiment) is None
    monkeypatch.undo()
    file = next(path for path in sorted((ran.folder / "test").rglob("*")) if path.is_file())
    written = file.stat().st_mtime_ns
    os.utime(file, ns=(0, 0))
    assert suite._read_result(folder, experiment) is None
    os.utime(file, ns=(written, written))
    assert suite._read_result(folder, experiment) is not None


@pytest.mark.slow
def test_other_settings_are_another_result(ran: Ran) -> None:
    from jetexp.suite import _read_result

    folder, experiment = ran.folder / "results", ran.experiments[0]
    assert _read_result(folder, experiment) is not None
    assert _read_result(folder, experiment.model_copy(update={"seeds": 3})) is None
    damaged = replace(ran.first.results[0], name="damaged").name
    (folder / f"{damaged}.json").write_text("{")
    assert _read_result(folder, experiment.model_copy(update={"name": damaged})) is None


def test_experiments_are_found_by_name() -> None:
    folder = ROOT / "experiments"
    assert len(find_experiments(folder)) == len(list(folder.glob("*.yaml")))
    assert [path.stem for path in find_experiments(folder, ["notebook"])] == ["notebook"]
    with pytest.raises(JetexpError, match=r"no experiment 'notes'.*notebook"):
        find_experiments(folder, ["notes"])
    with pytest.raises(JetexpError, match="no experiment file"):
        find_experiments(ROOT / "docs")


SIMULATED = [path for path in sorted(ROOT.glob("experiments/*.yaml")) if path.stem != "your_jets"]


@pytest.mark.parametrize("path", SIMULATED, ids=lambda path: path.stem)
def test_a_fast_experiment_keeps_every_part_on_a_tiny_budget(path: Path) -> None:
    whole = read_experiment(path)
    cut = fast(whole)
    assert list(cut.variants) == list(whole.variants)
    assert [one.name for one in cut.taggers] == [one.name for one in whole.taggers]
    for one in [cut, *(cut.variant(name) for name in cut.variants)]:
        assert one.jets.per_class is not None
        assert one.jets.per_class <= 250
        # a part is met on average only, so some jets fewer than its share
        there = one.jets.per_class * (1 - one.split.validation)
        assert (one.train_per_class or 0) <= there - 3 * there**0.5 * one.split.validation**0.5
        assert all(tagger.seeds <= 2 and tagger.training.epochs == 1 for tagger in one.taggers)
        assert one.search is None or (one.search.trials, one.search.epochs) == (1, 1)
