"""How a cut does along jet pT, and what it makes of the background's mass spectrum."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jetexp.evaluation.record import Float
from jetexp.evaluation.sculpting import MassSculpting, RejectionAgainstPt
from jetexp.plots.axes import logarithmic, marker, shortened
from jetexp.plots.style import GREY, class_colour, new_figure, number, styled

__all__ = ["mass_spectra", "rejection_against_pt"]


@styled
def rejection_against_pt(results: Mapping[str, RejectionAgainstPt], title: str = "") -> Figure:
    """Draw background rejection and signal efficiency against jet pT, at one cut a tagger for all pT.

    Parameters
    ----------
    results : mapping of str to RejectionAgainstPt
        By the name to show.
    title : str
        What stands above.

    Returns
    -------
    Figure
        Horizontal bars are bins, vertical ones errors; lower limits are arrows.

    Raises
    ------
    ValueError
        If there is no result.
    """
    if not results:
        raise ValueError("there is no result to show")
    figure, axes = new_figure(
        2, 1, height=4.4, sharex=True, gridspec_kw={"height_ratios": [2, 1], "hspace": 0.02}
    )
    main, efficiency = axes[:, 0]
    values = []
    for index, (name, result) in enumerate(results.items()):
        # side by side within the bin
        shift = 0.5 + 0.12 * (index - (len(results) - 1) / 2)
        _rejections(main, result, index, shift, name)
        _efficiencies(efficiency, result, index, shift)
        for one in result.bins:
            values += [one.rejection, *(one.interval or (1.8 * one.rejection,))]
    asked = sorted({result.signal_efficiency for result in results.values()})
    for level in asked:
        efficiency.axhline(level, color=GREY, linewidth=0.8, linestyle="--")
    if max(values) > 5 * min(values):
        logarithmic(main, "y", min(values), max(values))
        main.set_ylim(min(values) / 1.3, max(values) * (max(values) / min(values)) ** 0.35)
    else:
        main.set_ylim(0, 1.35 * max(values))
    main.set_ylabel(r"background rejection $1/\varepsilon_B$")
    cut = " and ".join(f"{100 * level:.3g} %" for level in asked)
    main.set_title(title or rf"one cut for all $p_T$, $\varepsilon_S$ = {cut}", loc="left")
    main.legend(loc="upper right", ncols=2)
    seen = [
        one.signal_efficiency
        for result in results.values()
        for one in result.bins
        if one.signal_efficiency is not None
    ]
    efficiency.set(
        xlabel=r"jet $p_T$ [GeV]",
        ylabel="signal\n" + r"efficiency $\varepsilon_S$",
        ylim=(max(0.0, min(seen + asked) - 0.1), min(1.02, max(seen + asked) + 0.1)),
    )
    return figure


def _rejections(axes: Axes, result: RejectionAgainstPt, index: int, shift: float, name: str) -> None:
    label: str | None = shortened(name)
    for is_limit in (False, True):
        bins = [one for one in result.bins if one.is_limit == is_limit]
        if not bins:
            continue
        at = np.array([one.low + shift * (one.high - one.low) for one in bins])
        y = np.array([one.rejection for one in bins])
        intervals = [one.interval or (one.rejection, 1.6 * one.rejection) for one in bins]
        axes.errorbar(
            at,
            y,
            xerr=[
                [x - one.low for x, one in zip(at, bins, strict=True)],
                [one.high - x for x, one in zip(at, bins, strict=True)],
            ],
            yerr=np.abs(np.transpose(intervals) - y),
            lolims=is_limit,
            fmt=marker(index),
            color=class_colour(index),
            markersize=3.5,
            linewidth=1,
            label=label,
        )
        label = None


def _efficiencies(axes: Axes, result: RejectionAgainstPt, index: int, shift: float) -> None:
    bins = [one for one in result.bins if one.signal_efficiency is not None]
    axes.errorbar(
        [one.low + shift * (one.high - one.low) for one in bins],
        [one.signal_efficiency or 0.0 for one in bins],
        yerr=[one.signal_efficiency_error or 0.0 for one in bins],
        fmt=marker(index),
        color=class_colour(index),
        markersize=3,
        linewidth=1,
    )


@styled
def mass_spectra(results: Mapping[str, MassSculpting], title: str = "") -> Figure:
    """Draw the background's mass spectrum, of all jets and of those that pass the cut of each tagger.

    Parameters
    ----------
    results : mapping of str to MassSculpting
        By the name to show; all of the same jets and bins.
    title : str
        What stands above.

    Returns
    -------
    Figure
        Normalised spectra with error bands; the legend gives each one's Jensen-Shannon distance from
        that of all jets, and what chance alone would give.

    Raises
    ------
    ValueError
        If there is no result, or their bins differ.
    """
    if not results:
        raise ValueError("there is no result to show")
    first = next(iter(results.values()))
    if any(not np.array_equal(one.edges, first.edges) for one in results.values()):
        raise ValueError("mass spectra in different bins cannot be shown together")
    figure, [[axes]] = new_figure(height=3.4 + 0.15 * len(results))
    _spectrum(axes, first.edges, first.before, first.before_error, GREY, f"all {number(first.n_before)} jets")
    highest = [(first.before + first.before_error).max()]
    for index, (name, one) in enumerate(results.items()):
        if one.distance is None or one.random_distance is None:
            text = f"{shortened(name)}: no jet passes"
        else:
            text = (
                f"{shortened(name)}: {number(one.n_after)} jets, JS distance {one.distance:.3f} "
                f"(by chance {one.random_distance:.3f} ± {one.random_distance_spread:.3f})"
            )
        _spectrum(axes, one.edges, one.after, one.after_error, class_colour(index), text)
        highest.append((one.after + one.after_error).max())
    axes.set(
        xlabel="jet mass [GeV]",
        ylabel="background jets, normalised [1/GeV]",
        xlim=(first.edges[0], first.edges[-1]),
        # room for the legend above the spectra
        ylim=(0, max(highest) * (1.2 + 0.08 * (1 + len(results)))),
    )
    axes.set_title(
        title or rf"before and after a cut at $\varepsilon_S$ = {100 * first.signal_efficiency:.3g} %",
        loc="left",
    )
    axes.legend(loc="upper right")
    return figure


def _spectrum(
    axes: Axes,
    edges: Float,
    values: Float,
    error: Float,
    colour: str,
    label: str,
) -> None:
    axes.stairs(values, edges, color=colour, linewidth=1.2, label=label)
    axes.fill_between(
        edges,
        np.append((values - error).clip(0), 0),
        np.append(values + error, 0),
        step="post",
        color=colour,
        alpha=0.25,
        linewidth=0,
    )
