"""Numbers with their errors, of one fit or of several seeds, and the names they are recorded by."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from jetexp.evaluation.record import Record
from jetexp.evaluation.rejection import WorkingPoint

__all__ = ["Measurement", "SeedMeasurement", "decimal_places", "measurements_of", "metrics_of", "spread_like"]


def decimal_places(error: float) -> int:
    """Return how many decimal places show two digits of an error."""
    return max(0, 1 - math.floor(math.log10(error))) if error > 0 else 4


def spread_like(error: float | None, spread: float) -> str:
    """Write a spread to as many decimal places as the error beside it; alone, to two digits."""
    return f"{spread:.{decimal_places(error or spread)}f}"


@dataclass(frozen=True, eq=False)
class Measurement(Record):
    """A number with its statistical error.

    Attributes
    ----------
    value : float
        The number; a lower limit at 95 % confidence if ``is_limit``.
    error : float or None
        Its standard error; None for a limit.
    is_limit : bool
        Whether it is a lower limit.
    """

    value: float
    error: float | None = None
    is_limit: bool = False

    def __str__(self) -> str:
        if self.is_limit:
            return f"> {self.value:.4g} (95 % CL)"
        if self.error is None:
            return f"{self.value:.4g}"
        places = decimal_places(self.error)
        return f"{self.value:.{places}f} ± {self.error:.{places}f}"


@dataclass(frozen=True, eq=False)
class SeedMeasurement(Record):
    """A number measured once for each seed.

    Attributes
    ----------
    mean : float
        Mean over seeds; if ``is_limit``, the lower limit at 95 % confidence that the mean number of passing
        jets gives.
    spread : float or None
        Sample standard deviation over seeds; None for one seed and for a limit.
    error : float or None
        Mean statistical error; since all seeds are tested on the same jets, more seeds do not make it
        smaller. None for a limit.
    values : tuple of float
        Of each seed.
    is_limit : bool
        Whether the value of at least one seed is a lower limit.
    """

    mean: float
    spread: float | None
    error: float | None
    values: tuple[float, ...]
    is_limit: bool

    def __str__(self) -> str:
        if self.is_limit:
            return str(Measurement(self.mean, is_limit=True))
        places = decimal_places(self.error) if self.error else 1
        text = f"{self.mean:.{places}f}"
        if self.error is not None:
            text += f" ± {self.error:.{places}f}"
        if self.spread is not None:
            text += f" (seeds ± {self.spread:.{places}f})"
        return text


def measurements_of(
    auc: float, auc_error: float, working_points: Sequence[WorkingPoint]
) -> dict[str, Measurement]:
    """Bring AUC and background rejections under the names that all results use.

    Parameters
    ----------
    auc, auc_error : float
        Area under the ROC curve, and its error.
    working_points : sequence of WorkingPoint
        Background rejections.

    Returns
    -------
    dict of str to Measurement
        "auc", "rejection_30", ...
    """
    rejections = {
        point.name: Measurement(point.rejection, point.error, point.is_limit) for point in working_points
    }
    return {"auc": Measurement(auc, auc_error), **rejections}


def metrics_of(part: str, numbers: Mapping[str, Measurement | SeedMeasurement]) -> dict[str, float]:
    """Spread numbers and their errors out, as a run records them.

    Parameters
    ----------
    part : str
        Part of the jets, the prefix of all names.
    numbers : mapping of str to Measurement or SeedMeasurement
        By name without the part.

    Returns
    -------
    dict of str to float
        ``<part>_auc``, ``<part>_auc_error``, ``<part>_auc_spread``, as far as there are errors and
        spreads.

    Examples
    --------
    >>> metrics_of("test", {"auc": Measurement(0.9, 0.01)})
    {'test_auc': 0.9, 'test_auc_error': 0.01}
    """
    return {
        f"{part}_{name}{ending}": value
        for name, measured in numbers.items()
        for ending, value in _values(measured)
        if value is not None
    }


def _values(measured: Measurement | SeedMeasurement) -> Iterator[tuple[str, float | None]]:
    if isinstance(measured, Measurement):
        yield from (("", measured.value), ("_error", measured.error))
    else:
        yield from (("", measured.mean), ("_error", measured.error), ("_spread", measured.spread))
