"""The decision to promote a model, as a pure function of scores and thresholds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from jetexp.evaluation.record import Float
from jetexp.evaluation.report import PairedComparison
from jetexp.evaluation.roc import roc_curve
from jetexp.evaluation.uncertainty import auc_error, is_chance
from jetexp.experiment import GateSettings

__all__ = ["Decision", "Performance", "decide"]

# how often a gain that "could have been seen" is seen
POWER = 0.8


@dataclass(frozen=True)
class Performance:
    """What floors are held against.

    Attributes
    ----------
    auc : float
        Area under the ROC curve.
    auc_error : float
        Its standard deviation.
    rejection : float
        Background rejection at the gate's signal efficiency; where no background jet passes, their number,
        which no worse tagger exceeds.
    """

    auc: float
    auc_error: float
    rejection: float

    @classmethod
    def measured(
        cls, discriminant: Float, is_signal: npt.NDArray[np.bool_], signal_efficiency: float
    ) -> Performance:
        """Measure it on test jets.

        Parameters
        ----------
        discriminant : ndarray of float64, shape (N,)
            High for signal.
        is_signal : ndarray of bool, shape (N,)
            Which jets are signal; at least two of each kind.
        signal_efficiency : float
            The gate's.

        Returns
        -------
        Performance
            Of the tagger.
        """
        curve = roc_curve(discriminant, is_signal)
        passing = curve.n_background * float(curve.background_efficiency_at(signal_efficiency))
        return cls(curve.area, auc_error(discriminant, is_signal), curve.n_background / max(1.0, passing))


@dataclass(frozen=True, eq=False)
class Decision:
    """What becomes of a candidate, and why.

    Attributes
    ----------
    outcome : {"promoted", "kept", "refused"}
        The candidate becomes champion; the champion stays, as the candidate is not better; or the
        candidate cannot become champion, whatever the champion is.
    reason : str
        One sentence.
    adopt_test_sample : bool
        Whether the registered model takes these test jets as its own from now on.
    per_class : dict
        Number of test jets of each class.
    performance : Performance
        The candidate's own numbers.
    comparison : PairedComparison or None
        Candidate (a) against champion (b) on the same jets; None where there is no champion.
    smallest_gain : float or None
        The smallest true gain that these jets would show in four of five tries: for "rejection" a part of the
        champion's, for "auc" a difference. None where there is no champion.
    settings : GateSettings
        The thresholds.
    """

    outcome: Literal["promoted", "kept", "refused"]
    reason: str
    adopt_test_sample: bool
    per_class: Mapping[str, int]
    performance: Performance
    comparison: PairedComparison | None
    smallest_gain: float | None
    settings: GateSettings

    @property
    def promoted(self) -> bool:
        """Whether the candidate becomes the champion."""
        return self.outcome == "promoted"

    def to_dict(self) -> dict[str, Any]:
        """Return the decision in a form that JSON can hold.

        Returns
        -------
        dict
            Outcome, reason, numbers and thresholds.
        """
        return {
            "outcome": self.outcome,
            "reason": self.reason,
            "adopt_test_sample": self.adopt_test_sample,
            "per_class": dict(self.per_class),
            "auc": self.performance.auc,
            "auc_error": self.performance.auc_error,
            "rejection": self.performance.rejection,
            "comparison": None if self.comparison is None else self.comparison.to_dict(),
            "smallest_gain": self.smallest_gain,
            "settings": self.settings.model_dump(),
        }


def decide(
    settings: GateSettings,
    *,
    per_class: Mapping[str, int],
    fingerprint: str,
    owned_fingerprint: str | None,
    performance: Performance,
    comparison: PairedComparison | None,
    new_test_sample: bool = False,
) -> Decision:
    """Decide what becomes of a candidate.

    It is refused if it was judged on other test jets than the registered model owns, or on too few, unless
    the user asked for a new test sample, if it learned nothing, and if it lies below a floor. Else it is
    promoted if there is no champion, or if it beats the champion's metric by the least gain in the paired
    comparison.

    Parameters
    ----------
    settings : GateSettings
        The thresholds.
    per_class : mapping
        Number of test jets of each class.
    fingerprint : str
        Of the test jets that the candidate, and the champion, were scored on.
    owned_fingerprint : str or None
        Of the registered model's own test jets; None if it owns none yet.
    performance : Performance
        The candidate's own numbers on these jets.
    comparison : PairedComparison or None
        Candidate (a) against champion (b), made with the settings' signal efficiency, confidence and, where
        rejection is the metric, least gain; None where there is no champion.
    new_test_sample : bool
        The user's word that these test jets are the registered model's own from now on.

    Returns
    -------
    Decision
        Outcome, reason and numbers.

    Examples
    --------
    >>> decide(
    ...     GateSettings(minimum_auc=0.9),
    ...     per_class={"QCD": 10_000, "W": 10_000},
    ...     fingerprint="a",
    ...     owned_fingerprint=None,
    ...     performance=Performance(auc=0.89, auc_error=0.002, rejection=40.0),
    ...     comparison=None,
    ... ).reason
    'Its AUC is 0.8900, below the floor of 0.9.'
    """
    refusal = None
    if not new_test_sample:
        refusal = _not_comparable(settings, per_class, fingerprint, owned_fingerprint)
    refusal = refusal or _below_floor(settings, performance)
    outcome: Literal["promoted", "kept", "refused"]
    if refusal is not None:
        outcome, reason = "refused", refusal
    elif comparison is None:
        outcome, reason = "promoted", "There was no champion."
    else:
        better, reason = _judged(settings, comparison)
        outcome = "promoted" if better else "kept"
    return Decision(
        outcome=outcome,
        reason=reason,
        adopt_test_sample=new_test_sample or (outcome == "promoted" and owned_fingerprint is None),
        per_class=dict(per_class),
        performance=performance,
        comparison=comparison,
        smallest_gain=None if comparison is None else _smallest_gain(settings, comparison),
        settings=settings,
    )


def _not_comparable(
    settings: GateSettings, per_class: Mapping[str, int], fingerprint: str, owned: str | None
) -> str | None:
    """Say why a candidate cannot become champion however good it is, if so."""
    if owned is not None and owned != fingerprint:
        return (
            f"It was judged on test jets {fingerprint[:12]}, not on those of the registered model, "
            f"{owned[:12]}; --new-test-sample would make them its own."
        )
    name, count = min(per_class.items(), key=lambda item: item[1])
    if count < settings.minimum_per_class:
        return f"It was judged on {count} test jets of class {name}, fewer than {settings.minimum_per_class}."
    return None


def _below_floor(settings: GateSettings, performance: Performance) -> str | None:
    auc, error = performance.auc, performance.auc_error
    if is_chance(auc, error):
        return f"It learned nothing: its AUC of {auc:.4f} ± {error:.4f} is no better than guessing."
    if settings.minimum_auc is not None and performance.auc < settings.minimum_auc:
        return f"Its AUC is {performance.auc:.4f}, below the floor of {settings.minimum_auc:g}."
    if settings.minimum_rejection is not None and performance.rejection < settings.minimum_rejection:
        return (
            f"Its background rejection at {_percent(settings.signal_efficiency)} signal efficiency is "
            f"{performance.rejection:.1f}, below the floor of {settings.minimum_rejection:g}."
        )
    return None


def _judged(settings: GateSettings, comparison: PairedComparison) -> tuple[bool, str]:
    """Say whether the candidate wins, and by how much."""
    confidence, gain = _percent(settings.confidence), settings.minimum_gain
    if settings.metric == "auc":
        p_value = comparison.auc_p_value(gain)
        better, asked = p_value < 1 - settings.confidence, f"{gain:g}"
        numbers = (
            f"AUC differs from the champion's by {comparison.auc_difference:+.4f} ± "
            f"{comparison.auc_difference_error:.4f} (one-sided p = {p_value:.2g})"
        )
    else:
        low, high = comparison.ratio_interval
        better, asked = comparison.a_is_better, _percent(gain)
        numbers = (
            f"background rejection at {_percent(settings.signal_efficiency)} signal efficiency is "
            f"{comparison.ratio:.3f} times the champion's ({confidence} interval {low:.3f} to {high:.3f}, "
            f"one-sided p = {comparison.p_value:.2g})"
        )
    by = f" by more than {asked}" if gain else ""
    if better:
        return True, f"Its {numbers}: better{by} at {confidence} confidence."
    return False, (
        f"Its {numbers}: not better{by} at {confidence} confidence; the smallest gain that these jets "
        f"would show in four of five tries is {_gain(settings, _smallest_gain(settings, comparison))}."
    )


def _smallest_gain(settings: GateSettings, comparison: PairedComparison) -> float:
    """Give the true gain that is told from the least gain with the power above."""
    deviations = float(ndtri(settings.confidence) + ndtri(POWER))
    if settings.metric == "auc":
        return settings.minimum_gain + deviations * comparison.auc_difference_error
    return math.expm1(math.log1p(settings.minimum_gain) + deviations * comparison.log_ratio_error)


def _gain(settings: GateSettings, gain: float) -> str:
    return f"{gain:.4f} in AUC" if settings.metric == "auc" else f"{100 * gain:.0f} %"


def _percent(part: float) -> str:
    return f"{100 * part:g} %"
