"""Several runs side by side, as Markdown and as LaTeX."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetexp.sentences import COLUMNS, sentence

if TYPE_CHECKING:
    from jetexp.compare import ComparedRun, Comparison

__all__ = ["HEADINGS", "as_latex", "as_markdown", "cells_of"]

HEADINGS = ("run", *COLUMNS.values(), "parameters", "fit (s)", "model (MB)", "jets")
SPECIAL = {
    "\\": r"\textbackslash{}",
    **{one: rf"\{one}" for one in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    ">": "$>$",
    "<": "$<$",
}


def cells_of(run: ComparedRun) -> tuple[str, ...]:
    """Write a run as a row.

    Parameters
    ----------
    run : ComparedRun
        One of a comparison.

    Returns
    -------
    tuple of str
        A text for each of ``HEADINGS``.
    """
    return (
        run.name,
        *(str(run.numbers[name]) if name in run.numbers else "" for name in COLUMNS),
        "" if run.parameters is None else f"{run.parameters:,}".replace(",", " "),
        "" if run.seconds is None else f"{run.seconds:.0f}",
        "" if run.size is None else f"{run.size / 1e6:.2f}",
        run.part,
    )


def as_markdown(comparison: Comparison) -> str:
    """Write a comparison as Markdown.

    Parameters
    ----------
    comparison : Comparison
        Of :func:`jetexp.compare.compare_runs`.

    Returns
    -------
    str
        A table, and a sentence for each pair on the same test jets.
    """
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    for run in comparison.runs:
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells_of(run)) + " |")
    for (first, second), one in comparison.pairs.items():
        lines += ["", f"{first} against {second}: {sentence(one)}"]
    return "\n".join(lines) + "\n"


def as_latex(comparison: Comparison) -> str:
    """Write a comparison as a LaTeX table, for the package booktabs.

    Parameters
    ----------
    comparison : Comparison
        Of :func:`jetexp.compare.compare_runs`.

    Returns
    -------
    str
        A ``tabular``; below it, as comments, the pairs on the same test jets.
    """
    rows = [" & ".join(map(_escaped, cells_of(run))) + r" \\" for run in comparison.runs]
    return "\n".join(
        [
            rf"\begin{{tabular}}{{l{'r' * (len(HEADINGS) - 2)}l}}",
            r"\toprule",
            " & ".join(map(_escaped, HEADINGS)) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            *(
                f"% {first} against {second}: {sentence(one)}"
                for (first, second), one in comparison.pairs.items()
            ),
            "",
        ]
    )


def _escaped(text: str) -> str:
    return "".join(SPECIAL.get(one, one) for one in text)
