"""Jet images: examples, sums, and what misidentified jets look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from jetexp.evaluation.report import Evaluation, Mistakes
from jetexp.plots.style import new_figure, number, styled

__all__ = ["class_sums", "examples", "mean_images", "misidentified"]

DECADES_OF_SUMS = 5
DECADES_OF_ONE = 4
PT = r"$p_T$ in a pixel [GeV]"
MANY = 4


@styled
def examples(evaluation: Evaluation) -> Figure:
    """Draw one jet of each class.

    Parameters
    ----------
    evaluation : Evaluation
        Evaluated with images.

    Returns
    -------
    Figure
        Pixels in GeV, on a logarithmic scale; empty pixels are white.
    """
    mistakes = _mistakes(evaluation)
    titles = [f"one {name} jet" for name in evaluation.classes]
    return _panels(mistakes.examples, titles, mistakes.half_width, DECADES_OF_ONE, PT)


@styled
def class_sums(evaluation: Evaluation) -> Figure:
    """Draw the sum image of each class.

    Parameters
    ----------
    evaluation : Evaluation
        Evaluated with images.

    Returns
    -------
    Figure
        Pixels in GeV, on a logarithmic scale.
    """
    mistakes = _mistakes(evaluation)
    titles = [
        f"{name}: {number(count)} jets"
        for name, count in zip(evaluation.classes, evaluation.counts, strict=True)
    ]
    return _panels(mistakes.class_sums, titles, mistakes.half_width, DECADES_OF_SUMS, f"sum of {PT}")


@styled
def mean_images(images: Mapping[str, npt.NDArray[np.float64]], half_width: float) -> Figure:
    """Draw mean images side by side.

    Parameters
    ----------
    images : mapping of str to ndarray of float64, shape (H, W)
        By their titles; first axis eta, second phi, in GeV.
    half_width : float
        Half their side, in eta and phi.

    Returns
    -------
    Figure
        On a logarithmic scale.
    """
    return _panels(np.stack(list(images.values())), list(images), half_width, DECADES_OF_SUMS, f"mean {PT}")


@styled
def misidentified(evaluation: Evaluation) -> Figure:
    """Draw the sum images of the misidentified jets, with their similarity to the class sums.

    Parameters
    ----------
    evaluation : Evaluation
        Evaluated with images.

    Returns
    -------
    Figure
        One panel for each ordered pair of classes, or for those that are most often confused.
    """
    mistakes, classes = _mistakes(evaluation), evaluation.classes
    titles = []
    for kind in mistakes.kinds:
        likeness = [
            f"{name} {'–' if value is None else f'{value:.3f}'}"
            for index, (name, value) in enumerate(zip(classes, kind.ssim, strict=True))
            # of many classes the two that it is about
            if len(classes) <= MANY or index in (kind.true, kind.predicted)
        ]
        columns = 2 if len(classes) <= MANY else 1
        lines = [", ".join(likeness[start : start + columns]) for start in range(0, len(likeness), columns)]
        titles.append(
            f"{classes[kind.true]} taken for {classes[kind.predicted]}: {number(kind.count)} jets\n"
            f"SSIM to all {lines[0]}" + "".join(f",\n{line}" for line in lines[1:])
        )
    images = np.stack([kind.sum_image for kind in mistakes.kinds])
    return _panels(images, titles, mistakes.half_width, DECADES_OF_SUMS, f"sum of {PT}")


def _mistakes(evaluation: Evaluation) -> Mistakes:
    if evaluation.mistakes is None:
        raise ValueError("this evaluation was made without images")
    return evaluation.mistakes


def _panels(
    images: npt.NDArray[np.float64], titles: Sequence[str], half_width: float, decades: int, label: str
) -> Figure:
    """Draw images side by side, two or three in a row, with one colour scale."""
    columns = 3 if len(images) % 3 == 0 else 2
    rows = -(-len(images) // columns)
    figure, axes = new_figure(
        rows, columns, width=2.3 * columns + 0.6, height=2.55 * rows, sharex=True, sharey=True
    )
    largest = images.max() if images.max() > 0 else 1.0
    scale = LogNorm(largest / 10**decades, largest)
    drawn = None
    for panel, image, title in zip(axes.flat, images, titles, strict=False):
        drawn = panel.imshow(
            np.ma.masked_less_equal(image.T, 0),
            norm=scale,
            origin="lower",
            extent=(-half_width, half_width, -half_width, half_width),
        )
        panel.set_title(title, loc="left")
        panel.grid(visible=False)
    for panel in axes.flat[len(images) :]:
        panel.set_visible(False)
    for panel in axes[-1]:
        panel.set_xlabel(r"$\Delta\eta$")
    for panel in axes[:, 0]:
        panel.set_ylabel(r"$\Delta\phi$")
    if drawn is not None:
        figure.colorbar(drawn, ax=axes, label=label, shrink=0.9)
    return figure
