"""The chief of a search on many machines: it hands trials and fits to workers, each on lease.

What the two say to each other is KerasTuner's own protocol. That knows of no worker which dies, nor of an
answer which is lost, and its files may be torn: hence the leases, ends which may be told twice, and a state
of its own, written whole. KerasTuner's oracles choose what is tried, as they do without workers.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jetexp.errors import JetexpError
from jetexp.files import whole_file
from jetexp.tasks import REPORT, TASK, Assignments, FinalFitTask, Report, ReportError, TrialTask
from jetexp.tuner import at_home, plain, quiet_tuner, tell

if TYPE_CHECKING:
    import grpc
    from keras_tuner import Oracle
    from keras_tuner.engine.trial import Trial as OracleTrial

__all__ = ["Chief"]

logger = logging.getLogger(__name__)

# seconds without a sign of life after which a worker's trial is given to another
LEASE_SECONDS = 30.0
# workers that may be lost over one trial
TRIES = 4
# seconds: that a worker's question waits for the chief, and that this waits for workers to hear of the end
ANSWER_TIME, FAREWELL_TIME = 20.0, 10.0
POLL_SECONDS = 0.5
THREADS = 32
MAXIMUM_STATE = 500_000_000


class _Lease(BaseModel):
    """Who works at a trial, and what is left of that in seconds of the chief's waiting, not of its work."""

    worker: str
    task: Annotated[TrialTask | FinalFitTask, Field(discriminator="kind")]
    left: float


class _State(BaseModel):
    """Everything that a chief knows of one search."""

    model_config = ConfigDict(extra="forbid")

    oracle: dict[str, Any] = {}
    trials: list[dict[str, Any]] = []
    leases: dict[str, _Lease] = {}
    reports: dict[str, Report] = {}
    lost: Counter[str] = Counter()


class _Call:
    """A worker's question, which the chief's main thread answers."""

    def __init__(self, what: Literal["create", "get", "end"], argument: Any) -> None:
        self.what = what
        self.argument = argument
        self.answer: Future[Any] = Future()


class Chief:
    """Serves workers from the moment it is entered.

    Parameters
    ----------
    address : str
        Where it listens, ``host:port``; every machine that reaches it can take part.
    lease : float
        Seconds without a sign of life after which a worker's trial is given to another.

    Raises
    ------
    JetexpError
        On entering, if it cannot listen there.
    """

    def __init__(self, address: str, *, lease: float = LEASE_SECONDS) -> None:
        self.address = address
        self._folder: Path | None = None
        self._lease = lease
        self._calls: queue.Queue[_Call] = queue.Queue()
        self._over = False
        # when each worker was heard of last, and those that know that all is over
        self._heard: dict[str, float] = {}
        self._told: set[str] = set()
        self._server: grpc.Server | None = None

    def __enter__(self) -> Chief:
        self._server = _listening(self.address, self._create, self._get, self._end)
        port = self.address.rpartition(":")[2]
        logger.info("Waiting for workers at %s: `jetexp work --chief HOST:%s`.", self.address, port)
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            self.dismiss()
            end = time.monotonic() + FAREWELL_TIME
            while self._waiting_workers() and time.monotonic() < end:
                time.sleep(0.1)
        if self._server is not None:
            self._server.stop(grace=None if error[0] else 1.0).wait()

    @property
    def workers(self) -> frozenset[str]:
        """Names of the workers that have come."""
        return frozenset(self._heard)

    def keep_state_in(self, folder: Path) -> None:
        """Say where its state is kept.

        Parameters
        ----------
        folder : Path
            Another chief goes on from what it finds there.
        """
        self._folder = folder

    def dismiss(self) -> None:
        """Tell every worker that asks from now on that there is no more to do."""
        self._over = True
        with contextlib.suppress(queue.Empty):
            while True:
                answer = self._calls.get_nowait().answer
                if answer.set_running_or_notify_cancel():
                    answer.set_result(None)

    def _waiting_workers(self) -> set[str]:
        """Give those that live, as far as is known, and do not know yet that all is over."""
        late = time.monotonic() - max(self._lease, FAREWELL_TIME)
        return {name for name, heard in self._heard.items() if heard > late} - self._told

    def serve(self, name: str, oracle: Oracle, assignments: Assignments) -> dict[str, Report]:
        """Hand out what an oracle asks for until all of it has ended.

        Parameters
        ----------
        name : str
            Of the search; its state is kept by it.
        oracle : keras_tuner.Oracle
            With a limit to its trials; of a search that a chief began already, it goes on from there.
        assignments : Assignments
            What its trials are.

        Returns
        -------
        dict of str to Report
            How each of its trials ended.
        """
        if self._folder is None:
            raise ValueError("the chief was not told where to keep its state")
        with quiet_tuner(), at_home(oracle):
            serving = _Serving(self._folder / f"{name}.json", oracle, assignments, self._lease)
            while not serving.is_over():
                began = time.monotonic()
                call = None
                with contextlib.suppress(queue.Empty):
                    call = self._calls.get(timeout=POLL_SECONDS)
                serving.waited(time.monotonic() - began)
                if call is not None and call.answer.set_running_or_notify_cancel():
                    try:
                        call.answer.set_result(serving.answer(call.what, call.argument))
                    except BaseException as error:
                        call.answer.set_exception(error)
                        raise
                if self._calls.empty():
                    # whoever gave a sign of life has been heard
                    serving.take_back()
            return dict(sorted(serving.state.reports.items()))

    def _ask(self, what: Literal["create", "get", "end"], argument: Any) -> Any:
        """Have the main thread answer; None if it is busy for long."""
        call = _Call(what, argument)
        self._calls.put(call)
        try:
            return call.answer.result(timeout=ANSWER_TIME)
        except TimeoutError:
            if call.answer.cancel():
                return None
            return call.answer.result()

    def _create(self, request: Any, context: grpc.ServicerContext) -> Any:
        import keras_tuner
        from keras_tuner.engine.trial import Trial, TrialStatus
        from keras_tuner.src import protos

        worker = request.tuner_id
        trial = None
        if self._over:
            self._told.add(worker)
            status = TrialStatus.STOPPED
        else:
            if worker not in self._heard:
                logger.info("Worker %s has come.", worker)
            self._heard[worker] = time.monotonic()
            trial = self._ask("create", worker)
            self._heard[worker] = time.monotonic()
            status = TrialStatus.IDLE
        if trial is None:
            trial = Trial(keras_tuner.HyperParameters(), trial_id="", status=status)
        return protos.get_service().CreateTrialResponse(trial=trial.to_proto())

    def _get(self, request: Any, context: grpc.ServicerContext) -> Any:
        import grpc
        from keras_tuner.src import protos

        if self._over:
            context.abort(grpc.StatusCode.NOT_FOUND, "all is over")
        answer = self._ask("get", request.trial_id)
        if answer is None:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the chief is busy")
        if answer == "":
            context.abort(grpc.StatusCode.NOT_FOUND, "nobody works at this trial")
        return protos.get_service().GetTrialResponse(trial=answer.to_proto())

    def _end(self, request: Any, context: grpc.ServicerContext) -> Any:
        import grpc
        from keras_tuner.engine.trial import Trial
        from keras_tuner.src import protos

        trial = Trial.from_proto(request.trial)
        try:
            report = Report.model_validate_json(trial.hyperparameters.values.get(REPORT, ""))
        except ValidationError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"not a report: {error}")
        if not self._over and self._ask("end", (trial.trial_id, report)) is None:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the chief is busy")
        if report.worker:
            self._heard[report.worker] = time.monotonic()
        return protos.get_service().EndTrialResponse()


class _Serving:
    """One search as its chief sees it."""

    def __init__(self, path: Path, oracle: Oracle, assignments: Assignments, lease: float) -> None:
        self._path = path
        self._oracle = oracle
        self._assignments = assignments
        self._lease = lease
        self._stopped = False
        self.state = _read(path)
        self._restore()

    def _restore(self) -> None:
        """Go on where another chief was interrupted."""
        from keras_tuner.engine.trial import Trial

        if not self.state.trials:
            return
        for content in self.state.trials:
            trial = Trial.from_state(content)
            self._oracle.trials[trial.trial_id] = trial
        self._oracle.set_state(self.state.oracle)
        for trial_id, lease in list(self.state.leases.items()):
            lease.left = self._lease
            report = self._assignments.finished_earlier(lease.task)
            if report is not None:
                self._complete(trial_id, report)
        logger.info(
            "Going on with a search: %d trials have ended, %d are under way.",
            len(self.state.reports),
            len(self.state.leases),
        )

    def is_over(self) -> bool:
        """Say whether everything has ended."""
        oracle = self._oracle
        if self.state.leases or oracle._retry_queue:
            return False
        return self._stopped or bool(oracle.max_trials and len(oracle.trials) >= oracle.max_trials)

    def waited(self, seconds: float) -> None:
        """Let leases run for the time in which the chief listened."""
        for lease in self.state.leases.values():
            lease.left -= seconds

    def take_back(self) -> None:
        """Take the trials of those whose lease has run out."""
        for trial_id, lease in list(self.state.leases.items()):
            if lease.left < 0:
                self._lose(trial_id, f"its worker {lease.worker} is gone")

    def answer(self, what: str, argument: Any) -> Any:
        """Answer a worker."""
        if what == "create":
            return self._create(argument)
        if what == "get":
            lease = self.state.leases.get(argument)
            if lease is None:
                return ""
            lease.left = self._lease
            return self._handed_out(argument)
        return self._end(*argument)

    def _create(self, worker: str) -> OracleTrial | None:
        while self._assignments.ready():
            trial = self._oracle.create_trial(worker)
            if trial.status != "RUNNING":
                self._stopped = trial.status == "STOPPED"
                return None
            lease = self.state.leases.get(trial.trial_id)
            if lease is None:
                values = {name: plain(value) for name, value in trial.hyperparameters.values.items()}
                begun = self._assignments.begin(trial.trial_id, values, worker)
                if isinstance(begun, Report):
                    self._complete(trial.trial_id, begun)
                    continue
                lease = _Lease(worker=worker, task=begun, left=self._lease)
                self.state.leases[trial.trial_id] = lease
                self._save()
            lease.left = self._lease
            return self._handed_out(trial.trial_id)
        return None

    def _handed_out(self, trial_id: str) -> OracleTrial:
        """Give a trial as a worker gets it."""
        from keras_tuner.engine.trial import Trial

        asked = self._oracle.trials[trial_id]
        values = asked.hyperparameters.copy()
        values.values[TASK] = self.state.leases[trial_id].task.model_dump_json()
        return Trial(values, trial_id=trial_id, status=asked.status)

    def _end(self, trial_id: str, report: Report) -> bool:
        """Take note of an end, unless it was told before, or by a worker that has lost its trial."""
        lease = self.state.leases.get(trial_id)
        if lease is None or lease.task.run_id != report.run_id:
            logger.debug("Trial %s, run %s, is not under way any more.", trial_id, report.run_id)
        elif report.outcome == "given back":
            self._lose(trial_id, report.reason)
        else:
            try:
                ended = self._assignments.end(lease.task, report)
            except ReportError as error:
                self._lose(trial_id, str(error))
            else:
                self._complete(trial_id, ended)
        return True

    def _lose(self, trial_id: str, reason: str) -> None:
        """Take a trial from its worker, for another to try it."""
        lease = self.state.leases[trial_id]
        task = lease.task
        self.state.lost[trial_id] += 1
        if self.state.lost[trial_id] >= TRIES:
            given_up = f"{self.state.lost[trial_id]} workers did not end it, the last: {reason}"
            self._complete(trial_id, self._assignments.give_up(task, given_up))
            return
        logger.warning("%s is tried again: %s.", task.name, reason)
        self._assignments.lose(task)
        del self.state.leases[trial_id]
        # as the oracle does with trials that were under way when it is loaded again
        self._oracle.ongoing_trials.pop(lease.worker, None)
        self._oracle._retry_queue.append(trial_id)
        self._save()

    def _complete(self, trial_id: str, report: Report) -> None:
        """Let the oracle learn from a trial."""
        tell(self._oracle, self._oracle.trials[trial_id], report.objective, report.reason)
        self.state.leases.pop(trial_id, None)
        self.state.reports[trial_id] = report
        self._save()

    def _save(self) -> None:
        self.state.oracle = self._oracle.get_state()
        self.state.trials = [trial.get_state() for trial in self._oracle.trials.values()]
        with whole_file(self._path) as temporary:
            temporary.write_text(self.state.model_dump_json(), encoding="utf-8")


def _read(path: Path) -> _State:
    try:
        if path.stat().st_size > MAXIMUM_STATE:
            raise JetexpError(f"{path} is larger than {MAXIMUM_STATE / 1e6:.0f} MB: --fresh starts over.")
        return _State.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return _State()
    except (OSError, ValidationError) as error:
        raise JetexpError(f"{path} cannot be read ({error}): --fresh starts over.") from error


def _listening(address: str, create: Callable, get: Callable, end: Callable) -> grpc.Server:
    """Start a server of KerasTuner's protocol, of as much of it as workers need."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc
    from keras_tuner.src import protos

    service = protos.get_service_grpc()

    class Servicer(service.OracleServicer):  # type: ignore[name-defined]
        CreateTrial = staticmethod(create)
        GetTrial = staticmethod(get)
        EndTrial = staticmethod(end)

    # two chiefs at one address would share its workers
    server = grpc.server(
        ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="chief"),
        options=[("grpc.so_reuseport", 0)],
    )
    service.add_OracleServicer_to_server(Servicer(), server)
    try:
        server.add_insecure_port(address)
    except (RuntimeError, ValueError) as error:
        raise JetexpError(
            f"No chief can listen at {address}: host:port, with a port that is free, would be right."
        ) from error
    server.start()
    return server
