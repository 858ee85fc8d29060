"""One MLflow run: what training and search record goes there."""

from __future__ import annotations

import json
import logging
import math
import subprocess
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import (
    MLFLOW_GIT_COMMIT,
    MLFLOW_GIT_DIRTY,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NOTE,
)

from jetexp.delivery import Artifact, Batch, End, NewModel, NewRun, UsedJets, pending_id
from jetexp.errors import SurroundingsError
from jetexp.mlflow_store import masked
from jetexp.recorder_protocol import NullRecorder
from jetexp.stopping import stop_prevails, undisturbed

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

    from jetexp.execution import Child, Execution
    from jetexp.jets.sample import Jets
    from jetexp.outbox import Outbox
    from jetexp.serving import ServedSettings

__all__ = ["NOTE_LENGTH", "ChildRun", "FinishedRun", "MlflowRecorder", "git_tags", "run_status"]

logger = logging.getLogger(__name__)

# MLflow's own limits
DIGEST_LENGTH = 36
SOURCE_LENGTH = 60_000
NOTE_LENGTH = 8_000


class MlflowRecorder:
    """Records to one MLflow run; implements :class:`jetexp.recorder_protocol.Recorder`.

    While MLflow is away, what is recorded waits on disk; see :class:`jetexp.outbox.Outbox`.

    Parameters
    ----------
    outbox : Outbox
        What delivers to MLflow.
    run_id : str
        The run to record to; it may be pending.
    experiment_id, name : str
        Of the run.
    served : ServedSettings, optional
        What a network needs to be served; without it, networks cannot be recorded.
    prefix : str
        Put before the names of parameters.
    execution : Execution, optional
        Takes note of child runs, and knows those that are finished.

    Attributes
    ----------
    outbox : Outbox
        What delivers to MLflow.
    client : mlflow.MlflowClient
        For what a recorder does not do.
    experiment_id, name : str
        Of the run.
    kept : mapping or None
        What shall be known of this run later.
    """

    def __init__(
        self,
        outbox: Outbox,
        run_id: str,
        experiment_id: str,
        name: str,
        *,
        served: ServedSettings | None = None,
        prefix: str = "",
        execution: Execution | None = None,
    ) -> None:
        self.outbox = outbox
        self.client = outbox.client
        self.experiment_id = experiment_id
        self.name = name
        self.kept: Mapping[str, Any] | None = None
        self._run_id = run_id
        self._model_uri: str | None = None
        self._served = served
        self._prefix = prefix
        self._execution = execution
        self._figures: list[str] = []

    @property
    def run_id(self) -> str:
        """The MLflow run; pending as long as MLflow could not open it."""
        return self.outbox.resolved(self._run_id)

    @property
    def model_uri(self) -> str | None:
        """Address of the network recorded last."""
        return None if self._model_uri is None else self.outbox.resolved(self._model_uri)

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Record settings, once each; nested ones under names joined by dots.

        Parameters
        ----------
        values : mapping
            Names and values.
        """
        flat = {f"{self._prefix}{name}": str(value) for name, value in _flattened(values)}
        self.outbox.send(Batch(run_id=self.run_id, parameters=flat))

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Record numbers at a step (epoch); one that is not finite is left out.

        Parameters
        ----------
        values : mapping
            Names and numbers.
        step : int
            The epoch, or 0.
        """
        self._log_metrics([(name, float(value), step) for name, value in values.items()])

    def curve(self, name: str, steps: Any, values: Any) -> None:
        """Record a whole curve as one stepped metric; points that are not finite are left out.

        Parameters
        ----------
        name : str
            Name of the metric.
        steps : array-like of int, shape (P,)
            Where the points lie.
        values : array-like of float, shape (P,)
            The points.
        """
        points = zip(np.asarray(steps).tolist(), np.asarray(values, dtype=float).tolist(), strict=True)
        self._log_metrics([(name, value, int(step)) for step, value in points])

    def _log_metrics(self, points: Sequence[tuple[str, float, int]]) -> None:
        # one time for all, kept in retries: a row delivered twice is stored once
        now = _milliseconds()
        rows = [(name, value, now, step) for name, value, step in points if math.isfinite(value)]
        if len(rows) < len(points):
            missing = sorted({name for name, value, _ in points if not math.isfinite(value)})
            logger.debug("left out of run %s, as not finite: %s", self.run_id, ", ".join(missing))
        self.outbox.send(Batch(run_id=self.run_id, metrics=rows))

    def figure(self, name: str, figure: Figure) -> None:
        """Record a figure as ``plots/<name>.png`` and close it.

        Parameters
        ----------
        name : str
            File name without its ending.
        figure : matplotlib.figure.Figure
            The figure; emptied afterwards.
        """
        with self.artifact(f"plots/{name}.png") as path:
            figure.savefig(path, dpi=150, bbox_inches="tight")
        figure.clear()
        self._figures.append(name)

    def result(self, name: str, content: Any) -> None:
        """Record JSON-serialisable content as ``results/<name>.json``.

        Parameters
        ----------
        name : str
            File name without its ending.
        content : object
            Lists, mappings, text and finite numbers.
        """
        self.text(f"results/{name}.json", json.dumps(content, indent=1, allow_nan=False) + "\n")

    def arrays(self, name: str, content: Mapping[str, npt.NDArray[Any]]) -> None:
        """Record arrays as ``results/<name>.npz``.

        Parameters
        ----------
        name : str
            File name without its ending.
        content : mapping of str to ndarray
            Numbers and texts, no objects.
        """
        with self.artifact(f"results/{name}.npz") as path:
            np.savez_compressed(path, allow_pickle=False, **content)

    def text(self, name: str, content: str) -> None:
        """Record text under the artifact path ``name``.

        Parameters
        ----------
        name : str
            Path within the run's artifacts.
        content : str
            The text.
        """
        with self.artifact(name) as path:
            path.write_text(content, encoding="utf-8")

    @contextmanager
    def artifact(self, name: str) -> Iterator[Path]:
        """Give a path to write an artifact to, and record it.

        Parameters
        ----------
        name : str
            Path within the run's artifacts.

        Yields
        ------
        Path
            For a file, which is there when the block ends.
        """
        folder, _, file = name.rpartition("/")
        with _own_folder(name) as temporary:
            yield temporary / file
            item = Artifact(run_id=self.run_id, folder=folder, name=file)
            self.outbox.send(item, temporary / file)

    def note(self, introduction: str, table: str) -> None:
        """Describe the run, in Markdown, as the UI shows it above the run's details.

        Between the two stand links to the figures that have been recorded. What MLflow would cut off in the
        midst of a line is left out by whole lines.

        Parameters
        ----------
        introduction : str
            What the run is; may be empty.
        table : str
            Its numbers.
        """
        folder = f"#/experiments/{self.experiment_id}/runs/{self.run_id}/artifacts/plots"
        links = [f"[{name}]({folder}/{name}.png)" for name in self._figures]
        parts = [introduction, f"Figures: {', '.join(links)}" if links else "", table]
        text = "\n\n".join(part.strip() for part in parts if part)
        if len(text) > NOTE_LENGTH:
            text = text[: text.rindex("\n", 0, NOTE_LENGTH)]
        self.tags({MLFLOW_RUN_NOTE: text})

    def tags(self, values: Mapping[str, str]) -> None:
        """Tag the run.

        Parameters
        ----------
        values : mapping
            Names and texts.
        """
        tags = {name: str(value) for name, value in values.items()}
        self.outbox.send(Batch(run_id=self.run_id, tags=tags))

    def jets(self, jets: Jets, name: str, context: str) -> None:
        """Record which jets the run used: name, source, fingerprint and counts.

        Parameters
        ----------
        jets : Jets
            The sample.
        name : str
            What to call it, such as ``"w_vs_qcd-test"``.
        context : str
            What it was used for: ``"training"``, ``"validation"`` or ``"test"``.
        """
        fingerprint = jets.fingerprint
        self.outbox.send(
            UsedJets(
                run_id=self.run_id,
                name=name,
                digest=fingerprint[:DIGEST_LENGTH],
                source=json.dumps(jets.provenance)[:SOURCE_LENGTH],
                profile=json.dumps({"jets": len(jets), **jets.class_counts, "fingerprint": fingerprint}),
                context=context,
            )
        )

    def network(self, network: keras.Model, served: ServedSettings | None = None) -> None:
        """Record the trained network, as it would be served.

        Parameters
        ----------
        network : keras.Model
            From its inputs to one probability a class. Its address is ``self.model_uri`` then.
        served : ServedSettings, optional
            What it needs to be served; by default what the recorder was made with.

        Raises
        ------
        ValueError
            If the recorder was made without ``served``.
        """
        served = served or self._served
        if served is None:
            raise ValueError("this recorder was opened without what a network needs to be served")
        from jetexp.serving import save_tagger

        model_id = pending_id()
        with _own_folder("the model") as temporary:
            save_tagger(network, served, temporary / "model")
            item = NewModel(
                run_id=self.run_id, experiment_id=self.experiment_id, model_id=model_id, name="model"
            )
            self.outbox.send(item, temporary / "model")
        self._model_uri = f"models:/{model_id}"

    def keep(self, content: Mapping[str, Any]) -> None:
        """Have an execution that goes on with this one know something of this run, once it is finished.

        Parameters
        ----------
        content : mapping
            JSON-serialisable.
        """
        self.kept = content

    @contextmanager
    def child(self, name: str) -> Iterator[ChildRun]:
        """Open a child run: FINISHED when the block ends, else FAILED or KILLED.

        Parameters
        ----------
        name : str
            Name of the run.

        Yields
        ------
        MlflowRecorder or FinishedRun
            Records to the child run; the latter, which records nothing, if the execution finished it before
            it was interrupted.
        """
        with ExitStack() as stack:
            # a stop must not come between a run and whoever ends it
            with undisturbed():
                recorder = self.opened_child(name)
                if isinstance(recorder, MlflowRecorder):
                    stack.enter_context(self.ending(recorder))
            yield recorder

    def opened_child(self, name: str, *, worker: str = "") -> ChildRun:
        """Open a child run which somebody ends.

        Parameters
        ----------
        name : str
            Name of the run.
        worker : str
            To whom it is given, if it is.

        Returns
        -------
        MlflowRecorder or FinishedRun
            As of ``child``.
        """
        before = None if self._execution is None else self._execution.child(name)
        if before is not None and before.finished:
            return FinishedRun(name, before)
        tags = {**resolve_tags(), **git_tags(), MLFLOW_PARENT_RUN_ID: self.run_id}
        if before is not None:
            tags["retry_of"] = before.run_id
            if before.worker:
                # whatever that worker does, its run counts no more
                self.child_of_worker(name, before.run_id).end("KILLED")
        new = NewRun(
            run_id=pending_id(),
            experiment_id=self.experiment_id,
            name=name,
            start_time=_milliseconds(),
            tags={key: str(value) for key, value in tags.items()},
        )
        self.outbox.send(new)
        recorder = self.child_of_worker(name, new.run_id)
        if self._execution is not None:
            self._execution.opened(name, recorder.run_id, worker)
        return recorder

    def child_of_worker(self, name: str, run_id: str, model_uri: str | None = None) -> MlflowRecorder:
        """Record to a child run that is open.

        Parameters
        ----------
        name, run_id : str
            The run.
        model_uri : str, optional
            Address of its network, if it has one.

        Returns
        -------
        MlflowRecorder
        """
        recorder = MlflowRecorder(self.outbox, run_id, self.experiment_id, name, served=self._served)
        recorder._model_uri = model_uri
        return recorder

    @contextmanager
    def ending(self, child: MlflowRecorder) -> Iterator[None]:
        """End a child run as the block ends.

        Parameters
        ----------
        child : MlflowRecorder
            Open.
        """
        with run_status(child):
            yield
            if self._execution is not None:
                # before its last status: a run that is finished is never made again
                self._execution.finished(child.name, child.model_uri, child.kept)

    def kept_of_child(self, name: str) -> Mapping[str, Any] | None:
        """Look up what was kept of a child run that is finished.

        Parameters
        ----------
        name : str
            Its name.

        Returns
        -------
        mapping or None
            None if it is not finished.
        """
        before = None if self._execution is None else self._execution.child(name)
        return (before.kept or {}) if before is not None and before.finished else None

    def end(self, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
        """End the run.

        Parameters
        ----------
        status : {"FINISHED", "FAILED", "KILLED"}
            How.
        """
        self.outbox.send(End(run_id=self.run_id, status=status, end_time=_milliseconds()))


class FinishedRun(NullRecorder):
    """A child run of which everything is recorded already: what is recorded to it again is forgotten.

    Parameters
    ----------
    name : str
        Its name.
    run : Child
        As the execution knows it.

    Attributes
    ----------
    run_id, name, model_uri, kept
        As of :class:`MlflowRecorder`.
    """

    def __init__(self, name: str, run: Child) -> None:
        self.name = name
        self.run_id = run.run_id
        self.model_uri = run.model_uri
        self.kept = run.kept or {}

    def network(self, network: keras.Model, served: ServedSettings | None = None) -> None:
        """Forget a network."""


ChildRun = MlflowRecorder | FinishedRun


def _milliseconds() -> int:
    return int(time.time() * 1000)


@contextmanager
def _own_folder(what: str) -> Iterator[Path]:
    """Give a folder for what is written before it is recorded."""
    with tempfile.TemporaryDirectory(prefix="jetexp-") as folder:
        try:
            yield Path(folder)
        except OSError as error:
            raise SurroundingsError(
                f"{what} cannot be written to {folder}: {error.strerror or error}; TMPDIR may name a disk "
                "with more room."
            ) from error


def _flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


@contextmanager
def run_status(recorder: MlflowRecorder) -> Iterator[None]:
    """End the run as the block ended: FINISHED, FAILED with the traceback, or KILLED."""
    try:
        with stop_prevails():
            yield
    except BaseException as error:
        with undisturbed():
            try:
                if not isinstance(error, Exception):
                    recorder.outbox.hurry()
                    recorder.end("KILLED")
                else:
                    recorder.text("traceback.txt", masked("".join(traceback.format_exception(error))))
                    recorder.end("FAILED")
            except Exception as second:
                # what went wrong first is what the user must see
                logger.warning("run %s could not be ended: %s", recorder.run_id, masked(str(second)))
        raise
    with undisturbed():
        recorder.end("FINISHED")


def git_tags() -> dict[str, str]:
    """Say which commit this code is, where it lies in a git repository.

    Returns
    -------
    dict
        MLflow's tags for commit and uncommitted changes; empty outside a repository.
    """
    package = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(package), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    try:
        # an installed copy may lie inside somebody else's repository
        git("ls-files", "--error-unmatch", "__init__.py")
        changes = git("status", "--porcelain", "--untracked-files=no")
        return {MLFLOW_GIT_COMMIT: git("rev-parse", "HEAD"), MLFLOW_GIT_DIRTY: str(bool(changes)).lower()}
    except (OSError, subprocess.SubprocessError):
        return {}
