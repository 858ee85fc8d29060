"""The served tagger: what it takes, what it refuses, and that it answers as offline."""

import io
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import ZipFile

import mlflow
import numpy as np
import pandas as pd
import pytest
from refused import refused_images, refused_tables
from servers import post, serve

from jetexp.errors import ModelError
from jetexp.images import ImageSettings
from jetexp.inference import compiled
from jetexp.inputs import InputSettings, make_inputs
from jetexp.jets.pixels import jets_from_images
from jetexp.serving import CODE, ServedSettings, Thresholds, load_tagger, probabilities
from jetexp.taggers.catalogue import build_network
from jetexp.taggers.settings import CnnSettings
from jetexp.tracking import open_parent
from jetexp.training import predict

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def served():
    return ServedSettings(classes=("QCD", "W"), signal="W", inputs=InputSettings(images=ImageSettings()))


@pytest.fixture(scope="module")
def network():
    return build_network(CnnSettings(layers=2, width=4, dense=8), {"image": (24, 24, 1)}, 2, seed=3)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(5)
    return rng.exponential(20, (700, 40, 40)) * (rng.random((700, 40, 40)) < 0.04)


@pytest.fixture
def logged(mlflow_store, served, network):
    """The address of a logged network."""
    with open_parent("e", "r", served=served) as recorder:
        recorder.network(network)
    return recorder.model_uri


def test_probabilities_are_those_of_training(network, served, images):
    jets = jets_from_images(images, half_width=1.0)
    expected = predict(network, make_inputs(jets, served.inputs))
    answer = probabilities(compiled(network), images, served)
    assert answer.shape == (700, 2)
    assert np.abs(answer - expected).max() < 1e-5
    assert np.ptp(answer[:, 0]) > 1e-3


def table_of(jets, eta=0.0, phi=0.0):
    """Constituents as people have them, in the frame of the detector."""
    rows = [slice(*jets.offsets[jet : jet + 2]) for jet in range(len(jets))]
    around = np.remainder(jets.constituent_phi.astype(float) + phi + np.pi, 2 * np.pi) - np.pi
    columns = {"pt": jets.constituent_pt, "eta": jets.constituent_eta.astype(float) + eta, "phi": around}
    return pd.DataFrame({name: [values[row].tolist() for row in rows] for name, values in columns.items()})


def test_constituents_are_judged_as_in_training_wherever_the_jet_lies(network, served, pythia_jets):
    jets = pythia_jets.take(slice(0, 600))
    expected = predict(network, make_inputs(jets, served.inputs))
    for eta, phi in ((0.0, 0.0), (1.3, 3.1), (-0.7, -2.0)):
        answer = probabilities(compiled(network), table_of(jets, eta, phi), served)
        assert answer.shape == (600, 2)
        # a constituent at the edge of a pixel may fall on its other side
        assert np.quantile(np.abs(answer - expected), 0.99) < 1e-4
        assert np.abs(answer - expected).mean() < 1e-5
    order = np.random.default_rng(0).permutation
    mixed = table_of(jets).map(list)
    for row in range(len(jets)):
        places = order(len(mixed["pt"][row]))
        for name in mixed:
            mixed.at[row, name] = [*np.array(mixed.at[row, name])[places], 0.0]
    assert np.quantile(np.abs(probabilities(compiled(network), mixed, served) - expected), 0.99) < 1e-4


def test_a_working_point_is_decided_by_the_thresholds_of_the_form(
    mlflow_store, served, network, images, pythia_jets
):
    """Half of the jets that the thresholds were measured on pass at half the signal efficiency."""
    table = table_of(pythia_jets.take(slice(0, 600)))
    everything = np.full(len(images), True)
    thresholds = Thresholds(
        constituents=Thresholds.measured(
            probabilities(compiled(network), table, served)[:, 1], np.full(600, True)
        ),
        images=Thresholds.measured(probabilities(compiled(network), images, served)[:, 1], everything),
    )
    with open_parent("e", "r", served=served) as recorder:
        recorder.network(network, served.model_copy(update={"thresholds": thresholds}))
    model = mlflow.pyfunc.load_model(recorder.model_uri)
    for given in (table, images):
        for efficiency in (0.02, 0.5, 0.805):
            answer = model.predict(given, params={"signal_efficiency": efficiency})
            assert answer["selected"].mean() == pytest.approx(efficiency, abs=0.004)
            assert (
                answer["discriminant"][answer["selected"]].min()
                > answer["discriminant"][~answer["selected"]].max()
            )
        assert "selected" not in model.predict(given)
    for wrong in (0.0, 1.0, float("nan")):
        with pytest.raises(mlflow.exceptions.MlflowException, match=r"from 0\.01 to 0\.99 would be right"):
            model.predict(table, params={"signal_efficiency": wrong})


def test_a_model_without_working_points_says_so(logged, images):
    model = mlflow.pyfunc.load_model(logged)
    with pytest.raises(mlflow.exceptions.MlflowException, match="stored without working points"):
        model.predict(images, params={"signal_efficiency": 0.5})


def test_requests_at_once_do_not_disturb_each_other(network, served, images):
    forward = compiled(network)
    expected = probabilities(forward, images, served)
    parts = [slice(start, start + 7) for start in range(0, 560, 7)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda part: probabilities(forward, images[part], served), parts))
    assert np.abs(np.concatenate(answers) - expected[:560]).max() < 1e-5


def test_the_logged_model_loads_without_pickle_and_gives_the_same(logged, network, served, images):
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    model = mlflow.pyfunc.load_model(logged)
    answer, expected = model.predict(images), probabilities(compiled(network), images, served)
    assert list(answer.columns) == ["QCD", "W", "discriminant"]
    assert np.abs(answer[["QCD", "W"]].to_numpy() - expected).max() < 1e-5
    assert np.array_equal(answer["discriminant"], answer["W"])
    assert model.metadata.metadata == {"classes": ["QCD", "W"], "signal": "W"}
    with pytest.raises(mlflow.exceptions.MlflowException, match="is negative") as caught:
        model.predict(-images)
    assert caught.value.get_http_status_code() == 400


def test_the_logged_model_belongs_to_its_run_and_holds_little(logged):
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("e")
    (model,) = client.search_logged_models([experiment.experiment_id])
    assert f"models:/{model.model_id}" == logged
    assert client.get_run(model.source_run_id).outputs.model_outputs[0].model_id == model.model_id
    folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=logged))
    kept = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    kept.discard("registered_model_meta")  # MLflow's, of the download
    assert kept == {f"code/jetexp/{name}" for name in CODE} | {
        "MLmodel",
        "artifacts/network.keras",
        "artifacts/settings.json",
        "conda.yaml",
        "input_example.json",
        "python_env.yaml",
        "requirements.txt",
        "served_model.py",
        "serving_input_example.json",
    }
    named = {line.partition("==")[0] for line in (folder / "requirements.txt").read_text().split()}
    assert named == {"keras", "mlflow", "numpy", "pandas", "pydantic", "tensorflow"}


def test_logging_a_compiled_network_leaves_its_optimizer_behind(mlflow_store, served, network):
    network.compile(optimizer="adam", loss="categorical_crossentropy")
    before = list(sys.path)
    with open_parent("e", "r", served=served) as recorder:
        recorder.network(network)
    assert sys.path == before
    loaded, settings = load_tagger(recorder.model_uri)
    assert settings == served
    assert not getattr(loaded, "optimizer", None)
    for ours, theirs in zip(network.get_weights(), loaded.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)


def test_a_model_that_is_not_there_is_named(mlflow_store):
    with pytest.raises(ModelError, match="models:/nothing/1 holds no tagger"):
        load_tagger("models:/nothing/1")


def test_serving_imports_the_modules_that_are_stored_with_it():
    script = "import sys, jetexp.serving; print([n for n in sys.modules if n.partition('.')[0] == 'jetexp'])"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    imported = {name.partition(".")[2].replace(".", "/") for name in eval(run.stdout)}
    stored = {name.removesuffix(".py").removesuffix("__init__").removesuffix("/") for name in CODE}
    assert imported == stored


@pytest.fixture
def server(logged, tmp_path):
    """A real `mlflow models serve` of a copy of the model."""
    model = mlflow.artifacts.download_artifacts(artifact_uri=logged, dst_path=str(tmp_path / "copy"))
    with serve(model, tmp_path) as port:
        yield port


@pytest.mark.slow
def test_an_environment_that_mlflow_makes_from_the_model_alone_gives_the_same(
    logged, network, served, pythia_jets, tmp_path, monkeypatch
):
    """Beside TensorFlow it holds what the model asks for, and no jetexp."""
    monkeypatch.setenv("MLFLOW_ENV_ROOT", str(tmp_path / "environments"))
    model = mlflow.artifacts.download_artifacts(artifact_uri=logged, dst_path=str(tmp_path / "copy"))
    table = table_of(pythia_jets.take(slice(0, 50)), 0.4, 1.0)
    with serve(model, tmp_path, env_manager="uv", seconds=500) as port:
        body = json.dumps({"dataframe_split": table.to_dict("split")}).encode()
        status, answer = post(port, body)
    assert status == 200
    found = np.array([[row["QCD"], row["W"]] for row in answer["predictions"]])
    assert np.abs(found - probabilities(compiled(network), table, served)).max() < 1e-5
    (environment,) = (tmp_path / "environments").glob("mlflow-*")
    assert list(environment.glob("lib/python*/site-packages/tensorflow"))
    assert not list(environment.glob("lib/python*/site-packages/*jetexp*"))


SERVER = """
import sys
import mlflow.pyfunc.scoring_server.app
print("sklearn" in sys.modules)
from sklearn.linear_model import LogisticRegression
"""


@pytest.mark.slow
def test_a_server_is_spared_scikit_learn_and_may_still_import_it(logged):
    model = mlflow.artifacts.download_artifacts(artifact_uri=logged)
    done = subprocess.run(
        [sys.executable, "-c", SERVER],
        env={**os.environ, "__pyfunc_model_path__": model},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


@pytest.mark.slow
def test_a_real_server_answers_as_offline_and_refuses_with_a_sentence(
    server, network, served, images, pythia_jets
):
    three = images[:3]
    offline = probabilities(compiled(network), three, served)
    for key, shape in (("instances", (3, 40, 40)), ("inputs", (3, 40, 40)), ("inputs", (3, 40, 40, 1))):
        status, answer = post(server, json.dumps({key: three.reshape(shape).tolist()}).encode())
        assert status == 200
        assert [sorted(row) for row in answer["predictions"]] == [["QCD", "W", "discriminant"]] * 3
        assert (
            np.abs(np.array([[row["QCD"], row["W"]] for row in answer["predictions"]]) - offline).max() < 1e-5
        )
    jets = pythia_jets.take(slice(0, 5))
    table, expected = table_of(jets, 0.4, 1.0), probabilities(compiled(network), table_of(jets), served)[:, 1]
    parquet = io.BytesIO()
    table.to_parquet(parquet)
    bodies = {
        "split": (json.dumps({"dataframe_split": table.to_dict("split")}).encode(), "application/json"),
        "records": (json.dumps({"dataframe_records": table.to_dict("records")}).encode(), "application/json"),
        "Parquet": (parquet.getvalue(), "application/vnd.apache.parquet"),
    }
    for form, (body, content_type) in bodies.items():
        status, answer = post(server, body, content_type)
        assert status == 200, (form, answer)
        found = np.array([row["discriminant"] for row in answer["predictions"]])
        assert np.abs(found - expected).max() < 1e-3, form
    asked = {"dataframe_split": table.to_dict("split"), "params": {"signal_efficiency": 0.5}}
    status, answer = post(server, json.dumps(asked).encode())
    assert (status, "stored without working points" in answer) == (400, True)
    for kind, (given, sentence) in refused_images().items():
        if kind in ("a table", "ragged"):
            continue  # MLflow's own parser refuses these before
        body = json.dumps({"instances": given if isinstance(given, list) else given.tolist()})
        status, answer = post(server, body.encode())
        assert 400 <= status < 500, (kind, answer)
        assert sentence in answer, (kind, answer)
    for kind, (given, sentence) in refused_tables().items():
        status, answer = post(server, json.dumps({"dataframe_split": given.to_dict("split")}).encode())
        assert 400 <= status < 500, (kind, answer)
        assert sentence in answer, (kind, answer)
    assert post(server, json.dumps({"instances": [[[1.0, 2.0], [1.0]]]}).encode())[0] == 400


def hostile_network(path, layer):
    """Write a network file whose first layer is another one than it was."""
    with ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    described = json.loads(content["config.json"])
    described["config"]["layers"][1] = layer | {
        "inbound_nodes": described["config"]["layers"][1]["inbound_nodes"]
    }
    content["config.json"] = json.dumps(described).encode()
    with ZipFile(path, "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text)


def lambda_layer(marker):
    """A layer that runs code of its own."""
    import keras

    layer = keras.layers.Lambda(lambda values: values)
    described = keras.saving.serialize_keras_object(layer)
    described["name"] = "hostile"
    return described


def foreign_class(marker):
    """A class of Python's own that runs a command."""
    return {
        "module": "subprocess",
        "class_name": "Popen",
        "config": {"args": ["touch", str(marker)]},
        "registered_name": "Popen",
        "name": "hostile",
    }


def foreign_function(marker):
    """A function of the system's in the place of an activation."""
    function = {"module": "posix", "class_name": "function", "config": "system", "registered_name": "system"}
    return {
        "module": "keras.layers",
        "class_name": "Activation",
        "config": {"name": "hostile", "activation": function},
        "registered_name": None,
        "name": "hostile",
    }


@pytest.mark.parametrize("layer", [lambda_layer, foreign_class, foreign_function])
def test_a_network_file_that_means_harm_is_refused_and_nothing_of_it_runs(logged, tmp_path, layer):
    folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=logged, dst_path=str(tmp_path / "model")))
    marker = tmp_path / "harm"
    hostile_network(folder / "artifacts" / "network.keras", layer(marker))
    with pytest.raises(ModelError, match="holds no tagger that can be loaded: its network cannot be read"):
        load_tagger(str(folder))
    assert not marker.exists()
    with pytest.raises(ValueError, match="its network cannot be read"):
        mlflow.pyfunc.load_model(str(folder))
    assert not marker.exists()
