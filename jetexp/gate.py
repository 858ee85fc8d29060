"""The decision to promote a model, as a pure function of scores and thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jetexp.evaluation.report import PairedComparison
from jetexp.experiment import GateSettings

__all__ = ["Decision", "decide"]


@dataclass(frozen=True, eq=False)
class Decision:
    """What becomes of a candidate, and why.

    Attributes
    ----------
    outcome : {"champion", "challenger"}
        The alias that the candidate takes.
    reason : str
        One sentence.
    adopt_test_sample : bool
        Whether the registered model takes these test jets as its own from now on.
    per_class : dict
        Number of test jets of each class.
    comparison : PairedComparison or None
        Candidate (a) against champion (b) on the same jets; None where there is no champion.
    settings : GateSettings
        The thresholds.
    """

    outcome: Literal["champion", "challenger"]
    reason: str
    adopt_test_sample: bool
    per_class: Mapping[str, int]
    comparison: PairedComparison | None
    settings: GateSettings

    @property
    def promoted(self) -> bool:
        """Whether the candidate becomes the champion."""
        return self.outcome == "champion"

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
            "comparison": None if self.comparison is None else self.comparison.to_dict(),
            "settings": self.settings.model_dump(),
        }


def decide(
    settings: GateSettings,
    *,
    per_class: Mapping[str, int],
    fingerprint: str,
    owned_fingerprint: str | None,
    comparison: PairedComparison | None,
    new_test_sample: bool = False,
) -> Decision:
    """Decide what becomes of a candidate.

    It becomes challenger if it was judged on other test jets than the registered model owns, or
    on too few, unless the user asked for a new test sample; else champion if there is none, or if it
    beats the champion's background rejection in the paired comparison.

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
    comparison : PairedComparison or None
        Candidate (a) against champion (b); None where there is no champion.
    new_test_sample : bool
        The user's word that these test jets are the registered model's own from now on.

    Returns
    -------
    Decision
        Outcome, reason and numbers.

    Examples
    --------
    >>> counts = {"QCD": 10_000, "W": 10_000}
    >>> decide(
    ...     GateSettings(), per_class=counts, fingerprint="a", owned_fingerprint=None, comparison=None
    ... ).reason
    'There was no champion.'
    """
    outcome, reason = _judged(settings, comparison)
    if not new_test_sample:
        refusal = _not_comparable(settings, per_class, fingerprint, owned_fingerprint)
        if refusal is not None:
            outcome, reason = "challenger", refusal
    return Decision(
        outcome=outcome,
        reason=reason,
        adopt_test_sample=new_test_sample or (outcome == "champion" and owned_fingerprint is None),
        per_class=dict(per_class),
        comparison=comparison,
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


def _judged(
    settings: GateSettings, comparison: PairedComparison | None
) -> tuple[Literal["champion", "challenger"], str]:
    """Say whether the candidate wins, and by how much."""
    if comparison is None:
        return "champion", "There was no champion."
    low, high = comparison.ratio_interval
    percent = f"{100 * settings.confidence:g} %"
    numbers = (
        f"background rejection at {100 * settings.signal_efficiency:g} % signal efficiency is "
        f"{comparison.ratio:.3f} times the champion's ({percent} interval {low:.3f} to {high:.3f}, "
        f"one-sided p = {comparison.p_value:.2g})"
    )
    if comparison.a_is_better:
        return "champion", f"Its {numbers}: better at {percent} confidence."
    return "challenger", f"Its {numbers}: not better at {percent} confidence."
