"""From ragged constituents to arrays of one shape, for networks that take them as they are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import Field

from jetexp.geometry import Block, BlockArray, GeometrySettings, make_arrays
from jetexp.jets.sample import Jets

__all__ = ["ConstituentSettings", "constituent_array", "make_constituents"]

# so many that a block fits into the caches of a processor
JETS_AT_ONCE = 1_000


class ConstituentSettings(GeometrySettings):
    """How lists of constituents are made.

    By default the jets are brought to the same standard position as for images; the particle flow network
    of Komiske et al. (arXiv:1810.05165) was given jets centred and nothing more.

    Attributes
    ----------
    constituents : int
        The hardest constituents of each jet that are kept.
    """

    constituents: int = Field(100, ge=1, le=1000)


def make_constituents(jets: Jets, settings: ConstituentSettings) -> npt.NDArray[np.float32]:
    """List the hardest constituents of each jet.

    Parameters
    ----------
    jets : Jets
        N jets.
    settings : ConstituentSettings
        What is done to them.

    Returns
    -------
    ndarray of float32, shape (N, constituents, 3)
        Eta, phi, and pT as a fraction of the jet's summed pT; by falling pT, then zeros.
    """
    (lists,) = make_arrays(jets, [constituent_array(settings)])
    return lists


def constituent_array(settings: ConstituentSettings) -> BlockArray:
    """Say how lists of constituents are made, for :func:`jetexp.geometry.make_arrays`.

    Parameters
    ----------
    settings : ConstituentSettings
        What is done to the jets.

    Returns
    -------
    BlockArray
    """

    def write(block: Block, lists: npt.NDArray[np.float32]) -> None:
        order = _by_falling_pt(block)
        jet = block.jet[order]
        starts = np.searchsorted(jet, np.arange(block.number))
        place = np.arange(len(jet)) - starts[jet]
        kept = (place < settings.constituents) & (block.pt[order] > 0)
        order, jet, place = order[kept], jet[kept], place[kept]
        features = (block.eta[order], block.phi[order], block.pt[order] / block.total[jet])
        lists[jet, place] = np.stack(features, axis=-1)

    return BlockArray(settings, (settings.constituents, 3), JETS_AT_ONCE, write)


def _by_falling_pt(block: Block) -> npt.NDArray[np.int64]:
    """Order constituents by jet, then by falling pT; those of one pT keep their order."""
    # numbers of 32 bits that are not negative are ordered as their bits are; one key is sorted five times
    # sooner than two. Zero is added because there is a negative one
    falling = -(block.pt.astype(np.float32) + 0).view(np.uint32).astype(np.int64)
    return np.argsort((block.jet << 32) + falling, kind="stable")
