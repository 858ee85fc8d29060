from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from jetexp.jets.spectrum import acceptance, fit_spectrum

RANGE = (600.0, 1500.0)


def falling(slope: float, number: int, seed: int) -> np.ndarray:
    """PT of a spectrum that falls exponentially by ``slope`` over the range."""
    u = np.random.default_rng(seed).random(number)
    x = -np.log1p(-u * (1 - np.exp(-slope))) / slope
    return RANGE[0] + (RANGE[1] - RANGE[0]) * x


def auc(a: np.ndarray, b: np.ndarray) -> float:
    return float(mannwhitneyu(a, b).statistic / len(a) / len(b))


@settings(max_examples=8, deadline=None)
@given(st.floats(0.5, 6.0), st.floats(0.5, 6.0), st.integers(0, 1000))
def test_accepted_classes_share_one_spectrum(first: float, second: float, seed: int) -> None:
    pt = {"a": falling(first, 20_000, seed), "b": falling(second, 20_000, seed + 5000)}
    spectra = {name: fit_spectrum(values, RANGE) for name, values in pt.items()}
    rng = np.random.default_rng(seed + 10_000)
    accepted = {
        name: values[rng.random(len(values)) < acceptance(name, spectra, values)]
        for name, values in pt.items()
    }
    sizes = [len(values) for values in accepted.values()]
    # five standard deviations of the AUC of two samples from one spectrum
    assert abs(auc(accepted["a"], accepted["b"]) - 0.5) < 5 * np.sqrt((1 / sizes[0] + 1 / sizes[1]) / 12)


def test_accepts_no_less_than_the_overlap_of_the_densities() -> None:
    pt = falling(2.0, 5000, 1)
    spectra = {"a": fit_spectrum(pt, RANGE), "b": fit_spectrum(pt, RANGE)}
    assert acceptance("a", spectra, pt) == pytest.approx(1.0)


@pytest.mark.parametrize("number", [0, 1, 19, 45, 300, 20_000])
def test_density_is_normalised_and_has_the_moments_of_the_sample(number: int) -> None:
    pt = falling(3.0, number, 2)
    spectrum = fit_spectrum(pt, RANGE)
    grid = RANGE[0] + (RANGE[1] - RANGE[0]) * (np.arange(20_000) + 0.5) / 20_000
    density = np.exp(spectrum.log_density(grid)) * 2 / 20_000
    assert density.sum() == pytest.approx(1, abs=1e-3)
    if number >= 20:
        assert (density * grid).sum() == pytest.approx(pt.mean(), rel=1e-4)
    assert len(spectrum.coefficients) == min(5, number // 20)


def test_a_spectrum_at_one_edge_still_converges() -> None:
    pt = np.full(500, 600.0) + np.linspace(0, 1, 500)
    log_density = fit_spectrum(pt, RANGE).log_density(np.array([600.0, 1500.0]))
    assert np.isfinite(log_density).all()
    assert log_density[0] > log_density[1]
