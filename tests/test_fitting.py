"""What a fit is made of: fresh jets each epoch, their order, the loss, the weights, the learning rate."""

import threading
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from toys import toy_jets, toy_parts

from jetexp import fitting, training
from jetexp.augmentation import AugmentationSettings, augmented
from jetexp.constituents import ConstituentSettings
from jetexp.fit_task import training_parts
from jetexp.images import ImageSettings, make_images
from jetexp.inference import compiled
from jetexp.inputs import InputSettings
from jetexp.recorder_protocol import NullRecorder
from jetexp.taggers.catalogue import build_network, input_settings
from jetexp.taggers.settings import CnnSettings, TrainingSettings
from jetexp.training import Parts, Sample, fit, predict

NUMBER, VALIDATION = 60, 40
# so that nothing is learned
STANDSTILL = {"learning_rate": 1e-12, "batch_size": NUMBER}


class Told(NullRecorder):
    """Calls a function after each epoch."""

    def __init__(self, call):
        self.call, self.told = call, []

    def metrics(self, values, *, step=0):
        self.told.append(self.call())


def linear_network(seed=0, *layers):
    keras.utils.set_random_seed(seed)
    image = keras.Input((6, 6, 1), name="image")
    features = image
    for layer in (*layers, keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")):
        features = layer(features)
    return keras.Model({"image": image}, features)


@pytest.fixture(scope="module")
def parts():
    return toy_parts(NUMBER, VALIDATION, pixels=6)


def settled(network, parts, *, seed=0, call=lambda: None, **settings):
    """Fit, and give how it went and what ``call`` gave after each epoch."""
    told = Told(call)
    settings = TrainingSettings(**{"batch_size": NUMBER, "epochs": 1} | settings)
    history = fit(network, parts, settings, seed=seed, recorder=told)
    return SimpleNamespace(history=history, told=told.told)


def test_an_averaged_network_normalises_as_training_jets_are_distributed(monkeypatch):
    monkeypatch.setattr(fitting, "MEASURED_AT_ONCE", 16)
    jets = toy_jets(NUMBER)
    settings = CnnSettings(
        layers=2, width=4, dense=8, normalisation="batch", constituents=ConstituentSettings(), latent=(8, 6)
    )
    parts = training_parts(jets, jets, input_settings(settings, ImageSettings(pixels=8)), 1, None)
    network = build_network(settings, parts.train.shapes, 2, seed=0)
    settled(
        network,
        parts,
        epochs=2,
        batch_size=20,
        learning_rate=0.02,
        average=0.5,
        augmentation=AugmentationSettings(drop=0.5),
    )
    layers = [one for one in network.layers if isinstance(one, keras.layers.BatchNormalization)]
    assert len(layers) == 3
    for layer in layers:
        entered = keras.ops.convert_to_numpy(keras.Model(network.input, layer.input)(parts.train.inputs))
        entered = entered.reshape(-1, entered.shape[-1])
        np.testing.assert_allclose(layer.moving_mean, entered.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(layer.moving_variance, entered.var(axis=0), atol=1e-5)
        assert np.ptp(entered, axis=0).max() > 0.01


def test_jets_of_every_class_are_measured(monkeypatch):
    monkeypatch.setattr(fitting, "MEASURED", 4)
    keras.utils.set_random_seed(0)
    image = keras.Input((1,), name="image")
    network = keras.Model({"image": image}, keras.layers.BatchNormalization()(image))
    fitting.BatchStatistics(
        network, {"image": np.repeat([0.0, 3.0], 50).astype(np.float32)[:, None]}
    ).measure()
    mean, variance = network.layers[-1].get_weights()[2:]
    assert mean == pytest.approx(1.5)
    assert variance == pytest.approx(2.25)


def flat_weights(network):
    return np.concatenate([values.ravel() for values in network.get_weights()])


class Watched(keras.layers.Layer):
    """Lets images through, and notes the first two pixels of those that are learned from."""

    def __init__(self, seen):
        super().__init__()
        # Keras would copy the list itself
        self.see, self.supports_jit = seen.append, False

    def call(self, images, training=False):
        if not training:
            return images
        import tensorflow as tf

        def note(values):
            self.see(values[:, 0, :2, 0].copy())
            return values

        noted = tf.numpy_function(note, [images], tf.float32)
        return keras.ops.reshape(noted, (-1, *images.shape[1:]))


def tagged(parts, draw):
    """Write into the first pixel which draw it is of, and into the second which jet."""
    images = parts.train.inputs["image"].copy()
    images[:, 0, 0, 0], images[:, 0, 1, 0] = draw, np.arange(len(images))
    return {"image": images}


def watched_fit(parts, epochs, seed=0, **settings):
    """Fit, and give the draw and the jet of everything that was learned from, an epoch a row."""
    seen = []
    history = settled(
        linear_network(0, Watched(seen)), parts, seed=seed, epochs=epochs, learning_rate=1e-9, **settings
    ).history
    assert all(len(batch) <= settings["batch_size"] for batch in seen)
    draw, jet = np.concatenate(seen).astype(int).reshape(history.epochs, NUMBER, 2).transpose(2, 0, 1)
    return draw, jet


def test_each_epoch_takes_each_jet_once_in_another_order(parts):
    whole = Parts(Sample(tagged(parts, 0), parts.train.label), parts.validation, 1)
    _, jet = watched_fit(whole, epochs=3, batch_size=16)
    np.testing.assert_array_equal(np.sort(jet, axis=1), np.tile(np.arange(NUMBER), (3, 1)))
    assert len({tuple(order) for order in jet.tolist()} | {tuple(range(NUMBER))}) == 4
    _, other = watched_fit(whole, epochs=1, batch_size=16, seed=1)
    assert (jet[0] != other[0]).any()


def test_inputs_are_drawn_anew_for_each_epoch_in_another_thread(parts):
    calls = []

    def redraw(settings, rng, which):
        calls.append((settings, threading.current_thread(), rng.random()))
        return tagged(parts, len(calls))

    augmentation = AugmentationSettings(smear=0.1)
    drawn = Parts(parts.train, parts.validation, 1, redraw)
    draw, jet = watched_fit(drawn, epochs=3, batch_size=16, augmentation=augmentation)
    np.testing.assert_array_equal(draw, np.repeat([[1], [2], [3]], NUMBER, axis=1))
    np.testing.assert_array_equal(np.sort(jet, axis=1), np.tile(np.arange(NUMBER), (3, 1)))
    assert all(settings == augmentation for settings, _, _ in calls)
    assert threading.main_thread() not in {thread for _, thread, _ in calls}
    assert not any(thread.is_alive() for _, thread, _ in calls)
    assert len({number for _, _, number in calls}) == len(calls) >= 3


def test_without_augmentation_nothing_is_drawn(parts):
    def redraw(settings, rng, which):
        raise AssertionError("drawn")

    settled(linear_network(), Parts(parts.train, parts.validation, 1, redraw))


def test_parts_that_cannot_be_drawn_again_are_refused(parts):
    with pytest.raises(ValueError, match="no redraw"):
        settled(linear_network(), parts, augmentation=AugmentationSettings(flip=True))


def test_what_goes_wrong_in_a_redraw_is_not_lost(parts):
    def redraw(settings, rng, which):
        raise RuntimeError("no jets today")

    drawn = Parts(parts.train, parts.validation, 1, redraw)
    with pytest.raises(RuntimeError, match="no jets today"):
        settled(linear_network(), drawn, augmentation=AugmentationSettings(flip=True))


def test_the_same_seed_gives_the_same_fit_with_augmentation_too():
    jets = toy_jets(100)
    train, validation = jets.take(slice(0, NUMBER)), jets.take(slice(NUMBER, None))
    images = ImageSettings(pixels=6)

    def redraw(settings, rng, which):
        return {"image": make_images(augmented(train, settings, rng), images)}

    drawn = Parts(
        Sample({"image": make_images(train, images)}, train.label),
        Sample({"image": make_images(validation, images)}, validation.label),
        1,
        redraw,
    )
    settings = {
        "epochs": 3,
        "batch_size": 16,
        "learning_rate": 1e-2,
        "augmentation": AugmentationSettings(drop=0.3, smear=0.3),
    }
    first, again, other = (
        settled(linear_network(0, keras.layers.Dropout(0.2)), drawn, seed=seed, **settings).history
        for seed in (0, 0, 1)
    )
    assert first.loss == again.loss != other.loss
    assert first.val_loss == again.val_loss
    plain = settled(
        linear_network(0, keras.layers.Dropout(0.2)), drawn, **settings | {"augmentation": None}
    ).history
    assert plain.loss[0] != first.loss[0]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_label_smoothing_moves_the_target_of_the_training_loss_alone(parts, smoothing):
    network = linear_network()
    logarithm = np.log(predict(network, parts.train.inputs).astype(np.float64))
    target = (1 - smoothing) * np.eye(2)[parts.train.label] + smoothing / 2
    history = settled(network, parts, label_smoothing=smoothing, **STANDSTILL).history
    assert history.loss[0] == pytest.approx(-(target * logarithm).sum(axis=1).mean(), rel=1e-5)
    assert history.accuracy[0] == pytest.approx((logarithm.argmax(axis=1) == parts.train.label).mean())
    assert history.val_loss[0] == pytest.approx(cross_entropy(network, parts.validation), rel=1e-5)


def test_smoothed_labels_make_what_is_learned_less_sure(parts):
    spread = []
    for smoothing in (0.0, 0.5):
        network = linear_network()
        loss = settled(
            network, parts, label_smoothing=smoothing, epochs=10, learning_rate=0.1, best_weights=False
        ).history.loss[-1]
        spread.append((loss, np.abs(predict(network, parts.train.inputs) - 0.5).mean()))
    assert spread[1][0] > spread[0][0]
    assert spread[1][1] < spread[0][1]


def cross_entropy(network, sample):
    scores = predict(network, sample.inputs).astype(np.float64)
    return -np.log(scores[np.arange(len(sample)), sample.label]).mean()


def with_average(parts, average, **settings):
    network = linear_network()
    return network, settled(
        network,
        parts,
        call=lambda: flat_weights(network),
        average=average,
        learning_rate=0.05,
        epochs=12,
        **settings,
    )


class Counted(keras.layers.Layer):
    """Changes nothing, and counts how often it is called."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def call(self, values):
        self.calls += 1
        return values


def test_a_step_is_traced_once(parts):
    counted = Counted()
    network = linear_network(0, counted)
    before = counted.calls
    fitting.compile_network(network, TrainingSettings(batch_size=NUMBER // 2, average=0.2), NUMBER)
    network.fit(parts.train.inputs, parts.train.label, batch_size=NUMBER // 2, verbose=0)
    assert counted.calls == before + 1


def test_the_average_is_that_of_the_weights_and_leaves_their_path_alone(parts):
    _, plain = with_average(parts, 0.0)
    # one step an epoch: the time constant grows to 2 of 12 steps
    network, averaged = with_average(parts, 2 / 12, best_weights=False)
    expected, average = [], plain.told[0]
    for step, weights in enumerate(plain.told, start=1):
        average = average + (weights - average) / max(1, min(2, step / 3))
        expected.append(average)
    np.testing.assert_allclose(averaged.told, expected, atol=1e-5)
    np.testing.assert_allclose(averaged.history.loss, plain.history.loss, rtol=1e-4)
    np.testing.assert_allclose(flat_weights(network), expected[-1], atol=1e-5)
    assert abs(averaged.history.val_loss[-1] - plain.history.val_loss[-1]) > 1e-3


def test_an_average_over_next_to_nothing_is_none(parts):
    (_, plain), (_, averaged) = (with_average(parts, average, batch_size=16) for average in (0.0, 1e-6))
    np.testing.assert_allclose(averaged.history.loss, plain.history.loss, rtol=1e-4)
    np.testing.assert_allclose(averaged.history.val_loss, plain.history.val_loss, rtol=1e-4)


@pytest.mark.parametrize(("average", "patience"), [(0.0, None), (0.1, None), (0.1, 2)])
def test_the_network_left_is_that_of_the_best_epoch(parts, average, patience):
    few = Parts(
        Sample({"image": parts.train.inputs["image"][:9]}, parts.train.label[:9]), parts.validation, 1
    )
    network = linear_network(0, keras.layers.BatchNormalization(momentum=0.5))
    history = settled(
        network, few, average=average, patience=patience, learning_rate=0.3, batch_size=3, epochs=12
    ).history
    best = int(np.argmin(history.val_loss)) + 1
    assert history.best_epoch == best
    assert history.epochs == (12 if patience is None else min(12, best + patience))
    assert best < history.epochs
    assert history.val_loss[best - 1] == pytest.approx(cross_entropy(network, parts.validation), rel=1e-4)


def test_weight_decay_makes_weights_smaller(parts):
    # with nothing to learn from, the weights do nothing but decay
    label = parts.train.label
    blank = {"image": np.zeros_like(parts.train.inputs["image"])}
    silent = Parts(Sample(blank, label), parts.validation, 1)
    network = linear_network()
    before = network.get_weights()[0]
    settled(network, silent, weight_decay=0.5, learning_rate=0.1, epochs=4, best_weights=False)
    np.testing.assert_allclose(network.get_weights()[0], before * (1 - 0.1 * 0.5) ** 4, rtol=1e-5)


def test_a_step_asks_its_schedule_once_however_many_weights_decay(parts, monkeypatch):
    asked = []
    schedule = keras.optimizers.schedules.CosineDecay
    real = schedule.__call__

    def counted(self, step):
        asked.append(step)
        return real(self, step)

    monkeypatch.setattr(schedule, "__call__", counted)
    network = linear_network(0, keras.layers.BatchNormalization())
    settled(network, parts, weight_decay=0.1, warmup_epochs=1, learning_rate=0.1, epochs=2)
    assert len(network.trainable_variables) == 4
    # a step of TensorFlow's is traced once, and asks no more afterwards
    assert len(asked) == 1


def test_what_judges_an_epoch_is_compiled_once(parts, monkeypatch):
    compilations = []

    def counted(network):
        compilations.append(network)
        return compiled(network)

    monkeypatch.setattr(training, "compiled", counted)
    monkeypatch.setattr(training, "BATCH", 1)
    settled(linear_network(), parts, learning_rate=0.1, epochs=3)
    assert len(compilations) == 1


def rates(parts, **settings):
    """Give the learning rate of each step after the first, and by how much the first moved weights."""
    network = linear_network()
    before = flat_weights(network)

    def look():
        return float(network.optimizer.learning_rate), np.abs(flat_weights(network) - before).max()

    told = settled(network, parts, call=look, learning_rate=0.1, **settings).told
    return [rate for rate, _ in told], told[0][1]


def test_the_learning_rate_rises_then_falls_like_a_cosine(parts):
    found, first = rates(parts, epochs=8, warmup_epochs=4, schedule="cosine")
    fall = 0.05 * (1 + np.cos(np.pi * np.arange(5) / 4))
    np.testing.assert_allclose(found, [0.025, 0.05, 0.075, *fall], atol=1e-6)
    assert first < 1e-9


def test_the_learning_rate_rises_and_stays(parts):
    found, first = rates(parts, epochs=5, warmup_epochs=2)
    np.testing.assert_allclose(found, [0.05, 0.1, 0.1, 0.1, 0.1], rtol=1e-5)
    assert first < 1e-9


def test_a_part_of_an_epoch_may_be_the_warm_up(parts):
    found, _ = rates(parts, epochs=2, batch_size=15, warmup_epochs=0.5, schedule="cosine")
    # four steps an epoch: two of warm-up, six of falling
    np.testing.assert_allclose(found, [0.05 * (1 + np.cos(np.pi * 2 / 6)), 0.0], atol=1e-6)


def test_a_warm_up_longer_than_the_fit_never_reaches_the_peak(parts):
    found, _ = rates(parts, epochs=2, warmup_epochs=10, schedule="cosine")
    np.testing.assert_allclose(found, [0.01, 0.02], rtol=1e-5)


def test_without_a_warm_up_the_first_step_is_a_whole_one(parts):
    for schedule in ("constant", "cosine"):
        found, first = rates(parts, epochs=2, schedule=schedule)
        # Adam's first step is the learning rate, whatever the gradient
        assert first == pytest.approx(0.1, rel=1e-3)
        np.testing.assert_allclose(found, [0.1, 0.1] if schedule == "constant" else [0.05, 0.0], atol=1e-6)


def test_probabilities_of_zero_have_a_loss(parts):
    network = linear_network()
    kernel = network.get_weights()[0]
    network.set_weights([np.zeros_like(kernel), np.array([200.0, -200.0], np.float32)])
    history = settled(network, parts, **STANDSTILL).history
    wrong = (parts.validation.label == 1).mean()
    assert history.val_loss[0] == pytest.approx(-wrong * np.log(1e-7), rel=1e-4)


def test_the_first_jets_are_drawn_before_they_are_asked_for(parts):
    drawn = threading.Event()

    def redraw(settings, rng, which):
        drawn.set()
        return parts.train.inputs

    drawable = Parts(parts.train, parts.validation, 1, redraw)
    settings = TrainingSettings(epochs=2, augmentation=AugmentationSettings(smear=0.1))
    pieces = fitting.pieces_of_epochs(drawable, settings, 0)
    assert drawn.wait(60)
    assert [piece.epoch for piece in pieces] == [0, 1]


@pytest.fixture
def streamed(monkeypatch):
    """Toy jets sorted by class, whose inputs are made in pieces of forty jets."""
    monkeypatch.setattr(fitting, "PIECE", 40)
    monkeypatch.setattr(fitting, "RUN", 4)
    jets = toy_jets(130)
    jets = jets.take(np.argsort(jets.label, kind="stable"))
    inputs = InputSettings(images=ImageSettings(pixels=6))
    return jets, training_parts(jets, toy_jets(40, seed=1), inputs, 1, None, memory=0)


@pytest.mark.parametrize("augmentation", [None, AugmentationSettings(smear=0.1)])
def test_a_streamed_epoch_shows_every_jet_once_and_well_mixed(streamed, augmentation):
    jets, parts = streamed
    settings = TrainingSettings(epochs=2, augmentation=augmentation)
    pieces = list(fitting.pieces_of_epochs(parts, settings, 0))
    assert [(piece.epoch, piece.last, len(piece.jets)) for piece in pieces] == [
        (epoch, last, number)
        for epoch in (0, 1)
        for last, number in ((False, 40), (False, 40), (False, 40), (True, 10))
    ]
    images = make_images(jets, ImageSettings(pixels=6))
    for piece in pieces:
        same = np.array_equal(piece.inputs["image"], images[piece.jets])
        assert same == (augmentation is None)
        if len(piece.jets) == 40:
            assert 5 <= parts.train.label[piece.jets].sum() <= 35
    first, second = (np.concatenate([one.jets for one in pieces if one.epoch == epoch]) for epoch in (0, 1))
    assert np.array_equal(np.sort(first), np.arange(130))
    assert np.array_equal(np.sort(second), np.arange(130))
    assert not np.array_equal(first, second)


def test_a_streamed_fit_is_told_of_by_epoch_and_learns(streamed):
    _, parts = streamed
    network = linear_network(0)
    done = settled(network, parts, epochs=30, learning_rate=0.05, batch_size=16)
    assert done.history.epochs == 30
    assert done.history.val_loss[-1] < 0.5 * done.history.val_loss[0]
    # the loss of an epoch is that of all its jets
    still = settled(linear_network(0), parts, learning_rate=1e-12, batch_size=16)
    scores = predict(linear_network(0), parts.train.inputs)
    expected = -np.log(scores[np.arange(130), parts.train.label]).mean()
    assert still.history.loss[0] == pytest.approx(expected, rel=1e-4)
