"""Fit one network once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jetexp.augmentation import AugmentationSettings
from jetexp.errors import JetexpError
from jetexp.inference import BATCH, compiled, forward_in_batches, uncompiled
from jetexp.inputs import Inputs, number_of_jets, some_inputs
from jetexp.memory import release_memory
from jetexp.recorder_protocol import Recorder
from jetexp.taggers.settings import TrainingSettings

if TYPE_CHECKING:
    import keras
    from rich.progress import Progress

__all__ = [
    "History",
    "Parts",
    "Sample",
    "check_devices",
    "devices",
    "fit",
    "network_summary",
    "predict",
    "shared_by",
]

logger = logging.getLogger(__name__)


Redraw = Callable[
    [AugmentationSettings, np.random.Generator, npt.NDArray[np.int64] | None],
    dict[str, npt.NDArray[np.float32]],
]


@dataclass(frozen=True, eq=False)
class Sample:
    """Inputs and labels.

    Attributes
    ----------
    inputs : dict of str to ndarray of float32, first axis N
        What a network takes.
    label : ndarray of int64, shape (N,)
        Index of each jet's class.
    """

    inputs: Inputs
    label: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        for name, values in self.inputs.items():
            if len(values) != len(self.label):
                raise ValueError(f"there are {len(values)} jets in {name} but {len(self.label)} labels")

    def __len__(self) -> int:
        return len(self.label)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each input, for one jet."""
        return {name: values.shape[1:] for name, values in self.inputs.items()}


@dataclass(frozen=True, eq=False)
class Parts:
    """What a fit may see: the test part is none of its business.

    Attributes
    ----------
    train : Sample
        Fitted to.
    validation : Sample
        Judged by, once an epoch.
    signal : int
        Index of the signal class, for ``val_auc``.
    redraw : callable, optional
        Makes the inputs of all training jets again, or of those of an index, from jets that were changed at
        random.
    """

    train: Sample
    validation: Sample
    signal: int
    redraw: Redraw | None = None

    def __post_init__(self) -> None:
        for name in ("train", "validation"):
            is_signal = getattr(self, name).label == self.signal
            if not is_signal.any() or is_signal.all():
                kind = "background" if is_signal.any() else "signal"
                raise JetexpError(
                    f"The {name} part ({len(is_signal)} jets) holds no {kind} jets: "
                    "take more jets, or another split."
                )


@dataclass(frozen=True)
class History:
    """How a fit went, epoch by epoch.

    Attributes
    ----------
    loss, accuracy : tuple of float
        Cross-entropy and accuracy on the training jets, averaged over the epoch's steps, with dropout.
    val_loss, val_accuracy, val_auc : tuple of float
        Cross-entropy, accuracy and area under the ROC curve of signal against all else, on the
        validation jets, after the epoch.
    seconds : tuple of float
        Wall time of the epoch, validation included.
    best_epoch : int
        The epoch, counted from 1, whose weights the network ended with.
    """

    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    val_loss: tuple[float, ...]
    val_accuracy: tuple[float, ...]
    val_auc: tuple[float, ...]
    seconds: tuple[float, ...]
    best_epoch: int

    @property
    def epochs(self) -> int:
        """Number of epochs fitted."""
        return len(self.loss)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-serialisable content."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> History:
        """Rebuild a history from what ``to_dict`` gave, read from JSON."""
        columns = {name: tuple(values) for name, values in content.items() if name != "best_epoch"}
        return cls(**columns, best_epoch=int(content["best_epoch"]))

    def steps(self) -> Iterator[dict[str, float]]:
        """Give the numbers that a recorder was given after each epoch."""
        names = ("loss", "accuracy", "val_loss", "val_accuracy", "val_auc")
        for values in zip(*(getattr(self, name) for name in names), strict=True):
            yield dict(zip(names, values, strict=True))


def predict(network: keras.Model, inputs: Inputs) -> npt.NDArray[np.float32]:
    """Score jets, in batches.

    Parameters
    ----------
    network : keras.Model
        A network.
    inputs : dict of str to ndarray of float32 or LazyArray, first axis N
        What it takes; N may be zero.

    Returns
    -------
    ndarray of float32, shape (N, classes)
        One score a class.
    """
    return _scorer(network, number_of_jets(inputs))(inputs)


def _scorer(network: keras.Model, number: int) -> Callable[[Inputs], npt.NDArray[np.float32]]:
    """Make a network ready to score so many jets, with the weights that it then has."""
    # compiling takes longer than a single batch
    forward = compiled(network) if number > BATCH else uncompiled(network)
    return lambda inputs: forward_in_batches(forward, inputs, network.output_shape[-1])


def fit(
    network: keras.Model,
    parts: Parts,
    settings: TrainingSettings,
    *,
    seed: int,
    recorder: Recorder,
    progress: Progress | None = None,
    description: str = "fit",
    stepped: keras.Model | None = None,
) -> History:
    """Fit a network, and leave it with the last or the best weights.

    Parameters
    ----------
    network : keras.Model
        Changed in place.
    parts : Parts
        Jets to fit to and to be judged by.
    settings : TrainingSettings
        How long, how fast.
    seed : int
        Seed of shuffling, augmentation and dropout.
    recorder : Recorder
        Given ``loss``, ``accuracy``, ``val_loss``, ``val_accuracy`` and ``val_auc`` after each
        epoch, the first being step 1.
    progress : rich.progress.Progress, optional
        Where a bar of the epochs is shown meanwhile; see :func:`jetexp.console.progress`.
    description : str
        What stands before the bar.
    stepped : keras.Model, optional
        The same layers with the same weights, in the precision and on the devices that the steps compute
        with; by default the network itself.

    Returns
    -------
    History
        All that was recorded.

    Raises
    ------
    JetexpError
        If the loss stops being a finite number.
    """
    import keras

    from jetexp.fitting import (
        BatchStatistics,
        compile_network,
        judged,
        pieces_of_epochs,
        targets,
    )

    if stepped is None:
        stepped = network
    keras.utils.set_random_seed(seed)
    pieces = pieces_of_epochs(parts, settings, seed)
    with shared_by(settings.devices):
        compile_network(stepped, settings, len(parts.train))
    target = targets(parts, settings, classes=network.output_shape[-1])
    optimizer = stepped.optimizer
    statistics = BatchStatistics(network, parts.train.inputs)
    score = _scorer(network, len(parts.validation))
    epochs: list[dict[str, float]] = []
    best = kept = 0
    kept_weights: list[Any] = []
    with _bar(progress, description, settings.epochs) as advance:
        started = time.perf_counter()
        told: list[tuple[int, dict[str, list[float]]]] = []
        for piece in pieces:
            if settings.average and not told:
                optimizer.take_out()
            shown = len(piece.jets) - len(piece.jets) % settings.devices
            with shared_by(settings.devices):
                fitted = stepped.fit(
                    some_inputs(piece.inputs, slice(shown)),
                    target[piece.jets[:shown]],
                    batch_size=settings.batch_size,
                    shuffle=False,
                    verbose=0,
                )
            told.append((shown, fitted.history))
            if not piece.last:
                continue
            epoch, values = piece.epoch, _means(told)
            told = []
            if settings.average:
                optimizer.put_in()
            if stepped is not network:
                network.set_weights(stepped.get_weights())
            statistics.measure()
            scores = score(parts.validation.inputs)
            _check_finite(values["loss"], scores, network, epoch, settings)
            values |= judged(scores, parts.validation.label, parts.signal)
            recorder.metrics(values, step=epoch + 1)
            logger.debug("%s: epoch %d: %s", description, epoch + 1, values)
            epochs.append(values | {"seconds": time.perf_counter() - started})
            started = time.perf_counter()
            if values["val_loss"] <= epochs[best]["val_loss"]:
                best = epoch
            if best == epoch or not settings.best_weights:
                kept, kept_weights = epoch, network.get_weights()
            advance(f"val_auc {values['val_auc']:.4f}")
            if settings.patience is not None and epoch - best >= settings.patience:
                break
    network.set_weights(kept_weights)
    release_memory()
    columns = {name: tuple(values[name] for values in epochs) for name in epochs[0]}
    return History(**columns, best_epoch=kept + 1)


@contextmanager
def _bar(progress: Progress | None, description: str, epochs: int) -> Iterator[Callable[[str], None]]:
    """Show a bar while the block runs; what it gives takes the bar one epoch further."""
    if progress is None:
        yield lambda told: None
        return
    bar = progress.add_task(description, total=epochs, rate="")
    try:
        yield lambda told: progress.update(bar, advance=1, rate=told)
    finally:
        progress.remove_task(bar)


def _means(told: list[tuple[int, dict[str, list[float]]]]) -> dict[str, float]:
    """Average what was told of the pieces of an epoch."""
    jets = sum(number for number, _ in told)
    return {
        name: sum(number * float(history[name][0]) for number, history in told) / jets
        for name in ("loss", "accuracy")
    }


def _check_finite(
    loss: float,
    scores: npt.NDArray[np.float32],
    network: keras.Model,
    epoch: int,
    settings: TrainingSettings,
) -> None:
    # the weights too: on some processors pooling and ReLU make a number of what is none
    if not all(np.isfinite(values).all() for values in (loss, scores, *network.get_weights())):
        raise JetexpError(
            f"The loss was no longer a number in epoch {epoch + 1}, with learning_rate "
            f"{settings.learning_rate:g}: a smaller one would be right."
        )


def devices() -> list[str]:
    """List the devices that Keras found.

    Returns
    -------
    list of str
        Such as ``["cpu:0"]``.
    """
    import keras

    return [str(device) for device in keras.distribution.list_devices()]


@contextmanager
def shared_by(number: int) -> Iterator[None]:
    """Have devices share the batches of a network that is built, and fitted, while the block runs.

    Parameters
    ----------
    number : int
        Of devices; with one, nothing changes.

    Raises
    ------
    JetexpError
        If that cannot be; see :func:`check_devices`.
    """
    check_devices(number)
    if number == 1:
        yield
        return
    import keras

    with keras.distribution.DataParallel(devices=devices()[:number], auto_shard_dataset=False).scope():
        yield


def check_devices(number: int) -> None:
    """Refuse what the devices at hand cannot do.

    Parameters
    ----------
    number : int
        Of devices that share a batch.

    Raises
    ------
    JetexpError
        If Keras' backend shares no batches, or finds fewer devices.
    """
    if number == 1:
        return
    import keras

    if (backend := keras.backend.backend()) != "jax":
        raise JetexpError(
            f"training.devices is {number}, and Keras' {backend} backend fits on one: KERAS_BACKEND=jax "
            "would be right, or a worker on each device."
        )
    if len(found := devices()) < number:
        raise JetexpError(f"training.devices is {number}, and there are {len(found)}: {', '.join(found)}.")


def network_summary(network: keras.Model) -> str:
    """Describe a network layer by layer.

    Parameters
    ----------
    network : keras.Model
        A network.

    Returns
    -------
    str
        Keras's own table: layers, output shapes, numbers of parameters.
    """
    lines: list[str] = []
    network.summary(print_fn=lines.append)
    return "\n".join(lines)
