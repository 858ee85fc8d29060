"""The gate: who becomes champion."""

import json
from dataclasses import replace

import numpy as np
import pytest
from binormal import true_auc, true_background_efficiency
from scipy.optimize import brentq

from jetexp.evaluation.report import compare_paired
from jetexp.experiment import GateSettings
from jetexp.gate import Performance, decide

COUNTS = {"QCD": 5000, "W": 5000}


@pytest.fixture(scope="module")
def comparisons():
    """A clearly better candidate, an equal one and a worse one."""
    rng = np.random.default_rng(1)
    label = np.repeat([0, 1], 5000)
    good, bad = (label * distance + rng.normal(size=10_000) for distance in (2.5, 1.5))
    similar = good + 0.05 * rng.normal(size=10_000)
    return {
        "better": compare_paired(label, good, bad, signal_index=1),
        "equal": compare_paired(label, good, similar, signal_index=1),
        "worse": compare_paired(label, bad, good, signal_index=1),
    }


def decided(settings=None, **changes):
    given = {
        "per_class": COUNTS,
        "fingerprint": "a" * 64,
        "owned_fingerprint": "a" * 64,
        "performance": Performance(auc=0.9, auc_error=0.002, rejection=50.0),
        "comparison": None,
        **changes,
    }
    return decide(settings or GateSettings(), **given)


def test_the_first_model_becomes_champion_and_brings_its_test_sample():
    decision = decided(owned_fingerprint=None)
    assert decision.promoted
    assert decision.adopt_test_sample


@pytest.mark.parametrize(("kind", "outcome"), [("better", "promoted"), ("equal", "kept"), ("worse", "kept")])
def test_only_a_better_model_replaces_the_champion(comparisons, kind, outcome):
    decision = decided(comparison=comparisons[kind])
    assert decision.outcome == outcome
    assert not decision.adopt_test_sample
    assert f"{comparisons[kind].ratio:.3f} times the champion's" in decision.reason


def test_what_learned_nothing_is_refused_though_there_is_no_champion_and_no_floor():
    chance = Performance(auc=0.509, auc_error=0.005, rejection=2.1)
    decision = decided(performance=chance)
    assert (decision.outcome, decision.reason) == (
        "refused",
        "It learned nothing: its AUC of 0.5090 ± 0.0050 is no better than guessing.",
    )
    assert not decision.adopt_test_sample
    assert decided(performance=replace(chance, auc=0.511)).promoted


def test_other_test_jets_are_refused_however_good(comparisons):
    decision = decided(fingerprint="b" * 64, comparison=comparisons["better"])
    assert decision.outcome == "refused"
    assert "--new-test-sample" in decision.reason
    assert not decision.adopt_test_sample


@pytest.mark.parametrize("comparison", [None, "better"])
def test_too_few_jets_of_one_class_are_refused(comparisons, comparison):
    decision = decided(
        per_class={"QCD": 5000, "W": 999}, owned_fingerprint=None, comparison=comparisons.get(comparison)
    )
    assert decision.outcome == "refused"
    assert "999 test jets of class W, fewer than 1000" in decision.reason
    assert not decision.adopt_test_sample
    assert decided(per_class={"QCD": 1000, "W": 1000}).promoted


def test_a_new_test_sample_lifts_both_bars_but_not_the_comparison(comparisons):
    new = {"fingerprint": "b" * 64, "per_class": {"QCD": 10, "W": 10}, "new_test_sample": True}
    better, worse = (decided(comparison=comparisons[kind], **new) for kind in ("better", "worse"))
    assert better.promoted
    assert not worse.promoted
    assert better.adopt_test_sample
    assert worse.adopt_test_sample


def test_a_decision_goes_to_json(comparisons):
    content = json.loads(json.dumps(decided(comparison=comparisons["better"]).to_dict(), allow_nan=False))
    assert content["outcome"] == "promoted"
    assert content["comparison"]["p_value"] < 0.05
    assert content["settings"]["minimum_per_class"] == 1000
    assert content["smallest_gain"] > 0
    assert (content["auc"], content["rejection"]) == (0.9, 50.0)


@pytest.mark.parametrize(
    ("floors", "told"),
    [
        ({"minimum_auc": 0.91}, "AUC is 0.9000, below the floor of 0.91"),
        ({"minimum_rejection": 60}, "at 50 % signal efficiency is 50.0, below the floor of 60"),
    ],
)
def test_a_floor_refuses_with_and_without_a_champion(comparisons, floors, told):
    for comparison in (None, comparisons["better"]):
        decision = decided(GateSettings(**floors), comparison=comparison)
        assert decision.outcome == "refused"
        assert told in decision.reason
        # the user's word lifts the bar of other test jets, not that of a floor
        assert not decided(GateSettings(**floors), comparison=comparison, new_test_sample=True).promoted
    assert decided(GateSettings(minimum_auc=0.9, minimum_rejection=50)).promoted


def test_the_metric_may_be_the_auc(comparisons):
    settings = GateSettings(metric="auc")
    better, worse = (decided(settings, comparison=comparisons[kind]) for kind in ("better", "worse"))
    assert (better.outcome, worse.outcome) == ("promoted", "kept")
    difference = comparisons["better"].auc_difference
    assert f"AUC differs from the champion's by {difference:+.4f}" in better.reason
    asked = difference - comparisons["better"].auc_difference_error
    assert (
        decided(GateSettings(metric="auc", minimum_gain=asked), comparison=comparisons["better"]).outcome
        == "kept"
    )


def test_the_least_gain_has_to_be_exceeded_with_confidence():
    rng = np.random.default_rng(3)
    label = np.repeat([0, 1], 5000)
    good, bad = (label * distance + rng.normal(size=10_000) for distance in (2.5, 1.5))
    outcomes = {}
    for gain in (0.0, 1.0, 10.0):
        found = compare_paired(label, good, bad, signal_index=1, minimum_gain=gain)
        outcomes[gain] = decided(GateSettings(minimum_gain=gain), comparison=found)
    assert [one.outcome for one in outcomes.values()] == ["promoted", "promoted", "kept"]
    assert "not better by more than 1000 %" in outcomes[10.0].reason


@pytest.mark.parametrize("metric", ["rejection", "auc"])
def test_a_gain_as_large_as_the_smallest_that_can_be_seen_is_seen_in_four_of_five_tries(metric):
    gate = GateSettings(metric=metric)
    rng = np.random.default_rng(4)
    jets, separation = 3000, 1.5
    label = np.repeat([0, 1], jets)

    def tried(better):
        """Compare a tagger with one that sees half of the same."""
        shared = rng.normal(size=2 * jets)
        a, b = (
            at * label + np.sqrt(0.5) * (shared + rng.normal(size=2 * jets)) for at in (better, separation)
        )
        return decided(gate, comparison=compare_paired(label, a, b, signal_index=1, replicas=300))

    smallest = np.mean([tried(separation).smallest_gain for _ in range(10)])

    def gain(better):
        if metric == "auc":
            return true_auc(better) - true_auc(separation)
        worse, less = (true_background_efficiency(one, 0.5) for one in (separation, better))
        return worse / less - 1

    enough = brentq(lambda better: gain(better) - smallest, separation, separation + 2)
    tries = [tried(enough) for _ in range(100)]
    # the error of a fraction of 100 is 0.04
    assert np.mean([one.promoted for one in tries]) == pytest.approx(0.8, abs=0.13)
    kept = next(one for one in tries if not one.promoted)
    assert (
        f"{kept.smallest_gain:.4f} in AUC" in kept.reason
        or f"is {100 * kept.smallest_gain:.0f} %" in kept.reason
    )


def test_a_tagger_that_no_background_passes_is_not_below_one_that_some_passes():
    is_signal = np.repeat([False, True], 1000)
    perfect = is_signal + np.linspace(0, 0.5, 2000)
    numbers = []
    for passing in (0, 1, 2):
        values = perfect.copy()
        values[:passing] = 2
        numbers.append(Performance.measured(values, is_signal, 0.5).rejection)
    assert numbers == [1000, 1000, 500]
