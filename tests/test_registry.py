"""The registry: versions, their runs and tags."""

import pytest
from mlflow import MlflowClient
from registered import NAME, log, tagger

from jetexp.errors import ModelError
from jetexp.registry import champion_of, model_of_run, register, registered_model
from jetexp.tracking import open_parent


def test_versions_are_registered_with_their_run_and_tags(mlflow_store):
    recorder = log(tagger(0))
    client = MlflowClient()
    assert champion_of(client, NAME) is None
    assert registered_model(client, NAME) is None
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


@pytest.mark.parametrize("name", ["", "a/b", "a:b"])
def test_what_can_be_no_name_is_told(mlflow_store, name):
    with pytest.raises(ModelError, match="can be no registered model's name"):
        registered_model(MlflowClient(), name)
