"""The notebook's network, layer for layer."""

from __future__ import annotations

from collections.abc import Mapping

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


def network(shapes: Mapping[str, tuple[int, ...]], classes: int) -> keras.Model:
    """Build the notebook's network: three convolutions, then eight hidden dense layers.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Rows, columns and channels of the input ``image``; the notebook's were (40, 40, 1).
    classes : int
        Number of classes; the notebook had two.

    Returns
    -------
    keras.Model
        With one softmax score a class.
    """
    image = keras.Input(shapes["image"], name="image")
    features = image
    for filters in FILTERS:
        features = layers.Conv2D(filters, 3, activation="relu")(features)
        features = layers.MaxPooling2D(2)(features)
    features = layers.Flatten()(layers.Dropout(0.25)(features))
    for units, activation in DENSE:
        features = layers.Dense(units, activation=activation)(features)
    score = layers.Dense(classes, activation="softmax", dtype="float32", name="score")(features)
    return keras.Model({"image": image}, score, name="notebook")
