"""The taggers that an experiment fits: its references' settings, and all that is settled about each."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from jetexp.images import ImageSettings
from jetexp.settings import NAME, Settings
from jetexp.taggers.settings import CLASSICAL, TaggerSettings, TrainingSettings

__all__ = ["ReferenceSettings", "TaggerFit"]


class ReferenceSettings(Settings):
    """A tagger that the experiment's own is measured against, on the same jets.

    Attributes
    ----------
    name : str
        Its name, in tables and runs; by default its kind.
    tagger : settings of a tagger
        Which one.
    images : ImageSettings, optional
        How its images are made; by default as the experiment's.
    training : TrainingSettings, optional
        How it is fitted, if it is a network; by default as the experiment's.
    seeds : int, optional
        Number of fits; by default as the experiment's. A classical tagger is fitted once.
    """

    name: str | None = Field(None, pattern=NAME)
    tagger: TaggerSettings
    images: ImageSettings | None = None
    training: TrainingSettings | None = None
    seeds: int | None = Field(None, ge=1, le=1000)


@dataclass(frozen=True)
class TaggerFit:
    """One tagger to be fitted, with all that is settled about it.

    Attributes
    ----------
    name : str
        Its name, in tables and runs.
    tagger : settings of a tagger
        Which one.
    images : ImageSettings
        How its images are made, if it takes any.
    training : TrainingSettings
        How it is fitted, if it is a network.
    seeds : int
        Number of fits.
    seed : int
        Seed of the first.
    """

    name: str
    tagger: TaggerSettings
    images: ImageSettings
    training: TrainingSettings
    seeds: int
    seed: int

    @property
    def is_classical(self) -> bool:
        """Whether it is no network."""
        return isinstance(self.tagger, CLASSICAL)
