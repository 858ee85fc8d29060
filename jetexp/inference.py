"""Networks made ready to score jets: compiled once, for any number of them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jetexp.inputs import Inputs, number_of_jets, some_inputs

if TYPE_CHECKING:
    import keras

__all__ = ["ForwardPass", "compiled", "forward_in_batches", "uncompiled"]

# jets whose inputs are made together where they are not in memory
MADE_AT_ONCE = 16_384
# jets a batch, few enough for the caches of a processor, and batches that go through a network at once:
# its small layers leave cores without work
BATCH, AT_ONCE = 256, 2

ForwardPass = Callable[[Inputs], npt.NDArray[np.float32]]


def compiled(network: keras.Model) -> ForwardPass:
    """Compile a network's forward pass, once for any number of jets.

    Called as it is, a network runs layer by layer, and ``network.predict`` compiles for each number of jets
    anew; threads may call what is given here at the same time. With a backend other than TensorFlow the
    network is called as it is.

    Parameters
    ----------
    network : keras.Model
        A functional network, from a dictionary of inputs to one probability a class.

    Returns
    -------
    callable
        From inputs, each of shape (N, ...), to an ndarray of float32, shape (N, classes).
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return uncompiled(network)
    import tensorflow as tf

    def forward(inputs: Any) -> Any:
        return network(inputs, training=False)

    taken = keras.tree.map_structure(lambda one: tf.TensorSpec(one.shape, one.dtype, one.name), network.input)
    traced = tf.function(forward, input_signature=[taken], autograph=False).get_concrete_function()
    return lambda inputs: np.asarray(traced(inputs), np.float32)


def uncompiled(network: keras.Model) -> ForwardPass:
    """Give a network's forward pass as it is: at once, and slower.

    Parameters
    ----------
    network : keras.Model
        From a dictionary of inputs to one probability a class.

    Returns
    -------
    callable
        From inputs, each of shape (N, ...), to an ndarray of float32, shape (N, classes).
    """
    import keras

    return lambda inputs: np.asarray(keras.ops.convert_to_numpy(network(inputs, training=False)), np.float32)


def forward_in_batches(
    forward: ForwardPass, inputs: Inputs, classes: int, batch_size: int = BATCH
) -> npt.NDArray[np.float32]:
    """Score jets, some at a time.

    Parameters
    ----------
    forward : callable
        From inputs to one probability a class.
    inputs : dict of str to ndarray of float32 or LazyArray, first axis N
        What it takes; N may be zero.
    classes : int
        Number of classes.
    batch_size : int
        Jets a batch.

    Returns
    -------
    ndarray of float32, shape (N, classes)
        The probabilities.
    """
    number = number_of_jets(inputs)
    scores = [np.zeros((0, classes), dtype=np.float32)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for start in range(0, number, MADE_AT_ONCE):
            some = some_inputs(inputs, slice(start, min(start + MADE_AT_ONCE, number)))
            firsts = range(0, number_of_jets(some), batch_size)
            batches = [some_inputs(some, slice(first, first + batch_size)) for first in firsts]
            scores += pool.map(forward, batches)
    return np.concatenate(scores)
