"""Networks made ready to score jets: compiled once, for any number of them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jetexp.inputs import Inputs, LazyArray, number_of_jets, some_inputs

if TYPE_CHECKING:
    import keras

__all__ = ["ForwardPass", "bare_copy", "compiled", "forward_in_batches", "uncompiled"]

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
    network is called as it is. A network that takes any number of constituents is spared the places that no
    jet of a batch fills.

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
    ragged = [name for name, spec in taken.items() if spec.shape[1:2] == [None]]

    def answer(inputs: Inputs) -> npt.NDArray[np.float32]:
        if not number_of_jets(inputs):
            # on some processors TensorFlow refuses to convolve no images at all
            return np.zeros((0, network.output_shape[-1]), np.float32)
        return np.asarray(traced({**inputs, **{name: _filled(inputs[name]) for name in ragged}}), np.float32)

    return answer


def _filled(lists: npt.NDArray[np.float32] | LazyArray) -> npt.NDArray[np.float32]:
    """Leave out the last places of lists of constituents that are filled for no jet."""
    values = lists[:]
    filled = np.flatnonzero((values[..., 2] > 0).any(axis=0))
    return values[:, : filled[-1] + 1 if len(filled) else 1]


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
    """Score jets, some at a time, those of about as many constituents together.

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
            order = _by_constituents(some)
            which = [order[first : first + batch_size] for first in range(0, len(order), batch_size)]
            found = pool.map(lambda few, some=some: forward(some_inputs(some, few)), which)
            scores.append(np.concatenate([*found])[np.argsort(order)])
    return np.concatenate(scores)


def _by_constituents(inputs: Inputs) -> npt.NDArray[np.int64]:
    """Order jets by the number of constituents that a network is shown, if it is shown them."""
    if "constituents" not in inputs:
        return np.arange(number_of_jets(inputs))
    return np.argsort(np.count_nonzero(inputs["constituents"][:][..., 2], axis=1), kind="stable")


def bare_copy(network: keras.Model) -> keras.Model:
    """Copy a network without what it was fitted by.

    Keras's ``clone_model`` takes the optimizer along, which is a class of this package.

    Parameters
    ----------
    network : keras.Model
        A functional network.

    Returns
    -------
    keras.Model
        The same layers with weights of their own, not compiled.
    """
    copy = type(network).from_config(network.get_config())
    copy.set_weights(network.get_weights())
    return copy
