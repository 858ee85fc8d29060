"""What Keras is handed to fit a network: the batches of each epoch, and the judge after it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from jetexp.errors import JetexpError
from jetexp.inputs import Inputs
from jetexp.taggers.settings import TrainingSettings

if TYPE_CHECKING:
    from jetexp.training import Parts

__all__ = ["Batches", "Judge"]

# a probability of exactly zero has no logarithm; Keras clips its own loss at the same value
SMALLEST_PROBABILITY = 1e-7


class Batches(keras.utils.PyDataset):
    """Shuffled batches of the training jets, augmented anew for each epoch while the one before runs.

    A context manager, as a thread draws in the background.

    Parameters
    ----------
    parts : Parts
        The training jets, and how their inputs are drawn again.
    settings : TrainingSettings
        Batch size, augmentation, label smoothing.
    seed : int
        Seed of all that is random here.
    """

    def __init__(self, parts: Parts, settings: TrainingSettings, seed: int) -> None:
        super().__init__()
        self._parts, self._settings = parts, settings
        order, changes = np.random.SeedSequence(seed).spawn(2)
        self._order_rng, self._rng = np.random.default_rng(order), np.random.default_rng(changes)
        label = parts.train.label
        self._target: npt.NDArray[Any] = label
        if settings.label_smoothing:  # Keras smooths one-hot targets alone
            classes = int(max(label.max(), parts.validation.label.max())) + 1
            self._target = np.eye(classes, dtype=np.float32)[label]
        self._inputs = parts.train.inputs
        self._pool: ThreadPoolExecutor | None = None
        self._next: Future[Inputs] | None = None

    def __enter__(self) -> Batches:
        if self._settings.augmentation is not None:
            if self._parts.redraw is None:
                raise ValueError("these parts cannot be augmented: they have no redraw")
            self._pool = ThreadPoolExecutor(1, "augmentation")
            self._draw()
        self._begin_epoch()
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _draw(self) -> None:
        redraw, augmentation = self._parts.redraw, self._settings.augmentation
        if self._pool is not None and redraw is not None and augmentation is not None:
            self._next = self._pool.submit(redraw, augmentation, self._rng)

    def _begin_epoch(self) -> None:
        self._order = self._order_rng.permutation(len(self._target))
        if self._next is not None:
            self._inputs = self._next.result()
            self._draw()

    def __len__(self) -> int:
        return -(-len(self._target) // self._settings.batch_size)

    def __getitem__(self, index: int) -> tuple[Inputs, npt.NDArray[Any]]:
        size = self._settings.batch_size
        chosen = self._order[index * size : (index + 1) * size]
        return {name: values[chosen] for name, values in self._inputs.items()}, self._target[chosen]

    def on_epoch_end(self) -> None:
        """Shuffle, and take the jets that were drawn meanwhile."""
        self._begin_epoch()


class Judge(keras.callbacks.Callback):
    """Judges the validation jets after each epoch, keeps weights, and stops in time.

    Parameters
    ----------
    parts : Parts
        The validation jets.
    settings : TrainingSettings
        Patience, and which weights are kept.
    after_epoch : callable
        Told the epoch (from 0) and its numbers.

    Attributes
    ----------
    epochs : list of dict
        The numbers of each epoch.
    kept : int
        The epoch, from 0, whose weights are kept.
    kept_weights : list of ndarray
        They.
    """

    def __init__(
        self,
        parts: Parts,
        settings: TrainingSettings,
        after_epoch: Callable[[int, dict[str, float]], None],
    ) -> None:
        super().__init__()
        self._parts, self._settings, self._after_epoch = parts, settings, after_epoch
        self.epochs: list[dict[str, float]] = []
        self.kept = self._best = 0
        self.kept_weights: list[npt.NDArray[np.float32]] = []
        self._started = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Look at the clock."""
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Judge the validation jets."""
        from jetexp.training import predict

        validation = self._parts.validation
        scores = predict(self.model, validation.inputs)
        values = {name: float((logs or {})[name]) for name in ("loss", "accuracy")}
        if not (np.isfinite(values["loss"]) and np.isfinite(scores).all()):
            raise JetexpError(
                f"The loss was no longer a number in epoch {epoch + 1}, with learning_rate "
                f"{self._settings.learning_rate:g}: a smaller one would be right."
            )
        values |= _validation(scores, validation.label, self._parts.signal)
        values["seconds"] = time.perf_counter() - self._started
        self.epochs.append(values)
        if values["val_loss"] <= self.epochs[self._best]["val_loss"]:
            self._best = epoch
        if self._best == epoch or not self._settings.best_weights:
            self.kept, self.kept_weights = epoch, self.model.get_weights()
        self._after_epoch(epoch, values)
        patience = self._settings.patience
        if patience is not None and epoch - self._best >= patience:
            self.model.stop_training = True


def _validation(
    scores: npt.NDArray[np.float32], label: npt.NDArray[np.int64], signal: int
) -> dict[str, float]:
    of_truth = np.maximum(scores[np.arange(len(label)), label], SMALLEST_PROBABILITY)
    return {
        "val_loss": float(-np.log(of_truth.astype(np.float64)).mean()),
        "val_accuracy": float((scores.argmax(axis=1) == label).mean()),
        "val_auc": float(roc_auc_score(label == signal, scores[:, signal])),
    }
