"""A matrix of numbers written into coloured cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from jetexp.evaluation.measurement import decimal_places
from jetexp.evaluation.record import Float
from jetexp.evaluation.report import Measurement, SeedMeasurement
from jetexp.plots.axes import shortened
from jetexp.plots.style import new_figure

__all__ = ["in_lines", "matrix_figure"]

# inches; the numbers of ten classes are read at the width of a column still
CELL = 0.58
LARGE_CELL = 0.85
FEW = 4
# more do not fit into a cell
MAXIMUM_PLACES = 5


def in_lines(measured: Measurement | SeedMeasurement) -> str:
    r"""Write a number narrowly: below it its statistical error, below that its spread over seeds.

    Examples
    --------
    >>> in_lines(SeedMeasurement(0.93161, 0.00052, 0.0011, (0.93, 0.94), False))
    '0.9316\n± 0.0011\n(0.0005)'
    >>> in_lines(Measurement(3300.0, None, True))
    '> 3300'
    """
    spread = None
    if isinstance(measured, SeedMeasurement):
        # that of limits says nothing
        spread = None if measured.is_limit else measured.spread
        measured = Measurement(measured.mean, measured.error, measured.is_limit)
    if measured.error is None:
        lines, places = [str(measured).removesuffix(" (95 % CL)")], 0
    else:
        places = min(MAXIMUM_PLACES, decimal_places(measured.error))
        smallest = 10**-MAXIMUM_PLACES
        error = f"± {measured.error:.{places}f}" if measured.error > smallest else f"± < {smallest:.0e}"
        lines = [f"{measured.value:.{places}f}", error]
    if spread is not None:
        lines.append(f"({spread:.{places}f})")
    return "\n".join(lines)


def matrix_figure(
    values: Float,
    texts: Sequence[Sequence[str]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    norm: Normalize,
    labels: tuple[str, str, str],
    title: str,
) -> Figure:
    """Draw a matrix.

    Parameters
    ----------
    values : ndarray of float64, shape (R, C)
        What the colours show; a cell that is not a number stays empty.
    texts : sequence of sequence of str
        What is written into each cell.
    rows, columns : sequence of str
        Their names.
    norm : Normalize
        From numbers to colours.
    labels : tuple of str
        What the columns are, what the rows are, and what the colours show.
    title : str
        What stands above.

    Returns
    -------
    Figure
        Wider for more columns; cells and letters are smaller where there are more than four.
    """
    few = len(columns) <= FEW
    cell = LARGE_CELL if few else CELL
    figure, [[axes]] = new_figure(width=2.2 + cell * len(columns), height=1.2 + cell * len(rows))
    drawn = axes.imshow(np.ma.masked_invalid(values), cmap="Blues", norm=norm, aspect="auto")
    for row, column in np.argwhere(np.isfinite(values)):
        axes.text(
            column,
            row,
            texts[row][column],
            ha="center",
            va="center",
            fontsize=8 if few else 6.5,
            color="white" if norm(values[row, column]) > 0.55 else "black",
        )
    _name_cells(axes, rows, columns, few=few)
    axes.set(xlabel=labels[0], ylabel=labels[1])
    axes.set_title(title, loc="left")
    figure.colorbar(drawn, ax=axes, shrink=0.85, label=labels[2])
    return figure


def _name_cells(axes: Axes, rows: Sequence[str], columns: Sequence[str], *, few: bool) -> None:
    turned: dict[str, Any] = {} if few else {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(len(columns)), [shortened(name) for name in columns], **turned)
    axes.set_yticks(range(len(rows)), [shortened(name) for name in rows])
    axes.minorticks_off()
    axes.tick_params(length=0)
    axes.grid(visible=False)
