"""What a chief hands to its workers, and what they tell it at the end."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter

__all__ = [
    "REPORT",
    "TASK",
    "TASKS",
    "Assignments",
    "FinalFitTask",
    "Report",
    "ReportError",
    "Task",
    "TrialTask",
]

# entries among the values of a trial, as KerasTuner's own ("tuner/epochs") are
TASK, REPORT = "jetexp/task", "jetexp/report"


class Task(BaseModel):
    """What a worker is given.

    Attributes
    ----------
    name, run_id, experiment_id : str
        The child run, which is open.
    experiment : dict
        The keys and values of the experiment file, with everything that was overridden or found.
    train, validation : str
        Fingerprints of the jets.
    key : str
        All that the work depends on, code and versions too; see :mod:`jetexp.fit_store`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    run_id: str
    experiment_id: str
    experiment: dict[str, Any]
    train: str
    validation: str
    key: str


class TrialTask(Task):
    """A trial of a search.

    Attributes
    ----------
    values : dict
        Hyperparameters to be tried.
    epochs : int
        Epochs at most.
    """

    kind: Literal["trial"] = "trial"
    values: dict[str, Any]
    epochs: int


class FinalFitTask(Task):
    """A final fit of a network.

    Attributes
    ----------
    tagger : str
        Its name in the experiment.
    number : int
        Of the seed, from 0.
    """

    kind: Literal["fit"] = "fit"
    tagger: str
    number: int


TASKS: TypeAdapter[TrialTask | FinalFitTask] = TypeAdapter(
    Annotated[TrialTask | FinalFitTask, Field(discriminator="kind")]
)


class Report(BaseModel):
    """What a worker tells at the end.

    Attributes
    ----------
    run_id : str
        The child run.
    worker : str
        Who tells it.
    outcome : {"finished", "failed", "given back"}
        A trial that is given back is tried elsewhere.
    reason : str
        Why it failed or is given back.
    objective : float, optional
        What it reached.
    model_uri : str, optional
        Where its model is.
    kept : dict
        What shall be known of it later.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    run_id: str
    worker: str = ""
    outcome: Literal["finished", "failed", "given back"]
    reason: str = ""
    objective: FiniteFloat | None = None
    model_uri: str | None = None
    kept: dict[str, Any] = {}


class ReportError(ValueError):
    """A report that cannot be a worker's of this version."""


class Assignments(Protocol):
    """What a chief has to hand out."""

    def ready(self) -> bool:
        """Say whether something may be begun now."""

    def begin(self, trial_id: str, values: dict[str, Any], worker: str) -> Task | Report:
        """Open the run of what an oracle asks for; a report, if it was finished earlier."""

    def finished_earlier(self, task: Task) -> Report | None:
        """Look up what was recorded as finished just before a chief was killed."""

    def end(self, task: Task, report: Report) -> Report:
        """Record how a task ended; a report that says nonsense raises :class:`ReportError`."""

    def lose(self, task: Task) -> None:
        """Record that a task's worker is gone."""

    def give_up(self, task: Task, reason: str) -> Report:
        """Record that nobody can do a task."""
