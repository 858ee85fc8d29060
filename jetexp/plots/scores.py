"""Scores, thresholds on them, and what they confuse."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from jetexp.evaluation.report import Evaluation
from jetexp.plots.style import GREY, caption, class_colour, new_figure, number, styled

__all__ = ["confusion", "scores", "thresholds"]


@styled
def scores(evaluation: Evaluation) -> Figure:
    """Draw histograms of the score for each class hypothesis, over all jets and each true class.

    Parameters
    ----------
    evaluation : Evaluation
        Of one run.

    Returns
    -------
    Figure
        One panel a hypothesis, with the square root of each bin as its error.
    """
    histograms, classes = evaluation.histograms, evaluation.classes
    figure, axes = new_figure(len(classes), 1, height=0.6 + 2.0 * len(classes), sharex=True)
    for hypothesis, panel in enumerate(axes[:, 0]):
        series = [("all jets", histograms.all_jets[hypothesis], GREY)]
        series += [
            (f"true {name}", histograms.counts[hypothesis, true], class_colour(true))
            for true, name in enumerate(classes)
        ]
        for label, counts, colour in series:
            panel.stairs(counts, histograms.edges, color=colour, linewidth=1.2, label=label)
            error = np.sqrt(counts)
            panel.fill_between(
                histograms.edges,
                np.append(counts - error, 0),
                np.append(counts + error, 0),
                step="post",
                color=colour,
                alpha=0.25,
                linewidth=0,
            )
        width = histograms.edges[1] - histograms.edges[0]
        panel.set(
            xlim=(0, 1),
            xlabel=f"{classes[hypothesis]} score",
            ylabel=f"jets / {width:.3g}",
            ylim=(0, None),
        )
        panel.xaxis.set_tick_params(labelbottom=True)
    axes[0, 0].set_title(caption(evaluation), loc="left")
    axes[0, 0].legend(loc="upper center")
    return figure


@styled
def thresholds(evaluation: Evaluation) -> Figure:
    """Draw misidentified jets and accuracy against the threshold on the signal's score.

    Parameters
    ----------
    evaluation : Evaluation
        Of one run.

    Returns
    -------
    Figure
        Counts above, accuracy with its error band below.
    """
    scan, signal = evaluation.threshold_scan, evaluation.signal
    figure, axes = new_figure(2, 1, height=4.4, sharex=True)
    counts, accuracy = axes[:, 0]
    signal_index = evaluation.classes.index(signal)
    background = class_colour(0 if signal_index else 1)
    rest = [name for name in evaluation.classes if name != signal]
    name = rest[0] if len(rest) == 1 else "background"
    series = (
        ("all", scan.missed_signal + scan.accepted_background, GREY),
        (f"{signal} below threshold", scan.missed_signal, class_colour(signal_index)),
        (f"{name} above threshold", scan.accepted_background, background),
    )
    for label, values, colour in series:
        counts.plot(scan.thresholds, values, color=colour, label=label)
        error = np.sqrt(values)
        counts.fill_between(
            scan.thresholds, values - error, values + error, color=colour, alpha=0.25, linewidth=0
        )
    counts.set(ylabel="misidentified jets", ylim=(0, None))
    counts.set_title(caption(evaluation), loc="left")
    counts.legend(loc="best")
    accuracy.plot(scan.thresholds, scan.accuracy, color=class_colour(3))
    accuracy.fill_between(
        scan.thresholds,
        scan.accuracy - scan.accuracy_error,
        scan.accuracy + scan.accuracy_error,
        color=class_colour(3),
        alpha=0.3,
        linewidth=0,
    )
    accuracy.set(
        xlabel=f"threshold on the {signal} score",
        ylabel="accuracy",
        xlim=(scan.thresholds[0], scan.thresholds[-1]),
    )
    return figure


@styled
def confusion(evaluation: Evaluation) -> Figure:
    """Draw the confusion matrix, with the numbers of misidentified jets each way and the accuracy.

    Parameters
    ----------
    evaluation : Evaluation
        Of one run.

    Returns
    -------
    Figure
        Counts, and fractions of each true class.
    """
    matrix, classes = evaluation.confusion, evaluation.classes
    size = 1.9 + 0.75 * len(classes)
    figure, [[axes]] = new_figure(width=size + 0.4, height=size)
    fractions = matrix / matrix.sum(axis=1, keepdims=True)
    drawn = axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    for true in range(len(classes)):
        for guess in range(len(classes)):
            axes.text(
                guess,
                true,
                f"{number(int(matrix[true, guess]))}\n{100 * fractions[true, guess]:.1f} %",
                ha="center",
                va="center",
                color="white" if fractions[true, guess] > 0.5 else "black",
            )
    axes.set(
        xticks=range(len(classes)),
        yticks=range(len(classes)),
        xticklabels=classes,
        yticklabels=classes,
        xlabel="identified as",
        ylabel="true class",
    )
    axes.minorticks_off()
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.set_title(f"{evaluation.part}: accuracy {evaluation.measurements()['accuracy']}", loc="left")
    figure.colorbar(drawn, ax=axes, shrink=0.85, label="fraction of the true class")
    return figure
