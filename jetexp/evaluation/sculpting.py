"""What one cut on the discriminant does along jet pT, and to the mass spectrum of the background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import jensenshannon
from scipy.special import betaincinv

from jetexp.evaluation.record import Float, Integer, Record
from jetexp.evaluation.roc import roc_curve
from jetexp.evaluation.uncertainty import STANDARD_INTERVAL, background_efficiency_limit, binomial_error

__all__ = ["MassSculpting", "PtBin", "RejectionAgainstPt", "mass_sculpting", "rejection_against_pt"]

Boolean = npt.NDArray[np.bool_]
MASS_BINS = 40


@dataclass(frozen=True, eq=False)
class PtBin(Record):
    """What passes the cut among the jets of one bin of pT.

    Attributes
    ----------
    low, high : float
        Edges in GeV.
    n_signal, n_background : int
        Number of jets.
    signal_efficiency : float or None
        Fraction of the bin's signal jets that pass; None where there is no signal jet.
    signal_efficiency_error : float or None
        Its binomial error.
    rejection : float
        One over the fraction of the bin's background jets that pass; where none passes, the lower
        limit at 95 % confidence, which is 1 where there is no background jet at all.
    interval : tuple of float or None
        Central interval of 68 % of the rejection (Jeffreys); None for a limit.
    is_limit : bool
        Whether no background jet passes, so that ``rejection`` is a lower limit.
    """

    low: float
    high: float
    n_signal: int
    n_background: int
    signal_efficiency: float | None
    signal_efficiency_error: float | None
    rejection: float
    interval: tuple[float, float] | None
    is_limit: bool


@dataclass(frozen=True, eq=False)
class RejectionAgainstPt(Record):
    """Signal efficiency and background rejection in bins of jet pT, at one cut for all.

    Attributes
    ----------
    signal_efficiency : float
        What the cut was asked to keep of the signal jets of all pT.
    threshold : float
        The cut.
    bins : tuple of PtBin
        With rising pT.
    """

    signal_efficiency: float
    threshold: float
    bins: tuple[PtBin, ...]


@dataclass(frozen=True, eq=False)
class MassSculpting(Record):
    """Mass spectrum of the background before and after the cut.

    Attributes
    ----------
    signal_efficiency : float
        What the cut keeps of the signal jets.
    threshold : float
        The cut.
    edges : ndarray of float64, shape (B + 1,)
        Bin edges in GeV.
    before, before_error : ndarray of float64, shape (B,)
        Fraction of the background jets a GeV, and its binomial error.
    after, after_error : ndarray of float64, shape (B,)
        The same of those that pass; zero where none does.
    n_before, n_after : int
        Number of background jets, and of those that pass.
    distance : float or None
        Jensen-Shannon distance of the two spectra; None where no jet passes.
    random_distance, random_distance_spread : float or None
        Its mean and standard deviation were as many jets chosen at random: what finite numbers of
        jets alone give.
    """

    signal_efficiency: float
    threshold: float
    edges: Float
    before: Float
    before_error: Float
    after: Float
    after_error: Float
    n_before: int
    n_after: int
    distance: float | None
    random_distance: float | None
    random_distance_spread: float | None


def rejection_against_pt(
    pt: npt.ArrayLike,
    discriminant: npt.ArrayLike,
    label: npt.ArrayLike,
    *,
    signal_index: int,
    signal_efficiency: float = 0.5,
    edges: npt.ArrayLike | None = None,
    bins: int = 8,
) -> RejectionAgainstPt:
    """Cut once for the jets of all pT, and see what passes in bins of pT.

    The cut is the tightest that keeps ``signal_efficiency`` of all signal jets. The errors are those of
    the jets of each bin; that of the cut itself, common to all bins and far smaller, is left out.

    Parameters
    ----------
    pt : array_like of float, shape (N,)
        Of the jets, in GeV.
    discriminant : array_like of float, shape (N,)
        High for signal.
    label : array_like of int, shape (N,)
        True classes.
    signal_index : int
        The label that is signal.
    signal_efficiency : float
        Fraction of the signal jets that pass, in (0, 1].
    edges : array_like of float, shape (B + 1,), optional
        Rising bin edges in GeV; jets outside count for the cut alone. Each bin holds its lower edge, the
        last both.
    bins : int
        Number of bins of equally many jets, where no edges are given.

    Returns
    -------
    RejectionAgainstPt
        One entry a bin.

    Raises
    ------
    ValueError
        If the arrays differ in shape or hold a number that is not finite, the edges do not rise, or
        signal or background is missing.

    Examples
    --------
    >>> found = rejection_against_pt(
    ...     [650, 650, 900, 900], [0.2, 0.9, 0.8, 0.7], [0, 1, 0, 1], signal_index=1, edges=[600, 800, 1000],
    ...     signal_efficiency=1)
    >>> [(one.rejection, one.is_limit) for one in found.bins]
    [(1.0526315789473684, True), (1.0, False)]
    """
    values, score, is_signal = _checked(pt, discriminant, label, signal_index, "pt")
    borders = _quantiles(values, bins) if edges is None else _rising(edges)
    if len(borders) < 2:
        raise ValueError("jets of one pt cannot be put into bins")
    threshold = _threshold(score, is_signal, signal_efficiency)
    passes = score >= threshold
    place = _cell(values, borders) - 1
    found = []
    for index in range(len(borders) - 1):
        inside = place == index
        found.append(
            _pt_bin(float(borders[index]), float(borders[index + 1]), passes[inside], is_signal[inside])
        )
    return RejectionAgainstPt(float(signal_efficiency), threshold, tuple(found))


def _quantiles(values: Float, bins: int) -> Float:
    found: Float = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)))
    return found


def _pt_bin(low: float, high: float, passes: Boolean, is_signal: Boolean) -> PtBin:
    n_signal, n_background = int(is_signal.sum()), int((~is_signal).sum())
    passing_signal = int((passes & is_signal).sum())
    passing = int((passes & ~is_signal).sum())
    if passing:
        rejection = n_background / passing
        efficiencies = betaincinv(passing + 0.5, n_background - passing + 0.5, STANDARD_INTERVAL)
    else:
        rejection = 1 / background_efficiency_limit(0, n_background)
    return PtBin(
        low=low,
        high=high,
        n_signal=n_signal,
        n_background=n_background,
        signal_efficiency=passing_signal / n_signal if n_signal else None,
        signal_efficiency_error=binomial_error(passing_signal, n_signal) if n_signal else None,
        rejection=rejection,
        # the interval of a fraction near one may leave the fraction out
        interval=(
            (min(rejection, float(1 / efficiencies[1])), max(rejection, float(1 / efficiencies[0])))
            if passing
            else None
        ),
        is_limit=not passing,
    )


def mass_sculpting(
    mass: npt.ArrayLike,
    discriminant: npt.ArrayLike,
    label: npt.ArrayLike,
    *,
    signal_index: int,
    signal_efficiency: float = 0.5,
    edges: npt.ArrayLike | None = None,
    replicas: int = 1000,
    seed: int = 0,
) -> MassSculpting:
    """Compare the background's mass spectrum before and after the cut.

    The distance is that of ``scipy.spatial.distance.jensenshannon`` with base 2: the *square root* of the
    Jensen-Shannon divergence (KL(p, m) + KL(q, m)) / 2 in bits, where m = (p + q) / 2 (Endres and
    Schindelin, IEEE Transactions on Information Theory 49 (2003) 1858). It is 0 for equal spectra and 1
    for spectra without a bin in common. Jets beyond the first and last edge count in it as two
    bins more. As it cannot be negative, chance alone makes it larger than 0, more so where few jets pass:
    compare it with ``random_distance``. ATL-PHYS-PUB-2018-014 judges taggers so too, by one over the
    divergence.

    Parameters
    ----------
    mass : array_like of float, shape (N,)
        Of the jets, in GeV.
    discriminant : array_like of float, shape (N,)
        High for signal.
    label : array_like of int, shape (N,)
        True classes.
    signal_index : int
        The label that is signal.
    signal_efficiency : float
        Fraction of the signal jets that pass, in (0, 1].
    edges : array_like of float, shape (B + 1,), optional
        Rising bin edges in GeV; otherwise 40 equal bins over all but the outermost 1 % of the
        background.
    replicas : int
        Number of random selections.
    seed : int
        Their seed.

    Returns
    -------
    MassSculpting
        Spectra and their distance.

    Raises
    ------
    ValueError
        If the arrays differ in shape or hold a number that is not finite, the edges do not rise, or
        signal or background is missing.
    """
    values, score, is_signal = _checked(mass, discriminant, label, signal_index, "mass")
    threshold = _threshold(score, is_signal, signal_efficiency)
    background = values[~is_signal]
    passing = background[score[~is_signal] >= threshold]
    borders = _mass_edges(background) if edges is None else _rising(edges)
    before, after = (_cell_counts(some, borders) for some in (background, passing))
    drawn = np.empty(0)
    if len(passing):
        chosen = np.random.default_rng(seed).multivariate_hypergeometric(
            before, len(passing), size=replicas, method="marginals"
        )
        drawn = _distance(np.broadcast_to(before, chosen.shape), chosen)
    return MassSculpting(
        signal_efficiency=float(signal_efficiency),
        threshold=threshold,
        edges=borders,
        before=_density(before, borders),
        before_error=_density_error(before, borders),
        after=_density(after, borders),
        after_error=_density_error(after, borders),
        n_before=len(background),
        n_after=len(passing),
        distance=float(_distance(before[None], after[None])[0]) if len(passing) else None,
        random_distance=float(drawn.mean()) if len(drawn) else None,
        random_distance_spread=float(drawn.std()) if len(drawn) else None,
    )


def _mass_edges(background: Float) -> Float:
    low, high = np.quantile(background, [0.005, 0.995])
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, MASS_BINS + 1)


def _distance(first: Integer, second: Integer) -> Float:
    """Return the Jensen-Shannon distance, row by row, of counts of shape (R, B)."""
    with np.errstate(invalid="ignore"):
        found = jensenshannon(first, second, base=2, axis=1)
    # a rounding below zero under the root
    result: Float = np.nan_to_num(found, nan=0.0)
    return result


def _cell(values: Float, edges: Float) -> Integer:
    """Return bins from 1 upwards; 0 and B + 1 are below and above all edges."""
    place: Integer = np.searchsorted(edges, values, side="right").astype(np.int64)
    place[values == edges[-1]] = len(edges) - 1
    return place


def _cell_counts(values: Float, edges: Float) -> Integer:
    return np.bincount(_cell(values, edges), minlength=len(edges) + 1).astype(np.int64)


def _density(counts: Integer, edges: Float) -> Float:
    return np.asarray(counts[1:-1] / (max(1, counts.sum()) * np.diff(edges)), dtype=np.float64)


def _density_error(counts: Integer, edges: Float) -> Float:
    total = int(counts.sum())
    if not total:
        return np.zeros(len(edges) - 1)
    return np.array([binomial_error(count, total) for count in counts[1:-1]]) / np.diff(edges)


def _threshold(score: Float, is_signal: Boolean, signal_efficiency: float) -> float:
    """Return the tightest cut that keeps this fraction of the signal, be there ties or not."""
    curve = roc_curve(score, is_signal)
    reached = int(np.searchsorted(curve.signal_efficiency, signal_efficiency - 1e-12))
    return float(curve.thresholds[max(1, reached)])


def _rising(edges: npt.ArrayLike) -> Float:
    borders = np.asarray(edges, dtype=np.float64)
    if borders.ndim != 1 or len(borders) < 2 or not (np.diff(borders) > 0).all():
        raise ValueError("bin edges must be two or more rising numbers")
    return borders


def _checked(
    values: npt.ArrayLike, discriminant: npt.ArrayLike, label: npt.ArrayLike, signal_index: int, name: str
) -> tuple[Float, Float, Boolean]:
    found, score = (np.asarray(some, dtype=np.float64) for some in (values, discriminant))
    is_signal = np.asarray(label) == signal_index
    if not found.shape == score.shape == is_signal.shape or found.ndim != 1:
        raise ValueError(
            f"{name}, discriminant and label differ in shape: {found.shape}, {score.shape}, {is_signal.shape}"
        )
    if not (np.isfinite(found).all() and np.isfinite(score).all()):
        raise ValueError(f"a {name} or a discriminant is not finite")
    return found, score, is_signal
