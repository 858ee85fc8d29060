"""All numbers of one tagger on one part of the jets, and what sums them up over seeds and compares two.

::

    evaluation = evaluate(scores, label, classes=("QCD", "W"), signal="W", part="test", images=images)
    evaluation.metrics()                # {"test_auc": ..., "test_auc_error": ..., "test_rejection_50": ...}
    evaluation.rejection_curve()        # steps (1000 x signal efficiency), background rejections
    evaluation.working_point(0.5)       # rejection, error, is_limit, threshold
    evaluation.measurements()           # name without part -> Measurement; str() shows it with its error
    Evaluation.from_dict(evaluation.to_dict())                      # JSON there and back
    evaluation.separations              # of more than two classes: each against all others, each ordered pair
    summarise([evaluation, ...])        # over seeds: mean, spread, statistical error; .metrics()
    compare_paired(label, a, b, signal_index=1)                     # which of two taggers is better
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jetexp.errors import JetexpError
from jetexp.evaluation.comparison import PairedComparison, compare_paired
from jetexp.evaluation.measurement import Measurement, SeedMeasurement, measurements_of, metrics_of
from jetexp.evaluation.mistakes import (
    ImageSource,
    MisidentifiedJets,
    Mistakes,
    confusion_fractions,
    confusion_matrix,
    find_mistakes,
)
from jetexp.evaluation.record import Float, Integer, Record
from jetexp.evaluation.rejection import (
    CurveWithBand,
    RejectionCurve,
    WorkingPoint,
    ratio_to,
    rejection_curve,
    working_points,
)
from jetexp.evaluation.roc import RocCurve, roc_curve
from jetexp.evaluation.separation import PAIR_STEPS, Separation, recorded, separation_name, separations
from jetexp.evaluation.summary import SeedCurve, SeedSeparation, Summary, summarise
from jetexp.evaluation.thresholds import ScoreHistograms, ThresholdScan, score_histograms, threshold_scan
from jetexp.evaluation.uncertainty import auc_error, binomial_error

__all__ = [
    "CurveWithBand",
    "Evaluation",
    "Measurement",
    "MisidentifiedJets",
    "Mistakes",
    "PairedComparison",
    "RejectionCurve",
    "RocCurve",
    "ScoreHistograms",
    "SeedCurve",
    "SeedMeasurement",
    "SeedSeparation",
    "Separation",
    "Summary",
    "ThresholdScan",
    "WorkingPoint",
    "compare_paired",
    "confusion_fractions",
    "discriminant",
    "evaluate",
    "ratio_to",
    "summarise",
]

SIGNAL_EFFICIENCIES = (0.3, 0.5, 0.8)


@dataclass(frozen=True, eq=False)
class Evaluation(Record):
    """All numbers of one tagger on one part.

    Attributes
    ----------
    part : str
        Part of the jets, the prefix of metric names: "test", "validation", ...
    classes : tuple of str
        Names of the classes.
    signal : str
        The class that is signal; all others are background.
    counts : tuple of int
        Jets of each class.
    accuracy, accuracy_error : float
        Fraction of the jets whose highest score is that of their class, and its binomial error.
    auc, auc_error : float
        Area under the ROC curve of signal against background, and its error (DeLong).
    working_points : tuple of WorkingPoint
        Background rejection at signal efficiencies of 0.3, 0.5 and 0.8.
    roc : RocCurve
        Signal against background, thinned to 2000 points.
    rejection : RejectionCurve
        Background rejection against signal efficiency, with its error band.
    confusion : ndarray of int64, shape (C, C)
        Jets by true (first axis) and predicted class.
    histograms : ScoreHistograms
        Scores by hypothesis and true class.
    threshold_scan : ThresholdScan
        Mistakes and accuracy against the threshold on the signal's score.
    mistakes : Mistakes or None
        Sum images of the misidentified jets, where images were given.
    separations : tuple of Separation
        Each class against all others, and each ordered pair of classes, where there are more than two.
    """

    part: str
    classes: tuple[str, ...]
    signal: str
    counts: tuple[int, ...]
    accuracy: float
    accuracy_error: float
    auc: float
    auc_error: float
    working_points: tuple[WorkingPoint, ...]
    roc: RocCurve
    rejection: RejectionCurve
    confusion: Integer
    histograms: ScoreHistograms
    threshold_scan: ThresholdScan
    mistakes: Mistakes | None
    separations: tuple[Separation, ...] = ()

    def measurements(self) -> dict[str, Measurement]:
        """Return accuracy, AUC and background rejections with their errors.

        Returns
        -------
        dict of str to Measurement
            By metric name without the part: "accuracy", "auc", "rejection_30", ...
        """
        return {
            "accuracy": Measurement(self.accuracy, self.accuracy_error),
            **measurements_of(self.auc, self.auc_error, self.working_points),
        }

    def metrics(self) -> dict[str, float]:
        """Return the numbers under the names that every run uses.

        Returns
        -------
        dict of str to float
            ``<part>_auc``, ``<part>_auc_error``, ``<part>_accuracy``, ``<part>_rejection_50``, ...; of more
            than two classes also ``<part>_auc_W_vs_QCD``, ...; all finite. A background rejection that is a
            lower limit has no ``_error``.
        """
        return metrics_of(self.part, self.measurements() | recorded(self.separations))

    def rejection_curve(self) -> tuple[Integer, Float]:
        """Return the background rejection as a stepped metric.

        Returns
        -------
        steps : ndarray of int64, shape (E,)
            1000 times the signal efficiency, every 5, where background jets pass.
        values : ndarray of float64, shape (E,)
            Background rejections.
        """
        return self.rejection.steps, self.rejection.rejection

    def working_point(self, signal_efficiency: float) -> WorkingPoint:
        """Return the working point at a signal efficiency.

        Parameters
        ----------
        signal_efficiency : float
            One of those in ``working_points``.

        Returns
        -------
        WorkingPoint
            Background rejection there.

        Raises
        ------
        KeyError
            If there is none.
        """
        for point in self.working_points:
            if abs(point.signal_efficiency - signal_efficiency) < 1e-9:
                return point
        raise KeyError(signal_efficiency)


def discriminant(scores: npt.ArrayLike, classes: Sequence[str], signal: str) -> Float:
    """Return the number that tells signal from all other classes: the signal's probability.

    Parameters
    ----------
    scores : array_like of float, shape (N, C)
        Class probabilities.
    classes : sequence of str
        Names of the C classes.
    signal : str
        The one that is signal.

    Returns
    -------
    ndarray of float64, shape (N,)
        High for signal. As probabilities sum to one, p_s / (p_s + sum of the others) = p_s.

    Raises
    ------
    ValueError
        If the scores have another shape, or ``signal`` is not among the classes.

    Examples
    --------
    >>> discriminant([[0.75, 0.25], [0.5, 0.5]], ["QCD", "W"], "W").tolist()
    [0.25, 0.5]
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != len(classes):
        raise ValueError(f"scores have shape {values.shape}, not (N, {len(classes)})")
    if signal not in classes:
        raise ValueError(f"signal {signal!r} is not among the classes {list(classes)}")
    return values[:, list(classes).index(signal)]


def evaluate(
    scores: npt.ArrayLike,
    label: npt.ArrayLike,
    *,
    classes: Sequence[str],
    signal: str,
    part: str,
    images: ImageSource | None = None,
    half_width: float = 1.0,
    signal_efficiencies: Sequence[float] = SIGNAL_EFFICIENCIES,
    seed: int = 0,
) -> Evaluation:
    """Compute all numbers of one tagger on one part of the jets.

    Parameters
    ----------
    scores : array_like of float, shape (N, C)
        Class probabilities.
    label : array_like of int, shape (N,)
        True classes, as indices into ``classes``; at least two jets of each.
    classes : sequence of str
        Names of the C classes.
    signal : str
        The one that is signal; all others are background.
    part : str
        Part of the jets, the prefix of metric names.
    images : ndarray of float, shape (N, H, W), or what gives some of them when asked, optional
        Raw images of the jets in GeV, first axis eta, second phi, to sum those misidentified.
    half_width : float
        Half the side of the images, in eta and phi.
    signal_efficiencies : sequence of float
        Where background rejections are quoted, in (0, 1].
    seed : int
        Seed of the replicas behind the errors of background rejections.

    Returns
    -------
    Evaluation
        Frozen; goes to JSON and back.

    Raises
    ------
    JetexpError
        If a score is not a probability (a network that diverged), or a class has fewer than two jets.
    ValueError
        If shapes, labels or signal do not fit.
    """
    values = np.asarray(scores, dtype=np.float64)
    truth = np.asarray(label)
    _check(values, truth, classes, part)
    truth = truth.astype(np.int64)
    values = np.clip(values, 0.0, 1.0)
    signal_score = discriminant(values, classes, signal)
    is_signal = truth == list(classes).index(signal)
    predicted = values.argmax(axis=1)
    rng = np.random.default_rng(seed)
    curve, error = roc_curve(signal_score, is_signal), auc_error(signal_score, is_signal)
    points = working_points(curve, signal_efficiencies, rng=rng)
    rejection = rejection_curve(curve, rng=rng)
    against_rest = Separation(
        name=separation_name(classes, signal, None),
        signal=signal,
        background=None,
        auc=curve.area,
        auc_error=error,
        working_points=points,
        curve=rejection.thinned(PAIR_STEPS),
    )
    right = int((predicted == truth).sum())
    return Evaluation(
        part=part,
        classes=tuple(classes),
        signal=signal,
        counts=tuple(np.bincount(truth, minlength=len(classes)).tolist()),
        accuracy=right / len(truth),
        accuracy_error=binomial_error(right, len(truth)),
        auc=curve.area,
        auc_error=error,
        working_points=points,
        roc=curve.thinned(),
        rejection=rejection,
        confusion=confusion_matrix(truth, predicted, len(classes)),
        histograms=score_histograms(values, truth),
        threshold_scan=threshold_scan(signal_score, is_signal),
        mistakes=_mistakes(images, truth, predicted, len(classes), half_width),
        separations=separations(values, truth, classes=classes, known=against_rest, rng=rng),
    )


def _check(scores: Float, label: npt.NDArray[np.integer], classes: Sequence[str], part: str) -> None:
    if scores.ndim != 2 or scores.shape[1] != len(classes) or len(classes) < 2:
        raise ValueError(
            f"scores have shape {scores.shape}, not (N, {len(classes)}), N jets of two classes or more"
        )
    if label.shape != scores.shape[:1] or not np.issubdtype(label.dtype, np.integer):
        raise ValueError(
            f"label is {label.dtype} of shape {label.shape}, not integers of shape {scores.shape[:1]}"
        )
    if label.size and (label.min() < 0 or label.max() >= len(classes)):
        raise ValueError(f"labels must lie between 0 and {len(classes) - 1}")
    # softmax in single precision may leave [0, 1] by a rounding
    wrong = ~((scores >= -1e-5) & (scores <= 1 + 1e-5)).all(axis=1)
    if wrong.any():
        index = int(np.argmax(wrong))
        raise JetexpError(
            f"Jet {index} of the {part} part has the scores {scores[index].tolist()}, which are no "
            "probabilities; the network has most likely diverged, and a lower learning rate may help."
        )
    for name, count in zip(classes, np.bincount(label, minlength=len(classes)), strict=True):
        if count < 2:
            raise JetexpError(
                f"The {part} part holds {count} jets of class {name!r}, and an evaluation needs at least two."
            )


def _mistakes(
    images: ImageSource | None,
    label: Integer,
    predicted: Integer,
    classes: int,
    half_width: float,
) -> Mistakes | None:
    if images is None:
        return None
    if len(images.shape) != 3 or images.shape[0] != len(label):
        raise ValueError(f"images have shape {images.shape}, not ({len(label)}, H, W)")
    return find_mistakes(images, label, predicted, classes, half_width)
