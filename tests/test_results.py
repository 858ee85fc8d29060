from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from binormal import probabilities

from jetexp.evaluation.report import evaluate, summarise
from jetexp.fits import FinalFit
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


def test_a_band_is_the_spread_over_seeds_or_of_one_fit_its_statistical_error() -> None:
    scores, label = probabilities(2_000, 1.4, seed=1)
    evaluation = evaluate(scores, label, classes=("QCD", "W"), signal="W", part="test")
    fit = FinalFit("fit", "", None, "", None, evaluation, evaluation, scores)
    both = summarise([evaluation, evaluation])
    several = TaggerResult("cnn", "", (fit, fit), both, both, 1_000, "same")
    one = replace(several, tagger="ensemble", fits=(fit,))
    figure = figures_of_results([several, one])["taggers"]
    widths = [np.ptp(band.get_paths()[0].vertices[:, 1]) for band in figure.axes[1].collections]
    assert widths[0] == pytest.approx(0, abs=1e-9)
    assert widths[1] > 0.1
    assert "statistical" in figure.axes[0].get_legend().get_title().get_text()


@pytest.mark.parametrize("number", [4_500, 4_501, 8_999])
def test_variants_of_about_as_many_jets_make_none(number: int) -> None:
    # of a few jets more the exponent was in the thousands, and the figure could not be drawn
    results = [result("one shower", 4_500, 1.0), result("the other", number, 1.6)]
    assert power_laws(results) == {}
    assert set(figures_of_results(results)) == {"results"}
