"""The recipe for Slurm, on a cluster of one node: jets by an array of jobs, a chief, workers."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from slurm import call, one_node

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_recipe_makes_jets_searches_and_records(tmp_path: Path) -> None:
    for name in ("jetexp", "experiments", "deploy"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    options = ("--per-class", "450", "--trials", "3", "--epochs", "1", "--seeds", "2")
    with one_node() as slurm:
        mine = {name: value for name, value in slurm.items() if not name.startswith(("JETEXP_", "MLFLOW_"))}
        mine |= {"MLFLOW_TRACKING_URI": uri, "PARTS": "3", "WORKERS": "2"}
        said = call(mine, "deploy/slurm/submit", "experiments/w_vs_qcd.yaml", *options, cwd=tmp_path)
        assert "their words are in logs" in said, said
        end = time.monotonic() + 500
        while waiting := call(mine, "squeue", "--noheader", cwd=tmp_path):
            assert time.monotonic() < end, waiting
            time.sleep(1)
    logs = {path.name: path.read_text() for path in (tmp_path / "logs").glob("*.log")}
    assert sum(name.startswith("jetexp-jets") for name in logs) == 3
    made = [text.count("chunks of events made") for name, text in logs.items() if "jets" in name]
    # of training and test jets
    assert made == [2, 2, 2], logs
    workers = [text for name, text in logs.items() if "worker" in name]
    assert len(workers) == 2
    assert all("No more to do" in text for text in workers), logs
    (chief,) = (text for name, text in logs.items() if "chief" in name)
    assert "w-vs-qcd version 1" in chief, chief
    client = MlflowClient(uri)
    (experiment,) = (one for one in client.search_experiments() if one.name == "w_vs_qcd")
    runs = client.search_runs([experiment.experiment_id])
    names = [run.info.run_name for run in runs]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {"trial-00", "trial-01", "trial-02", "seed-00", "seed-01", "w_vs_qcd"} <= set(names)
    assert len(names) == len(set(names))
