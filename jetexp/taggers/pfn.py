"""The particle flow network: a sum over constituents, of whatever order and number."""

from __future__ import annotations

from collections.abc import Mapping

import keras
from keras import layers, ops

from jetexp.taggers.settings import PfnSettings

__all__ = ["network"]


def network(settings: PfnSettings, shapes: Mapping[str, tuple[int, ...]], classes: int) -> keras.Model:
    """Build a particle flow network, F(sum_i Phi(p_i)) (Komiske et al., arXiv:1810.05165, eq. 1.1).

    Parameters
    ----------
    settings : PfnSettings
        Layers of Phi and of F.
    shapes : mapping of str to tuple of int
        Shape (constituents, 3) of the input ``constituents``: eta, phi and the fraction of pT, which is
        zero where there is no constituent.
    classes : int
        Number of classes.

    Returns
    -------
    keras.Model
        With one softmax score a class.
    """
    constituents = keras.Input(shapes["constituents"], name="constituents")
    features = constituents
    for units in settings.latent:
        features = layers.Dense(units, activation="relu", kernel_initializer="he_uniform")(features)
    there = ops.cast(constituents[..., 2:3] > 0, features.dtype)
    features = ops.sum(features * there, axis=1)
    for units in settings.dense:
        features = layers.Dense(units, activation="relu", kernel_initializer="he_uniform")(features)
        features = layers.Dropout(settings.dropout)(features)
    score = layers.Dense(classes, activation="softmax", name="score")(features)
    return keras.Model({"constituents": constituents}, score, name="pfn")
