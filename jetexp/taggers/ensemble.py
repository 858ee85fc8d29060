"""Several networks as one: the mean of their log-odds."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers, ops

from jetexp.inference import bare_copy

__all__ = ["network"]

# a probability of zero has no logarithm; Keras clips its own loss at the same value
SMALLEST_PROBABILITY = 1e-7


def network(members: Sequence[keras.Model], temperature: float = 1.0) -> keras.Model:
    """Join trained networks of the same inputs and classes.

    Parameters
    ----------
    members : sequence of keras.Model
        At least one; copied, not changed.
    temperature : float
        What the mean is divided by: above 1 makes it less sure of itself.

    Returns
    -------
    keras.Model
        The mean of the logarithms of their probabilities, normalised again; for two classes that is the
        mean of the log-odds.
    """
    inputs = {name: keras.Input(one.shape[1:], name=name) for name, one in members[0].input.items()}
    logarithms = []
    for number, member in enumerate(members):
        copy = bare_copy(member)
        copy.name = f"member_{number}"
        logarithms.append(ops.log(ops.maximum(copy(inputs), SMALLEST_PROBABILITY)))
    mean = layers.Average()(logarithms) if len(logarithms) > 1 else logarithms[0]
    return keras.Model(inputs, ops.softmax(mean / temperature), name="ensemble")
