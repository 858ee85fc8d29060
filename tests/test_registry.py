"""The registry: versions, aliases, and models judged by the code that was stored with them."""

import json
from dataclasses import replace
from pathlib import Path

import keras
import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

from jetexp.apart import score_apart
from jetexp.errors import ModelError
from jetexp.experiment import GateSettings
from jetexp.images import ImageSettings
from jetexp.inputs import InputSettings
from jetexp.registry import TestSample, champion_of, judge, model_of_run, register
from jetexp.serving import ServedSettings, probabilities
from jetexp.tracking import open_parent

NAME = "w-vs-qcd"
RAW = ImageSettings(
    pixels=40,
    half_width=1.0,
    centre=False,
    rotate=False,
    flip=False,
    zoom=False,
    scale="gev",
    intensity="linear",
)
SERVED = ServedSettings(classes=("QCD", "W"), signal="W", inputs=InputSettings(images=RAW))


@pytest.fixture(scope="module")
def sample():
    """Images whose first pixel tells the classes apart, and whose second is noise."""
    rng = np.random.default_rng(2)
    label = np.repeat([0, 1], 1200)
    images = np.zeros((2400, 40, 40), np.float32)
    images[:, 20, 20] = 20 + 3 * label + rng.normal(size=2400)
    images[:, 10, 10] = 20 + rng.normal(size=2400)
    return TestSample(images, label, ("QCD", "W"), "W", "f" * 64)


def tagger(noise):
    """A network that reads the telling pixel, and the noisy one as much as it is told."""
    image = keras.Input((40, 40, 1), name="image")
    score = keras.layers.Dense(2, activation="softmax")(keras.layers.Flatten()(image))
    network = keras.Model({"image": image}, score)
    weights = np.zeros((1600, 2), np.float32)
    weights[20 * 40 + 20, 1], weights[10 * 40 + 10, 1] = 0.2, 0.2 * noise
    network.set_weights([weights, np.array([0, -4 - 4 * noise], np.float32)])
    return network


def log(network):
    with open_parent("e", "seed-00", served=SERVED) as recorder:
        recorder.network(network)
    return recorder


def enter(network, **tags):
    recorder = log(network)
    return register(MlflowClient(), NAME, recorder.model_uri, run_id=recorder.run_id, tags=tags)


def judged(version, network, sample, **options):
    offline = probabilities(network, sample.images, SERVED)
    return judge(MlflowClient(), NAME, version, sample, GateSettings(), offline=offline, **options)


def aliases():
    found = MlflowClient().get_registered_model(NAME).aliases
    return {alias: str(version) for alias, version in found.items()}


def test_versions_are_registered_with_their_run_and_tags(mlflow_store):
    recorder = log(tagger(0))
    client = MlflowClient()
    assert champion_of(client, NAME) is None
    assert model_of_run(client, recorder.run_id) == recorder.model_uri
    versions = [
        register(client, NAME, recorder.model_uri, run_id=recorder.run_id, tags=tags, description=text)
        for tags, text in (({"auc": "0.9"}, "W against QCD"), ({}, ""))
    ]
    assert versions == ["1", "2"]
    stored = client.get_model_version(NAME, "1")
    assert (stored.run_id, stored.tags["auc"]) == (recorder.run_id, "0.9")
    assert client.get_registered_model(NAME).description == "W against QCD"
    assert champion_of(client, NAME) is None


def test_a_run_without_model_is_named(mlflow_store):
    with open_parent("e", "r") as recorder:
        pass
    with pytest.raises(ModelError, match="logged no model"):
        model_of_run(MlflowClient(), recorder.run_id)
    with pytest.raises(ModelError, match="There is no run 0000"):
        model_of_run(MlflowClient(), "0" * 32)


def test_a_champion_of_another_task_or_the_champion_itself_is_not_judged(mlflow_store, sample):
    client, network = MlflowClient(), tagger(0)
    version = enter(network)
    client.set_registered_model_alias(NAME, "champion", version)
    with pytest.raises(ModelError, match="is the champion already"):
        judged(version, network, sample)
    client.set_model_version_tag(NAME, version, "classes", "QCD,top")
    client.set_model_version_tag(NAME, version, "signal", "top")
    with pytest.raises(ModelError, match=r"tells apart QCD,top \(signal top\), not QCD,W"):
        judged(enter(network), network, sample)
    assert aliases() == {"champion": version}


@pytest.mark.slow
def test_the_aliases_follow_the_gate(mlflow_store, sample):
    client, networks = MlflowClient(), {"1": tagger(1), "2": tagger(0)}
    assert [enter(network) for network in networks.values()] == ["1", "2"]
    few = replace(sample, images=sample.images[1100:1300], label=sample.label[1100:1300])

    first = judged("1", networks["1"], few)
    assert first.decision.outcome == "challenger"
    assert first.largest_difference < 1e-5
    assert aliases() == {"challenger": "1"}
    assert "test_sample" not in client.get_registered_model(NAME).tags

    client.set_registered_model_alias(NAME, "champion", "1")
    second = judged("2", networks["2"], sample)
    assert second.decision.promoted
    assert aliases() == {"champion": "2", "previous": "1", "challenger": "1"}
    assert str(champion_of(client, NAME).version) == "2"
    assert client.get_registered_model(NAME).tags["test_sample"] == sample.fingerprint
    tags = client.get_model_version(NAME, "2").tags
    assert (tags["gate"], tags["gate_champion_before"], tags["classes"]) == ("champion", "1", "QCD,W")
    assert float(tags["gate_rejection_ratio"]) > 1.5
    content = json.loads(json.dumps(second.to_dict(), allow_nan=False))
    assert (content["outcome"], content["champion_before"]) == ("champion", "1")
    assert content["comparison"]["log_ratio"] > 0


@pytest.mark.slow
def test_a_version_that_answers_otherwise_than_before_takes_no_alias(mlflow_store, sample):
    network = tagger(0)
    version = enter(network)
    offline = probabilities(network, sample.images, SERVED)
    offline[7, 0] += 2e-5
    with pytest.raises(ModelError, match=r"loaded back from the registry, gives scores that differ by 2e-05"):
        judge(MlflowClient(), NAME, version, sample, GateSettings(), offline=offline)
    assert aliases() == {}


@pytest.mark.slow
def test_a_stored_model_runs_its_own_code_without_pickles(mlflow_store, sample):
    recorder = log(tagger(0))
    folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=recorder.model_uri, dst_path="copy"))
    code = folder / "code" / "jetexp" / "images.py"
    # yesterday's code halved every pixel
    present = code.read_text()
    code.write_text(present.replace("else block.pt[chosen]", "else 0.5 * block.pt[chosen]"))
    assert code.read_text() != present
    scores = score_apart(str(folder), sample.images[:50])
    expected = probabilities(tagger(0), sample.images[:50] / 2, SERVED)
    assert np.abs(scores - expected).max() < 1e-5
    assert np.abs(scores - probabilities(tagger(0), sample.images[:50], SERVED)).max() > 0.1


@pytest.mark.slow
def test_a_stored_model_that_does_not_load_is_named_with_its_fault(mlflow_store, sample):
    recorder = log(tagger(0))
    folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=recorder.model_uri, dst_path="copy"))
    (folder / "served_model.py").unlink()
    with pytest.raises(ModelError, match="does not score raw images in a process of its own: "):
        score_apart(str(folder), sample.images[:5])
