"""What a person sees while something runs: one console, progress, log lines."""

from __future__ import annotations

import logging

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["progress", "set_up_logging", "stderr"]


def stderr() -> Console:
    """Return a console on standard error, where progress and log lines go."""
    return Console(stderr=True)


def progress() -> Progress:
    """Return a progress display with counts, rate and time left, silent when not a terminal.

    Tasks may carry a field ``rate`` (text, such as ``"183 jets/s"``), shown beside the bar.

    Returns
    -------
    rich.progress.Progress
        To be used as a context manager.
    """
    console = stderr()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def set_up_logging(*, verbose: bool = False) -> None:
    """Show jetexp's own log lines on standard error.

    Parameters
    ----------
    verbose : bool
        Show details too.
    """
    logger = logging.getLogger("jetexp")
    logger.handlers = [RichHandler(console=stderr(), show_path=False, markup=False)]
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.propagate = False
