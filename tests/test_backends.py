"""Keras on another backend than TensorFlow: the same results within errors, and a model served as ever."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from toys import toy_jets

from jetexp.jets.store import write_jets

ROOT = Path(__file__).parent.parent
EXPERIMENT = """\
name: backends
classes: [background, signal]
signal: signal
jets: {source: file, path: TOYS}
images: {pixels: 12}
tagger: {kind: cnn, width: 4, dense: 16, constituents: {}, side_inputs: [pt, mass]}
training: {batch_size: 64, epochs: 4, average: 0.2, schedule: cosine}
seeds: 1
"""


def run(folder: Path, backend: str) -> dict[str, float]:
    """Run an experiment on a backend; give its metrics."""
    done = subprocess.run(
        [sys.executable, "-m", "jetexp", "run", str(folder / "backends.yaml"), "--workers", "1"],
        env={**os.environ, "KERAS_BACKEND": backend, "JETEXP_EXECUTIONS": str(folder / backend)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    client = MlflowClient()
    experiment = client.get_experiment_by_name("backends")
    newest = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])
    assert {one.info.status for one in newest} == {"FINISHED"}
    parent = next(one for one in newest if one.info.run_name == "backends")
    return dict(parent.data.metrics)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_another_backend_reaches_the_same(mlflow_store: Path, tmp_path: Path, backend: str) -> None:
    if backend == "torch" and find_spec(backend) is None:
        pytest.skip("PyTorch is not installed")
    write_jets(toy_jets(3000, seed=7), tmp_path / "toys")
    (tmp_path / "backends.yaml").write_text(EXPERIMENT.replace("TOYS", str(tmp_path / "toys")))
    expected, found = run(tmp_path, "tensorflow"), run(tmp_path, backend)
    # the jets are the same, so that chance is what initial weights and batches make of it
    error = math.hypot(*(one["test_auc_error"] for one in (expected, found)))
    assert expected["test_auc"] > 0.8
    assert found["test_auc"] == pytest.approx(expected["test_auc"], abs=3 * error)
    # what was fitted by another backend is served by TensorFlow, here
    (model,) = mlflow.search_logged_models(
        experiment_ids=[mlflow.get_experiment_by_name("backends").experiment_id],
        order_by=[{"field_name": "creation_timestamp", "ascending": False}],
        max_results=1,
        output_format="list",
    )
    served = mlflow.pyfunc.load_model(model.model_uri)
    jet = pd.DataFrame({"pt": [[500.0, 300.0]], "eta": [[0.0, 0.2]], "phi": [[0.0, 0.1]]})
    answer = served.predict(jet)
    assert 0 <= answer["signal"].iloc[0] <= 1


SHARED = """
import json
from toys import toy_parts
from jetexp.errors import JetexpError
from jetexp.fit_task import fitted_network
from jetexp.recorder_protocol import NullRecorder
from jetexp.taggers.settings import CnnSettings, TrainingSettings
from jetexp.training import predict

# neither divides by two
parts = toy_parts(1001, 501)

def fit(**training):
    network, history = fitted_network(
        CnnSettings(layers=2, width=8, dense=16, dropout=0.0),
        TrainingSettings(learning_rate=3e-3, batch_size=60, epochs=2, average=0.2, **training),
        parts,
        classes=2,
        seed=0,
        recorder=NullRecorder(),
        display=None,
        name="shared",
    )
    network.save("network.keras")
    scores = predict(network, parts.validation.inputs)
    found = [*history.loss, *history.val_auc, float(scores.sum())]
    return {"found": found, "devices": len(network.weights[0].value.devices())}

made = [fit(), fit(devices=2), fit(devices=2, precision="mixed_bfloat16")]
try:
    fit(devices=3)
except JetexpError as error:
    print(json.dumps([*made, str(error)]))
"""


@pytest.mark.slow
def test_two_devices_share_the_batches_of_a_fit(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHARED],
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "PYTHONPATH": str(ROOT / "tests"),
            # processors stand for accelerators
            "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    alone, shared, half, refused = json.loads(done.stdout.splitlines()[-1])
    # one jet in a thousand waits for another epoch
    assert shared["found"] == pytest.approx(alone["found"], rel=0.01)
    assert shared["found"][0] != alone["found"][0]
    assert half["found"] == pytest.approx(alone["found"], rel=0.02)
    # what is kept lies on one device
    assert [one["devices"] for one in (alone, shared, half)] == [1, 1, 1]
    assert refused == "training.devices is 3, and there are 2: cpu:0, cpu:1."
