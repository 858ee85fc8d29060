"""What a finished command prints: tables and where to look."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from jetexp.comparison_tables import HEADINGS, cells_of
from jetexp.evaluation.measurement import Measurement, SeedMeasurement, spread_like
from jetexp.sentences import sentence

if TYPE_CHECKING:
    from jetexp.compare import Comparison
    from jetexp.file_summary import FileSummary
    from jetexp.history import Event
    from jetexp.judging import Verdict
    from jetexp.pipeline import Outcome
    from jetexp.results import TaggerResult

__all__ = ["print_comparison", "print_file", "print_history", "print_outcome", "print_verdict"]

COLUMNS = {
    "accuracy": "accuracy",
    "auc": "AUC",
    "rejection_30": "rejection 30 %",
    "rejection_50": "rejection 50 %",
    "rejection_80": "rejection 80 %",
}


def _table(title: str, first: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column(first, no_wrap=True)
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right")
    return table


def _cells(numbers: Mapping[str, object]) -> list[str]:
    return [str(numbers[name]) if name in numbers else "" for name in COLUMNS]


def _console(width: int = 120) -> Console:
    # a log file is read later at any width: lines are not folded to an imagined terminal
    # names and reasons are the user's: what stands in square brackets is text
    console = Console(markup=False)
    return console if console.is_terminal else Console(width=width, markup=False)


def print_outcome(outcome: Outcome) -> None:
    """Print an execution's test numbers, what the registry made of it, and where to look.

    Parameters
    ----------
    outcome : Outcome
        Of :func:`jetexp.pipeline.run_experiment`.
    """
    console = _console()
    jets = " + ".join(
        f"{count} {name}" for name, count in zip(outcome.summary.classes, outcome.summary.counts, strict=True)
    )
    table = _table(f"{outcome.experiment.name}: {jets} test jets", "final fit")
    for one in outcome.fits:
        label = f"{one.name} (best on validation)" if one.name == outcome.best.name else one.name
        table.add_row(label, *_cells(one.test.measurements()))
    table.add_section()
    for result in outcome.results:
        _add_result(table, result)
    _add_separations(table, outcome)
    if outcome.served is not None:
        table.add_section()
        table.add_row(f"{outcome.best.name} as served: raw images", *_cells(outcome.served.measurements()))
    console.print(table)
    for name, comparison in outcome.comparisons.items():
        console.print(f"{name}: {sentence(comparison)}.", highlight=False, soft_wrap=True)
    if outcome.verdict is not None:
        print_verdict(outcome.verdict)
    console.print(f"Run {outcome.run_id}, {outcome.seconds / 60:.1f} minutes.", highlight=False)
    store = os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    if store.startswith("http"):
        from jetexp.mlflow_store import masked

        console.print(f"Look at it in the MLflow UI at {masked(store)}", highlight=False, soft_wrap=True)
    else:
        console.print(
            f"Look at it with: mlflow ui --backend-store-uri {store}", highlight=False, soft_wrap=True
        )


def _add_result(table: Table, result: TaggerResult) -> None:
    """Add a tagger's mean over seeds, and its spread."""
    many = len(result.fits) > 1
    label = f"{result.name}: mean ± statistical error" if many else result.name
    _add_over_seeds(table, label, result.test.measurements)


def _add_over_seeds(table: Table, label: str, measured: Mapping[str, SeedMeasurement]) -> None:
    means = {name: Measurement(one.mean, one.error, one.is_limit) for name, one in measured.items()}
    table.add_row(label, *_cells(means))
    spreads = {
        name: spread_like(one.error, one.spread) for name, one in measured.items() if one.spread is not None
    }
    if spreads:
        table.add_row("  spread over seeds", *_cells(spreads))


def _add_separations(table: Table, outcome: Outcome) -> None:
    """Add the signal against each other class, and each other class against all, where there are many."""
    signal, shown = outcome.summary.signal, outcome.summary.separations
    table.add_section()
    for one in shown:
        if (one.signal == signal) == (one.background is not None):
            against = one.background or "all others"
            label = f"{outcome.results[0].name}: {one.signal} against {against}"
            _add_over_seeds(table, label, one.measurements)


def print_verdict(verdict: Verdict) -> None:
    """Print what the registry made of a candidate, or would make.

    Parameters
    ----------
    verdict : Verdict
        Of :func:`jetexp.judging.judge` or :func:`jetexp.judging.preview`.
    """
    console = _console()
    decision, candidate = verdict.decision, verdict.version
    comparison = decision.comparison
    if comparison is not None:
        console.print("Gate: as served, on raw images of the same test jets")
        table = Table(box=SIMPLE_HEAD)
        table.add_column("model", no_wrap=True)
        table.add_column(f"rejection at {100 * comparison.signal_efficiency:g} %", justify="right")
        for label, point in (
            ("candidate" if candidate is None else f"candidate, version {candidate}", comparison.a),
            (f"champion, version {verdict.champion}", comparison.b),
        ):
            sign = ">" if point.is_limit else ""
            error = "" if point.error is None else f" ± {point.error:.1f}"
            table.add_row(label, f"{sign}{point.rejection:.1f}{error}")
        console.print(table)
        console.print(
            f"AUC {decision.performance.auc:.4f}, {comparison.auc_difference:+.4f} ± "
            f"{comparison.auc_difference_error:.4f} from the champion's.",
            highlight=False,
            soft_wrap=True,
        )
    what = f"{verdict.name} version {candidate}" if candidate else f"{verdict.name}, dry run"
    console.print(f"{what}: {decision.outcome}. {decision.reason}", highlight=False, soft_wrap=True)
    if decision.promoted and candidate is not None:
        console.print(
            f"Serve it with: mlflow models serve -m models:/{verdict.name}@champion --env-manager local",
            highlight=False,
            soft_wrap=True,
        )


def print_history(name: str, events: Sequence[Event], champion: str | None) -> None:
    """Print the promotions and rollbacks of a registered model, oldest first.

    Parameters
    ----------
    name : str
        The registered model.
    events : sequence of Event
        Of :func:`jetexp.history.events_of`.
    champion : str or None
        The present champion.
    """
    console = _console()
    table = Table(title=f"{name}: champions", title_justify="left", box=SIMPLE_HEAD)
    for heading, options in (
        ("", {"justify": "right"}),
        ("when (UTC)", {"no_wrap": True}),
        ("what", {"no_wrap": True}),
        ("version", {"justify": "right"}),
        ("before", {"justify": "right"}),
        ("AUC", {"justify": "right"}),
        ("rejection", {"justify": "right"}),
        ("who", {}),
        ("why", {}),
    ):
        table.add_column(heading, **options)
    before = events[0].champion_before if events else None
    for event in events:
        if event.champion_before != before:
            table.add_row("", "", "by hand", event.champion_before or "none", before or "none")
        numbers = [
            f"{event.numbers[key]:{form}}" if key in event.numbers else ""
            for key, form in (("auc", ".4f"), ("rejection", ".1f"))
        ]
        what = event.kind if event.finished else f"{event.kind}, interrupted"
        row = (what, event.version, event.champion_before or "none", *numbers, event.who, event.reason)
        table.add_row(str(event.number), event.when[:19].replace("T", " "), *row)
        before = event.version
    console.print(table)
    if champion != before:
        told = "No version is champion" if champion is None else f"Version {champion} is champion"
        console.print(f"{told} now, which was not done by jetexp.", highlight=False, soft_wrap=True)


def print_comparison(comparison: Comparison) -> None:
    """Print several runs side by side.

    Parameters
    ----------
    comparison : Comparison
        Of :func:`jetexp.compare.compare_runs`.
    """
    console = _console(180)
    table = Table(box=SIMPLE_HEAD)
    for index, heading in enumerate(HEADINGS):
        table.add_column(
            heading, no_wrap=not index, justify="right" if 0 < index < len(HEADINGS) - 1 else "left"
        )
    for run in comparison.runs:
        table.add_row(*(cell.replace(" (seeds", "\n(seeds") for cell in cells_of(run)))
    console.print(table)
    for (first, second), one in comparison.pairs.items():
        console.print(f"{first} against {second}: {sentence(one)}.", highlight=False, soft_wrap=True)


def print_file(name: str, summary: FileSummary) -> None:
    """Print what a file of jets holds.

    Parameters
    ----------
    name : str
        Of the file.
    summary : FileSummary
        Of :func:`jetexp.file_summary.summarise_file`.
    """
    console = _console()
    # a title would be folded to the table's width
    console.print(f"{name}: {summary.form}, {summary.jets} jets", soft_wrap=True)
    table = Table(box=SIMPLE_HEAD)
    table.add_column("class", no_wrap=True)
    headings = (
        "jets read",
        "pT (GeV): least",
        "median",
        "largest",
        "median mass (GeV)",
        "constituents",
        "most",
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    for one in summary.classes:
        mean, most = one.constituents
        numbers = (*(f"{value:.4g}" for value in (*one.pt, one.mass)), f"{mean:.1f}", str(most))
        table.add_row(one.name, str(one.jets), *numbers)
    console.print(table)
    for text in summary.assumptions:
        console.print(f"Assumed: {text}", soft_wrap=True)
    for reason, count in summary.dropped.items():
        console.print(f"Left out: {count} jets, {reason}.", soft_wrap=True)
