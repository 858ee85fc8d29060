"""Several fits of one tagger from different seeds, as one result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jetexp.evaluation.record import Curve, Float, Record

if TYPE_CHECKING:
    from jetexp.evaluation.report import Evaluation

__all__ = ["Measurement", "SeedCurve", "SeedMeasurement", "Summary", "summarise"]


def _digits(error: float) -> int:
    """Decimal places that show two digits of an error."""
    return max(0, 1 - math.floor(math.log10(error))) if error > 0 else 4


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
        places = _digits(self.error)
        return f"{self.value:.{places}f} ± {self.error:.{places}f}"


@dataclass(frozen=True, eq=False)
class SeedMeasurement(Record):
    """A number measured once for each seed.

    Attributes
    ----------
    mean : float
        Mean over seeds; a lower limit if ``is_limit``.
    spread : float or None
        Sample standard deviation over seeds; None for one seed.
    error : float or None
        Mean statistical error; since all seeds are tested on the same jets, more seeds do not make it
        smaller. None where every seed has a limit.
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
        places = _digits(self.error) if self.error else 1
        text = f"{'> ' if self.is_limit else ''}{self.mean:.{places}f}"
        if self.error is not None:
            text += f" ± {self.error:.{places}f}"
        if self.spread is not None:
            text += f" (seeds ± {self.spread:.{places}f})"
        return text


@dataclass(frozen=True, eq=False)
class SeedCurve(Curve):
    """Background rejection and efficiency against signal efficiency, over seeds.

    Attributes
    ----------
    signal_efficiency : ndarray of float64, shape (E,)
        Where background jets pass for every seed.
    rejection, rejection_spread : ndarray of float64, shape (E,)
        Mean over seeds and sample standard deviation (zero for one seed).
    background_efficiency, background_efficiency_spread : ndarray of float64, shape (E,)
        The same of one over the rejection.
    """

    signal_efficiency: Float
    rejection: Float
    rejection_spread: Float
    background_efficiency: Float
    background_efficiency_spread: Float

    @property
    def low(self) -> Float:
        """Lower end of the spread, shape (E,); the relative spread is taken to the logarithm, so above 0."""
        low: Float = self.rejection * np.exp(-self.rejection_spread / self.rejection)
        return low

    @property
    def high(self) -> Float:
        """Upper end of the spread, shape (E,); the relative spread is taken to the logarithm."""
        high: Float = self.rejection * np.exp(self.rejection_spread / self.rejection)
        return high


@dataclass(frozen=True, eq=False)
class Summary(Record):
    """One tagger over several seeds, on one part.

    Attributes
    ----------
    part : str
        Part of the jets: "test" or "validation".
    classes : tuple of str
        Names of the classes.
    signal : str
        The class that is signal.
    counts : tuple of int
        Jets of each class.
    measurements : dict of str to SeedMeasurement
        By metric name without the part: "auc", "accuracy", "rejection_50", ...
    curve : SeedCurve
        Background rejection against signal efficiency.
    """

    part: str
    classes: tuple[str, ...]
    signal: str
    counts: tuple[int, ...]
    measurements: dict[str, SeedMeasurement]
    curve: SeedCurve

    def metrics(self) -> dict[str, float]:
        """Return the numbers under the names that every run uses.

        Returns
        -------
        dict of str to float
            ``<part>_auc`` (mean), ``<part>_auc_error``, ``<part>_auc_spread``, and so on; all finite.
        """
        metrics = {}
        for name, measured in self.measurements.items():
            metrics[f"{self.part}_{name}"] = measured.mean
            if measured.error is not None:
                metrics[f"{self.part}_{name}_error"] = measured.error
            if measured.spread is not None:
                metrics[f"{self.part}_{name}_spread"] = measured.spread
        return metrics


def summarise(evaluations: Sequence[Evaluation]) -> Summary:
    """Bring the evaluations of several seeds together.

    Parameters
    ----------
    evaluations : sequence of Evaluation
        One a seed, on the same jets.

    Returns
    -------
    Summary
        Means, spreads over seeds and statistical errors.

    Raises
    ------
    ValueError
        If there is none, or they are not of the same part, classes, signal and number of jets.
    """
    if not evaluations:
        raise ValueError("there is no evaluation to summarise")
    first = evaluations[0]
    if len({(one.part, one.classes, one.signal, one.counts) for one in evaluations}) > 1:
        raise ValueError("evaluations of different jets cannot be summarised")
    measured = [one.measurements() for one in evaluations]
    return Summary(
        part=first.part,
        classes=first.classes,
        signal=first.signal,
        counts=first.counts,
        measurements={name: _over_seeds([one[name] for one in measured]) for name in measured[0]},
        curve=_mean_curve(evaluations),
    )


def _over_seeds(values: Sequence[Measurement]) -> SeedMeasurement:
    numbers = [one.value for one in values]
    errors = [one.error for one in values if one.error is not None]
    return SeedMeasurement(
        mean=float(np.mean(numbers)),
        spread=float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None,
        error=float(np.mean(errors)) if errors else None,
        values=tuple(numbers),
        is_limit=any(one.is_limit for one in values),
    )


def _mean_curve(evaluations: Sequence[Evaluation]) -> SeedCurve:
    steps = [one.rejection_curve() for one in evaluations]
    common = steps[0][0]
    for others, _ in steps[1:]:
        common = np.intersect1d(common, others)
    rejections = np.stack([values[np.isin(where, common)] for where, values in steps])
    ddof = min(1, len(evaluations) - 1)
    return SeedCurve(
        signal_efficiency=common / 1000,
        rejection=rejections.mean(axis=0),
        rejection_spread=rejections.std(axis=0, ddof=ddof),
        background_efficiency=(1 / rejections).mean(axis=0),
        background_efficiency_spread=(1 / rejections).std(axis=0, ddof=ddof),
    )
