"""How well each class is told from each other, and from all others, where there are more than two."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Protocol, TypeVar

import numpy as np
from scipy.special import expit

from jetexp.evaluation.measurement import Measurement, measurements_of
from jetexp.evaluation.record import Float, Integer, Record
from jetexp.evaluation.rejection import RejectionCurve, WorkingPoint, rejection_curve, working_points
from jetexp.evaluation.roc import ROUNDING, RocCurve, roc_curve
from jetexp.evaluation.uncertainty import auc_error

__all__ = [
    "PAIR_STEPS",
    "Separation",
    "is_of_separation",
    "log_odds",
    "recorded",
    "separation_name",
    "separations",
]

REST = "rest"
BETWEEN = "_vs_"
# what the name of a metric says with words of its own
TAKEN_WORDS = frozenset({"vs", "error", "spread"})
LONGEST_NAME = 60
# enough for a smooth line: there are ninety of ten classes; the working points are among them
PAIR_STEPS = 40
PAIR_REPLICAS = 400
# more would crowd a run's page; all working points stand in the results
METRICS = ("auc", "rejection_50")


@dataclass(frozen=True, eq=False)
class Separation(Record):
    """How well one class is told from another, on the jets of these two alone, or from all others.

    The discriminant of a pair is p_s / (p_s + p_b), that against all others p_s.

    Attributes
    ----------
    name : str
        What the names of its metrics end with: ``W_vs_QCD``, ``W_vs_rest``.
    signal : str
        The class that is signal.
    background : str or None
        The class that is background; None for all others.
    auc, auc_error : float
        Area under the ROC curve, and its error (DeLong).
    working_points : tuple of WorkingPoint
        Background rejections, with thresholds on the discriminant.
    curve : RejectionCurve
        Background rejection against signal efficiency, with its error band, at multiples of 0.025.
    """

    name: str
    signal: str
    background: str | None
    auc: float
    auc_error: float
    working_points: tuple[WorkingPoint, ...]
    curve: RejectionCurve

    @property
    def measurements(self) -> dict[str, Measurement]:
        """AUC and background rejections with their errors, as "auc", "rejection_30", ..."""
        return measurements_of(self.auc, self.auc_error, self.working_points)


def log_odds(scores: Float, signal: int, background: int) -> Float:
    """Return log(p_s / p_b), which orders jets as the discriminant p_s / (p_s + p_b) does.

    That is its logistic function, but rounds to 1 where p_b is small: jets would be tied that the logarithm
    still tells apart. It changes its sign when the two classes are swapped.

    Parameters
    ----------
    scores : ndarray of float64, shape (N, C)
        Class probabilities.
    signal, background : int
        The two classes.

    Returns
    -------
    ndarray of float64, shape (N,)
        Finite; a probability of zero counts as the smallest number that there is, and where both are zero
        the odds are even.

    Examples
    --------
    >>> odds = log_odds(np.array([[0.2, 0.6, 0.2], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]), 1, 0)
    >>> expit(odds).round(6).tolist(), bool(np.isfinite(odds).all())
    ([0.75, 0.5, 1.0], True)
    """
    pair = np.log(np.maximum(scores[:, [signal, background]], np.finfo(np.float64).tiny))
    result: Float = pair[:, 0] - pair[:, 1]
    return result


def separations(
    scores: Float,
    label: Integer,
    *,
    classes: Sequence[str],
    known: Separation,
    rng: np.random.Generator,
) -> tuple[Separation, ...]:
    """Measure each class against all others, and each ordered pair of classes.

    Parameters
    ----------
    scores : ndarray of float64, shape (N, C)
        Class probabilities.
    label : ndarray of int64, shape (N,)
        True classes.
    classes : sequence of str
        Names of the C classes.
    known : Separation
        What has been measured already: the class that is signal against all others. At its signal
        efficiencies the others are measured too.
    rng : numpy.random.Generator
        For the errors of the rejections.

    Returns
    -------
    tuple of Separation
        C against all others, then C (C - 1) pairs, each followed by the same two classes swapped; none for
        two classes, of which all is said already. The signal comes first in its pairs, in others the
        class that comes later in ``classes``.
    """
    if len(classes) == 2:
        return ()
    measure = _Measure(tuple(classes), [point.signal_efficiency for point in known.working_points], rng)
    found = []
    for index, name in enumerate(classes):
        score, is_class = scores[:, index], label == index
        found.append(
            known
            if name == known.signal
            else measure(roc_curve(score, is_class), auc_error(score, is_class), name, None)
        )
    for first, second in _pairs(classes, known.signal):
        of_pair = (label == first) | (label == second)
        odds, is_first = log_odds(scores[of_pair], first, second), label[of_pair] == first
        # of the same two classes the other way round, nothing but the rejections differs
        curve, error = roc_curve(odds, is_first), auc_error(odds, is_first)
        found.append(measure(curve, error, classes[first], classes[second]))
        found.append(measure(curve.swapped(), error, classes[second], classes[first]))
    return tuple(found)


def _pairs(classes: Sequence[str], signal: str) -> Iterator[tuple[int, int]]:
    for earlier, later in combinations(range(len(classes)), 2):
        yield (earlier, later) if classes[earlier] == signal else (later, earlier)


@dataclass(frozen=True)
class _Measure:
    """What all separations of one evaluation share."""

    classes: tuple[str, ...]
    signal_efficiencies: Sequence[float]
    rng: np.random.Generator

    def __call__(self, curve: RocCurve, error: float, signal: str, background: str | None) -> Separation:
        points = working_points(curve, self.signal_efficiencies, rng=self.rng)
        if background is not None:
            # the curve's thresholds are on the logarithm of the odds, and rounded otherwise than scores
            points = tuple(
                replace(point, threshold=float(expit(point.threshold)) * (1 - ROUNDING)) for point in points
            )
        return Separation(
            name=separation_name(self.classes, signal, background),
            signal=signal,
            background=background,
            auc=curve.area,
            auc_error=error,
            working_points=points,
            curve=rejection_curve(curve, rng=self.rng, steps=PAIR_STEPS, replicas=PAIR_REPLICAS),
        )


def separation_name(classes: Sequence[str], signal: str, background: str | None) -> str:
    """Name a separation in a way that is fit for metrics.

    The names of classes are arbitrary text, and MLflow takes letters, digits and a few signs. No two
    separations of the same classes have one name.

    Parameters
    ----------
    classes : sequence of str
        All classes, each once.
    signal, background : str
        Two of them; no background means all others.

    Returns
    -------
    str
        What stands after ``auc_`` in the names of metrics.

    Examples
    --------
    >>> separation_name(["QCD", "W"], "W", "QCD"), separation_name(["QCD", "W"], "W", None)
    ('W_vs_QCD', 'W_vs_rest')
    >>> separation_name(["H -> bb", "H: b/b", "τ"], "H -> bb", "H: b/b")
    'H_bb_vs_H_b_b'
    """
    clean = _clean_names(classes)
    return f"{clean[signal]}{BETWEEN}{REST if background is None else clean[background]}"


def _clean_names(classes: Sequence[str]) -> dict[str, str]:
    taken, found = {REST}, {}
    for name in classes:
        words = re.findall(r"[A-Za-z0-9]+(?:[.-][A-Za-z0-9]+)*", name[:LONGEST_NAME])
        plain = "_".join(word for word in words if word.lower() not in TAKEN_WORDS) or "class"
        free, number = plain, 1
        while free.lower() in taken:
            number += 1
            free = f"{plain}_{number}"
        taken.add(free.lower())
        found[name] = free
    return found


def is_of_separation(metric: str) -> bool:
    """Say whether a metric, by its name, is one of many of its kind: of one pair, or one class against all.

    Examples
    --------
    >>> is_of_separation("test_auc_W_vs_QCD"), is_of_separation("test_auc")
    (True, False)
    """
    return BETWEEN in metric


Number = TypeVar("Number", covariant=True)


class Separated(Protocol[Number]):
    """What separations of one run and of several seeds have in common."""

    @property
    def name(self) -> str:
        """What the names of metrics end with."""

    @property
    def signal(self) -> str:
        """The class that is signal."""

    @property
    def background(self) -> str | None:
        """The class that is background; None for all others."""

    @property
    def measurements(self) -> Mapping[str, Number]:
        """By name: "auc", "rejection_30", ..."""


def recorded(found: Sequence[Separated[Number]]) -> dict[str, Number]:
    """Choose the numbers that become metrics, by their names.

    Parameters
    ----------
    found : sequence of Separation or SeedSeparation
        As :func:`separations` orders them.

    Returns
    -------
    dict
        ``auc_W_vs_QCD``, ``rejection_50_W_vs_QCD``, ...; as the AUC stays the same when two classes are
        swapped, it is there once a pair.
    """
    numbers, seen = {}, set()
    for one in found:
        pair = frozenset((one.signal, one.background))
        for name in METRICS:
            if name in one.measurements and not (name == "auc" and pair in seen):
                numbers[f"{name}_{one.name}"] = one.measurements[name]
        seen.add(pair)
    return numbers
