"""Networks made ready to score jets: compiled once, for any number of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jetexp.inputs import Inputs

if TYPE_CHECKING:
    import keras

__all__ = ["ForwardPass", "compiled"]

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

    def forward(inputs: Any) -> Any:
        return network(inputs, training=False)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        taken = keras.tree.map_structure(
            lambda one: tf.TensorSpec(one.shape, one.dtype, one.name), network.input
        )
        forward = tf.function(forward, input_signature=[taken]).get_concrete_function()

    return lambda inputs: np.asarray(keras.ops.convert_to_numpy(forward(inputs)), np.float32)
