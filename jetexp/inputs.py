"""What a tagger takes, made from jets: images, observables, lists of constituents."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import model_validator

from jetexp.constituents import ConstituentSettings, constituent_array
from jetexp.geometry import BlockArray, make_arrays
from jetexp.images import ImageSettings, image_array
from jetexp.jets.observables import Observable, make_observables
from jetexp.jets.sample import Jets
from jetexp.settings import Settings

__all__ = ["InputSettings", "Inputs", "LazyArray", "make_inputs", "number_of_jets", "some_inputs"]


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


@dataclass(frozen=True, eq=False)
class LazyArray:
    """An array of what a network takes that is made from jets when it is looked at.

    Attributes
    ----------
    jets : Jets
        N jets.
    make : callable
        From jets to an array, first axis jets; must give the same for each jet, whatever stands beside it.
    shape : tuple of int
        N and the shape for one jet.
    """

    jets: Jets
    make: Callable[[Jets], npt.NDArray[np.float32]]
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, which: slice | npt.NDArray[np.int64] | Sequence[int]) -> npt.NDArray[np.float32]:
        """Make the entries of some jets."""
        if isinstance(which, slice) and which.step in (None, 1):
            start, stop, _ = which.indices(len(self.jets))
            made = self.make(self.jets.between(start, max(start, stop)))
        else:
            index = which if isinstance(which, slice) else np.asarray(which)
            made = self.make(self.jets.take(index))
        self.jets.release()
        return made


Inputs = Mapping[str, npt.NDArray[np.float32] | LazyArray]


def make_inputs(
    jets: Jets, settings: InputSettings, *, cache: Path | None = None, memory: float | None = None
) -> Inputs:
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
    memory : float, optional
        Bytes that the inputs may take; beyond, images and constituents are made when they are looked at.
        By default there is no limit.

    Returns
    -------
    dict of str to ndarray of float32 or LazyArray, first axis N
        By the name of the input.

    Raises
    ------
    JetexpError
        If an input needs charges, and the jets have none.
    """
    # what is wrong with these jets is told now
    wanted = _block_arrays(jets, settings)
    size = len(jets) * sum(4 * math.prod(one.shape) for one in wanted.values())
    made: dict[str, npt.NDArray[np.float32] | LazyArray] = {}
    if memory is not None and size > memory:
        for name, one in wanted.items():
            made[name] = LazyArray(jets, partial(_made_alone, name, settings), (len(jets), *one.shape))
    else:
        made.update(zip(wanted, make_arrays(jets, list(wanted.values())), strict=True))
    if settings.observables:
        # few numbers a jet, and some of them take long: always in memory
        made["observables"] = make_observables(jets, settings.observables, cache=cache)
    return {name: made[name] for name in ("image", "observables", "constituents") if name in made}


def _block_arrays(jets: Jets, settings: InputSettings) -> dict[str, BlockArray]:
    """Say which arrays are made from jets in standard position."""
    wanted = {}
    if settings.images is not None:
        wanted["image"] = image_array(jets, settings.images)
    if settings.constituents is not None:
        wanted["constituents"] = constituent_array(settings.constituents)
    return wanted


def _made_alone(name: str, settings: InputSettings, jets: Jets) -> npt.NDArray[np.float32]:
    (made,) = make_arrays(jets, [_block_arrays(jets, settings)[name]])
    return made


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


def some_inputs(inputs: Inputs, which: slice | npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.float32]]:
    """Take the inputs of some jets, into memory.

    Parameters
    ----------
    inputs : dict of str to ndarray or LazyArray
        As made by :func:`make_inputs`.
    which : slice or ndarray of int64
        Which jets.

    Returns
    -------
    dict of str to ndarray of float32
    """
    return {name: values[which] for name, values in inputs.items()}
