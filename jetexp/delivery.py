"""What is recorded to MLflow, one item a call, so that it can be kept on disk and delivered later."""

from __future__ import annotations

import hashlib
import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import uuid4

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModel,
    LoggedModelOutput,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_PARENT_RUN_ID
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from sqlalchemy.exc import SQLAlchemyError

__all__ = [
    "ITEM",
    "Artifact",
    "Batch",
    "End",
    "Item",
    "NewModel",
    "NewRun",
    "TornUploadError",
    "UsedJets",
    "create_run",
    "pending_id",
    "with_known_ids",
]

# stands for the id that MLflow will give to a run or model
PENDING = re.compile(r"pending-[0-9a-f]{32}")
# files in which such an id may stand
TEXTS = {".json", ".md", ".txt", ".yaml"}
# what SQLite and PostgreSQL say where another run has entered the same jets since MLflow looked for them
ENTERED_BY_ANOTHER = re.compile(r"UNIQUE constraint failed: datasets|unique constraint \"dataset_pk")
# MLflow's own limits
METRICS_A_BATCH = 1000
PARAMETERS_A_BATCH = 100


class TornUploadError(Exception):
    """What MLflow holds is not what was uploaded, or cannot be read."""


def pending_id() -> str:
    """Give a name to a run or model that MLflow has not given an id yet.

    Returns
    -------
    str
        Unique, and told apart from all other text by :func:`with_known_ids`.
    """
    return f"pending-{uuid4().hex}"


def with_known_ids(text: str, known: Mapping[str, str]) -> str:
    """Put MLflow's ids in the place of those that were pending.

    Parameters
    ----------
    text : str
        Any text.
    known : mapping of str to str
        MLflow's ids by pending ones.

    Returns
    -------
    str
        The text with every pending id that is known replaced.

    Examples
    --------
    >>> pending = pending_id()
    >>> with_known_ids(f"models:/{pending}", {pending: "m-1"})
    'models:/m-1'
    """
    return PENDING.sub(lambda match: known.get(match[0], match[0]), text)


class _Item(BaseModel, ABC):
    """One thing to be done in MLflow, which does no harm when it is done twice.

    Attributes
    ----------
    run_id : str
        MLflow's, or a pending one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    run_id: str

    @abstractmethod
    def deliver(self, client: MlflowClient, payload: Path | None, *, again: bool) -> tuple[str, str] | None:
        """Do it.

        Parameters
        ----------
        client : mlflow.MlflowClient
            Connected.
        payload : Path or None
            The file or folder that belongs to it.
        again : bool
            It may have been done before, wholly or half: what MLflow holds is looked at.

        Returns
        -------
        tuple of str or None
            A pending id, and the one that MLflow gave in its place.
        """


class NewRun(_Item):
    """A run; ``run_id`` is pending."""

    kind: Literal["run"] = "run"
    experiment_id: str
    name: str
    start_time: int
    tags: dict[str, str]

    def deliver(self, client: MlflowClient, payload: Path | None, *, again: bool) -> tuple[str, str]:
        """Create the run, or find it."""
        run = create_run(client, self.experiment_id, self.name, self.tags, self.start_time, again=again)
        return self.run_id, run.info.run_id


class Batch(_Item):
    """Metrics, parameters and tags."""

    kind: Literal["batch"] = "batch"
    metrics: list[tuple[str, float, int, int]] = []
    parameters: dict[str, str] = {}
    tags: dict[str, str] = {}

    def deliver(self, client: MlflowClient, payload: Path | None, *, again: bool) -> None:
        """Log them; MLflow itself knows rows that it has already, by their time."""
        metrics = [Metric(name, value, time, step) for name, value, time, step in self.metrics]
        for start in range(0, len(metrics), METRICS_A_BATCH):
            client.log_batch(self.run_id, metrics=metrics[start : start + METRICS_A_BATCH])
        parameters = [Param(name, value) for name, value in self.parameters.items()]
        for start in range(0, len(parameters), PARAMETERS_A_BATCH):
            client.log_batch(self.run_id, params=parameters[start : start + PARAMETERS_A_BATCH])
        if self.tags:
            client.log_batch(self.run_id, tags=[RunTag(name, text) for name, text in self.tags.items()])


class Artifact(_Item):
    """A file among the run's artifacts: the payload."""

    kind: Literal["artifact"] = "artifact"
    folder: str
    name: str

    def deliver(self, client: MlflowClient, payload: Path | None, *, again: bool) -> None:
        """Upload it, and compare what is there then if an upload may have been cut off before."""
        if payload is None:
            raise ValueError(f"the artifact {self.name} has no file")
        with tempfile.TemporaryDirectory() as temporary:
            named = Path(temporary) / self.name
            named.symlink_to(payload.resolve())
            client.log_artifact(self.run_id, str(named), self.folder or None)
            if again:
                path = f"{self.folder}/{self.name}" if self.folder else self.name
                with _read_back(path):
                    stored = client.download_artifacts(self.run_id, path, _empty(temporary))
                _compare(payload, Path(stored))


class NewModel(_Item):
    """A model as MLflow serves it: a folder, the payload; ``model_id`` is pending."""

    kind: Literal["model"] = "model"
    experiment_id: str
    model_id: str
    name: str

    def deliver(self, client: MlflowClient, payload: Path | None, *, again: bool) -> tuple[str, str]:
        """Create the model, or find it, and upload its files."""
        if payload is None:
            raise ValueError(f"the model of run {self.run_id} has no folder")
        found = self._found(client) if again else None
        model = found or client.create_logged_model(
            self.experiment_id, name=self.name, source_run_id=self.run_id
        )
        run = client.get_run(self.run_id)
        outputs = run.outputs.model_outputs if run.outputs else []
        if model.model_id not in {one.model_id for one in outputs}:
            client.log_outputs(self.run_id, [LoggedModelOutput(model.model_id, step=0)])
        described = Model.load(str(payload))
        described.artifact_path = model.artifact_location
        described.model_id = described.model_uuid = model.model_id
        described.run_id = self.run_id
        described.save(str(payload / "MLmodel"))
        client.log_model_artifacts(model.model_id, str(payload))
        if again:
            with tempfile.TemporaryDirectory() as temporary:
                with _read_back(self.name):
                    stored = download_artifacts(artifact_uri=f"models:/{model.model_id}", dst_path=temporary)
                _compare(payload, Path(stored))
        # as MLflow does itself: the model's page shows the metrics of its run
        metrics = [
            Metric(name, one.value, one.timestamp, one.step, model_id=model.model_id)
            for name in run.data.metrics
            for one in client.get_metric_history(self.run_id, name)
            if one.step == 0 and one.model_id is None
        ]
        client.log_batch(self.run_id, metrics=metrics)
        client.finalize_logged_model(model.model_id, "READY")
        return self.model_id, model.model_id

    def _found(self, client: MlflowClient) -> LoggedModel | None:
        models = client.search_logged_models([self.experiment_id], f"source_run_id = '{self.run_id}'")
        return next((one for one in models if one.name == self.name), None)


class UsedJets(_Item):
    """Jets that a run used, as one of MLflow's datasets."""

    kind: Literal["jets"] = "jets"
    name: str
    digest: str
    source: str
    profile: str
    context: str

    def deliver(self, client: MlflowClient, payload: Path | None, *, again: bool) -> None:
        """Log them as an input; MLflow itself knows those that it has already."""
        dataset = Dataset(self.name, self.digest, "jetexp", self.source, profile=self.profile)
        used = [DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, self.context)])]
        try:
            client.log_inputs(self.run_id, used)
        except (MlflowException, SQLAlchemyError) as error:
            if not ENTERED_BY_ANOTHER.search(str(error)):
                raise
            client.log_inputs(self.run_id, used)


class End(_Item):
    """How and when a run ended."""

    kind: Literal["end"] = "end"
    status: Literal["FINISHED", "FAILED", "KILLED"]
    end_time: int

    def deliver(self, client: MlflowClient, payload: Path | None, *, again: bool) -> None:
        """End the run."""
        client.set_terminated(self.run_id, self.status, self.end_time)


Item = Annotated[NewRun | Batch | Artifact | NewModel | UsedJets | End, Field(discriminator="kind")]
ITEM: TypeAdapter[Any] = TypeAdapter(Item)


def create_run(
    client: MlflowClient,
    experiment_id: str,
    name: str,
    tags: Mapping[str, str],
    start_time: int,
    *,
    again: bool,
) -> Run:
    """Create a run, or find it if it was created and the answer was lost.

    Parameters
    ----------
    client : mlflow.MlflowClient
        Connected.
    experiment_id, name : str
        Where, and what it is called.
    tags : mapping of str to str
        Its tags.
    start_time : int
        Milliseconds since 1970; with name and parent run it tells the run from all others.
    again : bool
        Look for it first.

    Returns
    -------
    mlflow.entities.Run
        The run.
    """
    if again:
        same = f"attributes.start_time = {start_time}"
        for run in client.search_runs([experiment_id], same, ViewType.ALL):
            parent = run.data.tags.get(MLFLOW_PARENT_RUN_ID)
            if (run.info.run_name, parent) == (name, tags.get(MLFLOW_PARENT_RUN_ID)):
                return run
    return client.create_run(experiment_id, start_time, dict(tags), name)


def _empty(temporary: str) -> str:
    folder = Path(temporary) / "stored"
    folder.mkdir()
    return str(folder)


@contextmanager
def _read_back(name: str) -> Iterator[None]:
    """Read what was just uploaded: MLflow calls it missing, too, when its server goes away meanwhile."""
    try:
        yield
    except MlflowException as error:
        raise TornUploadError(f"{name} was uploaded and cannot be read ({error})") from error


def _compare(sent: Path, stored: Path) -> None:
    """Make sure that all files have the same content."""
    pairs = (
        [(file, stored / file.relative_to(sent)) for file in sorted(sent.rglob("*")) if file.is_file()]
        if sent.is_dir()
        else [(sent, stored)]
    )
    for one, other in pairs:
        if not other.is_file() or _checksum(one) != _checksum(other):
            raise TornUploadError(f"{other.name} is not what was uploaded")


def _checksum(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
