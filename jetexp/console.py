"""What a person sees while something runs: one console, progress, log lines."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

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

__all__ = ["import_quietly", "progress", "set_up_logging", "silenced", "stderr"]


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


@contextmanager
def silenced(stream: TextIO) -> Iterator[None]:
    """Let nothing reach a standard stream, from compiled code either, while the block runs.

    Parameters
    ----------
    stream : sys.stdout or sys.stderr
        The stream.
    """
    # below Python's own: compiled code writes to the file descriptor itself
    stream.flush()
    descriptor = 1 if stream is sys.stdout else 2
    kept, nowhere = os.dup(descriptor), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    try:
        yield
    finally:
        stream.flush()
        os.dup2(kept, descriptor)
        os.close(kept)
        os.close(nowhere)


def import_quietly(module: str) -> None:
    """Import a module without what its compiled parts say about devices they did not find.

    Parameters
    ----------
    module : str
        Its name. An exception is raised as ever, with its traceback.
    """
    # TensorFlow calls it an error, later on, that there is no driver of an accelerator
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with silenced(sys.stderr):
        importlib.import_module(module)
