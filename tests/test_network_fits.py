"""Final fits of networks: some at once in worker processes, or one after the other here."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest
from mlflow import MlflowClient
from toys import toy_jets

from jetexp import network_fits
from jetexp.augmentation import AugmentationSettings
from jetexp.errors import JetexpError
from jetexp.experiment import Experiment
from jetexp.fit_store import FitStore
from jetexp.fit_task import epochs_so_far, task_of
from jetexp.fits import TaggerFits
from jetexp.images import ImageSettings
from jetexp.jets.settings import GenerationSettings
from jetexp.network_fits import WORTH_WORKERS, fit_networks
from jetexp.parts import JetParts
from jetexp.recording import served_settings
from jetexp.taggers.settings import CnnSettings, MassWindowSettings, TrainingSettings
from jetexp.tracking import open_parent
from jetexp.workers import cores

EPOCHS = 3
JETS = JetParts(toy_jets(300, 1), toy_jets(150, 2), toy_jets(200, 3))
EXPERIMENT = Experiment(
    name="toys",
    classes=("background", "signal"),
    signal="signal",
    jets=GenerationSettings(per_class=300, seed=11),
    images=ImageSettings(pixels=8),
    tagger=CnnSettings(layers=1, width=4, dense=8),
    training=TrainingSettings(epochs=EPOCHS, batch_size=50, augmentation=AugmentationSettings(drop=0.1)),
    references=[
        {"name": "small", "tagger": {"kind": "cnn", "layers": 1, "width": 2, "dense": 4}, "seeds": 1},
        {"name": "window", "tagger": MassWindowSettings()},
    ],
    seeds=2,
)
NAMES = ["seed-00", "seed-01", "small-seed-00"]


def fitted(experiment, folder, *, workers, variants=("",), store=None):
    """Fit an experiment's networks, once for each variant."""
    with open_parent("toys", "toys", served=served_settings(experiment)) as parent:
        everything = [TaggerFits(experiment, JETS, parent, folder / "cache", name) for name in variants]
        return fit_networks(everything, store=store, workers=workers)


def runs_by_name():
    client = MlflowClient()
    identifier = client.get_experiment_by_name("toys").experiment_id
    return {run.info.run_name: run for run in client.search_runs([identifier])}


def epochs_recorded(run):
    points = MlflowClient().get_metric_history(run.info.run_id, "val_auc")
    return sorted(point.step for point in points)


@pytest.mark.slow
def test_fits_in_workers_are_those_made_here(mlflow_store: Path):
    here = fitted(EXPERIMENT, mlflow_store, workers=1)
    apart = fitted(EXPERIMENT, mlflow_store, workers=2)
    assert list(here) == list(apart) == NAMES
    for name in NAMES:
        # threads may add in another order
        np.testing.assert_allclose(apart[name].scores, here[name].scores, atol=1e-3)
        assert apart[name].history.val_auc == pytest.approx(here[name].history.val_auc, abs=1e-3)
    assert not np.allclose(here["seed-00"].scores, here["seed-01"].scores, atol=1e-3)


@pytest.mark.slow
def test_each_fit_in_a_worker_is_a_finished_run_with_all_its_epochs(mlflow_store: Path):
    fits = fitted(EXPERIMENT, mlflow_store, workers=2, variants=("first", "second"))
    runs = runs_by_name()
    for name in NAMES:
        for variant in ("first", "second"):
            run = runs[f"{variant}: {name}"]
            assert run.info.status == "FINISHED"
            assert epochs_recorded(run) == [1, 2, 3]
            assert run.data.metrics["test_auc"] == fits[f"{variant}: {name}"].test.auc
        # variants that train alike share their fits
        assert "finished_before" not in runs[f"first: {name}"].data.tags
        assert "finished_before" in runs[f"second: {name}"].data.tags
    assert not list(Path.cwd().glob("**/*.epochs"))


@pytest.mark.slow
def test_the_longest_fit_begins_first(mlflow_store: Path):
    long = EXPERIMENT.training.model_copy(update={"epochs": 2 * EPOCHS})
    content = EXPERIMENT.model_dump() | {"seeds": 3}
    content["references"] = [
        {"name": "long", "tagger": EXPERIMENT.tagger, "training": long, "seeds": 1},
    ]
    fits = fitted(Experiment(**content), mlflow_store, workers=2)
    assert list(fits) == ["seed-00", "seed-01", "seed-02", "long-seed-00"]
    begun = {name: run.info.start_time for name, run in runs_by_name().items()}
    assert begun["long-seed-00"] < min(begun[f"seed-{number:02d}"] for number in range(3))


@pytest.mark.slow
def test_where_one_fit_fails_the_others_are_killed(mlflow_store: Path):
    long = EXPERIMENT.training.model_copy(update={"epochs": 10_000})
    # the toys carry no charges, which the worker finds out
    broken = {
        "name": "broken",
        "tagger": {"kind": "cnn", "layers": 1},
        "images": {"channels": ["charged"]},
        "seeds": 1,
    }
    content = EXPERIMENT.model_dump() | {"training": long.model_dump(), "references": [broken], "seeds": 1}
    with pytest.raises(JetexpError, match="need the constituents' charges"):
        fitted(Experiment(**content), mlflow_store, workers=2)
    statuses = {name: run.info.status for name, run in runs_by_name().items()}
    assert statuses == {"toys": "FAILED", "seed-00": "KILLED", "broken-seed-00": "FAILED"}


def test_finished_fits_are_found_again(mlflow_store: Path):
    store = FitStore(mlflow_store / "fits")
    once = fitted(EXPERIMENT, mlflow_store, workers=1, store=store)
    kept = {path: path.stat().st_mtime_ns for path in store.folder.iterdir()}
    again = fitted(EXPERIMENT, mlflow_store, workers=1, store=store)
    assert {path: path.stat().st_mtime_ns for path in store.folder.iterdir()} == kept
    assert len(kept) == len(NAMES)
    for name in NAMES:
        np.testing.assert_allclose(again[name].scores, once[name].scores, atol=1e-6)
        assert epochs_recorded(runs_by_name()[name]) == [1, 2, 3]


def tasks(number, epochs=EPOCHS):
    one = EXPERIMENT.taggers[0]
    training = one.training.model_copy(update={"epochs": epochs})
    long = dataclasses.replace(one, training=training)
    return [task_of(EXPERIMENT, JETS, long, seed, name="seed", cache=Path()) for seed in range(number)]


def test_short_fits_are_made_here_and_long_ones_in_a_worker_a_core(monkeypatch):
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["cpu:0"])
    long = WORTH_WORKERS // len(JETS.train)
    assert network_fits._processes(tasks(5), None) == 1
    assert network_fits._processes(tasks(5, long), None) == min(cores(), 5)
    assert network_fits._processes(tasks(1, long), None) == 1
    assert network_fits._processes(tasks(5), 3) == 3


def test_fits_share_an_accelerator_only_if_that_is_asked_for(monkeypatch):
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["cpu:0", "gpu:0"])
    assert network_fits._processes(tasks(5, WORTH_WORKERS), None) == 1
    assert network_fits._processes(tasks(5), 3) == 3


def test_fits_of_other_seeds_have_other_keys():
    assert len({task.key for task in tasks(4)}) == 4


def test_a_line_that_is_being_written_is_no_epoch_yet(tmp_path):
    store = FitStore(tmp_path)
    assert epochs_so_far(store, "one") == []
    (tmp_path / ".one.epochs").write_text('{"val_auc": 0.5}\n{"val_a')
    assert epochs_so_far(store, "one") == [{"val_auc": 0.5}]
