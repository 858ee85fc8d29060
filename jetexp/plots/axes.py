"""What several figures' axes and legends have in common."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from jetexp.plots.style import number

__all__ = ["logarithmic", "marker", "shortened"]

MARKERS = "osD^vPX<>*"


def marker(index: int) -> str:
    """Return the marker of a tagger by its place, so that colours are not all that tells them apart."""
    return MARKERS[index % len(MARKERS)]


def logarithmic(axes: Axes, which: str, low: float, high: float) -> None:
    """Make an axis logarithmic, with as many plain numbers at it as make it readable.

    Parameters
    ----------
    axes : Axes
        Whose axis.
    which : str
        "x" or "y".
    low, high : float
        What is shown, about.
    """
    axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set(**{f"{which}scale": "log"})
    if high > 200 * low:
        labelled: tuple[int, ...] = (1,)
    elif high > 10 * low:
        labelled = (1, 2, 5)
    else:
        labelled = (1, 2, 3, 4, 5, 6, 8)
    axis.set_major_locator(LogLocator(subs=labelled))
    axis.set_minor_locator(LogLocator(subs="all"))
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: number(round(value)) if value >= 10 else f"{value:g}")
    )
    axis.set_minor_formatter(NullFormatter())


def shortened(name: str) -> str:
    """Keep a legend entry within the figure, and off matplotlib's own meaning of an underscore."""
    text = name if len(name) <= 32 else f"{name[:31]}…"
    return f" {text}" if text.startswith("_") else text
