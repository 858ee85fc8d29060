"""What a network looks at: the gradient of its decision by each pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jetexp.inputs import Inputs, number_of_jets, some_inputs

if TYPE_CHECKING:
    import keras

__all__ = ["mean_saliency"]

SMALLEST_PROBABILITY = 1e-7


def mean_saliency(
    network: keras.Model, inputs: Inputs, *, signal: int, batch_size: int = 512
) -> npt.NDArray[np.float64]:
    """Average, over jets, how steeply the decision depends on each pixel.

    The absolute gradient of the log-odds of signal by the pixel's value, summed over channels (Simonyan,
    Vedaldi and Zisserman, arXiv:1312.6034, with the log-odds in place of the score, which saturates).

    Parameters
    ----------
    network : keras.Model
        Takes an input ``image``.
    inputs : dict of str to ndarray of float32, first axis N
        At least one jet.
    signal : int
        Index of the signal class.
    batch_size : int
        Jets a batch.

    Returns
    -------
    ndarray of float64, shape (rows, columns)
        Not negative.
    """
    number = number_of_jets(inputs)
    total = np.zeros(inputs["image"].shape[1:3])
    for start in range(0, number, batch_size):
        batch = some_inputs(inputs, slice(start, start + batch_size))
        total += np.abs(_gradient(network, batch, signal)).sum(axis=(0, 3))
    return total / number


def _gradient(network: keras.Model, batch: Inputs, signal: int) -> npt.NDArray[np.float32]:
    """Differentiate the log-odds of signal by the images, shape (N, rows, columns, channels)."""
    import keras

    ops = keras.ops
    tensors = {name: ops.convert_to_tensor(values) for name, values in batch.items()}

    def decided(image: Any) -> Any:
        score = network({**tensors, "image": image}, training=False)[:, signal]
        # of all jets: none's depends on another's image
        return ops.sum(ops.log(score + SMALLEST_PROBABILITY) - ops.log(1 - score + SMALLEST_PROBABILITY))

    # Keras itself has no gradient by an input
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        image = tensors["image"]
        with tf.GradientTape() as tape:
            tape.watch(image)
            value = decided(image)
        return np.asarray(tape.gradient(value, image))
    if backend == "jax":
        import jax

        return np.asarray(jax.grad(decided)(tensors["image"]))
    if backend == "torch":
        image = tensors["image"].requires_grad_()
        decided(image).backward()
        return np.asarray(image.grad.cpu())
    raise NotImplementedError(f"gradients by the image are not there for {backend}")
