"""From constituents to images: centre, rotate, flip, zoom, pixelate, scale."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from jetexp.settings import Settings

__all__ = ["ImageSettings"]


class ImageSettings(Settings):
    """How images are made from constituents.

    Attributes
    ----------
    pixels : int
        Pixels a side.
    half_width : float
        Half the side of the image, in eta and phi (after the zoom).
    centre : bool
        Move the pT-weighted centroid to the middle.
    rotate : bool
        Turn the principal axis upright.
    flip : bool
        Mirror so that the harder half lies on the positive side of each axis.
    zoom : bool
        Scale angles by the jet's pT over ``reference_pt``, since a decay's opening angle goes as
        2 m / pT (Barnard et al., arXiv:1609.00607).
    reference_pt : float
        The pT at which the zoom leaves angles as they are, GeV.
    scale : {"gev", "fraction"}
        Pixels in GeV, or as fractions of the jet's summed pT.
    intensity : {"linear", "sqrt", "log"}
        What is done to the scaled pixel values.
    """

    pixels: int = Field(24, ge=4, le=256)
    half_width: float = Field(0.6, gt=0, le=3.2)
    centre: bool = True
    rotate: bool = True
    flip: bool = True
    zoom: bool = True
    reference_pt: float = Field(600.0, gt=0)
    scale: Literal["gev", "fraction"] = "fraction"
    intensity: Literal["linear", "sqrt", "log"] = "sqrt"
