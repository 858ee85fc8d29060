"""What a tagger looks at, as images."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from jetexp.plots.style import new_figure, styled

__all__ = ["correlation", "saliency"]


@styled
def correlation(
    image: npt.NDArray[np.floating], half_width: float, title: str = "", *, compressed: bool = False
) -> Figure:
    """Draw the correlation of each pixel with the discriminant.

    Parameters
    ----------
    image : ndarray of float, shape (H, W)
        In [-1, 1]; first axis eta, second phi.
    half_width : float
        Half the side of the image, in the coordinates that jets have there.
    title : str
        What stands above.
    compressed : bool
        Whether wide angles are drawn closer in the image.

    Returns
    -------
    Figure
        On a scale that is white at zero and as long on either side.
    """
    largest = float(np.abs(image).max()) or 1.0
    return _picture(
        image,
        half_width,
        title,
        "correlation with the discriminant",
        compressed,
        cmap="RdBu_r",
        vmin=-largest,
        vmax=largest,
    )


@styled
def saliency(
    image: npt.NDArray[np.floating],
    half_width: float,
    title: str = "",
    *,
    compressed: bool = False,
) -> Figure:
    """Draw how much each pixel matters to the score.

    Parameters
    ----------
    image : ndarray of float, shape (H, W)
        Mean absolute gradient of the log-odds by each pixel; first axis eta, second phi.
    half_width : float
        Half the side of the image, in the coordinates that jets have there.
    title : str
        What stands above.
    compressed : bool
        Whether wide angles are drawn closer in the image.

    Returns
    -------
    Figure
        On a linear scale from zero.
    """
    largest = float(image.max())
    return _picture(
        image,
        half_width,
        title,
        "mean |∂ log-odds / ∂ pixel|",
        compressed,
        cmap="magma",
        vmin=0.0,
        vmax=largest if largest > 0 else 1.0,
    )


def _picture(
    image: npt.NDArray[np.floating],
    half_width: float,
    title: str,
    label: str,
    compressed: bool,
    **scale: Any,
) -> Figure:
    figure, [[axes]] = new_figure(width=4.0, height=3.3)
    # rows of the drawn image are phi
    drawn = axes.imshow(
        image.T,
        origin="lower",
        extent=(-half_width, half_width, -half_width, half_width),
        interpolation="nearest",
        **scale,
    )
    # turned and zoomed, jets are not drawn in differences of eta and phi any more
    place = "standardised and compressed" if compressed else "standardised"
    axes.set(xlabel=rf"$\Delta\eta$, {place}", ylabel=rf"$\Delta\phi$, {place}")
    axes.grid(visible=False)
    axes.set_title(title, loc="left")
    figure.colorbar(drawn, ax=axes, label=label)
    return figure
