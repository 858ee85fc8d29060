"""Whether scores are probabilities."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from jetexp.evaluation.calibration import ReliabilityCurve
from jetexp.plots.axes import marker, shortened
from jetexp.plots.style import GREY, class_colour, new_figure, styled

__all__ = ["reliability"]


@styled
def reliability(
    curves: Mapping[str, ReliabilityCurve], title: str = "", *, predicted: str = "predicted probability"
) -> Figure:
    """Draw how often what is predicted with some probability comes true.

    Parameters
    ----------
    curves : mapping of str to ReliabilityCurve
        By the name to show, such as before and after temperature scaling.
    title : str
        What stands above.
    predicted : str
        What the probability is of.

    Returns
    -------
    Figure
        Observed frequencies above, their difference from the predicted probability below; the legend gives
        the expected calibration error, and what probabilities that are right would have.

    Raises
    ------
    ValueError
        If there is no curve.
    """
    if not curves:
        raise ValueError("there is no curve to show")
    figure, axes = new_figure(
        2, 1, height=4.6, sharex=True, gridspec_kw={"height_ratios": [2, 1], "hspace": 0.02}
    )
    main, difference = axes[:, 0]
    main.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1, label="as predicted")
    difference.axhline(0, color=GREY, linestyle=":", linewidth=1)
    for index, (name, curve) in enumerate(curves.items()):
        look = {"fmt": f"{marker(index)}-", "color": class_colour(index), "markersize": 3.5, "linewidth": 1}
        label = f"{shortened(name)}: {curve.expected_error:.4f} ({curve.chance_error:.4f})"
        main.errorbar(curve.predicted, curve.observed, yerr=curve.error, label=label, **look)
        difference.errorbar(curve.predicted, curve.observed - curve.predicted, yerr=curve.error, **look)
    main.set(ylabel="observed frequency", xlim=(0, 1), ylim=(0, 1.15))
    main.set_title(title, loc="left")
    main.legend(loc="upper left", title="calibration error (by chance)", title_fontsize="small")
    difference.set(xlabel=predicted, ylabel="observed\n− predicted")
    return figure
