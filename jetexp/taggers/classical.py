"""Classical reference taggers: a mass window, logistic regression, boosted decision trees.

What a network on images must beat. All are fitted in seconds, and alike for equal seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from jetexp.errors import JetexpError
from jetexp.taggers.classical_settings import (
    BoostedTreesSettings,
    ClassicalSettings,
    LogisticRegressionSettings,
    MassWindowSettings,
)

__all__ = ["ClassicalTagger", "MassWindow", "fit_classical", "importance"]

Features = npt.NDArray[np.float32]
Label = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]

# the signal fraction in the narrowest window that is still found by its width alone: a few jets can
# lie close together anywhere
CORE = 0.1
# steps in signal fraction by which the window grows
STEP = 0.01
# how often each observable is shuffled
REPEATS = 5


class ClassicalTagger(Protocol):
    """A fitted tagger."""

    def scores(self, features: Features) -> Features:
        """Give class probabilities.

        Parameters
        ----------
        features : ndarray of float32, shape (N, K)
            Of the kind that the tagger was fitted to.

        Returns
        -------
        ndarray of float32, shape (N, classes)
            Not negative, with sum 1.
        """


def fit_classical(
    settings: ClassicalSettings,
    train: Features,
    train_label: Label,
    validation: Features,
    validation_label: Label,
    *,
    classes: int,
    signal: int,
    seed: int,
) -> ClassicalTagger:
    """Fit a classical tagger.

    Parameters
    ----------
    settings : MassWindowSettings, LogisticRegressionSettings or BoostedTreesSettings
        Which tagger.
    train, validation : ndarray of float32, shape (N, K)
        The settings' observables in their order, or flattened images for logistic regression.
        Validation jets decide when boosting stops; the others do not look at them.
    train_label, validation_label : ndarray of int64, shape (N,)
        In [0, classes).
    classes : int
        Number of classes.
    signal : int
        The class that is signal; it matters to the mass window alone.
    seed : int
        Of what is random.

    Returns
    -------
    ClassicalTagger
        Fitted.

    Raises
    ------
    JetexpError
        If a class has no training jets, or a mass window is asked to tell more than two classes apart.
    """
    missing = np.flatnonzero(np.bincount(train_label, minlength=classes) == 0)
    if len(missing):
        raise JetexpError(f"No tagger can be fitted: there are no training jets of class {missing[0]}.")
    if isinstance(settings, MassWindowSettings):
        if classes != 2:
            raise JetexpError(f"A mass window tells two classes apart, and there are {classes}.")
        return _mass_window(train, train_label, signal)
    if isinstance(settings, LogisticRegressionSettings):
        return _logistic_regression(settings, train, train_label)
    return _boosted_trees(settings, train, train_label, validation, validation_label, seed)


@dataclass(frozen=True, eq=False)
class MassWindow:
    """Windows on one observable, each within the next.

    A jet's score is 1 minus the smallest fraction of the (training) signal whose window holds the
    jet. So the jets that score 1 - f or more are those in the window of signal efficiency f.

    Attributes
    ----------
    low, high : ndarray of float64, shape (W,)
        Edges of the windows, the narrowest first.
    fraction : ndarray of float64, shape (W,)
        Fraction of the training signal in each window; the last holds all.
    signal : int
        Index of the signal class, 0 or 1.
    """

    low: Float
    high: Float
    fraction: Float
    signal: int

    def scores(self, features: Features) -> Features:
        """Give class probabilities, shape (N, 2), of the values of the observable, shape (N, 1)."""
        if features.shape[1:] != (1,):
            raise ValueError(f"a mass window looks at one observable, not at features {features.shape}")
        value = features[:, 0].astype(np.float64)
        # between two steps the edges move evenly; what lies on an edge where the windows stood still is
        # in the first of them, that is just inside
        below = np.interp(np.nextafter(-value, -np.inf), -self.low, self.fraction)
        above = np.interp(np.nextafter(value, -np.inf), self.high, self.fraction)
        score = 1 - np.maximum(below, above)
        columns = (1 - score, score) if self.signal == 1 else (score, 1 - score)
        return np.stack(columns, axis=1).astype(np.float32)


def _mass_window(train: Features, label: Label, signal: int) -> MassWindow:
    """Find the narrowest windows: first the core, then each the narrowest that holds the one before."""
    if train.shape[1:] != (1,):
        raise ValueError(f"a mass window looks at one observable, not at features {train.shape}")
    value = np.sort(train[label == signal, 0].astype(np.float64))
    number = len(value)
    sizes = np.unique(np.rint(number * np.linspace(STEP, 1, round(1 / STEP))).astype(int).clip(1))
    core = int(sizes[sizes >= CORE * number][0])
    start = _narrowest(value, core, 0, number - core)
    # within the core the density is level, and the middle as good as any other place
    windows = [(start + (core - size) // 2, size) for size in sizes[sizes < core]] + [(start, core)]
    for size in sizes[sizes > core]:
        start, previous = windows[-1]
        start = _narrowest(value, size, max(0, start + previous - size), min(start, number - size))
        windows.append((start, size))
    starts, lengths = np.array(windows).T
    low, high = value[starts], value[starts + lengths - 1]
    return MassWindow(low, high, _held(value, low, high) / number, signal)


def _narrowest(value: Float, size: int, earliest: int, latest: int) -> int:
    """Find where the narrowest run of sorted values begins; of equally narrow ones, the fullest."""
    starts = np.arange(earliest, latest + 1)
    low, high = value[starts], value[starts + size - 1]
    return int(starts[np.lexsort((-_held(value, low, high), high - low))[0]])


def _held(value: Float, low: Float, high: Float) -> npt.NDArray[np.int64]:
    """Count the sorted values in each window: equal ones come in together, more than were asked for."""
    return np.searchsorted(value, high, side="right") - np.searchsorted(value, low, side="left")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep scikit-learn to one thread, which for so few jets costs little.

    Its threads wait for each other by spinning: beside other work on the same cores they took ten times
    as long as one. And sums over jets do not depend on the number of cores.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1):
        yield


@dataclass(frozen=True, eq=False)
class _Fitted:
    """A classifier of scikit-learn's, on features brought to the scale it was fitted on."""

    classifier: Any
    mean: Features | float = 0.0
    spread: Features | float = 1.0

    def scores(self, features: Features) -> Features:
        """Give class probabilities."""
        with _one_thread():
            probabilities = self.classifier.predict_proba((features - self.mean) / self.spread)
        return np.asarray(probabilities, dtype=np.float32)


def _logistic_regression(settings: LogisticRegressionSettings, train: Features, label: Label) -> _Fitted:
    # scikit-learn takes a second to import
    from sklearn.linear_model import LogisticRegression

    # sums of float32 over many jets lose digits
    mean, spread = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
    # a pixel that no training jet hits tells nothing
    spread = np.where(spread > 0, spread, np.inf)
    scale = mean.astype(np.float32), spread.astype(np.float32)
    classifier = LogisticRegression(C=1 / settings.regularisation, max_iter=1000)
    standardised = train - scale[0]
    standardised /= scale[1]
    with _one_thread():
        classifier.fit(standardised, label)
    return _Fitted(classifier, *scale)


def _boosted_trees(
    settings: BoostedTreesSettings,
    train: Features,
    train_label: Label,
    validation: Features,
    validation_label: Label,
    seed: int,
) -> _Fitted:
    from sklearn.ensemble import HistGradientBoostingClassifier

    classifier = HistGradientBoostingClassifier(
        learning_rate=settings.learning_rate,
        max_iter=settings.iterations,
        max_features=settings.observables_per_split,
        max_leaf_nodes=settings.leaves,
        min_samples_leaf=settings.jets_per_leaf,
        l2_regularization=settings.regularisation,
        early_stopping=True,
        n_iter_no_change=settings.patience,
        random_state=seed,
    )
    with _one_thread():
        classifier.fit(train, train_label, X_val=validation, y_val=validation_label)
    return _Fitted(classifier)


def importance(
    tagger: ClassicalTagger,
    features: Features,
    label: Label,
    names: Sequence[str],
    *,
    signal: int,
    seed: int,
) -> dict[str, tuple[float, float]]:
    """Measure what each feature is worth: how far AUC drops when it is shuffled among the jets.

    Permutation importance (Breiman, Machine Learning 45 (2001) 5). What two features both tell is
    credited to neither, since each can stand in for the other.

    Parameters
    ----------
    tagger : ClassicalTagger
        Fitted.
    features : ndarray of float32, shape (N, K)
        Jets it was not fitted to.
    label : ndarray of int64, shape (N,)
        Their classes.
    names : sequence of str
        Names of the K features.
    signal : int
        The class that is signal; all others are background.
    seed : int
        Of the shuffling.

    Returns
    -------
    dict of str to tuple of float
        Mean drop in AUC, and its standard deviation over the repeats.

    Raises
    ------
    JetexpError
        If the jets are all signal or all background.
    """
    from sklearn.metrics import roc_auc_score

    is_signal = label == signal
    if len(np.unique(is_signal)) < 2:
        raise JetexpError("Importance cannot be measured: the jets are all signal or all background.")

    def auc(values: Features) -> float:
        return float(roc_auc_score(is_signal, tagger.scores(values)[:, signal]))

    random, whole = np.random.default_rng(seed), auc(features)
    worth = {}
    for name, column in zip(names, range(features.shape[1]), strict=True):
        shuffled, drops = features.copy(), []
        for _ in range(REPEATS):
            shuffled[:, column] = random.permutation(features[:, column])
            drops.append(whole - auc(shuffled))
        worth[name] = float(np.mean(drops)), float(np.std(drops, ddof=1))
    return worth
