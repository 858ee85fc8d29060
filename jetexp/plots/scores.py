"""Scores, thresholds on them, and what they confuse."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from jetexp.evaluation.report import Evaluation, confusion_fractions
from jetexp.plots.matrix import matrix_figure
from jetexp.plots.style import COLUMN_WIDTH, GREY, caption, class_colour, new_figure, number, styled

__all__ = ["confusion", "scores", "thresholds"]

MANY = 4


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
        One panel a hypothesis, with the square root of each bin as its error; of many classes two in a row,
        with logarithmic axes and without errors.
    """
    histograms, classes = evaluation.histograms, evaluation.classes
    many = len(classes) > MANY
    columns = 2 if many else 1
    rows = -(-len(classes) // columns)
    figure, axes = new_figure(
        rows, columns, width=(1 + 0.4 * many) * COLUMN_WIDTH, height=0.6 + 2.0 * rows, sharex=True
    )
    for panel in axes.flat[len(classes) :]:
        panel.set_visible(False)
    for hypothesis, panel in enumerate(axes.flat[: len(classes)]):
        series = [("all jets", histograms.all_jets[hypothesis], GREY)]
        series += [
            (f"true {name}", histograms.counts[hypothesis, true], class_colour(true))
            for true, name in enumerate(classes)
        ]
        for label, counts, colour in series:
            panel.stairs(counts, histograms.edges, color=colour, linewidth=1.2, label=label)
            if many:
                continue
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
            yscale="log" if many else "linear",
            ylim=(0.5 if many else 0, None),
        )
        panel.xaxis.set_tick_params(labelbottom=True)
    axes[0, 0].set_title(caption(evaluation), loc="left")
    if many:
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    else:
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
        Fractions of each true class with their errors, and counts.
    """
    fractions, errors = confusion_fractions(evaluation.confusion)
    texts = [
        [
            f"{100 * fraction:.1f}\n± {100 * error:.1f} %\n{number(int(count))}"
            for fraction, error, count in zip(*row, strict=True)
        ]
        for row in zip(fractions, errors, evaluation.confusion, strict=True)
    ]
    return matrix_figure(
        fractions,
        texts,
        rows=evaluation.classes,
        columns=evaluation.classes,
        norm=Normalize(0, 1),
        labels=("identified as", "true class", "fraction of the true class"),
        title=f"{evaluation.part}: accuracy {evaluation.measurements()['accuracy']}",
    )
