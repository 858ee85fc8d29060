"""ROC and background rejection, of one run or of several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jetexp.evaluation.report import Evaluation, Measurement, SeedMeasurement, Summary, WorkingPoint
from jetexp.plots.style import GREY, caption, class_colour, new_figure, styled

__all__ = ["rejection", "rejection_over_seeds", "roc", "roc_over_seeds"]

RANDOM: dict[str, Any] = {"color": GREY, "linestyle": ":", "linewidth": 1.0}


@styled
def roc(evaluation: Evaluation) -> Figure:
    """Draw signal efficiency against background efficiency, with the AUC and the random line.

    Parameters
    ----------
    evaluation : Evaluation
        Of one run.

    Returns
    -------
    Figure
        With the 68 % band of the background efficiency.
    """
    figure, [[axes]] = new_figure(width=3.9, height=3.7)
    curve, band = evaluation.roc, evaluation.rejection
    axes.plot(
        curve.background_efficiency,
        curve.signal_efficiency,
        color=class_colour(0),
        label=f"AUC {evaluation.measurements()['auc']}",
    )
    axes.fill_betweenx(
        band.signal_efficiency,
        1 / band.high,
        1 / band.low,
        color=class_colour(0),
        alpha=0.3,
        linewidth=0,
        label="68 % interval",
    )
    _roc_axes(axes, caption(evaluation))
    return figure


@styled
def rejection(evaluation: Evaluation) -> Figure:
    """Draw background rejection against signal efficiency, with working points and the random line.

    Parameters
    ----------
    evaluation : Evaluation
        Of one run.

    Returns
    -------
    Figure
        With the 68 % band; lower limits are arrows.
    """
    figure, [[axes]] = new_figure()
    curve = evaluation.rejection
    axes.plot(curve.signal_efficiency, curve.rejection, color=class_colour(0))
    axes.fill_between(
        curve.signal_efficiency,
        curve.low,
        curve.high,
        color=class_colour(0),
        alpha=0.3,
        linewidth=0,
        label="68 % interval",
    )
    measured = evaluation.measurements()
    for point in evaluation.working_points:
        _mark(axes, point, _label(point, measured[point.name]))
    _rejection_axes(axes, caption(evaluation), [*curve.high, *_rejections(evaluation)])
    return figure


@styled
def roc_over_seeds(summary: Summary, evaluations: Sequence[Evaluation]) -> Figure:
    """Draw the ROC curves of several seeds, their mean and their spread.

    Parameters
    ----------
    summary : Summary
        Of these evaluations.
    evaluations : sequence of Evaluation
        One a seed.

    Returns
    -------
    Figure
        Seeds as thin lines, the spread (standard deviation) as a band.
    """
    figure, [[axes]] = new_figure(width=3.9, height=3.7)
    for index, evaluation in enumerate(evaluations):
        axes.plot(
            evaluation.roc.background_efficiency,
            evaluation.roc.signal_efficiency,
            color=GREY,
            linewidth=0.6,
            label="each seed" if not index else None,
        )
    curve = summary.curve
    axes.plot(
        curve.background_efficiency,
        curve.signal_efficiency,
        color=class_colour(0),
        label=f"mean, AUC {_short(summary, 'auc')}",
    )
    axes.fill_betweenx(
        curve.signal_efficiency,
        curve.background_efficiency - curve.background_efficiency_spread,
        curve.background_efficiency + curve.background_efficiency_spread,
        color=class_colour(0),
        alpha=0.3,
        linewidth=0,
        label="spread over seeds",
    )
    _roc_axes(axes, caption(summary, _seeds(evaluations)))
    return figure


@styled
def rejection_over_seeds(summary: Summary, evaluations: Sequence[Evaluation]) -> Figure:
    """Draw the rejection curves of several seeds, their mean and their spread.

    Parameters
    ----------
    summary : Summary
        Of these evaluations.
    evaluations : sequence of Evaluation
        One a seed.

    Returns
    -------
    Figure
        Seeds as thin lines, the spread (standard deviation) as a band; working points carry the
        statistical error.
    """
    figure, [[axes]] = new_figure()
    for index, evaluation in enumerate(evaluations):
        axes.plot(
            evaluation.rejection.signal_efficiency,
            evaluation.rejection.rejection,
            color=GREY,
            linewidth=0.6,
            label="each seed" if not index else None,
        )
    curve = summary.curve
    axes.plot(curve.signal_efficiency, curve.rejection, color=class_colour(0), label="mean")
    axes.fill_between(
        curve.signal_efficiency,
        curve.low,
        curve.high,
        color=class_colour(0),
        alpha=0.3,
        linewidth=0,
        label="spread over seeds",
    )
    for point in evaluations[0].working_points:
        measured = summary.measurements[point.name]
        mean = WorkingPoint(
            point.signal_efficiency, measured.mean, measured.error, measured.is_limit, point.threshold
        )
        _mark(axes, mean, _label(point, measured))
    highest = [value for evaluation in evaluations for value in evaluation.rejection.rejection]
    _rejection_axes(
        axes,
        caption(summary, _seeds(evaluations)),
        [*highest, *(value for evaluation in evaluations for value in _rejections(evaluation))],
    )
    return figure


def _seeds(evaluations: Sequence[Evaluation]) -> str:
    return f"{len(evaluations)} seeds"


def _short(summary: Summary, name: str) -> str:
    measured = summary.measurements[name]
    return f"{measured.mean:.4f}" + ("" if measured.error is None else f" ± {measured.error:.4f}")


def _label(point: WorkingPoint, measured: Measurement | SeedMeasurement) -> str:
    return rf"$\varepsilon_S$ = {100 * point.signal_efficiency:.3g} %: {measured}"


def _rejections(evaluation: Evaluation) -> list[float]:
    return [point.rejection for point in evaluation.working_points]


def _mark(axes: Axes, point: WorkingPoint, label: str) -> None:
    """Mark a working point: with its error, or with an arrow upwards where it is a lower limit."""
    index = round(10 * point.signal_efficiency)
    colour = class_colour({3: 1, 5: 3, 8: 4}.get(index, 6))
    axes.errorbar(
        [point.signal_efficiency],
        [point.rejection],
        yerr=[0.6 * point.rejection if point.is_limit else point.error or 0.0],
        lolims=point.is_limit,
        fmt="o",
        color=colour,
        markersize=3.5,
        capsize=2,
        label=label,
    )


def _roc_axes(axes: Axes, title: str) -> None:
    axes.plot([0, 1], [0, 1], label="random", **RANDOM)
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        xlabel=r"background efficiency $\varepsilon_B$",
        ylabel=r"signal efficiency $\varepsilon_S$",
    )
    axes.set_title(title, loc="left")
    axes.legend(loc="lower right")


def _rejection_axes(axes: Axes, title: str, values: Sequence[float]) -> None:
    efficiency = np.linspace(0.01, 1, 100)
    axes.plot(efficiency, 1 / efficiency, label="random", **RANDOM)
    axes.set_yscale("log")
    axes.set(
        xlim=(0, 1),
        # room for the legend above the curve
        ylim=(1, 3 * max([*values, 30.0])),
        xlabel=r"signal efficiency $\varepsilon_S$",
        ylabel=r"background rejection $1/\varepsilon_B$",
    )
    axes.set_title(title, loc="left")
    axes.legend(loc="upper right")
