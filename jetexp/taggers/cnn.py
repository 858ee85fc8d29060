"""The searchable convolutional network."""

from __future__ import annotations

from collections.abc import Mapping

import keras
from keras import layers, ops

from jetexp.taggers.attention import attended
from jetexp.taggers.pfn import any_number, summed
from jetexp.taggers.settings import CnnSettings

__all__ = ["network"]


def network(settings: CnnSettings, shapes: Mapping[str, tuple[int, ...]], classes: int) -> keras.Model:
    """Build a convolutional network: blocks of convolutions and pooling, hidden dense layers.

    Parameters
    ----------
    settings : CnnSettings
        Depth, width and so on.
    shapes : mapping of str to tuple of int
        Rows, columns and channels of the input ``image``; the number of ``observables``, if there are
        side inputs; the shape of ``constituents``, if the network sees those too.
    classes : int
        Number of classes.

    Returns
    -------
    keras.Model
        With one softmax score a class.
    """
    inputs = {
        name: any_number(shape) if name == "constituents" else keras.Input(shape, name=name)
        for name, shape in shapes.items()
    }
    features = inputs["image"]
    for block in range(settings.layers):
        # the first block sees four times the pixels of the second, and costs accordingly
        features = _block(features, settings, settings.width if block == 0 else 2 * settings.width)
    beside = [_flat(features, settings)]
    if settings.constituents is not None:
        beside.append(summed(inputs["constituents"], settings.latent))
    if settings.attention is not None:
        beside.append(attended(inputs["constituents"], settings.attention))
    if settings.side_inputs:
        beside.append(_side(inputs["observables"], settings))
    features = layers.Concatenate()(beside) if len(beside) > 1 else beside[0]
    for _ in range(settings.dense_layers):
        features = layers.Dropout(settings.dropout)(features)
        features = layers.Dense(settings.dense, activation=settings.activation)(features)
    features = layers.Dropout(settings.dropout)(features)
    score = layers.Dense(classes, activation="softmax", dtype="float32", name="score")(features)
    return keras.Model(inputs, score, name="cnn")


def _block(features: keras.KerasTensor, settings: CnnSettings, filters: int) -> keras.KerasTensor:
    """Convolve, then halve the image's sides."""
    entered = features
    for _ in range(settings.convolutions):
        features = layers.Conv2D(
            filters, settings.kernel, padding="same", use_bias=settings.normalisation == "none"
        )(features)
        if settings.normalisation == "batch":
            features = layers.BatchNormalization()(features)
        elif settings.normalisation == "layer":
            features = layers.LayerNormalization()(features)
        features = layers.Activation(settings.activation)(features)
    if settings.residual:
        if entered.shape[-1] != filters:
            entered = layers.Conv2D(filters, 1, use_bias=False)(entered)
        features = layers.Add()([features, entered])
    if min(features.shape[1:3]) > 1:
        pooling = layers.MaxPooling2D if settings.pooling == "max" else layers.AveragePooling2D
        features = pooling(2)(features)
    return features


def _flat(features: keras.KerasTensor, settings: CnnSettings) -> keras.KerasTensor:
    flatten = layers.GlobalAveragePooling2D if settings.head == "average" else layers.Flatten
    return flatten()(features)


def _side(observables: keras.KerasTensor, settings: CnnSettings) -> keras.KerasTensor:
    """Bring observables, GeV among them, to mean 0 and variance 1, and let one dense layer bend them."""
    # the logarithm of a mass in bfloat16 would be rounded by a percent of the mass
    scale = layers.BatchNormalization(momentum=0.9, center=False, scale=False, dtype="float32")
    scaled = scale(ops.log1p(observables))
    bent = layers.Dense(16, activation=settings.activation, dtype="float32")(scaled)
    return layers.Concatenate(dtype="float32")([scaled, bent])
