"""A worker of a chief: it makes trials and final fits, on this machine, until there are no more."""

from __future__ import annotations

import json
import logging
import os
import platform
import tempfile
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc
from pydantic import ValidationError

from jetexp.chief import ANSWER_TIME
from jetexp.console import progress
from jetexp.errors import JetexpError, SurroundingsError
from jetexp.experiment import Experiment
from jetexp.files import scratch_folder
from jetexp.fit_store import FitStore, search_key
from jetexp.fit_task import task_of, training_parts
from jetexp.mlflow_store import AWAY_TIME, check_reachable, connect, masked
from jetexp.network_fits import FIT_ARTIFACTS
from jetexp.outbox import Outbox, temporary_outbox
from jetexp.parts import JetParts, load_parts
from jetexp.recorder import MlflowRecorder
from jetexp.recorder_protocol import NullRecorder, Recorder
from jetexp.recording import record_trial, served_settings
from jetexp.search import TrialRunner
from jetexp.taggers.catalogue import input_settings
from jetexp.tasks import REPORT, TASK, TASKS, FinalFitTask, Report, Task, TrialTask
from jetexp.training import Parts

if TYPE_CHECKING:
    import keras
    import numpy as np
    import numpy.typing as npt

__all__ = ["Worker"]

logger = logging.getLogger(__name__)

# seconds: between two signs of life, between two questions for work, and for a last word to the chief
SIGN_OF_LIFE, POLL_SECONDS, LAST_WORD = 5.0, 0.5, 2.0
# a chief that is started again is found within seconds, and one whose machine is gone is noticed
CHANNEL = (
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


class TakenAwayError(SurroundingsError):
    """The chief has given what a worker does to another one, as it had not heard of this one for long."""


class Worker:
    """Works for a chief.

    Parameters
    ----------
    chief : str
        Address of the chief, ``host:port``.
    jets_folder : Path
        Where generated jets are kept: one that the chief's machine shares, or another, in which the jets are
        made again.
    processes : int, optional
        That generate jets; by default one a core.
    patience : float
        Seconds that a chief or an MLflow which is away is waited for.
    """

    def __init__(
        self, chief: str, *, jets_folder: Path, processes: int | None = None, patience: float = AWAY_TIME
    ) -> None:
        self.name = f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._calls = _Calls(chief, self.name, patience)
        self._jets_folder = jets_folder
        self._processes = processes
        self._patience = patience
        self._scratch: Path | None = None
        # the jets of one execution, and the inputs of one search
        self._jets = lru_cache(maxsize=1)(self._load_jets)
        self._parts = lru_cache(maxsize=1)(self._make_parts)

    def run(self) -> int:
        """Work until the chief says that there is no more to do.

        Returns
        -------
        int
            How many trials and fits were made here.

        Raises
        ------
        JetexpError
            If the chief cannot be reached, or this machine cannot do what it asks for.
        """
        check_reachable()
        made = 0
        with self._calls, scratch_folder(self._jets_folder) as self._scratch:
            while (given := self._calls.next_task()) is not None:
                trial_id, task = given
                try:
                    with self._calls.signs_of_life(trial_id, task) as is_taken_away:
                        report = self._done(task, is_taken_away)
                except TakenAwayError:
                    logger.warning("%s was given to another worker.", task.name)
                    continue
                except BaseException as error:
                    reason = str(error) or type(error).__name__
                    self._calls.give_back(trial_id, task, f"{self.name} gave it back: {reason}")
                    raise
                self._calls.end(trial_id, report)
                made += 1
        return made

    def _done(self, task: Task, is_taken_away: Callable[[], bool]) -> Report:
        """Do a task; what is recorded of it has reached MLflow when this returns."""
        experiment = _experiment(task)
        with temporary_outbox(connect(), patience=self._patience) as outbox:
            recorder = _Recorder(outbox, task, experiment, is_taken_away)
            report = self.perform(task, experiment, recorder)
            outbox.flush()
            return report.model_copy(update={"worker": self.name, "model_uri": recorder.model_uri})

    def perform(self, task: Task, experiment: Experiment, recorder: MlflowRecorder) -> Report:
        """Do one task.

        Parameters
        ----------
        task : Task
            A trial or a final fit.
        experiment : Experiment
            As the task has it.
        recorder : MlflowRecorder
            Of its run.

        Returns
        -------
        Report
            For the chief.
        """
        if isinstance(task, TrialTask):
            return self._try(task, experiment, recorder)
        if isinstance(task, FinalFitTask):
            return self._fit(task, experiment, recorder)
        raise TypeError(f"{task.name} is neither a trial nor a final fit")

    def _try(self, task: TrialTask, experiment: Experiment, recorder: MlflowRecorder) -> Report:
        parts = self._parts(_Same((task.key,), task, experiment))

        def judge(child: Recorder, network: keras.Model, scores: npt.NDArray[np.float32]) -> None:
            record_trial(experiment, child, network, scores, parts.validation.label)

        with progress() as display:
            runner = TrialRunner(experiment, parts, _ParentOf(recorder), judge, display)
            trial = runner.run(task.name, task.values, task.epochs)
        return Report(
            run_id=task.run_id,
            outcome=trial.status,
            reason=trial.reason,
            objective=trial.objective,
            kept=asdict(trial),
        )

    def _fit(self, task: FinalFitTask, experiment: Experiment, recorder: MlflowRecorder) -> Report:
        jets = self._jets(_Same((task.train, task.validation), task, experiment))
        (one,) = (one for one in experiment.taggers if one.name == task.tagger)
        cache = self._jets_folder / "observables"
        fit = task_of(experiment, jets, one, task.number, name=task.name, cache=cache)
        _check_key(fit.key, task)
        with progress() as display, tempfile.TemporaryDirectory(prefix="jetexp-fit-") as folder:
            try:
                network, history = fit.run(recorder, display)
            except SurroundingsError:
                raise
            except JetexpError as error:
                return Report(run_id=task.run_id, outcome="failed", reason=str(error))
            store = FitStore(Path(folder))
            store.save(task.key, network, history)
            for file in sorted((store.folder / task.key).iterdir()):
                with recorder.artifact(f"{FIT_ARTIFACTS}/{file.name}") as path:
                    file.rename(path)
        return Report(run_id=task.run_id, outcome="finished")

    def _load_jets(self, asked: _Same) -> JetParts:
        jets = load_parts(asked.experiment, self._jets_folder, workers=self._processes, scratch=self._scratch)
        task = asked.task
        for name, expected in (("train", task.train), ("validation", task.validation)):
            found = getattr(jets, name).fingerprint
            if found != expected:
                raise JetexpError(
                    f"The {name} part of {asked.experiment.name} has the fingerprint {found} here, and "
                    f"{expected} on the chief's machine: a shared folder of jets, or the same versions of "
                    "Pythia and FastJet, would be right."
                )
        return jets

    def _make_parts(self, asked: _Same) -> Parts:
        task, experiment = asked.task, asked.experiment
        jets = self._jets(_Same((task.train, task.validation), task, experiment))
        _check_key(search_key(experiment, jets.train, jets.validation), task)
        return training_parts(
            jets.train,
            jets.validation,
            input_settings(experiment.tagger, experiment.images),
            experiment.classes.index(experiment.signal),
            self._jets_folder / "observables",
            experiment.memory_of_part,
        )


class _Same:
    """A task, equal to another one that needs the same."""

    def __init__(self, key: tuple[str, ...], task: Task, experiment: Experiment) -> None:
        self.key = key
        self.task = task
        self.experiment = experiment

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def _experiment(task: Task) -> Experiment:
    try:
        return Experiment.model_validate_json(json.dumps(task.experiment), strict=True)
    except ValidationError as error:
        raise JetexpError(
            f"The chief's experiment cannot be run by this version of jetexp: {error.errors()[0]['msg']}."
        ) from error


def _check_key(key: str, task: Task) -> None:
    if key != task.key:
        raise JetexpError(
            f"{task.name} depends on code, or versions of Keras, KerasTuner or TensorFlow, that are others "
            "here than on the chief's machine: the same commit of jetexp and its environment would be right."
        )


class _Recorder(MlflowRecorder):
    """Records to the run of a task, as long as that is this worker's."""

    def __init__(
        self, outbox: Outbox, task: Task, experiment: Experiment, is_taken_away: Callable[[], bool]
    ) -> None:
        super().__init__(
            outbox, task.run_id, task.experiment_id, task.name, served=served_settings(experiment)
        )
        self._is_taken_away = is_taken_away

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Record numbers of an epoch, and stop there if the task is another worker's."""
        if self._is_taken_away():
            raise TakenAwayError(f"{self.name} was given to another worker.")
        super().metrics(values, step=step)


class _ParentOf(NullRecorder):
    """Stands for the parent run, of which a worker knows one child alone, which is open."""

    def __init__(self, child: MlflowRecorder) -> None:
        self._child = child

    @contextmanager
    def child(self, name: str) -> Iterator[Recorder]:
        """Give the run; the chief ends it."""
        try:
            yield self._child
        except TakenAwayError:
            raise
        except Exception as error:
            self._child.text("traceback.txt", masked("".join(traceback.format_exception(error))))
            raise


def _task(trial: Any) -> Task:
    """Read a task out of a trial as it was sent."""
    from keras_tuner.engine.trial import Trial

    return TASKS.validate_json(Trial.from_proto(trial).hyperparameters.values.get(TASK, ""))


class _Calls:
    """What a worker says to its chief, in KerasTuner's protocol."""

    def __init__(self, address: str, worker: str, patience: float) -> None:
        self._address = address
        self._worker = worker
        self._patience = patience
        self._met = False

    def __enter__(self) -> _Calls:
        from keras_tuner.src import protos

        self._service = protos.get_service()
        self._channel = grpc.insecure_channel(self._address, options=CHANNEL)
        self._stub = protos.get_service_grpc().OracleStub(self._channel)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._channel.close()

    def next_task(self) -> tuple[str, Task] | None:
        """Ask for work until there is some; None if there will be no more."""
        from keras_tuner.engine.trial import Trial

        request = self._service.CreateTrialRequest(tuner_id=self._worker)
        while True:
            answer = self._answered(self._stub.CreateTrial, request)
            trial = Trial.from_proto(answer.trial)
            if not self._met:
                self._met = True
                logger.info("Working for the chief at %s.", self._address)
            if trial.status == "STOPPED":
                return None
            if trial.status == "RUNNING":
                try:
                    task = _task(answer.trial)
                except ValidationError as error:
                    raise JetexpError(
                        f"The chief at {self._address} has another version of jetexp: {error}"
                    ) from error
                logger.info("%s", task.name)
                return trial.trial_id, task
            time.sleep(POLL_SECONDS)

    @contextmanager
    def signs_of_life(self, trial_id: str, task: Task) -> Iterator[Callable[[], bool]]:
        """Tell the chief now and then that a trial is under way; give whether it was taken away."""
        ended, taken_away = threading.Event(), threading.Event()

        def tell() -> None:
            request = self._service.GetTrialRequest(trial_id=trial_id)
            while not ended.wait(SIGN_OF_LIFE):
                try:
                    answer = self._stub.GetTrial(request, timeout=2 * ANSWER_TIME)
                    if _task(answer.trial).run_id != task.run_id:
                        taken_away.set()
                except grpc.RpcError as error:
                    # a chief that is away may come back
                    if error.code() == grpc.StatusCode.NOT_FOUND:
                        taken_away.set()

        teller = threading.Thread(target=tell, daemon=True, name="signs of life")
        teller.start()
        try:
            yield taken_away.is_set
        finally:
            ended.set()

    def end(self, trial_id: str, report: Report) -> None:
        """Tell the chief how a task ended, as often as it takes."""
        self._answered(self._stub.EndTrial, self._ending(trial_id, report))

    def give_back(self, trial_id: str, task: Task, reason: str) -> None:
        """Tell the chief, if it is there, that another worker must do this."""
        report = Report(run_id=task.run_id, outcome="given back", reason=reason)
        try:
            self._stub.EndTrial(self._ending(trial_id, report), timeout=LAST_WORD)
        except grpc.RpcError:
            logger.debug("the chief did not hear of it, and will take %s back", task.name)

    def _ending(self, trial_id: str, report: Report) -> Any:
        from keras_tuner import HyperParameters
        from keras_tuner.engine.trial import Trial

        status = {"finished": "COMPLETED", "failed": "FAILED", "given back": "INVALID"}[report.outcome]
        values = HyperParameters()
        values.values[REPORT] = report.model_dump_json()
        trial = Trial(values, trial_id=trial_id, status=status)
        return self._service.EndTrialRequest(trial=trial.to_proto())

    def _answered(self, method: Callable[..., Any], request: Any) -> Any:
        """Call the chief until it answers, for as long as the patience lasts."""
        end = time.monotonic() + self._patience
        while True:
            left = end - time.monotonic()
            try:
                return method(request, timeout=max(min(left, 2 * ANSWER_TIME), 0.1), wait_for_ready=True)
            except grpc.RpcError as error:
                # UNKNOWN is what a chief says that fails in the midst of an answer
                code = error.code()
                if code in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INVALID_ARGUMENT):
                    raise JetexpError(
                        f"What listens at {self._address} is no chief of this version of jetexp: "
                        f"{error.details()}."
                    ) from error
                if time.monotonic() >= end:
                    raise JetexpError(
                        f"The chief at {self._address} does not answer ({code.name}): "
                        + (
                            "the same command, which started it, lets it go on."
                            if self._met
                            else "`jetexp run EXPERIMENT --chief host:port` starts one."
                        )
                    ) from error
            time.sleep(POLL_SECONDS)
