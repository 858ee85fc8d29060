"""A fit: it learns, it repeats itself, it keeps the right weights, and it tells what it did."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import ValidationError
from rich.progress import Progress
from sklearn.metrics import log_loss, roc_auc_score
from toys import toy_parts

from jetexp import network_size
from jetexp.errors import JetexpError
from jetexp.fit_task import fitted_network
from jetexp.recorder_protocol import NullRecorder
from jetexp.taggers.catalogue import build_network
from jetexp.taggers.settings import CnnSettings, TrainingSettings
from jetexp.training import Parts, Sample, devices, fit, network_summary, predict

SMALL = CnnSettings(layers=2, width=8, dense=16, dropout=0.1)
QUICK = TrainingSettings(learning_rate=3e-3, batch_size=64, epochs=3)


class Memory(NullRecorder):
    """Keeps the metrics it is given."""

    def __init__(self):
        self.steps = {}

    def metrics(self, values, *, step=0):
        self.steps[step] = dict(values)

    def child(self, name):
        return nullcontext(self)


def first_jets(sample, which):
    """Take the first jets of a sample, or those of a mask."""
    which = slice(0, which) if isinstance(which, int) else which
    return Sample({name: values[which] for name, values in sample.inputs.items()}, sample.label[which])


def small_network(seed=0):
    return build_network(SMALL, {"image": (12, 12, 1)}, 2, seed)


@pytest.fixture(scope="module")
def parts():
    return toy_parts(1000, 500)


@pytest.fixture(scope="module")
def fitted(parts):
    memory, network = Memory(), small_network()
    history = fit(network, parts, QUICK, seed=0, recorder=memory)
    return SimpleNamespace(network=network, history=history, memory=memory)


def test_a_fit_learns_and_records_every_epoch(fitted):
    history, steps = fitted.history, fitted.memory.steps
    assert history.epochs == 3
    assert history.val_auc[-1] > 0.75
    assert history.loss[-1] < history.loss[0]
    assert sorted(steps) == [1, 2, 3]
    for epoch, values in steps.items():
        assert set(values) == {"loss", "accuracy", "val_loss", "val_accuracy", "val_auc"}
        assert all(values[name] == getattr(history, name)[epoch - 1] for name in values)
    assert SimpleNamespace(**history.to_dict()).val_auc == history.val_auc


def cross_entropy(network, sample):
    scores = predict(network, sample.inputs).astype(np.float64)
    return log_loss(sample.label, scores / scores.sum(axis=1, keepdims=True))


def test_the_validation_numbers_are_those_of_the_network_left(parts, fitted):
    history, kept = fitted.history, fitted.history.best_epoch - 1
    scores, label = predict(fitted.network, parts.validation.inputs), parts.validation.label
    assert history.val_loss[kept] == min(history.val_loss)
    assert history.val_loss[kept] == pytest.approx(cross_entropy(fitted.network, parts.validation), rel=1e-4)
    assert history.val_auc[kept] == pytest.approx(roc_auc_score(label, scores[:, 1]), rel=1e-6)
    assert history.val_accuracy[kept] == pytest.approx((scores.argmax(axis=1) == label).mean())


def test_the_same_seed_gives_the_same_fit_and_another_does_not(parts, fitted):
    again, other = (fit(small_network(), parts, QUICK, seed=seed, recorder=NullRecorder()) for seed in (0, 1))
    assert fitted.history.val_loss == again.val_loss
    assert fitted.history.val_loss != other.val_loss


def overfitting(parts, **changes):
    """Give nine jets to learn by heart, at a rate that soon makes the validation loss rise."""
    few = Parts(first_jets(parts.train, 9), parts.validation, signal=1)
    settings = TrainingSettings(learning_rate=1e-2, batch_size=3, epochs=40, **changes)
    network = small_network()
    return network, fit(network, few, settings, seed=0, recorder=NullRecorder())


def test_a_fit_in_half_precision_leaves_a_network_of_float32(parts, fitted):
    half = QUICK.model_copy(update={"precision": "mixed_bfloat16"})
    network, history = fitted_network(
        SMALL, half, parts, classes=2, seed=0, recorder=NullRecorder(), display=None, name="half"
    )
    assert {one.compute_dtype for one in network.layers} == {"float32"}
    # its steps were other ones, and led as far
    assert history.loss != fitted.history.loss
    assert history.loss == pytest.approx(fitted.history.loss, abs=0.03)
    kept = history.best_epoch - 1
    assert history.val_auc[kept] == pytest.approx(max(fitted.history.val_auc), abs=0.02)
    # and it is judged as it is kept
    assert history.val_loss[kept] == pytest.approx(cross_entropy(network, parts.validation), rel=1e-5)


def test_a_network_too_wide_for_the_memory_is_refused_before_it_is_built(parts, monkeypatch):
    monkeypatch.setattr(network_size, "available_memory", lambda: 40_000_000)
    wide = SMALL.model_copy(update={"width": 1024})
    with pytest.raises(JetexpError, match=r"at least \S+ GB of memory, and 0.04 GB are available"):
        fitted_network(
            wide, QUICK, parts, classes=2, seed=0, recorder=NullRecorder(), display=None, name="wide"
        )


def test_the_best_weights_are_kept_and_patience_ends_the_fit(parts):
    network, history = overfitting(parts, best_weights=True, patience=2)
    assert history.best_epoch == int(np.argmin(history.val_loss)) + 1
    assert history.epochs == history.best_epoch + 2 < 40
    assert min(history.val_loss) == pytest.approx(cross_entropy(network, parts.validation), rel=1e-3)


def test_the_last_weights_are_kept_if_the_best_are_not_asked_for(parts):
    network, history = overfitting(parts, best_weights=False)
    assert int(np.argmin(history.val_loss)) + 1 < history.epochs == history.best_epoch == 40
    assert history.val_loss[-1] == pytest.approx(cross_entropy(network, parts.validation), rel=1e-3)


def test_the_cosine_schedule_ends_at_zero(parts, fitted):
    network = small_network()
    settings = QUICK.model_copy(update={"schedule": "cosine", "epochs": 1})
    fit(network, parts, settings, seed=0, recorder=NullRecorder())
    assert float(network.optimizer.learning_rate) == pytest.approx(0, abs=1e-6)
    assert float(fitted.network.optimizer.learning_rate) == pytest.approx(3e-3)


def test_a_loss_that_is_no_number_is_an_error(parts):
    spoiled = Parts(
        Sample({"image": parts.train.inputs["image"] * np.float32(np.nan)}, parts.train.label),
        parts.validation,
        1,
    )
    with pytest.raises(JetexpError, match=r"no longer a number in epoch 1, with learning_rate 0\.003"):
        fit(small_network(), spoiled, QUICK, seed=0, recorder=NullRecorder())


@pytest.mark.parametrize(("label", "missing"), [(0, "signal"), (1, "background")])
def test_parts_of_one_class_are_refused(parts, label, missing):
    only = parts.validation.label == label
    with pytest.raises(JetexpError, match=f"validation part .* holds no {missing} jets"):
        Parts(parts.train, first_jets(parts.validation, only), 1)


def test_images_and_labels_must_match(parts):
    with pytest.raises(ValueError, match="1000 jets in image but 3 labels"):
        Sample(parts.train.inputs, parts.train.label[:3])


@pytest.mark.parametrize("number", [0, 1, 500, 1500])
def test_predict_gives_what_the_network_does(number):
    network, images = small_network(), toy_parts(1500, 10).train.inputs["image"][:number]
    scores = predict(network, {"image": images})
    assert scores.shape == (number, 2)
    assert scores.dtype == np.float32
    if number:
        expected = np.asarray(network({"image": images}, training=False))
        np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_progress_shows_the_epochs_and_goes_away(parts):
    seen = []

    class Watched(Progress):
        def update(self, task_id, **values):
            seen.append(values)
            super().update(task_id, **values)

    display = Watched(disable=True)
    fit(small_network(), parts, QUICK, seed=0, recorder=NullRecorder(), progress=display)
    assert len(seen) == 3
    assert not display.tasks


def test_several_devices_are_refused_where_keras_has_one():
    two = TrainingSettings(batch_size=64, devices=2)
    with pytest.raises(JetexpError, match="tensorflow backend fits on one: KERAS_BACKEND=jax would be right"):
        fit(small_network(), toy_parts(100, 50), two, seed=0, recorder=NullRecorder())
    with pytest.raises(ValidationError, match="64 jets cannot be shared by 3 devices"):
        TrainingSettings(batch_size=64, devices=3)


def test_devices_and_summary():
    assert any(device.startswith("cpu") for device in devices())
    summary = network_summary(small_network())
    assert "Conv2D" in summary
    assert "Total params" in summary
