"""What a recorder can do, whatever stands behind it, and one that keeps nothing."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import keras
    import numpy.typing as npt
    from matplotlib.figure import Figure

__all__ = ["NullRecorder", "Recorder"]


class Recorder(Protocol):
    """Where a run's parameters, metrics, figures and model go.

    What learns is handed one of these and knows nothing of what stands behind it.

    Attributes
    ----------
    kept : mapping or None
        What was kept of a child run that an interrupted execution finished: it need not be made again, and
        what is recorded to it is there already.
    """

    @property
    def kept(self) -> Mapping[str, Any] | None:
        """What was kept of a child run that is finished already."""

    def keep(self, content: Mapping[str, Any]) -> None:
        """Have ``kept`` be this, for an execution that goes on with this one; JSON-serialisable."""

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

    def arrays(self, name: str, content: Mapping[str, npt.NDArray[Any]]) -> None:
        """Record arrays as ``results/<name>.npz``."""

    def text(self, name: str, content: str) -> None:
        """Record text under the artifact path ``name``."""

    def note(self, introduction: str, table: str) -> None:
        """Describe the run, in Markdown: some sentences, links to its figures, its numbers."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Tag the run."""

    def network(self, network: keras.Model) -> None:
        """Record the trained network, as it would be served."""

    def child(self, name: str) -> AbstractContextManager[Recorder]:
        """Open a child run: finished when the block ends, failed with a traceback if it raises."""


class NullRecorder:
    """A recorder that keeps nothing, for tests and benchmarks."""

    kept: Mapping[str, Any] | None = None

    def keep(self, content: Mapping[str, Any]) -> None:
        """Forget what was to be kept."""

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Forget settings."""

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Forget numbers."""

    def curve(self, name: str, steps: Any, values: Any) -> None:
        """Forget a curve."""

    def figure(self, name: str, figure: Figure) -> None:
        """Forget a figure."""

    def result(self, name: str, content: Any) -> None:
        """Forget a result."""

    def arrays(self, name: str, content: Mapping[str, npt.NDArray[Any]]) -> None:
        """Forget arrays."""

    def text(self, name: str, content: str) -> None:
        """Forget text."""

    def note(self, introduction: str, table: str) -> None:
        """Forget a description."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Forget tags."""

    def network(self, network: keras.Model) -> None:
        """Forget a network."""

    def child(self, name: str) -> AbstractContextManager[Recorder]:
        """Return this recorder again."""
        return nullcontext(self)
