"""Loss and accuracy against epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jetexp.plots.style import class_colour, new_figure, styled

__all__ = ["History", "learning_curves"]


class History(Protocol):
    """What a fit tells of each of its epochs."""

    @property
    def loss(self) -> Sequence[float]:
        """On the training jets."""

    @property
    def accuracy(self) -> Sequence[float]:
        """On the training jets."""

    @property
    def val_loss(self) -> Sequence[float]:
        """On the validation jets."""

    @property
    def val_accuracy(self) -> Sequence[float]:
        """On the validation jets."""

    @property
    def best_epoch(self) -> int:
        """The epoch, counted from 1, whose weights were kept."""


@styled
def learning_curves(*histories: History) -> Figure:
    """Draw loss and accuracy against epoch, for training and validation jets.

    Parameters
    ----------
    *histories : History
        Of one fit, or of several seeds.

    Returns
    -------
    Figure
        The epoch whose weights were kept is marked.
    """
    figure, axes = new_figure(2, 1, height=4.4, sharex=True)
    for index, history in enumerate(histories):
        for panel, name in zip(axes[:, 0], ("loss", "accuracy"), strict=True):
            series = (
                ("training", getattr(history, name), class_colour(0), "--"),
                ("validation", getattr(history, f"val_{name}"), class_colour(1), "-"),
            )
            for label, values, colour, line in series:
                panel.plot(
                    range(1, len(values) + 1),
                    values,
                    line,
                    color=colour,
                    alpha=1 if len(histories) == 1 else 0.7,
                    linewidth=1.2,
                    marker="." if len(values) == 1 else None,
                    label=None if index else label,
                )
            kept = getattr(history, f"val_{name}")[history.best_epoch - 1]
            panel.plot(
                [history.best_epoch],
                [kept],
                "o",
                color=class_colour(1),
                markersize=4,
                fillstyle="none",
                label=None if index else "kept",
            )
    loss, accuracy = axes[:, 0]
    loss.set(ylabel="cross-entropy")
    accuracy.set(ylabel="accuracy", xlabel="epoch")
    accuracy.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    accuracy.xaxis.minorticks_off()
    loss.xaxis.minorticks_off()
    loss.legend(loc="upper right", title=None if len(histories) == 1 else f"{len(histories)} seeds")
    return figure
