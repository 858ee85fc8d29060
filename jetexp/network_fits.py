"""The final fits of networks: settings that are found, trained afresh from several seeds, some at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from jetexp.console import progress
from jetexp.errors import JetexpError
from jetexp.fit_store import FitStore
from jetexp.fit_task import FitTask, epochs_so_far, fit_into_store, task_of
from jetexp.fits import FinalFit, TaggerFits, hyperparameters, scored
from jetexp.recorder import ChildRun
from jetexp.tagger_fit import TaggerFit
from jetexp.taggers.catalogue import input_settings
from jetexp.training import History, devices, network_summary, predict
from jetexp.workers import cores, finished_tasks

if TYPE_CHECKING:
    import keras
    from rich.progress import Progress

__all__ = ["fit_networks"]

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

    def __init__(self, job: _Job, display: Progress, *, with_bar: bool = True) -> None:
        self.job = job
        self.epochs = 0
        self._display = display
        with ExitStack() as stack:
            self.child: ChildRun = stack.enter_context(job.shared.parent.child(job.task.name))
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
    everything: Sequence[TaggerFits], *, store: FitStore | None = None, workers: int | None = None
) -> dict[str, FinalFit]:
    """Train every network of an experiment from each of its seeds, and score the test jets with each.

    Nothing is chosen by what the test jets say. Several fits are made at once, a worker process each,
    where there is no accelerator and they take long enough to be worth it.

    Parameters
    ----------
    everything : sequence of TaggerFits
        The experiment, or each of its variants.
    store : FitStore, optional
        Where finished fits are looked up and kept; by default all are made.
    workers : int, optional
        Number of processes; by default one a core.

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
        return _NetworkFits(store, display, len(jobs)).run(jobs, workers)


class _NetworkFits:
    """The making of all final fits of networks."""

    def __init__(self, store: FitStore, display: Progress, total: int) -> None:
        self.store = store
        self.display = display
        self.bar = display.add_task("final fits", total=total, rate="")
        self.fits: dict[str, FinalFit] = {}
        # taggers of one experiment take turns, and inputs take seconds
        self.part = lru_cache(maxsize=4)(TaggerFits.part)

    def run(self, jobs: Sequence[_Job], workers: int | None) -> dict[str, FinalFit]:
        """Look each fit up, or make it; variants that train alike share theirs."""
        alike: dict[str, list[_Job]] = {}
        for job in jobs:
            alike.setdefault(job.task.key, []).append(job)
        missing = [same for same in alike.values() if not self._known(same)]
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


def _processes(tasks: Sequence[FitTask], workers: int | None) -> int:
    """Decide how many fits are made at once."""
    if any(not device.startswith("cpu") for device in devices()):
        return 1
    if workers is None and sum(task.work for task in tasks) < WORTH_WORKERS:
        return 1
    return min(workers or cores(), len(tasks))
