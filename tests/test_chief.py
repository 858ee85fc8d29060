"""The chief hands out trials on lease: what becomes of them when workers, answers or the chief are lost."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import keras_tuner
import pytest

from jetexp.chief import TRIES, Chief
from jetexp.errors import JetexpError
from jetexp.tasks import Report, ReportError, TrialTask
from jetexp.worker import _Calls

ADDRESS = "127.0.0.1:8741"


@pytest.fixture(autouse=True)
def short_farewell(monkeypatch):
    monkeypatch.setattr("jetexp.chief.FAREWELL_TIME", 1.0)


class Toy:
    """Trials of nothing, and what was told of them."""

    def __init__(self):
        self.events = []
        self.kept = {}
        self.runs = 0

    def ready(self):
        return True

    def begin(self, trial_id, values, worker):
        if trial_id in self.kept:
            return self.kept[trial_id]
        self.runs += 1
        run_id = f"{trial_id}-{self.runs}"
        self.events.append(("begin", trial_id))
        common = dict.fromkeys(("experiment_id", "train", "validation", "key"), "")
        return TrialTask(name=trial_id, run_id=run_id, experiment={}, values=values, epochs=1, **common)

    def finished_earlier(self, task):
        return self.kept.get(task.name)

    def end(self, task, report):
        self.events.append(("end", task.name))
        return report

    def lose(self, task):
        self.events.append(("lose", task.name))

    def wait_for(self, event):
        """Wait until the chief has told of an event."""
        end = time.monotonic() + 30
        while event not in [one for one, _ in self.events] and time.monotonic() < end:
            time.sleep(0.05)

    def give_up(self, task, reason):
        self.events.append(("give up", task.name))
        return Report(run_id=task.run_id, outcome="failed", reason=reason)


def oracle(trials=4, kind="random"):
    space = keras_tuner.HyperParameters()
    space.Float("learning_rate", 1e-4, 1e-1, sampling="log")
    space.Int("layers", 1, 3)
    common = {"objective": keras_tuner.Objective("val_auc", "max"), "hyperparameters": space, "seed": 3}
    if kind == "hyperband":
        made = keras_tuner.oracles.HyperbandOracle(max_epochs=4, **common)
        made.max_trials = trials
        return made
    if kind == "bayesian":
        return keras_tuner.oracles.BayesianOptimizationOracle(
            max_trials=trials, num_initial_points=2, **common
        )
    return keras_tuner.oracles.RandomSearchOracle(max_trials=trials, **common)


@contextmanager
def worker(name="one", patience=60.0):
    with _Calls(ADDRESS, name, patience) as calls:
        yield calls


def report(task, **changes):
    objective = task.values["learning_rate"]
    return Report(**{"run_id": task.run_id, "outcome": "finished", "objective": objective} | changes)


def finish(calls):
    """Do all that there is; give the names of the trials."""
    names = []
    while (given := calls.next_task()) is not None:
        calls.end(given[0], report(given[1]))
        names.append(given[1].name)
    return names


class Served:
    """A chief that serves in this process's place, while the test plays its workers."""

    def __init__(self, folder, toy, lease=30.0, **asked):
        self.reports = self.error = None

        def serve():
            try:
                with Chief(ADDRESS, lease=lease) as chief:
                    chief.keep_state_in(folder)
                    self.entered.set()
                    self.reports = chief.serve("search", oracle(**asked), toy)
                    chief.dismiss()
            except BaseException as error:
                self.error = error
                self.entered.set()

        self.entered = threading.Event()
        self.thread = threading.Thread(target=serve)

    def __enter__(self):
        self.thread.start()
        self.entered.wait()
        return self

    def __exit__(self, *error):
        self.thread.join(60)


def test_every_trial_is_done_once_and_workers_end(tmp_path):
    toy, done = Toy(), {}

    def work(name):
        with worker(name) as calls:
            done[name] = finish(calls)

    with Served(tmp_path, toy, trials=9) as served:
        threads = [threading.Thread(target=work, args=(str(number),)) for number in range(3)]
        for one in threads:
            one.start()
        for one in threads:
            one.join(60)
    names = sorted(name for names in done.values() for name in names)
    assert names == [str(number) for number in range(9)] == list(served.reports)
    assert sorted(toy.events) == sorted((event, name) for name in names for event in ("begin", "end"))


def test_a_silent_workers_trial_is_given_to_another_and_its_late_end_counts_for_nothing(tmp_path):
    toy = Toy()
    with (
        Served(tmp_path, toy, trials=2, lease=2.0) as served,
        worker("silent") as silent,
        worker("other") as other,
    ):
        trial_id, lost = silent.next_task()
        toy.wait_for("lose")
        given = [other.next_task() for _ in range(2)]
        assert {task.name for _, task in given} == {"0"}
        assert given[0][1].run_id == given[1][1].run_id != lost.run_id
        silent.end(trial_id, report(lost, objective=0.99))
        other.end(trial_id, report(given[0][1], objective=0.5))
        finish(other)
    assert served.reports["0"].objective == 0.5
    assert toy.events[:3] == [("begin", "0"), ("lose", "0"), ("begin", "0")]
    assert len([event for event in toy.events if event[0] == "end"]) == 2


def test_signs_of_life_keep_a_trial_and_tell_when_it_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr("jetexp.worker.SIGN_OF_LIFE", 0.1)
    toy = Toy()
    with Served(tmp_path, toy, trials=1, lease=2.0), worker("one") as one, worker("two") as two:
        trial_id, task = one.next_task()
        with one.signs_of_life(trial_id, task) as is_taken_away:
            time.sleep(4.0)
            assert not is_taken_away()
        toy.wait_for("lose")
        again, other = two.next_task()
        with one.signs_of_life(trial_id, task) as is_taken_away:
            end = time.monotonic() + 30
            while not is_taken_away() and time.monotonic() < end:
                time.sleep(0.05)
            assert is_taken_away()
        two.end(again, report(other))
        finish(two)
    assert [event for event, _ in toy.events] == ["begin", "lose", "begin", "end"]


def test_an_end_may_be_told_twice(tmp_path):
    toy = Toy()
    with Served(tmp_path, toy, trials=2), worker() as calls:
        trial_id, task = calls.next_task()
        calls.end(trial_id, report(task))
        calls.end(trial_id, report(task))
        finish(calls)
    assert [event for event, _ in toy.events] == ["begin", "end"] * 2


def test_a_report_that_says_nonsense_is_a_lost_worker(tmp_path):
    toy = Toy()

    def end(task, told):
        if told.kept:
            raise ReportError("nonsense")
        return told

    toy.end = end
    with Served(tmp_path, toy, trials=1) as served, worker() as calls:
        trial_id, task = calls.next_task()
        calls.end(trial_id, report(task, kept={"objective": "much"}))
        assert finish(calls) == ["0"]
    assert [event for event, _ in toy.events] == ["begin", "lose", "begin"]
    assert served.reports["0"].kept == {}


def test_a_trial_that_loses_worker_after_worker_is_given_up(tmp_path):
    toy = Toy()
    with Served(tmp_path, toy, trials=2) as served, worker() as calls:
        for _ in range(TRIES):
            trial_id, task = calls.next_task()
            assert trial_id == "0"
            calls.give_back(trial_id, task, "out of memory")
        assert finish(calls) == ["1"]
    assert [event for event, name in toy.events if name == "0"] == ["begin", "lose"] * 3 + [
        "begin",
        "give up",
    ]
    assert served.reports["0"].reason == f"{TRIES} workers did not end it, the last: out of memory"


@pytest.mark.parametrize("kind", ["random", "bayesian", "hyperband"])
def test_a_chief_goes_on_where_another_was_killed(tmp_path, kind):
    toy = Toy()
    with Served(tmp_path / "quiet", Toy(), trials=6, kind=kind) as quiet, worker() as calls:
        names = finish(calls)
    first = Served(tmp_path / "killed", toy, trials=6, kind=kind)
    toy.end = lambda task, told: (_ for _ in ()).throw(KeyboardInterrupt) if task.name == "2" else told
    with first, worker() as calls, worker("patient") as patient:
        given = [calls.next_task() for _ in range(1)]
        calls.end(given[0][0], report(given[0][1]))
        trial_id, task = calls.next_task()
        calls.end(trial_id, report(task))
        trial_id, task = patient.next_task()
        assert task.name == "2"
        ending = threading.Thread(target=patient.end, args=(trial_id, report(task)))
        ending.start()
        first.thread.join(60)
        assert isinstance(first.error, KeyboardInterrupt)
        del toy.end
        with Served(tmp_path / "killed", toy, trials=6, kind=kind) as second:
            # its worker tells the end to the new chief, who knows the trial
            ending.join(60)
            assert not ending.is_alive()
            finish(patient)
    assert sorted(second.reports) == sorted(quiet.reports) == sorted(names)
    begun = [name for event, name in toy.events if event == "begin"]
    assert sorted(begun) == sorted(names)
    # what is asked for follows from what was reached, in the same order here
    expected = [one.objective for one in quiet.reports.values()]
    assert [one.objective for one in second.reports.values()] == pytest.approx(expected, rel=0.01)


def test_what_was_finished_just_before_a_kill_is_not_done_again(tmp_path):
    toy = Toy()
    toy.end = lambda task, told: (_ for _ in ()).throw(KeyboardInterrupt)
    first = Served(tmp_path, toy, trials=2, lease=30.0)
    with first, worker() as calls:
        trial_id, task = calls.next_task()
        ending = threading.Thread(target=calls.end, args=(trial_id, report(task)))
        ending.start()
        first.thread.join(60)
        del toy.end
        toy.kept["0"] = report(task)
        with Served(tmp_path, toy, trials=2, lease=30.0) as second:
            ending.join(60)
            assert finish(calls) == ["1"]
    assert list(second.reports) == ["0", "1"]
    assert ("end", "0") not in toy.events


def test_a_state_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / "search.json").write_text("{")
    served = Served(tmp_path, Toy())
    with served:
        pass
    assert isinstance(served.error, JetexpError)
    assert "--fresh starts over" in str(served.error)


def test_two_chiefs_do_not_share_an_address(tmp_path):
    with Chief(ADDRESS), pytest.raises(JetexpError, match="No chief can listen at"), Chief(ADDRESS):
        pass
    with pytest.raises(JetexpError, match="host:port"), Chief("nowhere at all"):
        pass
