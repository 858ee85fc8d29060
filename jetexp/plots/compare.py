"""Several runs in one figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jetexp.evaluation.report import CurveWithBand, SeedCurve, ratio_to
from jetexp.plots.axes import shortened
from jetexp.plots.style import GREY, class_colour, new_figure, styled

__all__ = ["rejection_comparison"]

LINES = ("-", "--", "-.", ":")
# colours that are told apart at a glance; those after them have another line too
SOLID = 5
# more names would hide the curves
INSIDE = 6


@styled
def rejection_comparison(curves: Mapping[str, CurveWithBand], title: str = "") -> Figure:
    """Draw the rejection curves of several runs, and their ratio to the first.

    Parameters
    ----------
    curves : mapping of str to (RejectionCurve or SeedCurve)
        By the name to show; the first is the reference. A curve without errors has ``low`` and
        ``high`` equal to its rejection.
    title : str
        What stands above.

    Returns
    -------
    Figure
        Rejections on a logarithmic axis above, ratios below, each with its band, which the legend explains.

    Raises
    ------
    ValueError
        If there is no curve.
    """
    if not curves:
        raise ValueError("there is no curve to compare")
    outside = len(curves) > INSIDE
    figure, axes = new_figure(
        2,
        1,
        height=5.4 if outside else 4.6,
        sharex=True,
        gridspec_kw={"height_ratios": [2.2, 1], "hspace": 0.02},
    )
    main, ratio = axes[:, 0]
    reference = next(iter(curves.values()))
    highest, ratios = [30.0], [np.array([0.9, 1.1])]
    for index, (name, curve) in enumerate(curves.items()):
        colour = class_colour(index)
        line = LINES[index // SOLID % len(LINES)]
        relative = ratio_to(reference, curve)
        for panel, shown in ((main, curve), (ratio, relative)):
            panel.plot(shown.signal_efficiency, shown.rejection, line, color=colour, label=shortened(name))
            panel.fill_between(
                shown.signal_efficiency, shown.low, shown.high, color=colour, alpha=0.25, linewidth=0
            )
        highest.extend(curve.high)
        # the few jets at the tightest thresholds must not set the scale of the ratio
        ratios.append(relative.rejection[relative.signal_efficiency >= 0.2])
    efficiency = np.linspace(0.01, 1, 100)
    main.plot(efficiency, 1 / efficiency, ":", color=GREY, linewidth=1, label="random")
    main.set_yscale("log")
    main.set(ylabel=r"background rejection $1/\varepsilon_B$", ylim=(1, 2 * max(highest)))
    bands = {
        "spread over seeds" if isinstance(curve, SeedCurve) else "statistical error, 68 %"
        for curve in curves.values()
        if (curve.high > curve.low).any()
    }
    if len(bands) > 1:
        bands = {"spread over seeds; of one fit statistical, 68 %"}
    main.set_title(title, loc="left")
    explained: dict[str, Any] = {
        "title": "".join(f"bands: {one}" for one in bands),
        "title_fontsize": "small",
    }
    if outside:
        figure.legend(*main.get_legend_handles_labels(), loc="outside upper center", ncols=3, **explained)
    else:
        main.legend(loc="upper right", **explained)
    seen = np.concatenate(ratios)
    ratio.axhline(1, color=GREY, linewidth=0.8)
    ratio.set(
        xlabel=r"signal efficiency $\varepsilon_S$",
        ylabel="ratio to\nthe first",
        xlim=(0, 1),
        ylim=(max(0, 0.9 * seen.min()), 1.1 * seen.max()),
    )
    return figure
