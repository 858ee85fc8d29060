"""Several fits of one tagger from different seeds, as one result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jetexp.evaluation.measurement import Measurement, SeedMeasurement, metrics_of
from jetexp.evaluation.record import Curve, Float, Record
from jetexp.evaluation.rejection import RejectionCurve
from jetexp.evaluation.separation import recorded
from jetexp.evaluation.uncertainty import background_efficiency_limit

if TYPE_CHECKING:
    from jetexp.evaluation.report import Evaluation

__all__ = ["SeedCurve", "SeedSeparation", "Summary", "summarise"]


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
class SeedSeparation(Record):
    """How well one class is told from another, or from all others, over seeds.

    Attributes
    ----------
    name : str
        What the names of its metrics end with: ``W_vs_QCD``, ``W_vs_rest``.
    signal : str
        The class that is signal.
    background : str or None
        The class that is background; None for all others.
    measurements : dict of str to SeedMeasurement
        "auc", "rejection_30", ...
    curve : SeedCurve
        Background rejection against signal efficiency.
    """

    name: str
    signal: str
    background: str | None
    measurements: dict[str, SeedMeasurement]
    curve: SeedCurve


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
    separations : tuple of SeedSeparation
        Each class against all others, and each ordered pair of classes, where there are more than two.
    """

    part: str
    classes: tuple[str, ...]
    signal: str
    counts: tuple[int, ...]
    measurements: dict[str, SeedMeasurement]
    curve: SeedCurve
    separations: tuple[SeedSeparation, ...] = ()

    def metrics(self) -> dict[str, float]:
        """Return the numbers under the names that every run uses.

        Returns
        -------
        dict of str to float
            ``<part>_auc`` (mean), ``<part>_auc_error``, ``<part>_auc_spread``, and so on; of more than two
            classes also ``<part>_auc_W_vs_QCD``, ...; all finite.
        """
        return metrics_of(self.part, self.measurements | recorded(self.separations))


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
    return Summary(
        part=first.part,
        classes=first.classes,
        signal=first.signal,
        counts=first.counts,
        measurements=_each_over_seeds(
            [one.measurements() for one in evaluations], _background(first, first.signal)
        ),
        curve=_mean_curve([one.rejection for one in evaluations]),
        separations=tuple(
            SeedSeparation(
                name=same[0].name,
                signal=same[0].signal,
                background=same[0].background,
                measurements=_each_over_seeds(
                    [one.measurements for one in same], _background(first, same[0].signal, same[0].background)
                ),
                curve=_mean_curve([one.curve for one in same]),
            )
            for same in zip(*(one.separations for one in evaluations), strict=True)
        ),
    )


def _background(one: Evaluation, signal: str, background: str | None = None) -> int:
    """Count the jets of a class, or of all but the signal."""
    counts = dict(zip(one.classes, one.counts, strict=True))
    return sum(one.counts) - counts[signal] if background is None else counts[background]


def _each_over_seeds(
    measured: Sequence[Mapping[str, Measurement]], n_background: int
) -> dict[str, SeedMeasurement]:
    return {name: _over_seeds([one[name] for one in measured], n_background) for name in measured[0]}


def _over_seeds(values: Sequence[Measurement], n_background: int) -> SeedMeasurement:
    numbers = [one.value for one in values]
    if any(one.is_limit for one in values):
        # limits and measured rejections have no mean, but the jets that pass have
        passing = float(np.mean([0.0 if one.is_limit else n_background / one.value for one in values]))
        limit = 1 / background_efficiency_limit(passing, n_background)
        return SeedMeasurement(mean=limit, spread=None, error=None, values=tuple(numbers), is_limit=True)
    errors = [one.error for one in values if one.error is not None]
    return SeedMeasurement(
        mean=float(np.mean(numbers)),
        spread=float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None,
        error=float(np.mean(errors)) if errors else None,
        values=tuple(numbers),
        is_limit=False,
    )


def _mean_curve(curves: Sequence[RejectionCurve]) -> SeedCurve:
    common = curves[0].steps
    for others in curves[1:]:
        common = np.intersect1d(common, others.steps)
    rejections = np.stack([one.rejection[np.isin(one.steps, common)] for one in curves])
    ddof = min(1, len(curves) - 1)
    return SeedCurve(
        signal_efficiency=common / 1000,
        rejection=rejections.mean(axis=0),
        rejection_spread=rejections.std(axis=0, ddof=ddof),
        background_efficiency=(1 / rejections).mean(axis=0),
        background_efficiency_spread=(1 / rejections).std(axis=0, ddof=ddof),
    )
