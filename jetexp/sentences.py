"""Results in words: a Markdown table, and a sentence for each comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jetexp.evaluation.measurement import Measurement, decimal_places, spread_like

if TYPE_CHECKING:
    from jetexp.evaluation.seeds import SeedComparison

__all__ = ["COLUMNS", "markdown_table", "sentence", "table_of_parts"]

COLUMNS = {
    "accuracy": "accuracy",
    "auc": "AUC",
    "rejection_30": "rejection at 30 %",
    "rejection_50": "rejection at 50 %",
    "rejection_80": "rejection at 80 %",
}
PAIRS = {"auc_": "AUC", "rejection_50_": "rejection at 50 %"}


def markdown_table(
    rows: Sequence[Mapping[str, Any]], comparisons: Mapping[str, SeedComparison] | None = None
) -> str:
    """Write results as a Markdown table.

    Parameters
    ----------
    rows : sequence of mapping
        As ``TaggerResult.to_dict`` gives them.
    comparisons : mapping of str to SeedComparison, optional
        By name: sentences below the table.

    Returns
    -------
    str
        A line a row: statistical errors, and spreads over seeds where there are several. Of more than two
        classes also a line a pair, and a line for each class against all others (``rest``).
    """
    variants = any(row["variant"] for row in rows)
    heading = [*(["variant"] if variants else []), "tagger", "seeds", *COLUMNS.values()]
    lines = ["| " + " | ".join(heading) + " |", "|" + "---|" * len(heading)]
    for row in rows:
        cells = [*([row["variant"]] if variants else []), row["tagger"], str(len(row["runs"]))]
        cells += [_cell(row["test"].get(name)) for name in COLUMNS]
        lines.append("| " + " | ".join(cells) + " |")
    for name, heading_of_pairs in PAIRS.items():
        lines += _table_of_pairs(rows, name, heading_of_pairs)
    for name, one in (comparisons or {}).items():
        lines += ["", f"{name}: {sentence(one)}"]
    return "\n".join(lines) + "\n"


def table_of_parts(measured: Mapping[str, Mapping[str, Measurement]]) -> str:
    """Write one tagger's numbers as a Markdown table.

    Parameters
    ----------
    measured : mapping of str to mapping of str to Measurement
        By part of the jets, and by name of the number.

    Returns
    -------
    str
        A line a part.
    """
    lines = ["| jets | " + " | ".join(COLUMNS.values()) + " |", "|" + "---|" * (1 + len(COLUMNS))]
    for part, numbers in measured.items():
        cells = [str(numbers[name]) if name in numbers else "" for name in COLUMNS]
        lines.append("| " + " | ".join([part, *cells]) + " |")
    return "\n".join(lines) + "\n"


def _table_of_pairs(rows: Sequence[Mapping[str, Any]], name: str, heading: str) -> list[str]:
    """Write one number of all pairs and taggers: a line a pair, by the name of its metric."""
    found = list(dict.fromkeys(key for row in rows for key in row.get("pairs", {}) if key.startswith(name)))
    if not found:
        return []
    taggers = [f"{row['variant']}: {row['tagger']}" if row["variant"] else row["tagger"] for row in rows]
    lines = ["", "| " + " | ".join([heading, *taggers]) + " |", "|" + "---|" * (len(rows) + 1)]
    for key in found:
        cells = [_cell(row.get("pairs", {}).get(key)) for row in rows]
        lines.append("| " + " | ".join([f"`{key.removeprefix(name)}`", *cells]) + " |")
    return lines


def _cell(measured: Mapping[str, Any] | None) -> str:
    if measured is None:
        return ""
    text = str(Measurement(measured["mean"], measured["error"], measured["is_limit"]))
    spread = measured["spread"]
    return text if spread is None else f"{text} ({spread_like(measured['error'], spread)})"


def sentence(one: SeedComparison) -> str:
    """Say a comparison in a sentence.

    Parameters
    ----------
    one : SeedComparison
        Of two taggers.

    Returns
    -------
    str
        Difference of AUC and ratio of rejections, with errors, intervals and lower bounds.
    """
    low, high = one.ratio_interval
    if one.one_training:
        missing = " (of the same fits: their spread over seeds is left out)"
    else:
        missing = "" if one.auc.training_error_is_known else " (spread over seeds not known for both)"
    rough = " (rough: for some seed no background jet passes)" if one.is_limit else ""
    # an ensemble's lead over its own members has a tiny error
    places = max(4, decimal_places(one.auc.total_error))
    difference, error, bound = (
        f"{value:{sign}.{places}f}"
        for value, sign in ((one.auc.difference, "+"), (one.auc.total_error, ""), (one.auc.lower_bound, "+"))
    )
    return (
        f"AUC difference {difference} ± {error} (95 % lower bound {bound}); rejection ratio at "
        f"{100 * one.signal_efficiency:g} % {one.ratio:.3f}, 95 % interval {low:.3f}-{high:.3f} (lower bound "
        f"of the logarithm {one.log_rejection.lower_bound:+.3f}){rough}{missing}"
    )
