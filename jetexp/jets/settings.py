"""Where jets come from, as the experiment file says it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from jetexp.settings import Settings

__all__ = ["GenerationSettings", "JetFileSettings", "JetsSettings"]

MAXIMUM_PER_CLASS = 100_000_000


class GenerationSettings(Settings):
    """Jets made by Pythia 8 and FastJet.

    Attributes
    ----------
    per_class : int
        Number of jets of each class.
    seed : int
        Seed of the sample; samples of different seeds share no event.
    pt_range : tuple of float
        Smallest and largest jet transverse momentum, GeV.
    maximum_eta : float
        Largest absolute jet pseudorapidity.
    radius : float
        Anti-kT radius parameter.
    """

    source: Literal["pythia"] = "pythia"
    per_class: int = Field(10_000, ge=1, le=MAXIMUM_PER_CLASS)
    seed: int = Field(1, ge=0, le=1_000_000)
    pt_range: tuple[float, float] = (600.0, 1500.0)
    maximum_eta: float = Field(2.0, gt=0, le=3.0)
    radius: float = Field(1.0, gt=0.1, le=1.5)

    @model_validator(mode="after")
    def _range(self) -> GenerationSettings:
        if not 0 < self.pt_range[0] < self.pt_range[1]:
            raise ValueError("pt_range must be two increasing positive numbers, in GeV")
        return self


class JetFileSettings(Settings):
    """Jets read from a file, or from a sample generated before.

    Attributes
    ----------
    path : str
        The file, or the folder of a stored sample.
    per_class : int, optional
        Read no more than this many jets of each class; by default all.
    maximum_pixel : float
        Jets with a pixel above this transverse energy, in GeV, are dropped as corrupt.
    """

    source: Literal["file"] = "file"
    path: str = Field(min_length=1)
    per_class: int | None = Field(None, ge=1, le=MAXIMUM_PER_CLASS)
    maximum_pixel: float = Field(13_000.0, gt=0)


JetsSettings = Annotated[GenerationSettings | JetFileSettings, Field(discriminator="source")]
