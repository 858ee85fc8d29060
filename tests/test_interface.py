"""What a physicist finds in MLflow's own pages over a finished run, seen by a browser."""

import os
from pathlib import Path

import pytest
from browser import compare_runs, opened_page, see_curves, see_model, see_runs
from servers import interface

from jetexp.experiment_file import override, read_experiment
from jetexp.jets.store import write_jets
from jetexp.pipeline import run_experiment

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_runs_curves_and_the_champion_are_found_by_clicking(mlflow_store, tmp_path, pythia_jets):
    write_jets(pythia_jets.with_classes(("QCD", "W")), tmp_path / "sample")
    experiment = override(
        read_experiment(ROOT / "experiments" / "w_vs_qcd.yaml"),
        jets=str(tmp_path / "sample"),
        trials=2,
        epochs=2,
        seeds=2,
    )
    gate = experiment.gate.model_copy(update={"minimum_per_class": 1})
    run_experiment(experiment.model_copy(update={"gate": gate}), jets_folder=tmp_path / "jets")
    store = os.environ["MLFLOW_TRACKING_URI"]
    seeds = ["seed-00", "seed-01"]
    with interface(store, tmp_path) as port, opened_page() as page:
        address = f"http://127.0.0.1:{port}"
        see_runs(page, address, experiment="w_vs_qcd", parent="w_vs_qcd")
        compare_runs(page, seeds)
        see_curves(page, "test_rejection_curve", seeds)
        see_model(page, address, "w-vs-qcd", version="1")
