"""Files of jets, scored by a registered model."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from layouts import write_jetnet

from jetexp import batch_scores, score_blocks
from jetexp.batch_scores import score_files
from jetexp.cli import jetexp
from jetexp.errors import JetFileError, ModelError
from jetexp.images import ImageSettings
from jetexp.inputs import InputSettings, make_inputs
from jetexp.jets.settings import JetFileSettings
from jetexp.jets.store import write_jets
from jetexp.serving import ServedSettings
from jetexp.taggers.catalogue import build_network
from jetexp.taggers.settings import CnnSettings
from jetexp.tracking import open_parent
from jetexp.training import predict

SERVED = ServedSettings(classes=("QCD", "W"), signal="W", inputs=InputSettings(images=ImageSettings()))


def logged(seed=3):
    network = build_network(CnnSettings(layers=2, width=4, dense=8), {"image": (24, 24, 1)}, 2, seed=seed)
    with open_parent("e", "r", served=SERVED) as recorder:
        recorder.network(network)
    return recorder.model_uri, network


def settings(path):
    return JetFileSettings(path=(str(path),))


def metadata(path):
    return {
        key.decode().removeprefix("jetexp."): json.loads(value)
        for key, value in pq.read_schema(path).metadata.items()
        if key.startswith(b"jetexp.")
    }


@pytest.fixture
def sample(tmp_path, pythia_jets):
    write_jets(pythia_jets, tmp_path / "sample")
    return tmp_path / "sample"


def test_every_jet_has_its_row_in_order_whatever_the_blocks(mlflow_store, sample, pythia_jets):
    uri, network = logged()
    expected = predict(network, make_inputs(pythia_jets, SERVED.inputs))
    fingerprints = set()
    for block in (7, 250, 10_000):
        done = score_files(uri, settings(sample), mlflow_store / "scores.parquet", block=block)
        assert (done.jets, done.found) == (900, 0)
        table = pq.read_table(done.path)
        assert table.column_names == ["QCD", "W", "discriminant", "source", "row"]
        assert table["row"].to_pylist() == list(range(900))
        assert set(table["source"].to_pylist()) == {str(sample)}
        np.testing.assert_allclose(table["W"].to_numpy(), expected[:, 1], atol=1e-6)
        assert np.array_equal(table["discriminant"].to_numpy(), table["W"].to_numpy())
        told = metadata(done.path)
        assert (told["model"], told["jets"]) == (uri, 900)
        assert told["model_id"] == uri.removeprefix("models:/")
        fingerprints.add(told["jets_fingerprint"])
    assert len(fingerprints) == 1
    assert {path.name for path in mlflow_store.iterdir() if "parts" in path.name} == set()


def test_an_interrupted_scoring_goes_on_and_ends_as_if_it_had_not_been(mlflow_store, sample, monkeypatch):
    uri, _ = logged()
    whole = score_files(uri, settings(sample), mlflow_store / "whole.parquet", block=100)
    write, written = score_blocks._write, []

    def killed_at_the_fourth(path, *rest):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)
        write(path, *rest)

    monkeypatch.setattr(score_blocks, "_write", killed_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        score_files(uri, settings(sample), mlflow_store / "scores.parquet", block=100)
    assert not (mlflow_store / "scores.parquet").exists()
    monkeypatch.setattr(score_blocks, "_write", write)
    again = score_files(uri, settings(sample), mlflow_store / "scores.parquet", block=100)
    assert again.found == 300
    assert again.path.read_bytes() == whole.path.read_bytes()


def test_parts_of_other_jets_or_of_another_model_are_not_taken_up(
    mlflow_store, sample, pythia_jets, monkeypatch
):
    uri, _ = logged()
    other, _ = logged(seed=4)
    write_jets(pythia_jets.take(slice(None, None, -1)), mlflow_store / "reversed")

    def stop(*_):
        raise KeyboardInterrupt

    def interrupt():
        with monkeypatch.context() as patch:
            patch.setattr(batch_scores, "_join", stop)
            with pytest.raises(KeyboardInterrupt):
                score_files(uri, settings(sample), mlflow_store / "scores.parquet", block=100)

    interrupt()
    output = mlflow_store / "scores.parquet"
    assert score_files(uri, settings(mlflow_store / "reversed"), output, block=100).found == 0
    interrupt()
    assert score_files(other, settings(sample), output, block=100).found == 0
    interrupt()
    with monkeypatch.context() as patch:
        patch.setattr(batch_scores, "package_key", lambda: "of another version")
        assert score_files(other, settings(sample), output, block=100).found == 0
    interrupt()
    (mlflow_store / ".scores.parquet.parts" / "00000002.parquet").write_bytes(b"torn")
    assert score_files(uri, settings(sample), output, block=100).found == 800


def test_a_file_without_classes_is_scored_too(mlflow_store, pythia_jets):
    uri, network = logged()
    write_jetnet(pythia_jets, mlflow_store / "jets.h5")
    done = score_files(uri, settings(mlflow_store / "jets.h5"), mlflow_store / "scores.parquet", block=300)
    expected = predict(network, make_inputs(pythia_jets, SERVED.inputs))
    # the file holds the hardest 150 constituents
    short = pythia_jets.counts <= 150
    assert short.mean() > 0.9
    np.testing.assert_allclose(pq.read_table(done.path)["W"].to_numpy()[short], expected[short, 1], atol=1e-6)


def test_mistakes_are_told_and_leave_nothing(mlflow_store, sample):
    uri, _ = logged()
    with pytest.raises(ModelError, match="models:/nothing/1"):
        score_files("models:/nothing/1", settings(sample), mlflow_store / "scores.parquet")
    with pytest.raises(JetFileError, match="There is no file or folder"):
        score_files(uri, settings(mlflow_store / "absent.h5"), mlflow_store / "scores.parquet")
    assert not list(mlflow_store.glob("*scores*"))


def test_the_command_says_what_it_did(mlflow_store, sample):
    uri, _ = logged()
    done = CliRunner().invoke(jetexp, ["score", uri, str(sample), "-o", "w.parquet"], catch_exceptions=False)
    assert done.output.startswith("900 jets scored: w.parquet")
    assert pq.read_metadata("w.parquet").num_rows == 900
