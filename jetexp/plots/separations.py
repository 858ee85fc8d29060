"""How well each class is told from each other, and from all others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jetexp.evaluation.record import Float
from jetexp.evaluation.report import Evaluation, SeedMeasurement, SeedSeparation, Separation, Summary
from jetexp.plots.axes import logarithmic, shortened
from jetexp.plots.curves import RANDOM
from jetexp.plots.matrix import in_lines, matrix_figure
from jetexp.plots.style import class_colour, new_figure, number, styled

__all__ = ["curves_of_separations", "matrices_of_separations"]

REST = "all others"
EFFICIENCY = r"signal efficiency $\varepsilon_S$"
REJECTION = r"background rejection $1/\varepsilon_B$"
# inches that a line of the legend takes
LINE = 0.16
LEGEND_COLUMNS = 4


def matrices_of_separations(result: Evaluation | Summary) -> dict[str, Figure]:
    """Draw numbers of each pair of classes, and of each class against all others.

    Parameters
    ----------
    result : Evaluation or Summary
        Of one run, or over seeds.

    Returns
    -------
    dict of str to Figure
        AUC and rejection; nothing for two classes, whose ROC and rejection say it all.
    """
    if not result.separations:
        return {}
    return {"pair_auc": pair_auc(result), "pair_rejection": pair_rejection(result)}


def curves_of_separations(result: Evaluation | Summary) -> dict[str, Figure]:
    """Draw curves of each pair of classes, and of each class against all others.

    Parameters
    ----------
    result : Evaluation or Summary
        Of one run, or over seeds.

    Returns
    -------
    dict of str to Figure
        ROC and rejection; nothing for two classes.
    """
    if not result.separations:
        return {}
    return {
        "against_rest": against_rest(result),
        "pair_rejection_curves": pair_rejection_curves(result),
    }


@styled
def against_rest(result: Evaluation | Summary) -> Figure:
    """Draw ROC and background rejection of each class against all others.

    Parameters
    ----------
    result : Evaluation or Summary
        Of more than two classes.

    Returns
    -------
    Figure
        A colour a class, with the band of its curve and its AUC.
    """
    lines = -(-len(result.classes) // 2)
    figure, [[roc, rejection]] = new_figure(1, 2, width=6.6, height=3.2 + LINE * lines)
    found = [one for one in result.separations if one.background is None]
    for one in found:
        colour, curve = class_colour(result.classes.index(one.signal)), one.curve
        label = f"{shortened(one.signal)}: AUC {one.measurements['auc']}"
        roc.plot(1 / curve.rejection, curve.signal_efficiency, color=colour, label=label)
        roc.fill_betweenx(
            curve.signal_efficiency, 1 / curve.high, 1 / curve.low, color=colour, alpha=0.25, linewidth=0
        )
        _rejection(rejection, one, colour)
    roc.plot([0, 1], [0, 1], **RANDOM)
    roc.set(
        xlim=(0, 1),
        ylim=(0, 1),
        xlabel=r"background efficiency $\varepsilon_B$",
        ylabel=r"signal efficiency $\varepsilon_S$",
    )
    roc.set_title(_title(f"each class against all others, {_band(result)}", result), loc="left")
    _rejection_axes(rejection, found)
    rejection.set(xlabel=EFFICIENCY, ylabel=REJECTION)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@styled
def pair_rejection_curves(result: Evaluation | Summary) -> Figure:
    """Draw the background rejection of each pair of classes.

    Parameters
    ----------
    result : Evaluation or Summary
        Of more than two classes.

    Returns
    -------
    Figure
        A panel for each class that is signal, a colour for each that is background, with the band of its
        curve.
    """
    classes = result.classes
    columns = 3 if len(classes) % 3 == 0 else 2
    rows = -(-len(classes) // columns)
    height = 0.6 + 2.2 * rows + LINE * -(-len(classes) // LEGEND_COLUMNS)
    figure, axes = new_figure(rows, columns, width=6.6, height=height, sharex=True, sharey=True)
    pairs = [one for one in result.separations if one.background is not None]
    for one in pairs:
        colour = class_colour(classes.index(one.background or ""))
        _rejection(axes.flat[classes.index(one.signal)], one, colour)
    for signal, panel in zip(classes, axes.flat, strict=False):
        panel.set_title(f"signal: {shortened(signal)}", loc="left")
        panel.set_xticks([0, 0.5, 1])
        _rejection_axes(panel, pairs)
    for panel in axes.flat[len(classes) :]:
        panel.set_visible(False)
    for panel in axes[-1]:
        panel.set_xlabel(EFFICIENCY)
    for panel in axes[:, 0]:
        panel.set_ylabel(REJECTION)
    figure.suptitle(_title(f"one class against another, {_band(result)}", result), fontsize=8)
    figure.legend(
        [Line2D([], [], color=class_colour(index)) for index in range(len(classes))],
        [f"background: {shortened(name)}" for name in classes],
        loc="outside lower center",
        ncols=LEGEND_COLUMNS,
    )
    return figure


@styled
def pair_auc(result: Evaluation | Summary) -> Figure:
    """Draw the AUC of each pair of classes, and of each class against all others, as a matrix.

    Parameters
    ----------
    result : Evaluation or Summary
        Of more than two classes.

    Returns
    -------
    Figure
        With statistical errors, and spreads over seeds in brackets.
    """
    values, texts = _matrix(result, "auc")
    norm = Normalize(min(0.9, float(np.nanmin(values))), 1.0)
    return _pairs(result, values, texts, norm, "AUC", "AUC")


@styled
def pair_rejection(result: Evaluation | Summary) -> Figure:
    """Draw the background rejection of each pair, and of each class against all others, as a matrix.

    Parameters
    ----------
    result : Evaluation or Summary
        Of more than two classes.

    Returns
    -------
    Figure
        At a signal efficiency of 50 %, with statistical errors, and spreads over seeds in brackets; lower
        limits begin with >.
    """
    values, texts = _matrix(result, "rejection_50")
    norm = LogNorm(1.0, max(10.0, float(np.nanmax(values))))
    return _pairs(result, values, texts, norm, r"rejection at $\varepsilon_S$ = 50 %", REJECTION)


def _matrix(result: Evaluation | Summary, name: str) -> tuple[Float, list[list[str]]]:
    """Bring a number of all separations to signals (rows) and backgrounds, all others last."""
    places: list[str | None] = [*result.classes, None]
    values = np.full((len(result.classes), len(places)), np.nan)
    texts = [["" for _ in places] for _ in result.classes]
    for one in result.separations:
        row, column = result.classes.index(one.signal), places.index(one.background)
        measured = one.measurements[name]
        values[row, column] = measured.mean if isinstance(measured, SeedMeasurement) else measured.value
        texts[row][column] = in_lines(measured)
    return values, texts


def _pairs(
    result: Evaluation | Summary,
    values: Float,
    texts: Sequence[Sequence[str]],
    norm: Normalize,
    what: str,
    label: str,
) -> Figure:
    seeds = "" if isinstance(result, Evaluation) else " (spread over seeds)"
    return matrix_figure(
        values,
        texts,
        rows=result.classes,
        columns=[*result.classes, REST],
        norm=norm,
        labels=("background", "signal", label),
        title=_title(f"{what} ± statistical error{seeds}", result),
    )


def _title(what: str, result: Evaluation | Summary) -> str:
    return f"{what}\n{result.part}: {number(sum(result.counts))} jets"


def _band(result: Evaluation | Summary) -> str:
    return "68 % interval" if isinstance(result, Evaluation) else "mean and spread over seeds"


def _rejection(axes: Axes, one: Separation | SeedSeparation, colour: str) -> None:
    curve = one.curve
    axes.plot(curve.signal_efficiency, curve.rejection, color=colour)
    axes.fill_between(curve.signal_efficiency, curve.low, curve.high, color=colour, alpha=0.25, linewidth=0)


def _rejection_axes(axes: Axes, shown: Sequence[Separation | SeedSeparation]) -> None:
    efficiency = np.linspace(0.01, 1, 100)
    axes.plot(efficiency, 1 / efficiency, **RANDOM)
    highest = max([30.0, *(value for one in shown for value in one.curve.high)])
    logarithmic(axes, "y", 1, highest)
    axes.set(xlim=(0, 1), ylim=(1, 1.3 * highest))
