"""Which figures a run gets; the one door to ``jetexp.plots``.

::

    for name, figure in figures_of_run(evaluation, history).items():        # a trial, a seed
        recorder.figure(name, figure)
    figures_of_parent(summary, evaluations, histories, trials, best=0)      # everything
    rejection_comparison({"first run": evaluation.rejection, "second run": summary.curve})
    figure_of_variants({"first variant": summary.measurements["rejection_50"], ...}, reference=31.5)
    rejection_against_pt({"CNN": result}); mass_spectra({"CNN": result})    # evaluation/sculpting.py
    reliability({"before": curve, "after": curve})                          # evaluation/calibration.py
    power_laws({"CNN": law}, until=1e6)                                     # evaluation/power_law.py
    correlation(image, half_width); saliency(image, half_width)             # (H, W) arrays
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from jetexp.evaluation.report import Evaluation, Summary
from jetexp.plots.attention import correlation, saliency
from jetexp.plots.calibration import reliability
from jetexp.plots.compare import rejection_comparison
from jetexp.plots.curves import rejection, rejection_over_seeds, roc, roc_over_seeds
from jetexp.plots.images import class_sums, examples, mean_images, misidentified
from jetexp.plots.learning import History, learning_curves
from jetexp.plots.scaling import power_laws
from jetexp.plots.scores import confusion, scores, thresholds
from jetexp.plots.sculpting import mass_spectra, rejection_against_pt
from jetexp.plots.search import Trial, search_overview
from jetexp.plots.separations import curves_of_separations, matrices_of_separations
from jetexp.plots.variants import figure_of_variants

__all__ = [
    "correlation",
    "figure_of_variants",
    "figures_of_parent",
    "figures_of_run",
    "mass_spectra",
    "mean_images",
    "power_laws",
    "rejection_against_pt",
    "rejection_comparison",
    "reliability",
    "saliency",
    "search_overview",
]


def figures_of_run(evaluation: Evaluation, history: History | None = None) -> dict[str, Figure]:
    """Draw what every child run carries.

    Parameters
    ----------
    evaluation : Evaluation
        Of one trained network on one part.
    history : History, optional
        How it was fitted.

    Returns
    -------
    dict of str to Figure
        ROC, rejection and scores; of more than two classes also AUC and rejection of each pair; learning
        curves, if there is a history.
    """
    figures = {"roc": roc(evaluation), "rejection": rejection(evaluation), "scores": scores(evaluation)}
    figures |= matrices_of_separations(evaluation)
    if history is not None:
        figures["learning_curves"] = learning_curves(history)
    return figures


def figures_of_parent(
    summary: Summary,
    evaluations: Sequence[Evaluation],
    histories: Sequence[History] = (),
    trials: Sequence[Trial] = (),
    *,
    objective: str = "val_auc",
    edges: Mapping[str, str] | None = None,
    best: int = 0,
) -> dict[str, Figure]:
    """Draw everything about one execution.

    Parameters
    ----------
    summary : Summary
        Over seeds.
    evaluations : sequence of Evaluation
        One a seed.
    histories : sequence of History
        One a seed.
    trials : sequence of Trial
        Of the search, if there was one.
    objective : str
        What the search was judged by.
    edges : mapping of str to {"lower", "upper"}, optional
        Hyperparameters whose best value lies at the edge of the search's space.
    best : int
        The seed whose scores, mistakes and images are shown.

    Returns
    -------
    dict of str to Figure
        By name; those of images only where that seed was evaluated with images.
    """
    chosen = evaluations[best]
    # of one seed there is no spread, but the statistical band
    alone = len(evaluations) == 1
    figures = {
        "roc": roc(chosen) if alone else roc_over_seeds(summary, evaluations),
        "rejection": rejection(chosen) if alone else rejection_over_seeds(summary, evaluations),
        "scores": scores(chosen),
        "thresholds": thresholds(chosen),
        "confusion": confusion(chosen),
        **matrices_of_separations(chosen if alone else summary),
        **curves_of_separations(chosen if alone else summary),
    }
    if chosen.mistakes is not None:
        figures["examples"] = examples(chosen)
        figures["class_sums"] = class_sums(chosen)
        figures["misidentified"] = misidentified(chosen)
    if histories:
        figures["learning_curves"] = learning_curves(*histories)
    if trials:
        figures["search"] = search_overview(trials, objective, edges=edges)
    return figures
