"""The template for own jets reaches its result from each form of files, by the README's command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import layouts
import pytest
from mlflow import MlflowClient

from jetexp.jets.formats.ucl import export_ucl
from jetexp.jets.sample import Jets
from jetexp.jets.store import write_jets

ROOT = Path(__file__).parent.parent
COMMANDS = Path(sys.executable).parent
NAMES = "names: {background: QCD, signal: W}"


def one_file(name: str, write: Callable[[Jets, Path], None]) -> Callable[[Jets, Path], str]:
    def written(jets: Jets, folder: Path) -> str:
        write(jets, folder / name)
        return str(folder / name)

    return written


def jetnet_files(jets: Jets, folder: Path) -> str:
    for label, name in enumerate(jets.classes):
        layouts.write_jetnet(jets.take(jets.label == label), folder / f"{name}.hdf5")
    return f"background={folder}/QCD.hdf5,signal={folder}/W.hdf5"


# how jets are written, what the file calls the classes, and what the template must say besides
FORMS = {
    "store": (one_file("sample", write_jets), ("QCD", "W"), {}),
    "ucl": (one_file("jets.npz", export_ucl), ("QCD", "W"), {}),
    "energyflow": (one_file("jets.npz", layouts.write_energyflow), ("gluon", "quark"), {}),
    "four_momenta": (one_file("jets.npz", layouts.write_four_momenta), ("0", "1"), {}),
    "image_arrays": (one_file("jets.npz", layouts.write_image_arrays), ("QCD", "W"), {"half_width": 1.0}),
    "parquet": (one_file("jets.parquet", layouts.write_parquet), ("QCD", "W"), {}),
    "jetclass": (one_file("jets.root", layouts.write_jetclass), ("QCD", "W"), {}),
    "top_tagging": (one_file("jets.h5", layouts.write_top_tagging), ("QCD", "top"), {}),
    "jet_images": (one_file("jets.h5", layouts.write_jet_images), ("QCD", "W"), {}),
    "jetnet": (jetnet_files, ("QCD", "W"), {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_the_template_reaches_its_result(
    form: str, pythia_jets: Jets, mlflow_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, called, besides = FORMS[form]
    jets = write(pythia_jets.with_classes(["QCD", "top" if "top" in called else "W"]), mlflow_store)
    lines = [f"names: {{background: '{called[0]}', signal: '{called[1]}'}}"]
    lines += [f"{key}: {value}" for key, value in besides.items()]
    template = (ROOT / "experiments" / "your_jets.yaml").read_text()
    assert template.count(f"\n  {NAMES}") == 1
    own = mlflow_store / "own.yaml"
    own.write_text(template.replace(f"\n  {NAMES}", "".join(f"\n  {line}" for line in lines)))
    monkeypatch.setenv("PATH", f"{COMMANDS}:{os.environ['PATH']}")
    monkeypatch.setenv("JETEXP_JETS", str(mlflow_store / "jets"))
    client = MlflowClient()
    experiment = client.create_experiment("your_jets", artifact_location=str(mlflow_store / "artifacts"))
    parameters = (f"jets={jets}", f"experiment={own}", "epochs=1", "seeds=1")
    command = [COMMANDS / "mlflow", "run", ROOT, "--env-manager", "local", "--experiment-name", "your_jets"]
    done = subprocess.run(
        [*command, *(word for one in parameters for word in ("-P", one))],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    runs = client.search_runs([experiment])
    assert {run.info.status for run in runs} == {"FINISHED"}
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    assert 0 < parent.data.metrics["test_auc"] < 1
    assert len(parent.inputs.dataset_inputs) == 3
    # the trees learn from few jets: background and signal are what they should be
    (trees,) = (run for run in runs if run.info.run_name == "boosted_trees")
    assert trees.data.metrics["test_auc"] > 0.7
