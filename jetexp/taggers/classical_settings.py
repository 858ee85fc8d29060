"""Settings of the classical taggers, free of any framework."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from jetexp.jets.observables import OBSERVABLES, Observable
from jetexp.settings import Settings

__all__ = ["BoostedTreesSettings", "ClassicalSettings", "LogisticRegressionSettings", "MassWindowSettings"]


class FittedAtOnce(Settings):
    """What all taggers share that are fitted to all their jets at once.

    Attributes
    ----------
    maximum_jets : int
        Train on no more than so many jets, and validate on no more, taken evenly over the sample.
    """

    maximum_jets: int = Field(100_000, ge=2)


class MassWindowSettings(FittedAtOnce):
    """A window on one observable, as wide as the signal efficiency asks for. Two classes only.

    Attributes
    ----------
    observable : str
        What the window is on.
    """

    kind: Literal["mass_window"] = "mass_window"
    observable: Observable = "soft_drop_mass"


class LogisticRegressionSettings(FittedAtOnce):
    """Logistic regression on the pixels of the image.

    Attributes
    ----------
    regularisation : float
        Strength of the L2 penalty: the negative log-likelihood, summed over the training jets, plus
        half this times the squared coefficients of the standardised pixels is made least.
    """

    kind: Literal["logistic_regression"] = "logistic_regression"
    regularisation: float = Field(1000.0, gt=0)


class BoostedTreesSettings(FittedAtOnce):
    """Gradient-boosted decision trees on observables.

    Attributes
    ----------
    observables : tuple of str
        What the trees see.
    learning_rate : float
        What each tree's contribution is multiplied by.
    leaves : int
        Leaves of a tree, at most.
    jets_per_leaf : int
        Training jets in a leaf, at least.
    regularisation : float
        L2 penalty on the values of the leaves.
    observables_per_split : float
        Fraction of the observables, drawn at random, that each split chooses among.
    iterations : int
        Rounds of boosting (one tree, or one tree a class if they are more than two), at most.
    patience : int
        Stop after so many rounds without a better validation loss.
    """

    kind: Literal["boosted_trees"] = "boosted_trees"
    observables: tuple[Observable, ...] = Field(OBSERVABLES, min_length=1)
    learning_rate: float = Field(0.05, gt=0, le=1)
    leaves: int = Field(15, ge=2, le=1024)
    jets_per_leaf: int = Field(40, ge=1)
    regularisation: float = Field(20.0, ge=0)
    observables_per_split: float = Field(0.5, gt=0, le=1)
    iterations: int = Field(1000, ge=1, le=100_000)
    patience: int = Field(30, ge=1)


ClassicalSettings = Annotated[
    MassWindowSettings | LogisticRegressionSettings | BoostedTreesSettings, Field(discriminator="kind")
]
