"""What a network takes of the memory, told before it is built."""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from jetexp.errors import JetexpError
from jetexp.memory_limit import available_memory
from jetexp.taggers.catalogue import build_network
from jetexp.taggers.settings import TaggerSettings, TrainingSettings
from jetexp.training import devices

__all__ = ["check_size", "least_memory"]

FLOAT32 = 4
# the weights themselves, their gradients and the two moments of Adam (Kingma and Ba, arXiv:1412.6980)
COPIES_OF_WEIGHTS = 4


def check_size(
    tagger: TaggerSettings, training: TrainingSettings, shapes: Mapping[str, tuple[int, ...]], classes: int
) -> None:
    """Refuse a network that the memory cannot hold, before it takes any.

    TensorFlow ends the whole process where it lacks memory for something small, and the system does so where
    there is none left. What an accelerator holds, it tells by itself.

    Parameters
    ----------
    tagger, training, shapes, classes
        As of :func:`least_memory`.

    Raises
    ------
    JetexpError
        If the least that its fit takes is more than there is.
    """
    if any(not device.startswith("cpu") for device in devices()):
        return
    least, available = least_memory(tagger, training, shapes, classes), available_memory()
    if least > available:
        raise JetexpError(
            f"A fit of this network takes at least {least / 1e9:.2f} GB of memory, and "
            f"{available / 1e9:.2f} GB are available: fewer or narrower layers, or a smaller batch_size, "
            "would be right."
        )


def least_memory(
    tagger: TaggerSettings, training: TrainingSettings, shapes: Mapping[str, tuple[int, ...]], classes: int
) -> int:
    """Say what a fit takes at least, from the network's shapes alone.

    Parameters
    ----------
    tagger : settings of a network
        Which one.
    training : TrainingSettings
        How many jets a batch has.
    shapes : mapping of str to tuple of int
        Shape of each of its inputs, for one jet.
    classes : int
        Number of classes.

    Returns
    -------
    int
        Bytes: of the weights and what the optimizer keeps of each, and of what the layers with weights make
        of a batch, which their gradients need; sums over lists of constituents of any length left out.
    """
    # Keras keeps names, seeds and unmade weights for each thread: this one's are gone with it
    with ThreadPoolExecutor(1) as thread:
        weights, made = thread.submit(_numbers, tagger, shapes, classes).result()
    a_number = FLOAT32 if training.precision == "float32" else FLOAT32 // 2
    return FLOAT32 * COPIES_OF_WEIGHTS * weights + a_number * training.batch_size * made


def _numbers(tagger: TaggerSettings, shapes: Mapping[str, tuple[int, ...]], classes: int) -> tuple[int, int]:
    """Count the weights, and what the layers that have some make of a jet."""
    import keras

    # the weights get shapes and no values
    with keras.StatelessScope(initialize_variables=False):
        network = build_network(tagger, shapes, classes, seed=0)
        outputs = [
            tensor.shape[1:]
            for layer in network.layers
            if layer.weights
            for tensor in keras.tree.flatten(layer.output)
        ]
        made = sum(math.prod(shape) for shape in outputs if None not in shape)
        return int(network.count_params()), made
