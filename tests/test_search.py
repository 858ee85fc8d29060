"""The search: the same trials for the same seed, failures told and survived."""

import json
from contextlib import contextmanager

import pytest
from searches import searching
from toys import toy_parts

from jetexp import network_size
from jetexp.errors import JetexpError, SurroundingsError
from jetexp.experiment import Experiment
from jetexp.recorder_protocol import NullRecorder
from jetexp.search import SearchResult, search
from jetexp.search_settings import Choices, Range, SearchSettings

SPACE = {
    "learning_rate": Range(min=1e-4, max=1e-2, scale="log"),
    "layers": Range(min=1, max=3),
    "dropout": Choices(choices=(0, 0.2)),
    "schedule": Choices(choices=("constant", "cosine")),
}


class Children(NullRecorder):
    """Remembers its children, and how each ended."""

    def __init__(self):
        self.children = {}
        self.recorded = {}
        self.steps = []

    def parameters(self, values):
        self.recorded.update(values)

    def metrics(self, values, *, step=0):
        self.steps.append(step)

    @contextmanager
    def child(self, name):
        child = self.children[name] = Children()
        child.status = "FAILED"
        yield child
        child.status = "FINISHED"


def experiment(**search_settings) -> Experiment:
    settings = {"method": "random", "trials": 3, "epochs": 1, "space": SPACE} | search_settings
    return searching(SearchSettings(**settings))


class Spoilt(Children):
    """Its first children cannot even be told their parameters."""

    def __init__(self, error, number):
        super().__init__()
        self.error, self.number = error, number

    @contextmanager
    def child(self, name):
        with super().child(name) as child:
            if len(self.children) <= self.number:
                raise self.error
            yield child


@pytest.fixture(scope="module")
def parts():
    return toy_parts(200, 100)


def run(parts, on_trial_end=None, recorder=None, **settings) -> tuple[SearchResult, Children]:
    recorder = Children() if recorder is None else recorder
    result = search(experiment(**settings), parts, recorder=recorder, on_trial_end=on_trial_end)
    return result, recorder


@pytest.fixture(scope="module")
def searched(parts):
    seen = []

    def on_trial_end(child, network, scores):
        seen.append((child, network.count_params(), scores.shape))

    result, recorder = run(parts, on_trial_end, epochs=2)
    return result, recorder, seen


def test_every_trial_is_a_child_with_parameters_metrics_and_scores(searched):
    result, recorder, seen = searched
    assert [trial.name for trial in result.trials] == ["trial-00", "trial-01", "trial-02"]
    assert list(recorder.children) == ["trial-00", "trial-01", "trial-02"]
    for trial, (child, _, shape) in zip(result.trials, seen, strict=True):
        assert child is recorder.children[trial.name]
        assert child.status == "FINISHED"
        assert child.recorded == {"epochs": 2, **trial.hyperparameters}
        assert child.steps == [1, 2]
        assert shape == (100, 2)
        assert set(trial.hyperparameters) == set(SPACE)
        assert 1e-4 <= trial.hyperparameters["learning_rate"] <= 1e-2
        assert trial.hyperparameters["layers"] in (1, 2, 3)
        assert type(trial.hyperparameters["dropout"]) is float
    best = max(result.trials, key=lambda trial: trial.objective)
    assert (result.best_trial, result.best) == (best.name, best.hyperparameters)


def test_the_same_seed_gives_the_same_trials(searched, parts):
    again, _ = run(parts, epochs=2)

    def values(result):
        return [(trial.hyperparameters, trial.objective) for trial in result.trials]

    assert values(searched[0]) == values(again)


@pytest.mark.parametrize(("method", "epochs"), [("bayesian", 1), ("hyperband", 2)])
def test_other_methods(parts, method, epochs):
    result, _ = run(parts, method=method, epochs=epochs)
    assert 1 < len(result.trials) <= 3
    for trial in result.trials:
        assert all(type(value) in (int, float, str) for value in trial.hyperparameters.values())
        assert set(trial.hyperparameters) == set(SPACE)
        assert trial.epochs <= epochs


def test_a_network_too_wide_for_the_memory_is_a_failed_trial_and_the_search_goes_on(parts, monkeypatch):
    monkeypatch.setattr(network_size, "available_memory", lambda: 400_000_000)
    space = {"width": Choices(choices=(1024, 4))}
    result, recorder = run(parts, trials=2, space=space)
    failed = next(trial for trial in result.trials if trial.status == "failed")
    assert failed.hyperparameters == {"width": 1024}
    assert failed.reason.startswith("A fit of this network takes at least 0.97 GB of memory, and 0.40 GB")
    assert recorder.children[failed.name].status == "FAILED"
    assert result.best == {"width": 4}


def test_the_loss_is_minimised(parts):
    space = {"learning_rate": Choices(choices=(1e-6, 1e-2))}
    result, _ = run(parts, objective="val_loss", trials=2, space=space)
    assert result.objective == "val_loss"
    assert result.best == {"learning_rate": 1e-2}


def test_a_best_value_at_the_edge_of_the_space_is_told_and_kept(parts):
    # three trials try them all, and a fit hardly moves at the two smaller ones
    space = {"learning_rate": Choices(choices=(1e-7, 1e-6, 3e-3))}
    result, _ = run(parts, objective="val_loss", trials=3, space=space)
    assert result.edges == {"learning_rate": "upper"}
    assert result.hints[0].startswith("The best learning_rate, 0.003, lies at the upper edge")
    assert SearchResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result


def test_failed_trials_are_failed_children_and_the_search_goes_on(parts, capfd):
    spoilt = Spoilt(RuntimeError("the cat ate it"), number=4)
    result, recorder = run(parts, recorder=spoilt, trials=5)
    assert [child.status for child in recorder.children.values()] == ["FAILED"] * 4 + ["FINISHED"]
    assert [trial.status for trial in result.trials] == ["failed"] * 4 + ["finished"]
    assert result.trials[0].reason == "RuntimeError: the cat ate it"
    assert result.trials[0].objective is None
    assert result.best_trial == "trial-04"
    assert capfd.readouterr().out == ""


def test_a_trial_that_fails_after_its_fit_is_not_the_best(parts):
    def fails(*_):
        raise OSError("cut off")

    with pytest.raises(JetexpError, match=r"the last: OSError: cut off"):
        run(parts, fails, trials=1)


def test_if_every_trial_fails_the_last_reason_is_told(parts):
    spoilt = Spoilt(JetexpError("The loss went wild."), number=3)
    with pytest.raises(JetexpError, match=r"the search's 3 trials failed, the last: The loss went wild\."):
        run(parts, recorder=spoilt)


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), SurroundingsError("It is away.")])
def test_a_fault_of_the_surroundings_is_no_trials_and_ends_the_search(parts, fault):
    spoilt = Spoilt(fault, number=1)
    with pytest.raises(type(fault), match=r"No space left|It is away"):
        run(parts, recorder=spoilt)
    assert [child.status for child in spoilt.children.values()] == ["FAILED"]


def test_an_interrupt_is_not_swallowed(parts):
    with pytest.raises(KeyboardInterrupt):
        run(parts, recorder=Spoilt(KeyboardInterrupt(), number=1))


def test_epochs_can_be_searched_too(parts):
    result, recorder = run(parts, space={"epochs": Choices(choices=(2, 3))}, trials=1)
    (trial,) = result.trials
    assert trial.epochs == trial.hyperparameters["epochs"] == len(recorder.children["trial-00"].steps)
