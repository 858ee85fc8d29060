"""Fit one network once."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure


class Recorder(Protocol):
    """Where a run's parameters, metrics, figures and model go.

    What learns is handed one of these and knows nothing of what stands behind it.
    """

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Record settings, once each."""

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Record numbers at a step (epoch)."""

    def curve(self, name: str, steps: Any, values: Any) -> None:
        """Record a whole curve as one stepped metric; ``steps`` are integers."""

    def figure(self, name: str, figure: Figure) -> None:
        """Record a figure as ``plots/<name>.png`` and close it."""

    def result(self, name: str, content: Any) -> None:
        """Record JSON-serialisable content as ``results/<name>.json``."""

    def text(self, name: str, content: str) -> None:
        """Record text under the artifact path ``name``."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Tag the run."""

    def network(self, network: keras.Model) -> None:
        """Record the trained network, as it would be served."""

    def child(self, name: str) -> AbstractContextManager[Recorder]:
        """Open a child run: finished when the block ends, failed with a traceback if it raises."""
