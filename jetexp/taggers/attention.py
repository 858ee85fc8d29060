"""Self-attention among a jet's constituents."""

from __future__ import annotations

import keras
from keras import layers, ops

from jetexp.taggers.pfn import features_of, sum_over_jet
from jetexp.taggers.settings import AttentionSettings

__all__ = ["attended"]


def attended(constituents: keras.KerasTensor, settings: AttentionSettings) -> keras.KerasTensor:
    """Let the hardest constituents look at each other, and sum what they have seen over the jet.

    Blocks as of the Transformer with normalisation first (Vaswani et al., arXiv:1706.03762; Xiong et al.,
    arXiv:2002.04745), without an encoding of places: constituents have no order. Qu, Li and Qian
    (arXiv:2202.03772) tag jets by such a network.

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
    seen = ops.transpose(there, (0, 2, 1)) > 0
    for _ in range(settings.blocks):
        entered = layers.LayerNormalization()(features)
        looked = layers.MultiHeadAttention(settings.heads, settings.width // settings.heads)(
            entered, entered, attention_mask=seen
        )
        features = layers.Add()([features, looked])
        entered = layers.LayerNormalization()(features)
        bent = layers.Dense(2 * settings.width, activation="relu")(entered)
        features = layers.Add()([features, layers.Dense(settings.width)(bent)])
    features = layers.LayerNormalization()(features)
    features = layers.Dense(settings.latent, activation="relu", kernel_initializer="he_uniform")(features)
    return layers.BatchNormalization()(sum_over_jet(features, there))
