"""The model registry: what is in it, and how a candidate enters it."""

from __future__ import annotations

from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException

from jetexp.errors import ModelError
from jetexp.mlflow_store import StoreError, delivered, first_line, masked

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "PREVIOUS",
    "TEST_SAMPLE",
    "champion_of",
    "gate_tags",
    "model_of_run",
    "register",
    "registered_model",
    "version_of_run",
]

# aliases
CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
# the tag of a registered model, and of each version, that holds the fingerprint of its test jets
TEST_SAMPLE = "test_sample"


def model_of_run(client: MlflowClient, run_id: str) -> str:
    """Find the model that a run logged last.

    Parameters
    ----------
    client : mlflow.MlflowClient
        Connected.
    run_id : str
        The run.

    Returns
    -------
    str
        Its address, ``models:/<model id>``.

    Raises
    ------
    ModelError
        If there is no such run, or it logged no model.
    """
    try:
        outputs = client.get_run(run_id).outputs
    except MlflowException as error:
        raise ModelError(f"There is no run {run_id}: {masked(error.message)}") from error
    models = outputs.model_outputs if outputs is not None else []
    if not models:
        raise ModelError(f"Run {run_id} logged no model.")
    return f"models:/{models[-1].model_id}"


def register(
    client: MlflowClient,
    name: str,
    model_uri: str,
    *,
    run_id: str,
    tags: Mapping[str, str],
    description: str = "",
    summary: str = "",
) -> str:
    """Enter a logged model into the registry as a new version; made anew if it is the first.

    Parameters
    ----------
    client : mlflow.MlflowClient
        Connected.
    name : str
        The registered model.
    model_uri : str
        Address of the logged model, ``models:/<model id>``.
    run_id : str
        The run that logged it.
    tags : mapping
        Of the version: experiment, test metrics, commit.
    description : str
        Of the registered model, where it is new.
    summary : str
        Description of the version.

    Returns
    -------
    str
        The version.
    """
    try:
        delivered(client.create_registered_model, name, description=description or None)
    except StoreError as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    created = delivered(
        client.create_model_version,
        name,
        source=model_uri,
        run_id=run_id,
        tags={key: str(value) for key, value in tags.items()},
        description=summary or None,
        model_id=model_uri.removeprefix("models:/"),
    )
    return str(created.version)


def version_of_run(client: MlflowClient, name: str, run_id: str) -> ModelVersion | None:
    """Find the version that a run's model was entered as.

    Parameters
    ----------
    client : mlflow.MlflowClient
        Connected.
    name : str
        The registered model, which need not be there yet.
    run_id : str
        The run.

    Returns
    -------
    mlflow.entities.model_registry.ModelVersion or None
        None if it was not entered.
    """
    found = delivered(client.search_model_versions, f"name = '{name}'")
    return next((one for one in found if one.run_id == run_id), None)


def gate_tags(
    outcome: str, reason: str, numbers: Mapping[str, float], champion_before: str | None
) -> dict[str, str]:
    """Say in tags of a version what a gate made of it.

    Parameters
    ----------
    outcome : str
        "promoted", "kept" or "refused".
    reason : str
        Why.
    numbers : dict of str to float
        What that rested on.
    champion_before : str or None
        The version that it was judged against.

    Returns
    -------
    dict of str to str
        ``gate``, ``gate_reason``, and so on.
    """
    told = {"gate": outcome, "gate_reason": reason}
    told |= {f"gate_{key}": f"{value:.5g}" for key, value in numbers.items()}
    if champion_before is not None:
        told["gate_champion_before"] = champion_before
    return told


def champion_of(client: MlflowClient, name: str) -> ModelVersion | None:
    """Find the champion of a registered model.

    Parameters
    ----------
    client : mlflow.MlflowClient
        Connected.
    name : str
        The registered model.

    Returns
    -------
    mlflow.entities.model_registry.ModelVersion or None
        None if it has no champion, or is not registered at all.
    """
    model = registered_model(client, name)
    version = None if model is None else model.aliases.get(CHAMPION)
    return None if version is None else client.get_model_version(name, str(version))


def registered_model(client: MlflowClient, name: str) -> RegisteredModel | None:
    """Find a registered model.

    Parameters
    ----------
    client : mlflow.MlflowClient
        Connected.
    name : str
        Its name.

    Returns
    -------
    mlflow.entities.model_registry.RegisteredModel or None
        None if there is none.
    """
    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        if error.error_code == "INVALID_PARAMETER_VALUE":
            raise ModelError(f"{name!r} can be no registered model's name: {first_line(error)}.") from error
        raise
