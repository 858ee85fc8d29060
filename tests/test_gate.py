"""The gate: who becomes champion."""

import json

import numpy as np
import pytest

from jetexp.evaluation.report import compare_paired
from jetexp.experiment import GateSettings
from jetexp.gate import decide

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


def decided(**changes):
    given = {
        "per_class": COUNTS,
        "fingerprint": "a" * 64,
        "owned_fingerprint": "a" * 64,
        "comparison": None,
        **changes,
    }
    return decide(GateSettings(), **given)


def test_the_first_model_becomes_champion_and_brings_its_test_sample():
    decision = decided(owned_fingerprint=None)
    assert decision.promoted
    assert decision.adopt_test_sample


@pytest.mark.parametrize(
    ("kind", "outcome"), [("better", "champion"), ("equal", "challenger"), ("worse", "challenger")]
)
def test_only_a_better_model_replaces_the_champion(comparisons, kind, outcome):
    decision = decided(comparison=comparisons[kind])
    assert decision.outcome == outcome
    assert not decision.adopt_test_sample
    assert f"{comparisons[kind].ratio:.3f} times the champion's" in decision.reason


def test_other_test_jets_make_a_challenger_however_good(comparisons):
    decision = decided(fingerprint="b" * 64, comparison=comparisons["better"])
    assert decision.outcome == "challenger"
    assert "--new-test-sample" in decision.reason
    assert not decision.adopt_test_sample


@pytest.mark.parametrize("comparison", [None, "better"])
def test_too_few_jets_of_one_class_make_a_challenger(comparisons, comparison):
    decision = decided(
        per_class={"QCD": 5000, "W": 999}, owned_fingerprint=None, comparison=comparisons.get(comparison)
    )
    assert decision.outcome == "challenger"
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
    assert content["outcome"] == "champion"
    assert content["comparison"]["p_value"] < 0.05
    assert content["settings"]["minimum_per_class"] == 1000
