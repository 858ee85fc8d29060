"""From constituents to images: standard position, pixels, channels, scale."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from jetexp.errors import JetexpError
from jetexp.geometry import Block, BlockArray, GeometrySettings, make_arrays, sums
from jetexp.jets.pixels import HALF_WIDTH, PIXELS, pixel_index
from jetexp.jets.sample import Jets

__all__ = ["ImageSettings", "image_array", "make_images"]

Float = npt.NDArray[np.float64]

# cells (constituents or pixels, whichever are more) held at once; bounds the memory taken
BLOCK_CELLS = 500_000
# what the logarithm is taken of: 1 + value / this, in GeV and as a fraction of the jet's pT
LOG_UNIT = {"gev": 1.0, "fraction": 1e-3}

Channel = Literal["pt", "charged", "neutral", "count"]


class ImageSettings(GeometrySettings):
    """How images are made from constituents.

    Attributes
    ----------
    pixels : int
        Pixels a side.
    half_width : float
        Half the side of the image, in eta and phi (after the zoom).
    compress : bool
        Draw wide angles closer, so that a small image with a fine core still shows the whole jet: the
        distance r from the middle becomes half_width log(1 + r / core) / log(1 + reach / core).
    core : float
        The distance (after the zoom) up to which the compression leaves proportions about as they are.
    reach : float
        The distance (after the zoom) that the compression brings to the edge of the image.
    scale : {"gev", "fraction"}
        Pixels in GeV, or as fractions of the jet's summed pT.
    intensity : {"linear", "sqrt", "log"}
        What is done to the scaled pixel values v: nothing, their square root, or log(1 + v / u)
        with u = 1 GeV, or u = 0.001 for fractions.
    channels : tuple of {"pt", "charged", "neutral", "count"}
        What the pixels hold: the pT of all constituents, of charged or of neutral ones (Komiske et
        al., arXiv:1612.01551), or the number of constituents, of which the scale knows nothing.
    """

    pixels: int = Field(24, ge=4, le=256)
    half_width: float = Field(0.6, gt=0, le=3.2)
    compress: bool = False
    core: float = Field(0.15, gt=0, le=10)
    reach: float = Field(1.5, gt=0, le=10)
    scale: Literal["gev", "fraction"] = "fraction"
    intensity: Literal["linear", "sqrt", "log"] = "sqrt"
    channels: tuple[Channel, ...] = Field(("pt",), min_length=1)

    @field_validator("channels")
    @classmethod
    def _once(cls, channels: tuple[Channel, ...]) -> tuple[Channel, ...]:
        if len(set(channels)) < len(channels):
            raise ValueError("a channel stands twice")
        return channels

    @classmethod
    def raw(cls, pixels: int = PIXELS, half_width: float = HALF_WIDTH) -> ImageSettings:
        """Give the settings of raw images: transverse energy in GeV around the jet axis, nothing moved.

        Parameters
        ----------
        pixels : int
            Pixels a side.
        half_width : float
            Half the side of the image, in eta and phi.

        Returns
        -------
        ImageSettings
            Without any step of standardisation.
        """
        return cls(
            pixels=pixels,
            half_width=half_width,
            centre=False,
            rotate=False,
            flip=False,
            zoom=False,
            scale="gev",
            intensity="linear",
        )

    @property
    def need_charge(self) -> bool:
        """Whether the constituents' charges must be known."""
        return not {"charged", "neutral"}.isdisjoint(self.channels)


def make_images(jets: Jets, settings: ImageSettings) -> npt.NDArray[np.float32]:
    """Make one image of each jet.

    Constituents outside the image are lost. A jet without constituents, or whose constituents
    have no pT, gives an empty image.

    Parameters
    ----------
    jets : Jets
        N jets.
    settings : ImageSettings
        What is done to them.

    Returns
    -------
    ndarray of float32, shape (N, pixels, pixels, channels)
        First axis eta, second phi. In GeV or without unit, by ``settings.scale``.

    Raises
    ------
    JetexpError
        If a channel needs charges, and the jets have none.

    Examples
    --------
    >>> jets = Jets(
    ...     offsets=np.array([0, 2]),
    ...     constituent_eta=np.array([0.1, -0.3], np.float32),
    ...     constituent_phi=np.array([0.1, -0.3], np.float32),
    ...     constituent_pt=np.array([30, 10], np.float32),
    ...     label=np.array([0]),
    ...     pt=np.array([40], np.float32),
    ...     eta=np.array([0], np.float32),
    ...     mass=np.array([9], np.float32),
    ...     classes=("QCD",),
    ... )
    >>> image = make_images(jets, ImageSettings(pixels=4, half_width=0.8, zoom=False, intensity="linear"))
    >>> image[0, :, :, 0].tolist()[2]
    [0.25, 0.0, 0.75, 0.0]
    """
    (images,) = make_arrays(jets, [image_array(jets, settings)])
    return images


def image_array(jets: Jets, settings: ImageSettings) -> BlockArray:
    """Say how images are made, for :func:`jetexp.geometry.make_arrays`.

    Parameters
    ----------
    jets : Jets
        The jets that they shall be made of.
    settings : ImageSettings
        What is done to them.

    Returns
    -------
    BlockArray

    Raises
    ------
    JetexpError
        If a channel needs charges, and the jets have none.
    """
    if settings.need_charge and jets.constituent_charge is None:
        raise JetexpError(
            f"images.channels {list(settings.channels)} need the constituents' charges, which these jets "
            "do not carry: use the channels pt and count."
        )

    def draw(block: Block, images: npt.NDArray[np.float32]) -> None:
        cell = _cells(block, settings)
        for index, channel in enumerate(settings.channels):
            images[..., index] = _channel(block, cell, channel, settings)

    largest = max(settings.pixels**2, int(jets.counts.max(initial=1)))
    shape = (settings.pixels, settings.pixels, len(settings.channels))
    return BlockArray(settings, shape, max(1, BLOCK_CELLS // largest), draw)


def _cells(block: Block, settings: ImageSettings) -> npt.NDArray[np.int64]:
    """Find the pixel of the block's images that each constituent falls in; -1 for none."""
    eta, phi = _compressed(block.eta, block.phi, settings) if settings.compress else (block.eta, block.phi)
    pixel = pixel_index(eta, phi, pixels=settings.pixels, half_width=settings.half_width)
    return np.where(pixel < 0, -1, block.jet * settings.pixels**2 + pixel)


def _compressed(eta: Float, phi: Float, settings: ImageSettings) -> tuple[Float, Float]:
    """Draw wide angles closer to the middle, along the ray that they lie on."""
    core, distance = settings.core, np.hypot(eta, phi)
    edge = settings.half_width / np.log1p(settings.reach / core)
    # towards the middle, log(1 + r / core) / r has the limit 1 / core
    safe = np.where(distance > 0, distance, 1.0)
    factor = edge * np.where(distance > 0, np.log1p(safe / core) / safe, 1 / core)
    return factor * eta, factor * phi


def _channel(block: Block, cell: npt.NDArray[np.int64], channel: Channel, settings: ImageSettings) -> Float:
    """Fill one channel of a block's images, shape (number, pixels, pixels)."""
    chosen = cell >= 0
    if channel == "count":
        # of those without pT, which smearing leaves and padding has, no image knows
        chosen &= block.pt > 0
    elif block.charge is not None and channel in ("charged", "neutral"):
        chosen &= (block.charge != 0) == (channel == "charged")
    pixels = settings.pixels
    values = None if channel == "count" else block.pt[chosen]
    images = sums(cell[chosen], values, block.number * pixels**2).reshape(block.number, pixels, pixels)
    scale = "gev" if channel == "count" else settings.scale
    if scale == "fraction":
        images /= np.where(block.total > 0, block.total, 1.0)[:, None, None]
    if settings.intensity == "sqrt":
        np.sqrt(images, out=images)
    elif settings.intensity == "log":
        np.log1p(images / LOG_UNIT[scale], out=images)
    return images
