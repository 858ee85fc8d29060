"""What a fit is made of: the inputs of each epoch, drawn in the background, and the judgement after it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from jetexp.inference import compiled
from jetexp.inputs import Inputs, LazyArray, number_of_jets, some_inputs
from jetexp.taggers.settings import TrainingSettings

if TYPE_CHECKING:
    from jetexp.training import Parts

__all__ = ["AveragingAdam", "BatchStatistics", "compile_network", "judged", "pieces_of_epochs", "targets"]

# a probability of exactly zero has no logarithm; Keras clips its own loss at the same value
SMALLEST_PROBABILITY = 1e-7
# jets of a piece where inputs are not in memory, and neighbours that stay together in it
PIECE = 128 * 64
RUN = 64
# jets by which batch normalisation is measured: enough for a hundredth of their spread
MEASURED, MEASURED_AT_ONCE = 4_096, 512


@dataclass(frozen=True, eq=False)
class Piece:
    """Training jets to be shown one behind the other.

    Attributes
    ----------
    epoch : int
        Counted from 0.
    last : bool
        Whether the epoch ends with this piece.
    jets : ndarray of int64, shape (n,)
        Which training jets, in the order in which they are shown.
    inputs : dict of str to ndarray of float32, first axis n
        What the network takes of them, in that order.
    """

    epoch: int
    last: bool
    jets: npt.NDArray[np.int64]
    inputs: dict[str, npt.NDArray[np.float32]]


def pieces_of_epochs(parts: Parts, settings: TrainingSettings, seed: int) -> Iterator[Piece]:
    """Give the training jets of each epoch, shuffled, made while the network is shown those before.

    The first are begun at once, so that they are there when a network is.

    Inputs that are in memory come as one piece an epoch. Of others, a piece holds some ten thousand jets,
    runs of neighbours from all over the sample, drawn anew each epoch.

    Parameters
    ----------
    parts : Parts
        The training jets, and how their inputs are drawn again.
    settings : TrainingSettings
        Number of epochs, and augmentation; without it the inputs of a jet are always the same.
    seed : int
        Of shuffling and augmentation.

    Returns
    -------
    iterator of Piece
        Epoch by epoch.

    Raises
    ------
    ValueError
        If there is augmentation, but no way to draw inputs again.
    """
    augmentation = settings.augmentation
    if augmentation is not None and parts.redraw is None:
        raise ValueError("these parts cannot be augmented: they have no redraw")
    lazy = any(isinstance(values, LazyArray) for values in parts.train.inputs.values())
    rng = np.random.default_rng(seed)

    def made(epoch: int, last: bool, jets: npt.NDArray[np.int64]) -> Piece:
        # neighbours are read together, and shuffled only then
        ordered = np.sort(jets) if lazy else np.arange(len(parts.train))
        if augmentation is None or parts.redraw is None:
            inputs = some_inputs(parts.train.inputs, jets if not lazy else ordered)
            places = None if not lazy else np.searchsorted(ordered, jets)
        else:
            inputs = parts.redraw(augmentation, rng, ordered if lazy else None)
            places = np.searchsorted(ordered, jets)
        if places is not None:
            inputs = {name: values[places] for name, values in inputs.items()}
        return Piece(epoch, last, jets, inputs)

    pool = ThreadPoolExecutor(1, "inputs")
    plan = _plan(len(parts.train), settings.epochs, seed, in_runs=lazy)
    coming = (pool.submit(made, *piece) for piece in plan)
    first = next(coming)

    def given() -> Iterator[Piece]:
        with pool:
            ahead = first
            for following in coming:
                yield ahead.result()
                ahead = following
            yield ahead.result()

    return given()


def _plan(
    number: int, epochs: int, seed: int, *, in_runs: bool
) -> Iterator[tuple[int, bool, npt.NDArray[np.int64]]]:
    """Say which jets make the pieces of each epoch."""
    for epoch in range(epochs):
        # Keras itself would shuffle alike in each call of `fit`
        rng = np.random.default_rng((seed, epoch))
        if not in_runs:
            yield epoch, True, rng.permutation(number)
            continue
        runs = rng.permutation(-(-number // RUN))
        order = (runs[:, None] * RUN + np.arange(RUN)).ravel()
        order = order[order < number]
        for start in range(0, number, PIECE):
            yield epoch, start + PIECE >= number, rng.permutation(order[start : start + PIECE])


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


# a network that is cloned takes its optimizer along
@keras.saving.register_keras_serializable("jetexp")
class AveragingAdam(keras.optimizers.Adam):
    """Adam that keeps an exponential moving average of the weights, step by step.

    Keras's own average begins with the untrained weights and is slow to forget them. Here the time constant
    grows with the steps made, until it is what is asked for, so that the average is of use from the first
    epoch on. It is part of the step itself: weights that left the device after each step would be waited
    for.

    Parameters
    ----------
    average_steps : float
        The time constant in steps; 0 is no average.
    **settings
        Of Adam.
    """

    # of the steps made so far, the part that the average reaches back to
    SHARE = 1 / 3

    def __init__(self, average_steps: float = 0.0, **settings: Any) -> None:
        super().__init__(**settings)
        self.average_steps = average_steps
        self._rate_of_step: Any = None
        self._averages: list[keras.Variable] = []
        self._left: list[npt.NDArray[np.float32]] = []

    @property
    def learning_rate(self) -> Any:
        """The rate of the step under way, or of the next."""
        return super().learning_rate if self._rate_of_step is None else self._rate_of_step

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        keras.optimizers.Adam.learning_rate.fset(self, value)

    def get_config(self) -> dict[str, Any]:
        """Give all that it is made of."""
        return {**super().get_config(), "average_steps": self.average_steps}

    def build(self, variables: list[keras.Variable]) -> None:
        """Make room for the average of each weight."""
        super().build(variables)
        if self.average_steps and not self._averages:
            self._averages = [self.add_variable_from_reference(one, "average") for one in variables]

    def apply(self, grads: list[Any], trainable_variables: list[keras.Variable] | None = None) -> None:
        """Make a step, and add what it leads to."""
        # Keras' weight decay asks for it weight by weight: a schedule would be traced, and followed, for each
        self._rate_of_step = super().learning_rate
        try:
            super().apply(grads, trainable_variables)
        finally:
            self._rate_of_step = None
        if not self._averages:
            return
        made = keras.ops.cast(self.iterations, "float32")
        share = 1 / keras.ops.maximum(1.0, keras.ops.minimum(self.average_steps, self.SHARE * made))
        for average, one in zip(self._averages, self._trainable_variables, strict=True):
            average.assign(average + keras.ops.cast(share, average.dtype) * (one - average))

    def put_in(self) -> None:
        """Put the average in the weights' place."""
        self._left = [np.array(keras.ops.convert_to_numpy(one)) for one in self._trainable_variables]
        for one, average in zip(self._trainable_variables, self._averages, strict=True):
            one.assign(average)

    def take_out(self) -> None:
        """Put the weights back, if the average took their place."""
        if self._left:
            for one, value in zip(self._trainable_variables, self._left, strict=True):
                one.assign(value)


class BatchStatistics:
    """Means and variances by which a network normalises, as training jets have them.

    What batch normalisation gathers during the steps belongs to weights that were left behind, not to their
    average, and to jets that were changed at random; of an averaged network it is measured anew (Izmailov et
    al., arXiv:1803.05407, section 3.2).

    Parameters
    ----------
    network : keras.Model
        One without batch normalisation is left alone.
    inputs : dict of str to ndarray of float32 or LazyArray, first axis N
        Of the training jets, as they are.
    """

    def __init__(self, network: keras.Model, inputs: Inputs) -> None:
        # in the order in which jets pass them; they normalise images and sums over a jet, for which it is
        # all the same that places without constituents are left out
        self._layers = [
            (layer, compiled(keras.Model(network.input, layer.input)))
            for layer in network.layers
            if isinstance(layer, keras.layers.BatchNormalization)
        ]
        number = number_of_jets(inputs)
        # jets may be sorted by class
        places = np.linspace(0, number - 1, min(number, MEASURED)).astype(np.int64)
        self._inputs = some_inputs(inputs, places) if self._layers else {}

    def measure(self) -> None:
        """Put in what belongs to the network's weights as they are now."""
        for layer, below in self._layers:
            number, total, squares = 0, 0.0, 0.0
            for start in range(0, number_of_jets(self._inputs), MEASURED_AT_ONCE):
                few = some_inputs(self._inputs, slice(start, start + MEASURED_AT_ONCE))
                values = below(few).astype(np.float64)
                values = np.moveaxis(values, layer.axis, -1).reshape(-1, values.shape[layer.axis])
                number += len(values)
                total = total + values.sum(axis=0)
                squares = squares + np.square(values).sum(axis=0)
            mean = total / number
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(np.maximum(squares / number - mean**2, 0))


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
    optimizer = AveragingAdam(
        settings.average * settings.epochs * per_epoch,
        learning_rate=_learning_rate(settings, per_epoch),
        weight_decay=settings.weight_decay or None,
    )
    loss: Any = "sparse_categorical_crossentropy"
    if settings.label_smoothing:
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing)
    network.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    # whatever is made while TensorFlow traces a step has it traced again
    optimizer.build(network.trainable_variables)
    scores = np.full((1, network.output_shape[-1]), 0.5, np.float32)
    network.compute_metrics(None, scores if settings.label_smoothing else np.zeros(1, np.int64), scores)
    network.reset_metrics()


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
