"""Many variants of an experiment, one number each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jetexp.evaluation.report import SeedMeasurement
from jetexp.plots.axes import logarithmic, shortened
from jetexp.plots.style import GREY, class_colour, new_figure, styled

__all__ = ["figure_of_variants"]

WIDE = 4.0
ARROW = 0.25


@styled
def figure_of_variants(
    rows: Mapping[str, SeedMeasurement],
    title: str = "",
    *,
    reference: float | None = None,
    reference_name: str = "reference",
    measured: str = r"background rejection $1/\varepsilon_B$ at $\varepsilon_S$ = 50 %",
) -> Figure:
    """Draw one number of each variant as a point, with its statistical error and its spread over seeds.

    Parameters
    ----------
    rows : mapping of str to SeedMeasurement
        By the name to show, from top to bottom.
    title : str
        What stands above.
    reference : float, optional
        Where a line is drawn to compare with.
    reference_name : str
        What it is called.
    measured : str
        What the axis says.

    Returns
    -------
    Figure
        On a logarithmic axis where the numbers lie more than a factor of four apart; each seed is a
        small dot below the mean; lower limits are arrows.

    Raises
    ------
    ValueError
        If there is no row.
    """
    if not rows:
        raise ValueError("there is no variant to show")
    figure, [[axes]] = new_figure(width=5.0, height=1.3 + 0.3 * len(rows))
    shown = [] if reference is None else [reference]
    for place, row in enumerate(rows.values()):
        if row.is_limit:
            _limit(axes, row, place)
        else:
            _point(axes, row, place)
        widest = max(row.error or 0.0, row.spread or 0.0)
        shown += [row.mean - widest, row.mean + widest, *row.values]
        shown += [row.mean * (1 + 1.5 * ARROW)] if row.is_limit else []
    if reference is not None:
        label = f"{shortened(reference_name)}: {reference:.3g}"
        axes.axvline(reference, color=class_colour(1), linestyle="--", linewidth=1, zorder=1, label=label)
    positive = [value for value in shown if value > 0]
    if positive and max(positive) > WIDE * min(positive):
        logarithmic(axes, "x", min(positive), max(positive))
        axes.set_xlim(min(positive) / 1.15, max(positive) * 1.15)
    axes.set(xlabel=measured, ylim=(len(rows) - 0.5, -0.5))
    axes.set_yticks(np.arange(len(rows)), [shortened(name) for name in rows])
    axes.tick_params(axis="y", which="minor", left=False, right=False)
    axes.set_title(title, loc="left")
    handles, labels = axes.get_legend_handles_labels()
    # one entry a kind of mark, not one a row
    kinds = dict(zip(labels, handles, strict=True))
    figure.legend(list(kinds.values()), list(kinds), loc="outside upper center", ncols=2)
    return figure


def _point(axes: Axes, row: SeedMeasurement, place: int) -> None:
    if row.spread is not None:
        axes.errorbar(
            [row.mean],
            [place],
            xerr=[row.spread],
            fmt="none",
            ecolor=class_colour(2),
            elinewidth=6,
            alpha=0.6,
            label="spread over seeds",
        )
        axes.plot(
            row.values, [place + 0.25] * len(row.values), ".", color=GREY, markersize=3, label="each seed"
        )
    axes.errorbar(
        [row.mean],
        [place],
        xerr=None if row.error is None else [row.error],
        fmt="o",
        color=class_colour(0),
        markersize=3.5,
        linewidth=1.3,
        capsize=2,
        zorder=4,
        label="mean, statistical error",
    )


def _limit(axes: Axes, row: SeedMeasurement, place: int) -> None:
    axes.errorbar(
        [row.mean],
        [place],
        xerr=[ARROW * row.mean],
        xlolims=True,
        fmt="o",
        fillstyle="none",
        color=class_colour(0),
        markersize=3.5,
        label="lower limit (95 % CL)",
    )
