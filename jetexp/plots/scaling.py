"""Background rejection against the number of training jets."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jetexp.evaluation.power_law import PowerLaw
from jetexp.plots.axes import logarithmic, marker, shortened
from jetexp.plots.style import class_colour, new_figure, styled

__all__ = ["power_laws"]


@styled
def power_laws(
    laws: Mapping[str, PowerLaw],
    title: str = "",
    *,
    until: float | None = None,
    rejection: str = r"background rejection $1/\varepsilon_B$ at $\varepsilon_S$ = 50 %",
) -> Figure:
    """Draw rejections against the number of training jets, with power laws fitted to them.

    Parameters
    ----------
    laws : mapping of str to PowerLaw
        By the name to show.
    title : str
        What stands above.
    until : float, optional
        Up to how many training jets the fits go on, beyond their points.
    rejection : str
        What the vertical axis says.

    Returns
    -------
    Figure
        Points with their statistical (thick) and total errors (thin); fits with their 68 % bands,
        dashed where there are no points. Points that follow no power law go without.

    Raises
    ------
    ValueError
        If there is no fit.
    """
    if not laws:
        raise ValueError("there is no power law to show")
    figure, [[axes]] = new_figure(height=3.6)
    lowest, highest, ends = [], [], []
    for index, (name, law) in enumerate(laws.items()):
        first, last = float(law.jets.min()), float(law.jets.max())
        end = max(last, until or last) if law.holds else last
        ends += [first, end]
        lowest += [*(law.rejection - law.error)]
        highest += [*(law.rejection + law.error)]
        _points(axes, law, index, name)
        if not law.holds:
            continue
        band = law.at(np.geomspace(first, end, 200))
        axes.fill_between(band.jets, band.low, band.high, color=class_colour(index), alpha=0.2, linewidth=0)
        seen = law.at(np.geomspace(first, last, 100))
        axes.plot(seen.jets, seen.rejection, color=class_colour(index), linewidth=1)
        if end > last:
            beyond = law.at(np.geomspace(last, end, 50))
            axes.plot(beyond.jets, beyond.rejection, "--", color=class_colour(index), linewidth=1)
        lowest.append(band.low.min())
        highest.append(band.high.max())
    low, high = max(min(lowest), 0.5), max(highest)
    logarithmic(axes, "x", min(ends), max(ends))
    logarithmic(axes, "y", low, high)
    axes.set(
        xlabel="training jets",
        ylabel=rejection,
        xlim=(min(ends) / 1.2, max(ends) * 1.2),
        ylim=(low / 1.1, high * (high / low) ** (0.1 + 0.1 * len(laws))),
    )
    axes.set_title(title, loc="left")
    axes.legend(loc="upper left")
    return figure


def _points(axes: Axes, law: PowerLaw, index: int, name: str) -> None:
    what = (
        rf"$\propto n^b$, $b$ = {law.exponent:.3f} ± {law.exponent_error:.3f}"
        if law.holds
        else "no power law"
    )
    label = f"{shortened(name)}: {what}"
    if law.chi2 is not None:
        label += rf", $\chi^2$/ndf = {law.chi2:.1f}/{law.ndf}"
    colour = class_colour(index)
    axes.errorbar(
        law.jets,
        law.rejection,
        yerr=law.error,
        fmt=marker(index),
        color=colour,
        markersize=3.5,
        linewidth=0.9,
        capsize=2,
        label=label,
    )
    axes.errorbar(
        law.jets, law.rejection, yerr=law.statistical_error, fmt="none", ecolor=colour, elinewidth=2
    )
