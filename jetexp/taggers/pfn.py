"""The particle flow network: a sum over constituents, of whatever order and number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import keras
from keras import layers, ops

from jetexp.taggers.settings import PfnSettings

__all__ = ["any_number", "features_of", "network", "sum_over_jet", "summed"]

# these bring angles, fractions of pT and the sum over a jet to the order of one
ANGLE = 0.2
FRACTION = 0.1
SMALLEST_FRACTION = 1e-5
NUMBER = 30.0


def network(settings: PfnSettings, shapes: Mapping[str, tuple[int, ...]], classes: int) -> keras.Model:
    """Build a particle flow network, F(sum_i Phi(p_i)) (Komiske et al., arXiv:1810.05165, eq. 1.1).

    Beyond the publication, Phi sees the logarithm of the fraction of pT too, and the sum may be normalised
    over the batch.

    Parameters
    ----------
    settings : PfnSettings
        Layers of Phi and of F.
    shapes : mapping of str to tuple of int
        Shape (constituents, 3) of the input ``constituents``: eta, phi and the fraction of pT, which is
        zero where there is no constituent. The network takes any number of them.
    classes : int
        Number of classes.

    Returns
    -------
    keras.Model
        With one softmax score a class.
    """
    constituents = any_number(shapes["constituents"])
    features = summed(constituents, settings.latent, settings.normalisation)
    for units in settings.dense:
        features = layers.Dense(units, activation="relu", kernel_initializer="he_uniform")(features)
        features = layers.Dropout(settings.dropout)(features)
    score = layers.Dense(classes, activation="softmax", dtype="float32", name="score")(features)
    return keras.Model({"constituents": constituents}, score, name="pfn")


def any_number(shape: tuple[int, ...]) -> keras.KerasTensor:
    """Give an input for lists of constituents that may be shorter, or longer, than those trained on.

    Parameters
    ----------
    shape : tuple of int
        Constituents, and numbers that each is described by.

    Returns
    -------
    KerasTensor, shape (N, any, shape[1])
        Called ``constituents``.
    """
    return keras.Input((None, *shape[1:]), name="constituents")


def summed(
    constituents: keras.KerasTensor, latent: Sequence[int], normalisation: Literal["none", "batch"] = "batch"
) -> keras.KerasTensor:
    """Apply the same dense layers to each constituent, and sum over the jet.

    Parameters
    ----------
    constituents : KerasTensor, shape (N, constituents, 3)
        Eta, phi and the fraction of pT, which is zero where there is no constituent.
    latent : sequence of int
        Units of the layers.
    normalisation : {"none", "batch"}
        Of the sum.

    Returns
    -------
    KerasTensor, shape (N, latent[-1])
    """
    features, there = features_of(constituents)
    for units in latent:
        features = layers.Dense(units, activation="relu", kernel_initializer="he_uniform")(features)
    total = sum_over_jet(features, there)
    return layers.BatchNormalization()(total) if normalisation == "batch" else total


def features_of(constituents: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Describe each constituent by numbers of the order of one.

    Parameters
    ----------
    constituents : KerasTensor, shape (N, constituents, 3)
        Eta, phi and the fraction of pT, which is zero where there is no constituent.

    Returns
    -------
    features : KerasTensor, shape (N, constituents, 4)
        Eta, phi, the logarithm of the fraction, the fraction.
    there : KerasTensor of float32, shape (N, constituents, 1)
        One where there is a constituent, else zero.
    """
    fraction = constituents[..., 2:3]
    logarithm = ops.log(ops.maximum(fraction, SMALLEST_FRACTION)) / 5 + 1
    features = ops.concatenate([constituents[..., :2] / ANGLE, logarithm, fraction / FRACTION], axis=-1)
    return features, ops.cast(fraction > 0, "float32")


def sum_over_jet(features: keras.KerasTensor, there: keras.KerasTensor) -> keras.KerasTensor:
    """Sum what was made of the constituents over each jet, in float32 whatever it was computed in.

    Parameters
    ----------
    features : KerasTensor, shape (N, constituents, K)
        Of each constituent.
    there : KerasTensor of float32, shape (N, constituents, 1)
        As of :func:`features_of`.

    Returns
    -------
    KerasTensor of float32, shape (N, K)
        Of the order of one.
    """
    return ops.sum(features * there, axis=1) / NUMBER
