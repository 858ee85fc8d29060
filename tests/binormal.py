"""Scores whose ROC curve is known: the binormal model."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri


def binormal(
    per_class: int, separation: float, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Draw background from N(0, 1) and signal from N(separation, 1)."""
    is_signal = np.repeat([False, True], per_class)
    return rng.normal(size=2 * per_class) + separation * is_signal, is_signal


def true_auc(separation: float) -> float:
    return float(ndtr(separation / np.sqrt(2)))


def true_background_efficiency(separation: float, signal_efficiency: float) -> float:
    return float(ndtr(ndtri(signal_efficiency) - separation))


def probabilities(
    per_class: int, separation: float, seed: int, classes: int = 2
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Draw class probabilities such as a network gives, and labels."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(classes), per_class)
    logits = separation * (rng.normal(size=(len(label), classes)) + separation * np.eye(classes)[label])
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32), label
