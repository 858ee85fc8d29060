"""The final fits of networks: settings that are found, trained afresh from several seeds, some at once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from jetexp.chief import Chief
from jetexp.console import progress
from jetexp.errors import JetexpError
from jetexp.fit_store import FitStore
from jetexp.fit_task import FitTask, epochs_so_far, fit_into_store, task_of
from jetexp.fits import FinalFit, TaggerFits, hyperparameters, scored
from jetexp.mlflow_store import delivered
from jetexp.recorder import ChildRun, MlflowRecorder
from jetexp.tagger_fit import TaggerFit
from jetexp.taggers.catalogue import input_settings
from jetexp.tasks import FinalFitTask, Report, Task
from jetexp.training import History, devices, network_summary, predict
from jetexp.workers import cores, finished_tasks

if TYPE_CHECKING:
    import keras
    from keras_tuner import Oracle
    from rich.progress import Progress

__all__ = ["FIT_ARTIFACTS", "fit_networks"]

# where a worker of a chief leaves the network that it has made, among the artifacts of its run
FIT_ARTIFACTS = "fit"

# jets shown to networks, all fits and epochs together, from which worker processes, which take
# seconds to start, gain time
WORTH_WORKERS = 300_000


@dataclass(frozen=True, eq=False)
class _Job:
    """One final fit of a network."""

    shared: TaggerFits
    one: TaggerFit
    task: FitTask


class _Underway:
    """A job whose child run is open; as a context, it ends the run."""

    def __init__(
        self, job: _Job, display: Progress, *, with_bar: bool = True, opened: MlflowRecorder | None = None
    ) -> None:
        self.job = job
        self.epochs = 0
        self._display = display
        parent = job.shared.parent
        with ExitStack() as stack:
            if opened is None:
                self.child: ChildRun = stack.enter_context(parent.child(job.task.name))
            else:
                stack.enter_context(parent.ending(opened))
                self.child = opened
            self.child.parameters({"seed": job.task.seed, **hyperparameters(job.one)})
            total = job.one.training.epochs
            self._bar = display.add_task(job.task.name, total=total, rate="", visible=with_bar)
            stack.callback(display.remove_task, self._bar)
            self._stack = stack.pop_all()

    def __enter__(self) -> _Underway:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def record_epochs(self, epochs: Sequence[Mapping[str, float]]) -> None:
        """Record those epochs that are not recorded yet."""
        for values in epochs[self.epochs :]:
            self.epochs += 1
            self.child.metrics(values, step=self.epochs)
        self._display.update(self._bar, completed=self.epochs)


def fit_networks(
    everything: Sequence[TaggerFits],
    *,
    store: FitStore | None = None,
    workers: int | None = None,
    chief: Chief | None = None,
) -> dict[str, FinalFit]:
    """Train every network of an experiment from each of its seeds, and score the test jets with each.

    Nothing is chosen by what the test jets say. Several fits are made at once, a worker process each,
    where they take long enough to be worth it.

    Parameters
    ----------
    everything : sequence of TaggerFits
        The experiment, or each of its variants.
    store : FitStore, optional
        Where finished fits are looked up and kept; by default all are made.
    workers : int, optional
        Number of processes; by default one a core, and one alone where there is an accelerator.
    chief : Chief, optional
        Has its workers, on whatever machines, make them.

    Returns
    -------
    dict of str to FinalFit
        By the names of their runs; see :meth:`TaggerFits.run_names`.

    Raises
    ------
    JetexpError
        If a loss stops being a finite number, or a worker is killed.
    """
    jobs = [
        _Job(shared, one, task_of(shared.experiment, shared.jets, one, number, name=name, cache=shared.cache))
        for shared in everything
        for one in shared.experiment.taggers
        if not one.is_classical
        for number, name in enumerate(shared.run_names(one))
    ]
    with ExitStack() as stack:
        if store is None:
            store = FitStore(Path(stack.enter_context(TemporaryDirectory(prefix="jetexp-fits-"))))
        display = stack.enter_context(progress())
        return _NetworkFits(store, display, len(jobs)).run(jobs, workers, chief)


class _NetworkFits:
    """The making of all final fits of networks."""

    def __init__(self, store: FitStore, display: Progress, total: int) -> None:
        self.store = store
        self.display = display
        self.bar = display.add_task("final fits", total=total, rate="")
        self.fits: dict[str, FinalFit] = {}
        # taggers of one experiment take turns, and inputs take seconds
        self.part = lru_cache(maxsize=4)(TaggerFits.part)

    def run(self, jobs: Sequence[_Job], workers: int | None, chief: Chief | None) -> dict[str, FinalFit]:
        """Look each fit up, or make it; variants that train alike share theirs."""
        alike: dict[str, list[_Job]] = {}
        for job in jobs:
            alike.setdefault(job.task.key, []).append(job)
        missing = [same for same in alike.values() if not self._known(same)]
        if chief is not None:
            self._make_by_chief(chief, list(alike.values()))
            return {job.task.name: self.fits[job.task.name] for job in jobs}
        number = _processes([same[0].task for same in missing], workers)
        if number > 1:
            self._make_in_workers(missing, number)
        else:
            for first, *others in missing:
                # a fit in this process shows a bar of its own
                with _Underway(first, self.display, with_bar=False) as one:
                    network, history = first.task.run(one.child, self.display)
                    one.epochs = history.epochs
                    self.store.save(first.task.key, network, history)
                    self._finish(one, network, history)
                self._known(others)
        return {job.task.name: self.fits[job.task.name] for job in jobs}

    def _known(self, same: Sequence[_Job]) -> bool:
        """Record fits that are finished already."""
        finished = self.store.load(same[0].task.key) if same else None
        if finished is None:
            return False
        for job in same:
            with _Underway(job, self.display) as one:
                one.child.tags({"finished_before": job.task.key})
                self._finish(one, *finished)
        return True

    def _make_in_workers(self, missing: Sequence[Sequence[_Job]], workers: int) -> None:
        """Make several fits at once; what they tell of each epoch is recorded meanwhile."""
        # the longest first, or one of them is made alone in the end
        coming = sorted(missing, key=lambda same: same[0].task.work, reverse=True)
        underway: dict[str, _Underway] = {}
        waiting: dict[str, Sequence[_Job]] = {}

        def begin(running: Any) -> str | None:
            if not coming:
                return None
            first = coming[0][0]
            underway[first.task.key] = _Underway(first, self.display)
            waiting[first.task.key] = coming.pop(0)[1:]
            return first.task.key

        def arguments(key: str) -> tuple[FitTask, FitStore]:
            return underway[key].job.task, self.store

        def follow() -> None:
            for key, one in underway.items():
                one.record_epochs(epochs_so_far(self.store, key))

        endings = finished_tasks(fit_into_store, begin, arguments, workers, meanwhile=follow)
        try:
            with closing(endings):
                for key, ended in endings:
                    with underway.pop(key) as one:
                        ended.result()
                        finished = self.store.load(key)
                        if finished is None:
                            name, folder = one.job.task.name, self.store.folder
                            raise JetexpError(f"The fit {name} cannot be read from {folder}.")
                        self._finish(one, *finished)
                    self._known(waiting.pop(key))
        except BaseException as error:
            # one fit failed, or all were stopped: the others end as killed
            stopped = KeyboardInterrupt() if isinstance(error, Exception) else error
            for one in underway.values():
                one.__exit__(type(stopped), stopped, None)
            raise

    def _make_by_chief(self, chief: Chief, alike: Sequence[Sequence[_Job]]) -> None:
        """Have workers on any machine make the fits; those known already count as made."""
        keys = [same[0].task.key for same in alike]
        name = hashlib.sha256(" ".join(keys).encode()).hexdigest()[:20]
        chief.serve(f"fits-{name}", _in_order([same[0].task for same in alike]), _FitsOfWorkers(self, alike))

    def finish_of_worker(self, same: Sequence[_Job], run_id: str) -> None:
        """Fetch a fit that a worker has made, from its run, and do with it as with any other."""
        first = same[0]
        parent = first.shared.parent
        child = parent.child_of_worker(first.task.name, run_id)
        with TemporaryDirectory(prefix="jetexp-fit-") as folder:
            fetched = delivered(child.client.download_artifacts, run_id, FIT_ARTIFACTS, folder)
            self.store.add(first.task.key, Path(fetched))
        finished = self.store.load(first.task.key)
        if finished is None:
            raise JetexpError(f"The fit {first.task.name} of run {run_id} cannot be read.")
        with _Underway(first, self.display, opened=child) as one:
            # the worker has recorded them
            one.epochs = finished[1].epochs
            self._finish(one, *finished)
        self._known(same[1:])

    def _finish(self, underway: _Underway, network: keras.Model, history: History) -> None:
        """Record how a fit went, and score it."""
        job, child = underway.job, underway.child
        shared, one = job.shared, job.one
        underway.record_epochs(list(history.steps()))
        child.text("network.txt", network_summary(network) + "\n")
        child.result("history", history.to_dict())
        child.metrics({"fit_seconds": sum(history.seconds), "network_parameters": network.count_params()})
        inputs = input_settings(one.tagger, one.images)
        validation, test = (
            predict(network, self.part(shared, name, inputs)) for name in ("validation", "test")
        )
        own = one.name == shared.experiment.taggers[0].name
        self.fits[job.task.name] = scored(
            shared,
            child,
            network,
            validation,
            test,
            raw=shared.raw_images() if own and not shared.variant else None,
            history=history,
            served=shared.served(one),
        )
        self.display.update(self.bar, advance=1)


class _FitsOfWorkers:
    """Final fits, as a chief hands them out."""

    def __init__(self, making: _NetworkFits, alike: Sequence[Sequence[_Job]]) -> None:
        self._making = making
        self._by_name = {same[0].task.name: same for same in alike}
        self._alike = alike

    def ready(self) -> bool:
        """Say whether MLflow can open a run."""
        return not len(self._alike[0][0].shared.parent.outbox)

    def begin(self, trial_id: str, values: dict[str, Any], worker: str) -> Task | Report:
        """Open the child run of a fit."""
        job = self._alike[int(trial_id)][0]
        if job.task.name in self._making.fits:
            return self._report(job.task.name)
        shared = job.shared
        child = shared.parent.opened_child(job.task.name, worker=worker)
        # a worker needs an id that MLflow knows
        shared.parent.outbox.flush()
        return FinalFitTask(
            name=job.task.name,
            run_id=child.run_id,
            experiment_id=shared.parent.experiment_id,
            experiment=shared.experiment.content(),
            train=job.task.train.fingerprint,
            validation=job.task.validation.fingerprint,
            key=job.task.key,
            tagger=job.one.name,
            number=job.task.seed - job.one.seed,
        )

    def finished_earlier(self, task: Task) -> Report | None:
        """Look a fit up in the store, where all that were there have been found already."""
        return self._report(task.name) if task.name in self._making.fits else None

    def end(self, task: Task, report: Report) -> Report:
        """Record how a fit ended."""
        if report.outcome == "failed":
            return self.give_up(task, report.reason)
        self._making.finish_of_worker(self._by_name[task.name], task.run_id)
        return self._report(task.name)

    def lose(self, task: Task) -> None:
        """Record that a worker is gone."""
        self._run(task).end("KILLED")

    def give_up(self, task: Task, reason: str) -> Report:
        """End the execution, of which this fit is a part."""
        self._run(task).end("FAILED")
        raise JetexpError(f"The fit {task.name} failed: {reason}")

    def _run(self, task: Task) -> MlflowRecorder:
        return self._alike[0][0].shared.parent.child_of_worker(task.name, task.run_id)

    def _report(self, name: str) -> Report:
        # what a fit reached is no oracle's business
        return Report(run_id=self._making.fits[name].run_id, outcome="finished", objective=0.0)


def _in_order(tasks: Sequence[FitTask]) -> Oracle:
    """Make an oracle of KerasTuner's that asks for one fit after the other."""
    import keras_tuner

    class InOrder(keras_tuner.Oracle):
        def populate_space(self, trial_id: str) -> dict[str, Any]:
            return {"status": "RUNNING", "values": {"fit": tasks[int(trial_id)].key}}

    return InOrder(objective=keras_tuner.Objective("none", "min"), max_trials=len(tasks))


def _processes(tasks: Sequence[FitTask], workers: int | None) -> int:
    """Decide how many fits are made at once; how many an accelerator can hold, the user knows."""
    has_accelerator = any(not device.startswith("cpu") for device in devices())
    if workers is None and (has_accelerator or sum(task.work for task in tasks) < WORTH_WORKERS):
        return 1
    return min(workers or cores(), len(tasks))
