"""What a fit is made of: the inputs of each epoch, drawn in the background, and the judgement after it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from jetexp.inputs import Inputs
from jetexp.taggers.settings import TrainingSettings

if TYPE_CHECKING:
    from jetexp.training import Parts

__all__ = ["MovingAverage", "compile_network", "inputs_of_epochs", "judged", "targets"]

# a probability of exactly zero has no logarithm; Keras clips its own loss at the same value
SMALLEST_PROBABILITY = 1e-7


def inputs_of_epochs(parts: Parts, settings: TrainingSettings, seed: int) -> Iterator[Inputs]:
    """Give the training jets' inputs for each epoch, drawn anew while the epoch before runs.

    Parameters
    ----------
    parts : Parts
        The training jets, and how their inputs are drawn again.
    settings : TrainingSettings
        Number of epochs, and augmentation; without it the inputs are always the same.
    seed : int
        Of the augmentation.

    Yields
    ------
    dict of str to ndarray
        Inputs of all training jets, in their order.

    Raises
    ------
    ValueError
        If there is augmentation, but no way to draw inputs again.
    """
    redraw, augmentation = parts.redraw, settings.augmentation
    if augmentation is None:
        for _ in range(settings.epochs):
            yield parts.train.inputs
        return
    if redraw is None:
        raise ValueError("these parts cannot be augmented: they have no redraw")
    rng = np.random.default_rng(seed)
    with ThreadPoolExecutor(1, "augmentation") as pool:
        drawn = pool.submit(redraw, augmentation, rng)
        for left in reversed(range(settings.epochs)):
            inputs = drawn.result()
            if left:
                drawn = pool.submit(redraw, augmentation, rng)
            yield inputs


def targets(parts: Parts, settings: TrainingSettings, *, classes: int) -> npt.NDArray[Any]:
    """Give what the loss compares scores with.

    Parameters
    ----------
    parts : Parts
        With the labels.
    settings : TrainingSettings
        Keras smooths one-hot targets alone.
    classes : int
        Number of classes.

    Returns
    -------
    ndarray, shape (N,) or (N, classes)
        Labels, or one-hot vectors where they are to be smoothed.
    """
    label = parts.train.label
    if not settings.label_smoothing:
        return label
    return np.eye(classes, dtype=np.float32)[label]


class MovingAverage(keras.callbacks.Callback):
    """Exponential moving average of the weights, step by step.

    Keras's own begins with the untrained weights and is slow to forget them. Here the time constant
    grows with the steps made, until it is what is asked for, so that the average is of use from the first
    epoch on.

    Parameters
    ----------
    settings : TrainingSettings
        The time constant, as a fraction of all steps.
    steps : int
        Steps of an epoch.
    """

    # of the steps made so far, the part that the average reaches back to
    SHARE = 1 / 3

    def __init__(self, settings: TrainingSettings, steps: int) -> None:
        super().__init__()
        self._constant = settings.average * settings.epochs * steps
        self._made = 0
        self._average: list[npt.NDArray[np.float32]] = []
        self._weights: list[npt.NDArray[np.float32]] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Add the weights of a step."""
        self._made += 1
        share = 1 / max(1.0, min(self._constant, self.SHARE * self._made))
        weights = self._now()
        if not self._average:
            self._average = weights
        for average, one in zip(self._average, weights, strict=True):
            average += share * (one - average)

    def put_in(self) -> None:
        """Put the average in the weights' place."""
        self._weights = self._now()
        self._set(self._average)

    def take_out(self) -> None:
        """Put the weights back."""
        if self._weights:
            self._set(self._weights)

    def _now(self) -> list[npt.NDArray[np.float32]]:
        # copies: what the backend gives may be a view of weights that change
        return [np.array(keras.ops.convert_to_numpy(one)) for one in self.model.trainable_variables]

    def _set(self, values: list[npt.NDArray[np.float32]]) -> None:
        for variable, value in zip(self.model.trainable_variables, values, strict=True):
            variable.assign(value)


def compile_network(network: keras.Model, settings: TrainingSettings, jets: int) -> None:
    """Give a network its loss and its optimizer.

    Parameters
    ----------
    network : keras.Model
        Changed in place.
    settings : TrainingSettings
        Learning rate and so on.
    jets : int
        Number of training jets, for the schedule.
    """
    per_epoch = -(-jets // settings.batch_size)
    rate = _learning_rate(settings, per_epoch)
    if settings.weight_decay:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay)
    else:
        optimizer = keras.optimizers.Adam(rate)
    loss: Any = "sparse_categorical_crossentropy"
    if settings.label_smoothing:
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing)
    network.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])


def _learning_rate(settings: TrainingSettings, per_epoch: int) -> Any:
    """Return the learning rate, or its schedule over all steps."""
    warmup = round(settings.warmup_epochs * per_epoch)
    if settings.schedule == "constant" and not warmup:
        return settings.learning_rate
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else settings.learning_rate,
        max(1, settings.epochs * per_epoch - warmup),
        alpha=1.0 if settings.schedule == "constant" else 0.0,
        warmup_target=settings.learning_rate if warmup else None,
        warmup_steps=warmup,
    )


def judged(scores: npt.NDArray[np.float32], label: npt.NDArray[np.int64], signal: int) -> dict[str, float]:
    """Judge the scores of the validation jets.

    Parameters
    ----------
    scores : ndarray of float32, shape (N, classes)
        Class probabilities.
    label : ndarray of int64, shape (N,)
        True classes.
    signal : int
        The class that is signal.

    Returns
    -------
    dict of str to float
        ``val_loss`` (cross-entropy), ``val_accuracy`` and ``val_auc``.
    """
    of_truth = np.maximum(scores[np.arange(len(label)), label], SMALLEST_PROBABILITY)
    return {
        "val_loss": float(-np.log(of_truth.astype(np.float64)).mean()),
        "val_accuracy": float((scores.argmax(axis=1) == label).mean()),
        "val_auc": float(roc_auc_score(label == signal, scores[:, signal])),
    }
