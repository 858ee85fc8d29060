"""The searchable convolutional network."""

from __future__ import annotations

import keras
from keras import layers

from jetexp.taggers.settings import CnnSettings

__all__ = ["network"]


def network(settings: CnnSettings, input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Build a convolutional network: blocks of convolution and pooling, one hidden dense layer.

    Parameters
    ----------
    settings : CnnSettings
        Depth, width and so on.
    input_shape : tuple of int
        Rows, columns and channels of an image.
    classes : int
        Number of classes.

    Returns
    -------
    keras.Model
        With one softmax score a class.
    """
    image = keras.Input(input_shape, name="image")
    features = image
    for block in range(settings.layers):
        # the first block sees four times the pixels of the second, and costs accordingly
        filters = settings.width if block == 0 else 2 * settings.width
        features = layers.Conv2D(filters, settings.kernel, padding="same", activation="relu")(features)
        if min(features.shape[1:3]) > 1:
            features = layers.MaxPooling2D(2)(features)
    features = layers.Dropout(settings.dropout)(layers.Flatten()(features))
    features = layers.Dense(settings.dense, activation="relu")(features)
    features = layers.Dropout(settings.dropout)(features)
    score = layers.Dense(classes, activation="softmax", name="score")(features)
    return keras.Model(image, score, name="cnn")
