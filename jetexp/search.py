"""Search for hyperparameters with KerasTuner, whose manners all stay in here."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from jetexp.chief import Chief
from jetexp.console import progress as console_progress
from jetexp.errors import JetexpError, SurroundingsError
from jetexp.experiment import Experiment
from jetexp.files import is_full_disk
from jetexp.fit_task import fitted_network
from jetexp.memory_limit import bounded_memory
from jetexp.recorder_protocol import Recorder
from jetexp.search_settings import Choices, SearchSettings
from jetexp.taggers.settings import TrainingSettings
from jetexp.tasks import Report, ReportError, Task, TrialTask
from jetexp.training import Parts, predict
from jetexp.tuner import at_home, plain, quiet_tuner, tell

if TYPE_CHECKING:
    import keras
    from keras_tuner import HyperParameters, Oracle
    from rich.progress import Progress

    from jetexp.recorder import MlflowRecorder

__all__ = ["SearchResult", "Trial", "TrialRunner", "search", "search_on_workers"]

logger = logging.getLogger(__name__)

OnTrialEnd = Callable[[Recorder, "keras.Model", npt.NDArray[np.float32]], None]
# KerasTuner's own entries among the hyperparameters of a Hyperband trial begin so
OWN_ENTRIES = "tuner/"
# and this one says how many epochs its trial gets
OWN_EPOCHS = "tuner/epochs"
# of fewer, the best lies at an edge by chance
ENOUGH_TRIALS = 3


@dataclass(frozen=True)
class Trial:
    """One trial of a search.

    Attributes
    ----------
    name : str
        Name of its child run, such as ``trial-00``.
    status : {"finished", "failed"}
        How it ended.
    hyperparameters : dict
        The values tried.
    epochs : int
        Epochs it was given.
    objective : float, optional
        What it reached at its best epoch; none if it failed.
    seconds : float
        Wall time.
    reason : str
        Why it failed, else empty.
    """

    name: str
    status: Literal["finished", "failed"]
    hyperparameters: dict[str, Any]
    epochs: int
    objective: float | None
    seconds: float
    reason: str = ""


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes
    ----------
    best : dict
        Hyperparameters of the best trial.
    best_trial : str
        Its name.
    objective : str
        What was judged by: ``val_auc`` (larger is better) or ``val_loss`` (smaller is).
    trials : tuple of Trial
        All trials, in the order they ran.
    edges : dict of str to {"lower", "upper"}
        Hyperparameters whose best value lies at the edge of the space.
    """

    best: dict[str, Any]
    best_trial: str
    objective: str
    trials: tuple[Trial, ...]
    edges: dict[str, str] = field(default_factory=dict)

    @property
    def hints(self) -> tuple[str, ...]:
        """A sentence for each hyperparameter that the space may be too small for."""
        return tuple(
            f"The best {name}, {self.best[name]:.4g}, lies at the {edge} edge of the search's space: a wider "
            "one may hold a better."
            for name, edge in self.edges.items()
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-serialisable content."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SearchResult:
        """Rebuild a result from what ``to_dict`` gave, read from JSON."""
        trials = tuple(Trial(**trial) for trial in content["trials"])
        return cls(**{**content, "trials": trials})


TRIAL = TypeAdapter(Trial)


def search(
    experiment: Experiment,
    parts: Parts,
    *,
    recorder: Recorder,
    on_trial_end: OnTrialEnd | None = None,
) -> SearchResult:
    """Search for the best hyperparameters, every trial a child run.

    A trial that raises is a failed child run, and the search goes on, but for a fault of the surroundings,
    such as a full disk. The same experiment and parts give the same trials.

    Parameters
    ----------
    experiment : Experiment
        With its ``search``.
    parts : Parts
        Jets to fit to and to be judged by.
    recorder : Recorder
        Of the parent run; each trial opens a child ``trial-00``, ``trial-01``, ...
    on_trial_end : callable, optional
        Called inside each trial's child run with its recorder, the trained network, and the
        scores of the validation jets, shape (N, classes).

    Returns
    -------
    SearchResult
        The best hyperparameters, and all trials.

    Raises
    ------
    JetexpError
        If every trial failed.
    """
    settings = experiment.search
    if settings is None:
        raise ValueError(f"experiment {experiment.name} has no search")
    trials: list[Trial] = []
    with quiet_tuner(), console_progress() as display:
        bar = display.add_task("search", total=settings.trials, rate="")
        trial_runner = TrialRunner(experiment, parts, recorder, on_trial_end, display)

        def run(values: dict[str, Any], epochs: int) -> Trial:
            trials.append(trial_runner.run(_name(len(trials)), values, epochs))
            display.update(bar, advance=1)
            return trials[-1]

        _run_trials(_oracle(experiment, settings), settings, run)
    return _result(trials, settings)


def search_on_workers(
    experiment: Experiment, chief: Chief, *, recorder: MlflowRecorder, key: str, train: str, validation: str
) -> SearchResult:
    """Search for the best hyperparameters by the workers of a chief, every trial a child run.

    Parameters
    ----------
    experiment : Experiment
        With its ``search``.
    chief : Chief
        Serves workers.
    recorder : MlflowRecorder
        Of the parent run.
    key : str
        All that the search depends on; see :func:`jetexp.fit_store.search_key`.
    train, validation : str
        Fingerprints of the jets.

    Returns
    -------
    SearchResult
        The best hyperparameters, and all trials.

    Raises
    ------
    JetexpError
        If every trial failed.
    """
    settings = experiment.search
    if settings is None:
        raise ValueError(f"experiment {experiment.name} has no search")
    with console_progress() as display:
        bar = display.add_task("search", total=settings.trials, rate="")
        common = {
            "experiment_id": recorder.experiment_id,
            "experiment": experiment.content(),
            "train": train,
            "validation": validation,
            "key": key,
        }
        trials = _TrialsOfWorkers(recorder, settings, common, lambda: display.update(bar, advance=1))
        reports = chief.serve(f"search-{key}", _oracle(experiment, settings), trials)
    return _result([Trial(**report.kept) for report in reports.values()], settings)


@dataclass(frozen=True)
class _TrialsOfWorkers:
    """The trials of a search, as a chief hands them out."""

    recorder: MlflowRecorder
    settings: SearchSettings
    common: Mapping[str, Any]
    advance: Callable[[], None]

    def ready(self) -> bool:
        """Say whether MLflow can open a run."""
        return not len(self.recorder.outbox)

    def begin(self, trial_id: str, values: dict[str, Any], worker: str) -> Task | Report:
        """Open the child run of a trial."""
        name, (asked, epochs) = _name(int(trial_id)), _asked(values, self.settings)
        child = self.recorder.opened_child(name, worker=worker)
        if child.kept is not None:
            self.advance()
            before = _as_before(name, asked, epochs, child.kept)
            return _report(child.run_id, before)
        # a worker needs an id that MLflow knows
        self.recorder.outbox.flush()
        return TrialTask(name=name, run_id=child.run_id, values=asked, epochs=epochs, **self.common)

    def finished_earlier(self, task: Task) -> Report | None:
        """Look a trial up that is finished in the home of the execution."""
        kept = self.recorder.kept_of_child(task.name)
        return None if kept is None else _report(task.run_id, Trial(**kept))

    def end(self, task: Task, report: Report) -> Report:
        """Record how a trial ended."""
        try:
            done = TRIAL.validate_python(report.kept)
        except ValidationError as error:
            raise ReportError(f"the report of {task.name} cannot be read: {error}") from error
        child = self.recorder.child_of_worker(task.name, task.run_id, report.model_uri)
        if report.outcome == "finished":
            with self.recorder.ending(child):
                child.keep(asdict(done))
        else:
            child.end("FAILED")
        self.advance()
        return _report(task.run_id, done)

    def lose(self, task: Task) -> None:
        """Record that a worker is gone."""
        self.recorder.child_of_worker(task.name, task.run_id).end("KILLED")

    def give_up(self, task: Task, reason: str) -> Report:
        """Record that no worker could do a trial."""
        if not isinstance(task, TrialTask):
            raise TypeError(f"{task.name} is no trial")
        self.recorder.child_of_worker(task.name, task.run_id).end("FAILED")
        self.advance()
        return _report(task.run_id, Trial(task.name, "failed", task.values, task.epochs, None, 0.0, reason))


def _report(run_id: str, trial: Trial) -> Report:
    return Report(
        run_id=run_id,
        outcome=trial.status,
        reason=trial.reason,
        objective=trial.objective,
        kept=asdict(trial),
    )


def _result(trials: list[Trial], settings: SearchSettings) -> SearchResult:
    sign = 1 if settings.objective == "val_auc" else -1
    finished = [(sign * trial.objective, trial) for trial in trials if trial.objective is not None]
    if not finished:
        raise JetexpError(
            f"Every one of the search's {len(trials)} trials failed, the last: {trials[-1].reason}"
        )
    best = max(finished, key=lambda pair: pair[0])[1]
    logger.info("Best of %d trials: %s, %s %.4f", len(trials), best.name, settings.objective, best.objective)
    edges: dict[str, str] = {
        name: edge
        for name, space in settings.space.items()
        if len(finished) >= ENOUGH_TRIALS
        and name in best.hyperparameters
        and (edge := space.edge(best.hyperparameters[name])) is not None
    }
    result = SearchResult(best.hyperparameters, best.name, settings.objective, tuple(trials), edges)
    for hint in result.hints:
        logger.info("%s", hint)
    return result


@dataclass(frozen=True)
class TrialRunner:
    """Everything that all trials of one search share.

    Attributes
    ----------
    experiment : Experiment
        With its ``search``.
    parts : Parts
        Jets to fit to and to be judged by.
    recorder : Recorder
        Of the parent run.
    on_trial_end : callable, optional
        As of :func:`search`.
    display : rich.progress.Progress
        Where the epochs are shown.
    """

    experiment: Experiment
    parts: Parts
    recorder: Recorder
    on_trial_end: OnTrialEnd | None
    display: Progress

    def run(self, name: str, values: dict[str, Any], epochs: int) -> Trial:
        """Run one trial in a child run of its own; its failure is told, not raised.

        Parameters
        ----------
        name : str
            Of the run.
        values : dict
            Hyperparameters to be tried.
        epochs : int
            Epochs at most.

        Returns
        -------
        Trial
            How it ended.

        Raises
        ------
        SurroundingsError
            If the surroundings fail, which no other hyperparameters can help.
        """
        started = time.perf_counter()
        try:
            with self.recorder.child(name) as child:
                if child.kept is not None:
                    return _as_before(name, values, epochs, child.kept)
                with bounded_memory():
                    objective = self._fit(name, {"epochs": epochs, **values}, child)
                done = Trial(name, "finished", values, epochs, objective, time.perf_counter() - started)
                child.keep(asdict(done))
                return done
        except (_OtherTrialError, SurroundingsError):
            raise
        except Exception as error:  # whatever a trial died of, the next one may live
            if is_full_disk(error):
                raise
            told = isinstance(error, JetexpError)
            reason = str(error) if told else f"{type(error).__name__}: {error}"
            logger.warning("%s failed: %s", name, reason, exc_info=not told)
            return Trial(name, "failed", values, epochs, None, time.perf_counter() - started, reason)

    def _fit(self, name: str, values: Mapping[str, Any], child: Recorder) -> float:
        child.parameters(values)
        tried = self.experiment.with_hyperparameters(values)
        network, history = fitted_network(
            tried.tagger,
            tried.training,
            self.parts,
            classes=len(tried.classes),
            seed=tried.seed,
            recorder=child,
            display=self.display,
            name=name,
        )
        if self.on_trial_end is not None:
            self.on_trial_end(child, network, predict(network, self.parts.validation.inputs))
        reached = history.val_auc if self._objective == "val_auc" else history.val_loss
        return reached[history.best_epoch - 1]

    @property
    def _objective(self) -> str:
        return self.experiment.search.objective if self.experiment.search else ""


class _OtherTrialError(JetexpError):
    """The search that is gone on with is not the one that was interrupted."""


def _as_before(name: str, values: dict[str, Any], epochs: int, kept: Mapping[str, Any]) -> Trial:
    """Give a trial that was finished before the search was interrupted."""
    before = Trial(**kept)
    if (before.hyperparameters, before.epochs) != (values, epochs):
        raise _OtherTrialError(
            f"{name} of the interrupted search tried {before.hyperparameters}, and would try {values} now: "
            "start over with --fresh."
        )
    return before


def _space(experiment: Experiment, settings: SearchSettings) -> HyperParameters:
    """Say the search space in KerasTuner's terms."""
    import keras_tuner

    fields = {**TrainingSettings.model_fields, **type(experiment.tagger).model_fields}
    space = keras_tuner.HyperParameters()
    for name, values in settings.space.items():
        # a whole number in the file may well stand for a real one: 0 for 0.0
        is_real = fields[name].annotation is float
        if isinstance(values, Choices):
            choices = [float(value) for value in values.choices] if is_real else list(values.choices)
            space.Choice(name, choices)
        else:
            kind = space.Float if is_real else space.Int
            kind(name, values.min, values.max, step=values.step, sampling=values.scale)
    return space


def _oracle(experiment: Experiment, settings: SearchSettings) -> Oracle:
    """Make KerasTuner's oracle, which chooses what to try next."""
    import keras_tuner

    common: dict[str, Any] = {
        "objective": keras_tuner.Objective(
            settings.objective, "max" if settings.objective == "val_auc" else "min"
        ),
        "hyperparameters": _space(experiment, settings),
        "seed": experiment.seed + 1,  # it takes 0 for "any"
        "max_consecutive_failed_trials": settings.trials + 1,  # else it gives up after three
    }
    if settings.method == "hyperband":
        oracle = keras_tuner.oracles.HyperbandOracle(max_epochs=settings.epochs, **common)
        oracle.max_trials = settings.trials
        return oracle
    if settings.method == "random":
        return keras_tuner.oracles.RandomSearchOracle(max_trials=settings.trials, **common)
    # by itself it would draw three random points a hyperparameter first, more than many searches have
    at_random = min(3 * len(settings.space), max(2, settings.trials // 2))
    return keras_tuner.oracles.BayesianOptimizationOracle(
        max_trials=settings.trials, num_initial_points=at_random, **common
    )


def _run_trials(
    oracle: Oracle, settings: SearchSettings, run: Callable[[dict[str, Any], int], Trial]
) -> None:
    """Run the trials that the oracle asks for, and tell it what they reached.

    This loop takes the place of KerasTuner's own, which swallows exceptions and prints them.
    """
    with at_home(oracle):
        while (trial := oracle.create_trial("jetexp")).status == "RUNNING":
            done = run(*_asked(trial.hyperparameters.values, settings))
            tell(oracle, trial, done.objective, done.reason)


def _asked(values: Mapping[str, Any], settings: SearchSettings) -> tuple[dict[str, Any], int]:
    """Give the hyperparameters that an oracle asks for, and the epochs."""
    asked = {name: plain(value) for name, value in values.items()}
    own = {name: value for name, value in asked.items() if not name.startswith(OWN_ENTRIES)}
    return own, asked.get(OWN_EPOCHS, own.get("epochs", settings.epochs))


def _name(number: int) -> str:
    return f"trial-{number:02d}"
