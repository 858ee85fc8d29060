"""Settings of a search for hyperparameters: how it goes, and the space it goes through."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from jetexp.settings import Settings

__all__ = ["Choices", "Range", "SearchSettings"]

# the part of a range, at either end, in which a best value says that the range is too small
EDGE = 0.1


class Choices(Settings):
    """A hyperparameter that takes one of a few values.

    Attributes
    ----------
    choices : tuple of int, float or str
        The values.
    """

    choices: tuple[int | float | str, ...] = Field(min_length=1)

    @property
    def extremes(self) -> tuple[int | float | str, ...]:
        """The values that must be possible."""
        return self.choices

    def edge(self, value: Any) -> Literal["lower", "upper"] | None:
        """Say whether a value is the first or last of the choices, where these are three numbers or more.

        Parameters
        ----------
        value : int, float or str
            One of the choices.

        Returns
        -------
        {"lower", "upper"} or None
            None too where the choices have no order, or no middle.
        """
        if len(set(self.choices)) < 3 or any(isinstance(one, str) for one in self.choices):
            return None
        if value == min(self.choices):
            return "lower"
        return "upper" if value == max(self.choices) else None


class Range(Settings):
    """A hyperparameter between two values.

    Attributes
    ----------
    min, max : float
        The ends, which belong to the range.
    scale : {"linear", "log"}
        What the values are uniform in.
    step : float, optional
        Distance of the values allowed, on the linear scale.
    """

    min: int | float
    max: int | float
    scale: Literal["linear", "log"] = "linear"
    step: int | float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _order(self) -> Range:
        if not self.min < self.max:
            raise ValueError("min must be below max")
        if self.scale == "log" and self.min <= 0:
            raise ValueError("a log scale needs a min above zero")
        if self.scale == "log" and self.step is not None:
            raise ValueError("a step goes with a linear scale")
        return self

    @property
    def extremes(self) -> tuple[int | float, ...]:
        """The values that must be possible."""
        return (self.min, self.max)

    def edge(self, value: float) -> Literal["lower", "upper"] | None:
        """Say whether a value lies in the first or last tenth of the range.

        Parameters
        ----------
        value : float
            Within the range.

        Returns
        -------
        {"lower", "upper"} or None
            On the scale of the range.

        Examples
        --------
        >>> Range(min=0.001, max=0.1, scale="log").edge(0.0012)
        'lower'
        """
        low, high, at = (math.log(one) if self.scale == "log" else one for one in (self.min, self.max, value))
        place = (at - low) / (high - low)
        if place <= EDGE:
            return "lower"
        return "upper" if place >= 1 - EDGE else None


def _form(value: Any) -> str:
    """Tell a list of choices from a range, so that a mistake is told about the one that was meant."""
    choices = isinstance(value, Choices) or (isinstance(value, dict) and "choices" in value)
    return "Choices" if choices else "Range"


Hyperparameter = Annotated[
    Annotated[Choices, Tag("Choices")] | Annotated[Range, Tag("Range")], Discriminator(_form)
]


class SearchSettings(Settings):
    """The search for hyperparameters.

    Attributes
    ----------
    method : {"random", "bayesian", "hyperband"}
        KerasTuner's oracle.
    trials : int
        Number of trials.
    epochs : int
        Epochs of a trial.
    objective : {"val_auc", "val_loss"}
        What the search maximises (AUC) or minimises (loss), on the validation jets.
    space : dict
        Hyperparameters searched: names of tagger or training settings, with a range or choices.
    """

    method: Literal["random", "bayesian", "hyperband"] = "random"
    trials: int = Field(6, ge=1, le=100_000)
    epochs: int = Field(6, ge=1, le=10_000)
    objective: Literal["val_auc", "val_loss"] = "val_auc"
    space: dict[str, Hyperparameter] = Field(min_length=1)
