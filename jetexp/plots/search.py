"""What a search for hyperparameters tried, and what it found."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from jetexp.plots.style import class_colour, new_figure, styled

__all__ = ["Trial", "search_overview"]

LOGARITHMIC = ("learning_rate",)
OBJECTIVES = {"val_auc": "validation AUC", "val_loss": "validation loss"}

# the ratio of its ends from which a range is worth a logarithmic axis
NARROW = 5


class Trial(Protocol):
    """What is to be known of one trial."""

    @property
    def hyperparameters(self) -> Mapping[str, Any]:
        """The values tried."""

    @property
    def objective(self) -> float | None:
        """What it reached; None if it failed."""

    @property
    def seconds(self) -> float:
        """Wall time."""


@styled
def search_overview(
    trials: Sequence[Trial],
    objective: str = "val_auc",
    *,
    edges: Mapping[str, str] | None = None,
    logarithmic: Collection[str] = LOGARITHMIC,
) -> Figure:
    """Draw the objective against trial, with the best so far, against each hyperparameter, and against time.

    Parameters
    ----------
    trials : sequence of Trial
        In the order they ran.
    objective : str
        Name of what was judged by; where it ends on "loss", smaller is better.
    edges : mapping of str to {"lower", "upper"}, optional
        Hyperparameters whose best value lies at the edge of the space, to be said in their panel.
    logarithmic : collection of str
        Hyperparameters shown on a logarithmic axis.

    Returns
    -------
    Figure
        The best trial is a star; trials that failed are crosses on the lower edge.

    Raises
    ------
    ValueError
        If there is no trial.
    """
    if not trials:
        raise ValueError("there is no trial to show")
    names = sorted({name for trial in trials for name in trial.hyperparameters})
    panels = 2 + len(names)
    columns = 2
    rows = -(-panels // columns)
    figure, axes = new_figure(rows, columns, width=2.6 * columns, height=0.3 + 2.0 * rows, sharey=True)
    reached = np.array([np.nan if trial.objective is None else trial.objective for trial in trials])
    smaller = objective.endswith("loss")
    best = None if np.isnan(reached).all() else int((np.nanargmin if smaller else np.nanargmax)(reached))
    _against_trial(axes.flat[0], reached, best, smaller=smaller)
    _points(axes.flat[panels - 1], [trial.seconds for trial in trials], reached, best)
    axes.flat[panels - 1].set(xlabel="time of the trial (s)")
    for panel, name in zip(axes.flat[1:], names, strict=False):
        if edges and name in edges:
            panel.set_title(f"best at the {edges[name]} edge", loc="right", color=class_colour(1))
        values = [trial.hyperparameters.get(name) for trial in trials]
        _against_value(panel, name, values, reached, best)
        if name in logarithmic:
            _make_logarithmic(panel)
    for panel in axes.flat[panels:]:
        panel.set_visible(False)
    for panel in axes[:, 0]:
        panel.set_ylabel(OBJECTIVES[objective])
    return figure


def _against_trial(axes: Axes, reached: Any, best: int | None, *, smaller: bool) -> None:
    number = np.arange(len(reached))
    _points(axes, number, reached, best)
    failed = np.isnan(reached)
    so_far = (np.fmin if smaller else np.fmax).accumulate(reached)
    axes.step(number, so_far, where="post", color=class_colour(2), linewidth=1, zorder=1, label="best so far")
    if failed.any():
        axes.plot(
            number[failed],
            np.full(failed.sum(), 0.03),
            "x",
            color=class_colour(1),
            transform=axes.get_xaxis_transform(),
            label="failed",
        )
    axes.set(xlabel="trial", xlim=(-0.5, len(reached) - 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.xaxis.minorticks_off()
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0, columnspacing=1, handlelength=1.2
    )


def _against_value(axes: Axes, name: str, values: Sequence[Any], reached: Any, best: int | None) -> None:
    """Draw the objective against one hyperparameter: a number, or a name."""
    there = [index for index, value in enumerate(values) if value is not None]
    shown = [values[index] for index in there]
    chosen = there.index(best) if best in there else None
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in shown)
    if not numbers:
        names = sorted(map(str, set(shown)))
        places = np.array([names.index(str(value)) for value in shown], dtype=float)
        _points(axes, places, reached[there], chosen)
        axes.set_xticks(range(len(names)), names)
        axes.xaxis.minorticks_off()
        axes.set(xlabel=name, xlim=(-0.5, len(names) - 0.5))
        return
    _points(axes, np.array(shown, dtype=float), reached[there], chosen)
    axes.set_xlabel(name)
    if all(isinstance(value, int) for value in shown):
        axes.set_xticks(sorted(set(shown)) if len(set(shown)) <= 6 else axes.get_xticks())
        axes.xaxis.minorticks_off()


def _make_logarithmic(axes: Axes) -> None:
    """Label 1, 2 and 5 times powers of ten alone, so that a range of one decade stays readable."""
    low, high = axes.get_xlim()
    if not 0 < low < high / NARROW:
        # so narrow a range has too few such labels
        axes.xaxis.set_major_locator(MaxNLocator(3))
        return
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _points(axes: Axes, x: Any, y: Any, best: int | None) -> None:
    axes.plot(x, y, "o", color=class_colour(0), markersize=4)
    if best is not None:
        axes.plot([x[best]], [y[best]], "*", color=class_colour(1), markersize=9, label="best")
