"""The notebook's network, layer for layer."""

from __future__ import annotations

import keras
from keras import layers

__all__ = ["network"]

FILTERS = (32, 64, 64)
DENSE = (
    (256, "relu"),
    (128, "sigmoid"),
    (128, "relu"),
    (64, "relu"),
    (64, "sigmoid"),
    (48, "sigmoid"),
    (32, "relu"),
    (16, "relu"),
)


def network(input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Build the notebook's network: three convolutions, then eight hidden dense layers.

    Parameters
    ----------
    input_shape : tuple of int
        Rows, columns and channels of an image; the notebook's were (40, 40, 1).
    classes : int
        Number of classes; the notebook had two.

    Returns
    -------
    keras.Model
        With one softmax score a class.
    """
    model = keras.Sequential([keras.Input(input_shape, name="image")], name="notebook")
    for filters in FILTERS:
        model.add(layers.Conv2D(filters, 3, activation="relu"))
        model.add(layers.MaxPooling2D(2))
    model.add(layers.Dropout(0.25))
    model.add(layers.Flatten())
    for units, activation in DENSE:
        model.add(layers.Dense(units, activation=activation))
    model.add(layers.Dense(classes, activation="softmax", name="score"))
    return model
