"""Self-attention among a jet's constituents."""

from __future__ import annotations

import keras
from keras import layers, ops

from jetexp.taggers.pfn import SMALLEST_FRACTION, features_of, sum_over_jet
from jetexp.taggers.settings import AttentionSettings

__all__ = ["attended", "pairs_of"]

# nearer constituents are one: so is each to itself
SMALLEST_DISTANCE = 1e-3


def attended(constituents: keras.KerasTensor, settings: AttentionSettings) -> keras.KerasTensor:
    """Let the hardest constituents look at each other, and sum what they have seen over the jet.

    Blocks as of the Transformer with normalisation first (Vaswani et al., arXiv:1706.03762; Xiong et al.,
    arXiv:2002.04745), without an encoding of places: constituents have no order. How far one looks at
    another depends on how far apart the two are and how they share their pT, too, which is added to the
    likeness of query and key (Qu, Li and Qian, arXiv:2202.03772, section 4).

    Parameters
    ----------
    constituents : KerasTensor, shape (N, constituents, 3)
        Eta, phi and the fraction of pT, by falling pT; the fraction is zero where there is no constituent.
    settings : AttentionSettings
        How many blocks, how wide.

    Returns
    -------
    KerasTensor, shape (N, settings.latent)
        Normalised over the batch.
    """
    features, there = features_of(constituents[:, : settings.constituents])
    features = layers.Dense(settings.width, activation="relu", kernel_initializer="he_uniform")(features)
    features = layers.Dense(settings.width)(features)
    # ReLU: the exponential of a GELU would take as long as all else together
    # a jet without constituents has none to look at: its features are finite, and not summed
    seen = ops.expand_dims(ops.transpose(there, (0, 2, 1)), 1) > 0
    bias = None
    if settings.pairs:
        bent = layers.Dense(settings.pairs, activation="relu", kernel_initializer="he_uniform")(
            pairs_of(constituents[:, : settings.constituents])
        )
        bias = ops.transpose(layers.Dense(settings.heads)(bent), (0, 3, 1, 2))
    for _ in range(settings.blocks):
        looked = _looked(layers.LayerNormalization()(features), seen, bias, settings)
        features = layers.Add()([features, looked])
        entered = layers.LayerNormalization()(features)
        bent = layers.Dense(2 * settings.width, activation="relu")(entered)
        features = layers.Add()([features, layers.Dense(settings.width)(bent)])
    features = layers.LayerNormalization()(features)
    features = layers.Dense(settings.latent, activation="relu", kernel_initializer="he_uniform")(features)
    return layers.BatchNormalization()(sum_over_jet(features, there))


def pairs_of(constituents: keras.KerasTensor) -> keras.KerasTensor:
    """Describe each pair of constituents by numbers of the order of one.

    Parameters
    ----------
    constituents : KerasTensor, shape (N, constituents, 3)
        Eta, phi and the fraction of pT, which is zero where there is no constituent.

    Returns
    -------
    KerasTensor, shape (N, constituents, constituents, 3)
        The logarithms of their distance, of the lesser fraction of pT times their distance, and of the
        lesser fraction over the sum of both: ln Delta, ln kT and ln z of Qu, Li and Qian (arXiv:2202.03772,
        section 4). Their fourth, ln m2, follows from these as far as the angles are small.
    """
    eta, phi, fraction = (constituents[..., axis] for axis in range(3))
    fraction = ops.maximum(fraction, SMALLEST_FRACTION)
    apart = (_each_less_each(eta) ** 2 + _each_less_each(phi) ** 2 + SMALLEST_DISTANCE**2) ** 0.5
    lesser = ops.minimum(fraction[:, :, None], fraction[:, None, :])
    together = fraction[:, :, None] + fraction[:, None, :]
    numbers = [ops.log(apart) / 2 + 1, ops.log(lesser * apart) / 4 + 2, ops.log(lesser / together) / 2 + 1]
    return ops.stack(numbers, axis=-1)


def _each_less_each(values: keras.KerasTensor) -> keras.KerasTensor:
    return values[:, :, None] - values[:, None, :]


def _looked(
    features: keras.KerasTensor,
    seen: keras.KerasTensor,
    bias: keras.KerasTensor | None,
    settings: AttentionSettings,
) -> keras.KerasTensor:
    """Let each look at all that are seen, by the likeness of query and key and by the pair's own bias."""
    each = settings.width // settings.heads
    query, key, value = (
        layers.EinsumDense("ncw,whe->nche", (None, settings.heads, each), bias_axes="he")(features)
        for _ in range(3)
    )
    looked = ops.dot_product_attention(query, key, value, bias=bias, mask=seen)
    return layers.EinsumDense("nche,hew->ncw", (None, settings.width), bias_axes="w")(looked)
