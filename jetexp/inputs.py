"""What a tagger takes, made from jets: images, observables, lists of constituents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import model_validator

from jetexp.constituents import ConstituentSettings, make_constituents
from jetexp.images import ImageSettings, make_images
from jetexp.jets.observables import Observable, make_observables
from jetexp.jets.sample import Jets
from jetexp.settings import Settings

__all__ = ["InputSettings", "Inputs", "make_inputs", "number_of_jets"]

Inputs = dict[str, npt.NDArray[np.float32]]


class InputSettings(Settings):
    """Which inputs a tagger takes, and how they are made.

    Attributes
    ----------
    images : ImageSettings, optional
        Makes the input ``image``.
    observables : tuple of str
        The columns of the input ``observables``.
    constituents : ConstituentSettings, optional
        Makes the input ``constituents``.
    """

    images: ImageSettings | None = None
    observables: tuple[Observable, ...] = ()
    constituents: ConstituentSettings | None = None

    @model_validator(mode="after")
    def _something(self) -> InputSettings:
        if self.images is None and not self.observables and self.constituents is None:
            raise ValueError("a tagger takes at least one input")
        return self

    @property
    def need_charge(self) -> bool:
        """Whether the constituents' charges must be known."""
        return self.images is not None and self.images.need_charge


def make_inputs(jets: Jets, settings: InputSettings, *, cache: Path | None = None) -> Inputs:
    """Make a tagger's inputs, the same way for training, scoring and serving.

    Parameters
    ----------
    jets : Jets
        N jets.
    settings : InputSettings
        Which inputs.
    cache : Path, optional
        Folder in which observables that take long are kept; see
        :func:`jetexp.jets.observables.make_observables`.

    Returns
    -------
    dict of str to ndarray of float32, first axis N
        By the name of the input.

    Raises
    ------
    JetexpError
        If an input needs charges, and the jets have none.
    """
    inputs: Inputs = {}
    if settings.images is not None:
        inputs["image"] = make_images(jets, settings.images)
    if settings.observables:
        inputs["observables"] = make_observables(jets, settings.observables, cache=cache)
    if settings.constituents is not None:
        inputs["constituents"] = make_constituents(jets, settings.constituents)
    return inputs


def number_of_jets(inputs: Inputs) -> int:
    """Count the jets that inputs were made from.

    Parameters
    ----------
    inputs : dict of str to ndarray
        As made by :func:`make_inputs`.

    Returns
    -------
    int
        The length of their first axis.
    """
    return len(next(iter(inputs.values())))
