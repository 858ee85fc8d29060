from __future__ import annotations

import pytest
from binormal import probabilities

from jetexp.evaluation.report import evaluate, summarise
from jetexp.results import TaggerResult, figures_of_results, power_laws


def result(variant: str, training_jets: int, separation: float) -> TaggerResult:
    """What a tagger of one seed reached on 2 000 test jets a class."""
    scores, label = probabilities(2_000, separation, seed=training_jets)
    summary = summarise([evaluate(scores, label, classes=("QCD", "W"), signal="W", part="test")])
    return TaggerResult("cnn", variant, (), summary, summary, training_jets, "same")


def test_more_training_jets_make_a_power_law() -> None:
    results = [result("few", 1_000, 1.0), result("more", 2_000, 1.4)]
    (law,) = power_laws(results).values()
    assert law.exponent > 0
    assert law.jets.tolist() == [1_000, 2_000]
    assert set(figures_of_results(results)) == {"results", "rejection_against_jets"}


@pytest.mark.parametrize("number", [4_500, 4_501, 8_999])
def test_variants_of_about_as_many_jets_make_none(number: int) -> None:
    # of a few jets more the exponent was in the thousands, and the figure could not be drawn
    results = [result("one shower", 4_500, 1.0), result("the other", number, 1.6)]
    assert power_laws(results) == {}
    assert set(figures_of_results(results)) == {"results"}
