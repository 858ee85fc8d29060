"""Figures of many classes."""

from __future__ import annotations

from functools import cache

import matplotlib as mpl
import numpy as np
import pytest
from binormal import probabilities

from jetexp.evaluation.report import Measurement, SeedMeasurement, confusion_fractions, evaluate, summarise
from jetexp.plots.gallery import figures_of_parent, figures_of_run
from jetexp.plots.matrix import in_lines

CLASSES = {3: ("QCD", "W", "top"), 10: tuple(f"class {letter}" for letter in "abcdefghij")}
OF_PAIRS = {"pair_auc", "pair_rejection", "pair_rejection_curves", "against_rest"}


@cache
def evaluation(number, seed=0, images=False):
    scores, label = probabilities(60, 1.0, seed, number)
    pixels = np.random.default_rng(seed).exponential(size=(len(label), 8, 8)) if images else None
    classes = CLASSES[number]
    return evaluate(scores, label, classes=classes, signal=classes[1], part="test", images=pixels)


@cache
def of_parent(number):
    """Draw what all tests of so many classes look at, once."""
    found = [evaluation(number, seed, images=not seed) for seed in range(2)]
    return found, summarise(found), figures_of_parent(summarise(found), found)


def texts(figure):
    return [text.get_text() for text in figure.findobj(mpl.text.Text)]


def drawn(figure):
    figure.set_dpi(60)
    figure.canvas.draw()
    return figure


def overlapping(found):
    boxes = [one.get_window_extent().shrunk(0.98, 0.98) for one in found if one.get_text().strip()]
    return any(one.overlaps(other) for index, one in enumerate(boxes) for other in boxes[index + 1 :])


def test_two_classes_have_no_figures_of_pairs():
    scores, label = probabilities(60, 1.0, 0, 2)
    found = evaluate(scores, label, classes=("QCD", "W"), signal="W", part="test")
    assert not OF_PAIRS & set(figures_of_parent(summarise([found, found]), [found, found]))
    assert set(figures_of_run(found)) == {"roc", "rejection", "scores"}


@pytest.mark.parametrize("number", [3, 10])
@pytest.mark.parametrize("name", ["pair_auc", "pair_rejection", "confusion"])
def test_matrices_hold_every_number_and_no_two_lie_over_one_another(number, name):
    found, summary, figures = of_parent(number)
    figure = drawn(figures[name])
    axes = figure.axes[0]
    # numbers in cells, of which those on the diagonal of pairs are empty
    assert len(axes.texts) == number**2
    assert not overlapping(axes.texts)
    assert not overlapping(axes.get_yticklabels())
    if name == "confusion":
        fractions, errors = confusion_fractions(found[0].confusion)
        for text, fraction, error, count in zip(
            axes.texts, fractions.flat, errors.flat, found[0].confusion.flat, strict=True
        ):
            assert text.get_text() == f"{100 * fraction:.1f}\n± {100 * error:.1f} %\n{count}"
    else:
        measured = name.replace("pair_", "").replace("rejection", "rejection_50")
        expected = {in_lines(one.measurements[measured]) for one in summary.separations}
        assert {text.get_text() for text in axes.texts} == expected
        assert [text.get_text() for text in axes.get_xticklabels()] == [*CLASSES[number], "all others"]


@pytest.mark.parametrize("number", [3, 10])
def test_curves_have_a_panel_a_signal_and_a_colour_a_background(number):
    _, _, figures = of_parent(number)
    figure = drawn(figures["pair_rejection_curves"])
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert len(panels) == number
    colours = {line.get_color() for axes in panels for line in axes.get_lines()}
    assert len(colours) == number + 1
    for axes in panels:
        # one a background, and that of chance
        assert len(axes.get_lines()) == number
    assert {f"background: {name}" for name in CLASSES[number]} <= set(texts(figure))
    against = drawn(figures["against_rest"])
    assert len([text for text in texts(against) if ": AUC 0." in text]) == number


def test_a_run_has_its_own_errors_and_the_band_of_one_evaluation():
    found = evaluation(3)
    figures = figures_of_run(found)
    assert {"pair_auc", "pair_rejection"} <= set(figures)
    assert any("± statistical error" in text and "seeds" not in text for text in texts(figures["pair_auc"]))
    alone = figures_of_parent(summarise([found]), [found])
    assert any("68 % interval" in text for text in texts(alone["against_rest"]))


def test_ten_classes_show_the_mistakes_made_most_often():
    [found, _], _, figures = of_parent(10)
    assert len(found.mistakes.kinds) == 12
    wrong = found.confusion[~np.eye(10, dtype=bool)]
    assert sorted(one.count for one in found.mistakes.kinds) == sorted(wrong)[-12:]
    for name in ("misidentified", "scores", "class_sums", "examples"):
        drawn(figures[name])
    assert len([text for text in texts(figures["misidentified"]) if "taken for" in text]) == 12
    assert "class b against all others, test: 600 jets" in texts(figures["scores"])


def test_numbers_in_cells_stay_narrow():
    assert in_lines(Measurement(0.99999978, 0.00000027)) == "1.00000\n± < 1e-05"
    assert in_lines(SeedMeasurement(164.2, 9.3, 13.1, (1.0, 2.0), False)) == "164\n± 13\n(9)"
    assert in_lines(SeedMeasurement(1002.0, 3.0, None, (1.0, 2.0), True)) == "> 1002"
