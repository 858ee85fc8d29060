"""One look for all figures: sizes, colours, axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from jetexp.evaluation.report import Evaluation, Summary

__all__ = ["COLOURS", "GREY", "caption", "class_colour", "new_figure", "number", "styled"]

# Petroff, arXiv:2107.02270: told apart by people with the common colour vision deficiencies
COLOURS = (
    "#3f90da",
    "#bd1f01",
    "#ffa90e",
    "#832db6",
    "#e76300",
    "#94a4a2",
    "#a96b59",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
GREY = "#555555"
COLUMN_WIDTH = 4.5
STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 9,
    "axes.titlesize": 8,
    "font.size": 8,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.5,
    "image.cmap": "viridis",
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.minor.visible": True,
    "ytick.minor.visible": True,
    "xtick.top": True,
    "ytick.right": True,
}

Parameters = ParamSpec("Parameters")


def styled(function: Callable[Parameters, Figure]) -> Callable[Parameters, Figure]:
    """Draw with the common style, and leave matplotlib's own settings as they were."""

    @wraps(function)
    def inner(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            return function(*args, **kwargs)

    return inner


def new_figure(
    rows: int = 1,
    columns: int = 1,
    *,
    width: float = COLUMN_WIDTH,
    height: float = 3.5,
    **subplots: Any,
) -> tuple[Figure, Any]:
    """Make a figure that pyplot knows nothing of.

    Parameters
    ----------
    rows, columns : int
        Grid of axes.
    width, height : float
        Inches.
    **subplots
        For ``Figure.subplots``.

    Returns
    -------
    figure : Figure
        With an Agg canvas, 200 dots an inch.
    axes : ndarray of Axes, shape (rows, columns)
        Its axes.
    """
    figure = Figure(figsize=(width, height), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **subplots)


def class_colour(index: int) -> str:
    """Return the colour of a class (or run, or seed) by its place."""
    return COLOURS[index % len(COLOURS)]


def number(count: int) -> str:
    """Write a count with thin spaces between thousands."""
    return f"{count:,}".replace(",", "\u2009")


def caption(result: Evaluation | Summary, extra: str = "") -> str:
    """Say what a figure shows: signal against background, the part, the number of jets."""
    total = sum(result.counts)
    background: Sequence[str] = [name for name in result.classes if name != result.signal]
    named = " and ".join(background) if len(background) <= 2 else "all others"
    text = f"{result.signal} against {named}, {result.part}: {number(total)} jets"
    return f"{text}, {extra}" if extra else text
