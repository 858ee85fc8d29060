"""Figures of studies: sculpting, calibration, what is looked at, scaling, variants."""

import matplotlib as mpl
import numpy as np
import pytest
from binormal import binormal
from test_gallery import label_overlaps, rendered, texts

from jetexp.evaluation.calibration import reliability_curve
from jetexp.evaluation.power_law import fit_power_law
from jetexp.evaluation.report import SeedMeasurement
from jetexp.evaluation.sculpting import mass_sculpting, rejection_against_pt
from jetexp.plots.gallery import (
    correlation,
    figure_of_variants,
    mass_spectra,
    power_laws,
    reliability,
    saliency,
)
from jetexp.plots.gallery import (
    rejection_against_pt as rejection_against_pt_figure,
)


def toy_jets(jets=1500, seed=0):
    rng = np.random.default_rng(seed)
    values, signal = binormal(jets, 1.5, rng)
    return values, signal, rng.uniform(600, 1500, 2 * jets), rng.exponential(80, 2 * jets)


def containers(axes):
    return [one for one in axes.containers if isinstance(one, mpl.container.ErrorbarContainer)]


def seed_measurement(mean, spread=1.0, error=1.0, *, is_limit=False):
    values = (mean,) if spread is None else (mean - spread, mean, mean + spread)
    return SeedMeasurement(mean=mean, spread=spread, error=error, values=values, is_limit=is_limit)


def test_rejection_against_pt_draws_each_bin_of_each_tagger():
    values, signal, pt, _ = toy_jets(6000)
    results = {
        name: rejection_against_pt(pt, values + gain * signal, signal, signal_index=1, bins=4)
        for name, gain in (("first", 0.0), ("second", 0.4))
    }
    figure = rendered(rejection_against_pt_figure(results))
    for drawn, result in zip(containers(figure.axes[0]), results.values(), strict=True):
        np.testing.assert_allclose(drawn[0].get_ydata(orig=False), [one.rejection for one in result.bins])
        heights = [segment[:, 1] for segment in drawn[2][1].get_segments()]
        np.testing.assert_allclose(heights, [one.interval for one in result.bins])
        widths = [segment[:, 0] for segment in drawn[2][0].get_segments()]
        np.testing.assert_allclose(widths, [(one.low, one.high) for one in result.bins])
    for drawn, result in zip(containers(figure.axes[1]), results.values(), strict=True):
        np.testing.assert_allclose(
            drawn[0].get_ydata(orig=False), [one.signal_efficiency for one in result.bins]
        )
    assert {"first", "second"} <= set(texts(figure))
    assert figure.axes[1].get_xlabel() == r"jet $p_T$ [GeV]"
    assert not label_overlaps(figure)


def test_limits_against_pt_are_arrows_and_a_wide_range_is_logarithmic():
    values, signal, pt, _ = toy_jets(200)
    perfect = rejection_against_pt(pt, values + 10 * signal, signal, signal_index=1, bins=2)
    poor = rejection_against_pt(pt, values, signal, signal_index=1, bins=2)
    assert all(one.is_limit for one in perfect.bins)
    figure = rendered(rejection_against_pt_figure({"perfect": perfect, "poor": poor}))
    limits = containers(figure.axes[0])[0]
    assert any(line.get_marker() == mpl.lines.CARETUPBASE for line in limits[1])
    assert figure.axes[0].get_yscale() == "log"
    rendered(rejection_against_pt_figure({"perfect": perfect}))
    with pytest.raises(ValueError, match="no result"):
        rejection_against_pt_figure({})


def test_mass_spectra_carry_their_distances():
    values, signal, _, mass = toy_jets()
    edges = np.linspace(0, 300, 16)
    seeing = mass_sculpting(mass, values - mass / 50, signal, signal_index=1, edges=edges)
    none = mass_sculpting(mass, signal.astype(float), signal, signal_index=1, edges=edges)
    figure = rendered(mass_spectra({"tagger": seeing, "perfect": none}))
    (written,) = [text for text in texts(figure) if text.startswith("tagger")]
    assert f"JS distance {seeing.distance:.3f} (by chance {seeing.random_distance:.3f}" in written
    assert "perfect: no jet passes" in texts(figure)
    before, after, _ = [one for one in figure.axes[0].patches if isinstance(one, mpl.patches.StepPatch)]
    np.testing.assert_array_equal(before.get_data().values, seeing.before)
    np.testing.assert_array_equal(after.get_data().values, seeing.after)
    with pytest.raises(ValueError, match="no result"):
        mass_spectra({})
    other = mass_sculpting(mass, values, signal, signal_index=1)
    with pytest.raises(ValueError, match="different bins"):
        mass_spectra({"one": seeing, "other": other})


def test_reliability_draws_frequencies_and_their_differences():
    rng = np.random.default_rng(1)
    odds = rng.random(1000)
    label = (rng.random(1000) < odds**2).astype(int)
    curve = reliability_curve(np.stack([1 - odds, odds], axis=1), label, class_index=1, bins=8)
    figure = rendered(reliability({"before": curve}, predicted="probability of W"))
    (main,), (below,) = containers(figure.axes[0]), containers(figure.axes[1])
    np.testing.assert_array_equal(main[0].get_ydata(), curve.observed)
    np.testing.assert_array_equal(below[0].get_ydata(), curve.observed - curve.predicted)
    assert any(f": {curve.expected_error:.4f} ({curve.chance_error:.4f})" in text for text in texts(figure))
    legend = figure.axes[0].get_legend()
    assert legend.get_title().get_text() == "calibration error (by chance)"
    assert legend.get_window_extent().x1 < figure.axes[0].get_window_extent().x1
    assert figure.axes[1].get_xlabel() == "probability of W"
    assert not label_overlaps(figure)
    with pytest.raises(ValueError, match="no curve"):
        reliability({})


@pytest.mark.parametrize("function", [correlation, saliency])
def test_pictures_have_eta_on_the_horizontal_axis(function):
    image = np.zeros((8, 8))
    image[7, 2] = 0.5  # large eta, small phi
    figure = rendered(function(image, 1.5, "title"))
    (drawn,) = figure.axes[0].get_images()
    assert drawn.get_array()[2, 7] == 0.5
    assert drawn.origin == "lower"
    assert drawn.get_extent() == [-1.5, 1.5, -1.5, 1.5]
    assert figure.axes[0].get_xlabel() == r"$\Delta\eta$, standardised"
    compressed = rendered(function(np.zeros((8, 8)), 1.0, compressed=True))
    assert compressed.axes[0].get_ylabel() == r"$\Delta\phi$, standardised and compressed"


def test_correlations_are_white_at_zero():
    figure = correlation(np.array([[-0.2, 0.1], [0.0, 0.05]]), 1.0)
    (drawn,) = figure.axes[0].get_images()
    assert drawn.get_clim() == (-0.2, 0.2)
    assert saliency(np.array([[0.0, 3.0]]), 1.0).axes[0].get_images()[0].get_clim() == (0, 3)


def test_power_laws_go_through_their_points_and_beyond():
    jets = np.array([1000.0, 4000.0, 16_000.0])
    rejection = np.array([10.0, 20.0, 40.0])
    law = fit_power_law(jets, rejection, [1, 2, 3], [1, 1, 1])
    figure = rendered(power_laws({"CNN": law, "two": fit_power_law(jets[:2], [9, 9], [1, 1])}, until=1e6))
    axes = figure.axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    total, statistical = containers(axes)[:2]
    np.testing.assert_array_equal(total[0].get_ydata(), rejection)
    heights = [segment[1][1] for segment in total[2][0].get_segments()]
    np.testing.assert_allclose(heights, rejection + law.error)
    assert statistical[2][0].get_segments()[0][1][1] == 11
    beyond = next(line for line in axes.get_lines() if line.get_linestyle() == "--")
    assert beyond.get_xdata()[[0, -1]] == pytest.approx([16_000, 1e6])
    assert beyond.get_ydata()[-1] == pytest.approx(law.at(1e6).rejection[0])
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert "/1" in labels[0]
    assert r"\chi" not in labels[1]
    # without more, the fit ends where its points do
    alone = power_laws({"CNN": law})
    assert not [line for line in alone.axes[0].get_lines() if line.get_linestyle() == "--"]
    with pytest.raises(ValueError, match="no power law"):
        power_laws({})


def test_points_that_follow_no_power_law_get_no_line():
    bent = fit_power_law([1e3, 1e4, 1e5, 1e6], [10, 100, 150, 200], [1, 5, 8, 10])
    straight = fit_power_law([1e3, 1e4, 1e5, 1e6], [10, 20, 40, 80], [1, 2, 4, 8])
    assert (bent.holds, straight.holds) == (False, True)
    figure = rendered(power_laws({"bent": bent, "straight": straight}, until=1e7))
    (axes,) = figure.axes
    assert len([line for line in axes.lines if len(line.get_xdata()) > 4]) == 2
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts[0].startswith("bent: no power law")
    assert texts[1].startswith(r"straight: $\propto n^b$, $b$ = 0.301")


def test_variants_stand_from_top_to_bottom_with_both_errors():
    rows = {
        "_base": seed_measurement(30.0, 2.0, 1.5),
        "one seed": seed_measurement(35.0, None, 1.0),
        "limit": seed_measurement(80.0, None, None, is_limit=True),
    }
    figure = rendered(figure_of_variants(rows, "title", reference=31.5, reference_name="notebook"))
    axes = figure.axes[0]
    assert axes.get_xscale() == "linear"
    low, high = axes.get_ylim()
    assert low > high
    assert [text.get_text().strip() for text in axes.get_yticklabels()] == list(rows)
    spread, first, second, limit = containers(axes)
    np.testing.assert_allclose(spread[2][0].get_segments()[0][:, 0], [28, 32])
    np.testing.assert_allclose(first[2][0].get_segments()[0][:, 0], [28.5, 31.5])
    assert (second[0].get_xdata()[0], second[0].get_ydata()[0]) == (35, 1)
    assert any(line.get_marker() == mpl.lines.CARETRIGHTBASE for line in limit[1])
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert len(labels) == len(set(labels)) == 5
    assert "notebook: 31.5" in labels
    assert not label_overlaps(figure)


def test_variants_far_apart_are_shown_on_a_logarithmic_axis():
    rows = {"poor": seed_measurement(5.0), "good": seed_measurement(500.0, 40.0, 30.0)}
    figure = rendered(figure_of_variants(rows))
    assert figure.axes[0].get_xscale() == "log"
    low, high = figure.axes[0].get_xlim()
    assert low < 4 < 540 < high
    shown = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert {"10", "100"} <= set(shown)
    with pytest.raises(ValueError, match="no variant"):
        figure_of_variants({})
